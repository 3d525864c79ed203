"""Secret references: where a tenant's key is kept, and how it is fetched when it is needed.

Owns the kinds of reference and the `Secret` that hides itself; the manifest only carries references. Knows
nothing of tenants or requests. No message here ever holds a secret, nor what a file or a command printed.
"""

import html
import os
import re
import signal
import stat
import subprocess
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NoReturn, SupportsIndex
from urllib.parse import unquote

import anyio
from anyio.abc import Process
from msgspec import Struct

from runner.beside import beside

COMMAND_TIMEOUT_SECONDS = 30.0
KEY_MAX_CHARS = 256
_READ_MAX_BYTES = 64 * 1024
_COMMAND_ENVIRONMENT = ("PATH", "HOME", "LANG")

# Printable ASCII without the space: anything else could break the header that carries the key, or add one.
_KEY = re.compile(rf"[\x21-\x7e]{{1,{KEY_MAX_CHARS}}}")

_NO_LETTERS = bytes(set(range(256)) - set(b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"))
_TELLING_CHARS = 8
"""A part of a key that is as long is no chance."""
_TELLING_AT_A_CUT_CHARS = 4
"""So much of a key's beginning is hidden where words were cut in the midst of it."""
_TELLING_CODED_CHARS = 12
"""The same in base64, or more."""
_ESCAPED = re.compile(r"\\u([0-9A-Fa-f]{4})")


class CredentialError(Exception):
    """A tenant's key could not be had; the message names the reference and never what it holds."""


class Secret:
    """A key that shows itself only to whoever asks with `reveal`."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The key itself, for the request header alone."""
        return self._value

    def hide_in(self, text: str) -> str:
        """`text` without the key, in any case of letters. Where `…` tells that it was cut, the key may be cut too."""
        key = self._value.lower()
        for shape in (key, key.replace("-", "")):  # a GUID may come back without its dashes
            text = re.sub(re.escape(shape), "…", text, flags=re.IGNORECASE)
            before = text.removesuffix("…")
            lengths = range(len(shape) - 1, _TELLING_AT_A_CUT_CHARS - 1, -1) if before != text else ()
            cut = next((length for length in lengths if before.lower().endswith(shape[:length])), 0)
            text = f"{before[:-cut]}…" if cut else text
        # Escaped or encoded it stands at no place that could be cut out: then none of the words are told.
        return "…" if len(key) >= _TELLING_CHARS and self.stands_in(text.encode()) else text

    def stands_in(self, content: bytes) -> bool:
        """Whether `content` shows the key or a telling part of it, however it is cut, spaced, escaped or encoded."""
        signs = set(_parts(_letters(self._value.encode()), _TELLING_CHARS))
        for text in {self._value, self._value.replace("-", "")}:
            signs.update(_parts(_letters(text.encode().hex().encode()), 2 * _TELLING_CHARS))
            for core in _in_base64(text):
                signs.update(_parts(core, _TELLING_CODED_CHARS))
        signs.discard(b"")
        return any(sign in told for told in _readings(content) for sign in signs)

    def __repr__(self) -> str:
        return "Secret('**********')"

    __str__ = __repr__

    def __format__(self, format_spec: str) -> str:
        return repr(self)

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        raise TypeError("a secret is not to be copied or stored")


def _in_base64(text: str) -> Iterator[bytes]:
    """What of it is the same in base64 whatever stands before and behind, at each of the three places to begin."""
    for offset in range(3):
        coded = b64encode(b"\0" * offset + text.encode()).rstrip(b"=")
        core = _letters(coded[(offset * 8 + 5) // 6 : len(coded) - 1])
        if len(core) >= _TELLING_CHARS:
            yield core


def _parts(letters: bytes, length: int) -> Iterator[bytes]:
    """Whatever is cut out of them in that length; all of them where they are fewer."""
    length = min(length, len(letters))
    return (letters[at : at + length] for at in range(len(letters) - length + 1))


def _readings(content: bytes) -> Iterator[bytes]:
    """Its letters as they stand, and as a browser or a parser would read them: twice, for what is escaped twice."""
    yield _letters(content)
    text = content.decode("latin-1")
    for _ in range(2):
        text = _ESCAPED.sub(lambda found: chr(int(found[1], 16)), html.unescape(unquote(text, "latin-1")))
        yield _letters(text.encode("utf-8", "replace"))


def _letters(content: bytes) -> bytes:
    return content.translate(None, _NO_LETTERS).lower()


class EnvSecret(Struct, frozen=True, gc=False):
    """`{env: NAME}`: an environment variable of the runner."""

    name: str

    def __str__(self) -> str:
        return f"the environment variable {self.name}"


class FileSecret(Struct, frozen=True, gc=False):
    """`{file: path}`: a file, relative to the manifest."""

    path: str

    def __str__(self) -> str:
        return f"the file {self.path}"


class CommandSecret(Struct, frozen=True, gc=False):
    """`{command: [argv…]}`: what a program prints; no shell is involved."""

    argv: tuple[str, ...]

    def __str__(self) -> str:
        # Its arguments stay out: some password managers are asked with one that is half a secret.
        return f"the command {self.argv[0]}"


class SystemdSecret(Struct, frozen=True, gc=False):
    """`{systemd: credential-name}`: what the unit's `LoadCredential=` provides."""

    name: str

    def __str__(self) -> str:
        return f"the systemd credential {self.name}"


class KeyringSecret(Struct, frozen=True, gc=False):
    """`{keyring: service/user}`: the keyring of whoever runs this."""

    service: str
    user: str

    def __str__(self) -> str:
        return f"the keyring entry {self.service}/{self.user}"


SecretReference = EnvSecret | FileSecret | CommandSecret | SystemdSecret | KeyringSecret


async def resolve(
    reference: SecretReference,
    *,
    base_dir: Path,
    environ: Mapping[str, str] | None = None,
    timeout_seconds: float = COMMAND_TIMEOUT_SECONDS,
) -> Secret:
    """The secret that the reference stands for.

    Args:
        reference: where it is kept.
        base_dir: the folder of the manifest; relative paths start here.
        environ: the environment; left out: the process's own.
        timeout_seconds: how long a command, a file or a keyring may take.

    Raises:
        CredentialError: it is missing, unreadable, or cannot be a key.
    """
    environ = os.environ if environ is None else environ
    return _key(await _fetch(reference, base_dir, environ, timeout_seconds), reference)


async def _fetch(
    reference: SecretReference, base_dir: Path, environ: Mapping[str, str], timeout_seconds: float
) -> str:
    match reference:
        case EnvSecret(name):
            if name not in environ:
                raise CredentialError(f"{reference} is not set; set it where the runner is started")
            return environ[name]
        case FileSecret(path):
            return await _in_time(lambda: _read(reference, base_dir / path), reference, timeout_seconds)
        case SystemdSecret(name):
            directory = environ.get("CREDENTIALS_DIRECTORY")
            if not directory:
                raise CredentialError(
                    f"{reference} is not there, since CREDENTIALS_DIRECTORY is not set; "
                    "start the runner from a unit that has LoadCredential= for it"
                )
            return await _in_time(
                lambda: _read(reference, Path(directory) / name), reference, timeout_seconds
            )
        case CommandSecret():
            return await _output_of(reference, base_dir, environ, timeout_seconds)
        case KeyringSecret():
            return await _in_time(lambda: _from_keyring(reference), reference, timeout_seconds)


def file_warning(reference: SecretReference, *, base_dir: Path) -> str | None:
    """A warning where others than its owner may read a key file; None if it is private or not there."""
    if not isinstance(reference, FileSecret):
        return None
    try:
        mode = (base_dir / reference.path).stat().st_mode
    except (OSError, ValueError):
        return None
    if mode & (stat.S_IRGRP | stat.S_IROTH):
        return (
            f"{reference} may be read by others (mode {stat.S_IMODE(mode):04o}): chmod 600 keeps it private"
        )
    return None


def _key(text: str, reference: SecretReference) -> Secret:
    text = text.strip()
    if not text:
        raise CredentialError(f"{reference} is empty")
    if not _KEY.fullmatch(text):
        raise CredentialError(
            f"{reference} holds no key: a key is at most {KEY_MAX_CHARS} printable ASCII characters "
            "on one line, without spaces"
        )
    return Secret(text)


def _decode(content: bytes, reference: SecretReference) -> str:
    if len(content) > _READ_MAX_BYTES:
        raise CredentialError(f"{reference} holds no key: it gives more than {_READ_MAX_BYTES} bytes")
    try:
        return content.decode("utf-8-sig")  # some editors add a mark
    except UnicodeDecodeError:
        # Not chained: the exception carries the bytes.
        raise CredentialError(f"{reference} holds no key: it is not text") from None


async def _in_time(work: Callable[[], str], reference: SecretReference, timeout_seconds: float) -> str:
    """A keyring may ask a person who is asleep, a share may hang, a pipe may have no writer."""
    with anyio.move_on_after(timeout_seconds):
        return await beside(work)
    raise CredentialError(f"{reference} gave no answer within {timeout_seconds:g} s")


def _read(reference: SecretReference, path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(_READ_MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or "not a path"
        raise CredentialError(f"{reference} cannot be read: {reason}") from None
    return _decode(content, reference)


async def _output_of(
    reference: CommandSecret, base_dir: Path, environ: Mapping[str, str], timeout_seconds: float
) -> str:
    try:
        process = await anyio.open_process(
            reference.argv,
            stdin=subprocess.DEVNULL,  # nobody is there to answer a prompt
            stderr=subprocess.DEVNULL,  # it may repeat the secret, so nobody sees it
            cwd=base_dir,
            env={name: environ[name] for name in _COMMAND_ENVIRONMENT if name in environ},
            start_new_session=True,  # so that what it starts can be ended with it
        )
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or "not a command"
        raise CredentialError(f"{reference} cannot be started: {reason}") from None
    content: bytes | None = None
    try:
        with anyio.move_on_after(timeout_seconds):
            content = await _read_all(process)
            await process.wait()
    finally:
        with anyio.CancelScope(shield=True):
            await _end(process, whole_group=content is None)
    if content is None:
        raise CredentialError(f"{reference} did not end within {timeout_seconds:g} s and was stopped")
    if process.returncode and len(content) <= _READ_MAX_BYTES:
        raise CredentialError(
            f"{reference} failed (exit code {process.returncode}); run it by hand as the runner's user "
            "to see why"
        )
    return _decode(content, reference)


async def _read_all(process: Process) -> bytes:
    content = bytearray()
    if process.stdout is not None:
        async for chunk in process.stdout:
            content += chunk
            if len(content) > _READ_MAX_BYTES:
                process.kill()
                break
    return bytes(content)


async def _end(process: Process, *, whole_group: bool) -> None:
    """Leave no pipe behind, and of a command that hung nothing that it started either."""
    if whole_group or process.returncode is None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    await process.aclose()


def _from_keyring(reference: KeyringSecret) -> str:
    try:
        import keyring  # noqa: PLC0415 - an extra, and slow to import
    except ImportError:
        raise CredentialError(
            f"{reference} needs the extra `keyring`: install runner[keyring], or keep the key elsewhere"
        ) from None
    try:
        value = keyring.get_password(reference.service, reference.user)
    except Exception as error:  # noqa: BLE001 - backends raise what they like, and may put the secret in it
        raise CredentialError(
            f"{reference} cannot be read: the keyring refused ({type(error).__name__})"
        ) from None
    if value is None:
        raise CredentialError(f"{reference} does not exist; `keyring set` creates it")
    return str(value)
