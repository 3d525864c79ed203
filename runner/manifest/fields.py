"""Reading values out of nodes: mappings with known keys, lists, texts, numbers, choices, secret references.

Every reader takes a node and gives a plain value or raises `InvalidError`, which gathers all faults below a node, each
with its place. Knows nothing of tenants. What stands in a secret's place is never repeated.
"""

import re
from collections.abc import Callable, Iterable
from collections.abc import Mapping as MappingABC
from dataclasses import dataclass
from datetime import date
from difflib import get_close_matches
from sys import intern
from typing import Any, NoReturn, TypeVar

from runner.credentials import (
    CommandSecret,
    EnvSecret,
    FileSecret,
    KeyringSecret,
    SecretReference,
    SystemdSecret,
)
from runner.dates import parse_date
from runner.manifest.nodes import Mapping, Node, Refused, Scalar, Sequence

T = TypeVar("T")
Reader = Callable[[Node], Any]

NAME_PATTERN = r"[a-z0-9][a-z0-9_-]{0,62}"
TAG_PATTERN = r"[^\s,\x00-\x1f\x7f]{1,63}"
ENV_NAME_PATTERN = r"[A-Za-z_][A-Za-z0-9_]{0,127}"
CREDENTIAL_NAME_PATTERN = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}"
TEXT_MAX_CHARS = 200
ID_MAX = 2**31 - 1
RESERVED_NAMES = frozenset(
    {"con", "prn", "aux", "nul"} | {f"{port}{n}" for port in ("com", "lpt") for n in range(1, 10)}
)

