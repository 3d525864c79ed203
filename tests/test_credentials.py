"""Keys come from where the manifest says, and are never shown on the way."""

import copy
import os
import pickle
import select
import sys
from contextlib import suppress
from pathlib import Path

import keyring
import keyring.backend
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.credentials import (
    CommandSecret,
    CredentialError,
    EnvSecret,
    FileSecret,
    KeyringSecret,
    Secret,
    SecretReference,
    SystemdSecret,
    file_warning,
    resolve,
)

KEY = "d8f7a1c2-0b3e-4f5a-9c6d-7e8f90a1b2c3"
pytestmark = pytest.mark.anyio


async def refusal(reference: SecretReference, base_dir: Path, **environ: str) -> str:
    with pytest.raises(CredentialError) as caught:
        await resolve(reference, base_dir=base_dir, environ=environ)
    assert caught.value.__cause__ is None
    assert KEY not in str(caught.value)
    return str(caught.value)


async def test_a_key_comes_from_the_environment(tmp_path: Path) -> None:
    secret = await resolve(EnvSecret("ACME"), base_dir=tmp_path, environ={"ACME": f" {KEY}\n"})
    assert secret.reveal() == KEY
    assert await refusal(EnvSecret("ACME"), tmp_path) == (
        "the environment variable ACME is not set; set it where the runner is started"
    )
    assert await refusal(EnvSecret("ACME"), tmp_path, ACME="  ") == "the environment variable ACME is empty"


async def test_without_another_the_environment_is_the_processs_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACME_OF_A_TEST", KEY)
    assert (await resolve(EnvSecret("ACME_OF_A_TEST"), base_dir=tmp_path)).reveal() == KEY


@pytest.mark.parametrize("content", [f"{KEY}\n", f"\ufeff{KEY}", f"\r\n {KEY} \r\n"])
async def test_a_key_comes_from_a_file_beside_the_manifest(tmp_path: Path, content: str) -> None:
    (tmp_path / "acme.key").write_text(content, encoding="utf-8")
    assert (await resolve(FileSecret("acme.key"), base_dir=tmp_path)).reveal() == KEY


async def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    assert (
        await refusal(FileSecret("none"), tmp_path)
        == "the file none cannot be read: No such file or directory"
    )
    assert "cannot be read" in await refusal(FileSecret("."), tmp_path)
    (tmp_path / "latin1").write_bytes(b"\xe9")
    assert "it is not text" in await refusal(FileSecret("latin1"), tmp_path)
    assert "more than 65536 bytes" in await refusal(FileSecret("/dev/zero"), tmp_path)


async def test_a_key_comes_from_systemd(tmp_path: Path) -> None:
    (tmp_path / "acme").write_text(KEY, encoding="utf-8")
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    assert (await resolve(SystemdSecret("acme"), base_dir=Path("/"), environ=environ)).reveal() == KEY
    assert "CREDENTIALS_DIRECTORY is not set" in await refusal(SystemdSecret("acme"), tmp_path)
    assert "cannot be read" in await refusal(SystemdSecret("other"), tmp_path, **environ)


@pytest.mark.parametrize(
    "text",
    [f"{KEY} {KEY}", f"{KEY}\r\nX-Other: 1", f"{KEY}\x00", f"{KEY}\x7f", f"{KEY}é", "a" * 257, f"{KEY}\t1"],
)
async def test_what_would_break_the_header_is_no_key(tmp_path: Path, text: str) -> None:
    assert "holds no key: a key is at most 256 printable ASCII" in await refusal(
        EnvSecret("A"), tmp_path, A=text
    )


@given(st.text(max_size=20))
async def test_a_key_is_printable_or_refused(text: str) -> None:
    try:
        secret = await resolve(EnvSecret("A"), base_dir=Path(), environ={"A": text})
    except CredentialError:
        return
    assert secret.reveal().isascii()
    assert secret.reveal().isprintable()
    assert " " not in secret.reveal()


# --- commands ----------------------------------------------------------------------------------------------------


def python(script: str) -> CommandSecret:
    return CommandSecret((sys.executable, "-c", script))


async def test_a_key_comes_from_a_command_that_sees_a_clean_environment(tmp_path: Path) -> None:
    environ = {"PATH": os.environ["PATH"], "HOME": "/h", "LANG": "C.UTF-8", "OTHER": "x", "RUNNER_STATE": "y"}
    command = python(
        "import os; print(*sorted(set(os.environ) - {'LC_CTYPE', '__CF_USER_TEXT_ENCODING'}), sep='+')"
    )
    secret = await resolve(command, base_dir=tmp_path, environ=environ)
    assert secret.reveal() == "HOME+LANG+PATH"