# What a key looks like: such a text is hidden wherever a message would show it.
_GUID = re.compile(r"[0-9a-fA-F]{8}-?(?:[0-9a-fA-F]{4}-?){3}[0-9a-fA-F]{12}")
_SHOWN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,39}")
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
# Plain texts that YAML 1.1 or 1.2 takes for something else: other tools would read something else, too.
_TYPED = re.compile(
    r"[-+]?[0-9][0-9_,.:]*(?:[eE][-+]?[0-9]+)?|[-+]?\.[0-9][0-9_]*(?:[eE][-+]?[0-9]+)?|0[xob][0-9a-fA-F_]+"
    r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)|[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?:[Tt ].*)?"
    r"|y|Y|yes|Yes|YES|n|N|no|No|NO|true|True|TRUE|false|False|FALSE|on|On|ON|off|Off|OFF"
)
_WHOLE_NUMBER = re.compile(r"[1-9][0-9]{0,17}")


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong: where (`.exports[0].ends_at`, counted from the file's root) and what."""

    path: str
    line: int
    column: int
    message: str

    def told(self, file: str) -> str:
        """One line for people: place, path and message, without anything that looks like a key."""
        text = f"{self.path.removeprefix('.')}: {self.message}" if self.path else self.message
        return f"{file}:{self.line}:{self.column}: {_GUID.sub('[hidden]', text)}"


class InvalidError(Exception):
    """What a node holds cannot be used; all that is wrong with it, in the order of the file."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__(f"{len(self.faults)} faults")

    def under(self, path: str) -> list[Fault]:
        """The same faults, seen from the node above."""
        return [Fault(path + fault.path, fault.line, fault.column, fault.message) for fault in self.faults]


def refuse(node: Node, message: str) -> NoReturn:
    """Raise `InvalidError` for this node."""
    raise InvalidError([Fault("", node.line, node.column, message)])


def looks_like_key(text: str) -> bool:
    """Whether a text has the form of an API key."""
    return _GUID.fullmatch(text.strip("{}() ")) is not None


# --- collections -------------------------------------------------------------------------------------------------


def mapping_of(node: Node) -> Mapping:
    """The node as a mapping."""
    if type(node) is not Mapping:
        _refuse_kind(node, "keys and values are expected here")
    return node


def keys_of(
    node: Node,
    readers: MappingABC[str, Reader],
    *,
    required: Iterable[str] = (),
    planned: MappingABC[str, str] | None = None,
) -> dict[str, Any]:
    """The values of a mapping, each read by the reader of its key.

    Raises:
        InvalidError: a key is unknown, missing, or there twice, or a value is wrong; every fault is told.
    """
    values: dict[str, Any] = {}
    faults: list[Fault] = []
    for key, value in mapping_of(node).pairs:
        name = key.text if type(key) is Scalar else ""
        reader = readers.get(name)
        if reader is None:
            message = _unknown_key(key, readers, planned or {})
            faults.append(Fault(f".{name}" if _is_shown(name) else "", key.line, key.column, message))
        elif name in values:
            faults.append(Fault(f".{name}", key.line, key.column, "the key is here twice"))
        else:
            values[name] = None  # it is here, even if what it holds is wrong
            try:
                values[name] = reader(value)
            except InvalidError as error:
                faults += error.under(f".{name}")
    faults += [
        Fault(f".{name}", node.line, node.column, "the key is missing")
        for name in required
        if name not in values
    ]
    if faults:
        raise InvalidError(faults)
    return values


def _is_shown(name: str) -> bool:
    return _SHOWN_KEY.fullmatch(name) is not None and not looks_like_key(name)


def _unknown_key(key: Node, readers: MappingABC[str, Reader], planned: MappingABC[str, str]) -> str:
    if type(key) is Refused:
        return key.reason
    if type(key) is not Scalar or not _is_shown(key.text):
        return f"a key here is none of {', '.join(readers)}"
    if key.text in planned:
        return planned[key.text]
    near = get_close_matches(key.text.lower().replace("-", "_"), list(readers), n=1)
    return "unknown key" + (f"; did you mean {near[0]}?" if near else f" (known: {', '.join(readers)})")


def list_of(reader: Callable[[Node], T], *, least: int = 0) -> Callable[[Node], tuple[T, ...]]:
    """A reader of lists whose items this one reads."""

    def read(node: Node) -> tuple[T, ...]:
        if type(node) is not Sequence:
            _refuse_kind(node, "a list is expected here, like [a, b]")
        values: list[T] = []
        faults: list[Fault] = []
        for index, item in enumerate(node.items):
            try:
                values.append(reader(item))
            except InvalidError as error:
                faults += error.under(f"[{index}]")
        if faults:
            raise InvalidError(faults)
        if len(values) < least:
            refuse(node, "the list is empty; leave the key out for the default")
        return tuple(values)

    return read


def set_of(reader: Callable[[Node], T], *, least: int = 0) -> Callable[[Node], tuple[T, ...]]:
    """A reader of lists in which nothing is twice."""
    read_list = list_of(reader, least=least)

    def read(node: Node) -> tuple[T, ...]:
        values = read_list(node)
        if len(set(values)) < len(values):
            refuse(node, "something is in this list twice")
        return values

    return read


def _refuse_kind(node: Node, message: str) -> NoReturn:
    if type(node) is Refused:
        refuse(node, node.reason)
    if type(node) is Scalar and node.plain and node.text in _NULLS:
        refuse(node, "nothing stands here; give it a value or leave the key out")
    refuse(node, message)


# --- scalars -----------------------------------------------------------------------------------------------------


def word(node: Node) -> str:
    """A scalar's text as it stands, whatever YAML would make of it."""
    if type(node) is not Scalar or (node.plain and node.text in _NULLS):
        _refuse_kind(node, "a single value is expected here")
    return intern(node.text)  # thousands of tenants say much the same


def string(node: Node) -> str:
    """One line of text; what YAML would take for a number, a date or a truth must be quoted."""
    text = word(node)
    if type(node) is Scalar and node.plain and _TYPED.fullmatch(text):
        refuse(node, f'YAML takes this for something else than a text: write it in quotes ("{text[:40]}")')
    if not text.strip() or len(text) > TEXT_MAX_CHARS or not text.isprintable():
        refuse(
            node,
            f"one line of 1 to {TEXT_MAX_CHARS} characters is expected here, all of them visible or plain spaces",
        )
    return text


def matching(pattern: str, message: str) -> Callable[[Node], str]:
    """A reader of texts that match the whole pattern."""
    compiled = re.compile(pattern)

    def read(node: Node) -> str:
        text = string(node)
        if not compiled.fullmatch(text):
            refuse(node, message)
        return text

    return read


_read_name = matching(
    NAME_PATTERN,
    "a name has 1 to 63 lower-case letters, digits, - and _, and begins with a letter or a digit",
)
read_tag = matching(TAG_PATTERN, "a tag has 1 to 63 characters, no spaces and no commas")


def read_name(node: Node) -> str:
    """A tenant's or a job's name: it becomes a folder or a file."""
    text = _read_name(node)
    if text in RESERVED_NAMES:
        refuse(
            node, "Windows reserves this name, so that its files could not be copied there; choose another"
        )
    return text


def whole_number(most: int) -> Callable[[Node], int]:
    """A reader of whole numbers from 1."""

    def read(node: Node) -> int:
        text = word(node)
        if not _WHOLE_NUMBER.fullmatch(text) or int(text) > most or not (type(node) is Scalar and node.plain):
            refuse(
                node, f"a whole number from 1 to {most} is expected here, without quotes and leading zeros"
            )
        return int(text)

    return read


def choice(*known: str, planned: Iterable[str] = ()) -> Callable[[Node], str]:
    """A reader of one of these words."""

    def read(node: Node) -> str:
        text = word(node)
        if text in known:
            return text
        if text in planned:
            refuse(node, f"{text} is planned but not built yet; there is {', '.join(known)}")
        near = get_close_matches(text[:100].lower(), known, n=1)
        refuse(
            node,
            f"one of {', '.join(known)} is expected here" + (f"; did you mean {near[0]}?" if near else ""),
        )

    return read


def parsed_by(parse: Callable[[str], T]) -> Callable[[Node], T]:
    """A reader for what a function makes of the text; its ValueError becomes the fault."""

    def read(node: Node) -> T:
        text = word(node)
        try:
            return parse(text)
        except ValueError as error:
            raise InvalidError([Fault("", node.line, node.column, str(error))]) from None

    return read


read_date: Callable[[Node], date] = parsed_by(parse_date)


# --- secret references -------------------------------------------------------------------------------------------

_REFERENCE = "{env: NAME}, {file: path}, {command: [program, …]}, {systemd: name} or {keyring: service/user}"
_SHELLS = frozenset({"echo", "printf", "sh", "bash", "dash", "zsh"})


def read_secret(node: Node) -> SecretReference:
    """Where a secret is kept. No message repeats anything that stands here, keys included."""
    if type(node) is Refused:
        refuse(node, node.reason)
    if type(node) is Scalar and not (node.plain and node.text in _NULLS):
        refuse(node, f"a secret must not stand in the manifest; keep it elsewhere and write {_REFERENCE}")
    if type(node) is not Mapping or len(node.pairs) != 1:
        refuse(node, f"one of {_REFERENCE} is expected here")
    key, value = node.pairs[0]
    kind = key.text if type(key) is Scalar else ""
    if kind == "command":
        return CommandSecret(_command(value))
    if kind not in {"env", "file", "systemd", "keyring"}:
        refuse(node, f"this is no known place of a secret; write {_REFERENCE}")
    if type(value) is not Scalar or not value.text or len(value.text) > 4096 or not value.text.isprintable():
        refuse(value, f"one line of text is expected after {kind}")
    text = value.text
    parts = {text} if kind == "file" else {text, *text.split("/")}
    if any(looks_like_key(part) for part in parts):
        refuse(value, f"this looks like a key itself; {kind} tells where the key is kept: {_REFERENCE}")
    return _named(kind, text, value)


def _named(kind: str, text: str, node: Node) -> SecretReference:
    if kind == "file":
        return FileSecret(text)
    if kind == "env":
        if not re.fullmatch(ENV_NAME_PATTERN, text):
            refuse(node, "env takes the name of a variable: letters, digits and _")
        return EnvSecret(text)
    if kind == "systemd":
        if not re.fullmatch(CREDENTIAL_NAME_PATTERN, text):
            refuse(node, "systemd takes the name of a credential: letters, digits, - . and _")
        return SystemdSecret(text)
    service, slash, user = text.rpartition("/")
    if not (slash and service and user):
        refuse(node, "keyring takes service/user")
    return KeyringSecret(service, user)


def _command(node: Node) -> tuple[str, ...]:
    if type(node) is not Sequence or not node.items:
        refuse(node, "command takes a list, the program first: [pass, show, lucca/acme]")
    argv: list[str] = []
    for item in node.items:
        if type(item) is not Scalar or "\0" in item.text or len(item.text) > 4096:
            refuse(item, "each word of a command is one text")
        argv.append(item.text)
    program = argv[0].rpartition("/")[2]
    if not program:
        refuse(node, "the command has no program")
    # Some password managers name their entries by GUIDs, so only what would print one is a literal key.
    if looks_like_key(argv[0]) or (program in _SHELLS and any(_GUID.search(word_) for word_ in argv)):
        refuse(node, f"the key must not stand in the command; keep it elsewhere and write {_REFERENCE}")
    return tuple(argv)