async def test_a_command_runs_beside_the_manifest_without_a_shell_and_without_input(tmp_path: Path) -> None:
    (tmp_path / "get-key").write_text("#!/bin/sh\ncat\nprintf '%s' \"$1\"\n", encoding="utf-8")
    (tmp_path / "get-key").chmod(0o700)
    secret = await resolve(CommandSecret(("./get-key", "$HOME;x")), base_dir=tmp_path)
    assert secret.reveal() == "$HOME;x"


async def test_a_command_that_fails_is_told_without_what_it_printed(tmp_path: Path) -> None:
    script = f"import sys; print('{KEY}'); print('{KEY}', file=sys.stderr); sys.exit(3)"
    message = await refusal(python(script), tmp_path)
    assert message.startswith(f"the command {sys.executable} failed (exit code 3)")
    assert "-c" not in message


async def test_a_command_that_cannot_start_is_told(tmp_path: Path) -> None:
    message = await refusal(CommandSecret(("./none", KEY)), tmp_path)
    assert message == "the command ./none cannot be started: No such file or directory"
    assert "not a command" in await refusal(CommandSecret(("a\0b",)), tmp_path)


async def test_a_command_that_never_stops_printing_is_stopped(tmp_path: Path) -> None:
    assert "more than 65536 bytes" in await refusal(python("while True: print('x' * 4096)"), tmp_path)


async def test_a_command_that_hangs_is_stopped_with_all_that_it_started(tmp_path: Path) -> None:
    # It starts a child that would outlive it, tells the child's number, and waits for ever.
    script = (
        "import pathlib, subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "pathlib.Path('child').write_text(str(child.pid))\n"
        "time.sleep(600)\n"
    )
    with pytest.raises(CredentialError, match=r"did not end within 1 s and was stopped"):
        await resolve(python(script), base_dir=tmp_path, timeout_seconds=1)
    child = int((tmp_path / "child").read_text(encoding="ascii"))
    with suppress(ProcessLookupError):  # it is buried already
        watched = os.pidfd_open(child)
        ended, _, _ = select.select([watched], [], [], 60)  # a killed one still has to get its turn to end
        os.close(watched)
        assert ended


# --- the keyring -------------------------------------------------------------------------------------------------


class _Keyring(keyring.backend.KeyringBackend):
    """A keyring in memory."""

    priority = 1.0

    def get_password(self, service: str, username: str) -> str | None:
        if service == "broken":
            raise RuntimeError(KEY)
        return KEY if (service, username) == ("lucca/fr", "acme") else None

    def set_password(self, service: str, username: str, password: str) -> None:
        raise NotImplementedError


async def test_a_key_comes_from_the_keyring(tmp_path: Path) -> None:
    before = keyring.get_keyring()
    keyring.set_keyring(_Keyring())  # type: ignore[no-untyped-call]
    try:
        assert (await resolve(KeyringSecret("lucca/fr", "acme"), base_dir=tmp_path)).reveal() == KEY
        assert "does not exist" in await refusal(KeyringSecret("lucca", "other"), tmp_path)
        assert "the keyring refused (RuntimeError)" in await refusal(KeyringSecret("broken", "x"), tmp_path)
    finally:
        keyring.set_keyring(before)


async def test_a_missing_keyring_is_told_with_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "keyring", None)
    assert "install runner[keyring]" in await refusal(KeyringSecret("a", "b"), tmp_path)


# --- the secret itself -------------------------------------------------------------------------------------------


async def test_a_secret_shows_itself_to_nobody() -> None:
    secret = Secret(KEY)
    for shown in (str(secret), repr(secret), f"{secret}", f"{secret:>50}", f"{[secret]}", "%s" % (secret,)):  # noqa: UP031
        assert KEY not in shown
    for give_away in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match=r"not to be copied"):
            give_away(secret)
    assert not hasattr(secret, "__dict__")


async def test_a_key_file_that_others_may_read_is_warned_of(tmp_path: Path) -> None:
    (tmp_path / "key").touch(mode=0o600)
    assert file_warning(FileSecret("key"), base_dir=tmp_path) is None
    (tmp_path / "key").chmod(0o644)
    warning = file_warning(FileSecret("key"), base_dir=tmp_path)
    assert warning == "the file key may be read by others (mode 0644): chmod 600 keeps it private"
    assert file_warning(FileSecret("none"), base_dir=tmp_path) is None
    assert file_warning(EnvSecret("key"), base_dir=tmp_path) is None
