"""The content of one export, read from its bytes: is it whole, and what does it say of itself?

Owns the reading of the answer of Lucca guide "Export from Lucca Timesheet", step 4. Must not know how the bytes came,
where they lie or what is made of them. Entries stay raw JSON until somebody asks for one: 200,000 of them cost little.
"""

import codecs
import mmap
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

Buffer = bytes | mmap.mmap
"""The bytes of an answer: in memory, or a file mapped into it."""

_BOM = b"\xef\xbb\xbf"
_BLOCK_BYTES = 1 << 20
_ID = re.compile(r"[1-9][0-9]{0,17}")  # what a 64-bit column of the journal holds
_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)
"""Any escape; the group holds half a surrogate pair without its other half."""
_MALFORMED = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class NotContentError(Exception):
    """The answer is not the content of an export: cut, a page, the wrong shape. `reason` quotes nothing of it."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class ExportContent:
    """What an export says of itself.

    Attributes:
        id: its number.
        configuration_id: the configuration it was made with, None where it does not tell.
        starts_at: where its period begins, as written.
        ends_at: where its period ends, as written.
        entries: each entry, still JSON. They are views of the answer's bytes and keep those alive.
    """

    id: int
    configuration_id: int | None
    starts_at: str | None
    ends_at: str | None
    entries: Sequence[msgspec.Raw]


class _Key:
    """A key of a JSON object that equals only itself, so that a dict keeps a key that is given twice."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text


def _to_key(_type: type[Any], text: str) -> _Key:
    return _Key(text)


_OBJECT = msgspec.json.Decoder(dict[_Key, msgspec.Raw], dec_hook=_to_key)
_ENTRIES = msgspec.json.Decoder(list[msgspec.Raw])
_ID_OR_NULL: msgspec.json.Decoder[int | str | None] = msgspec.json.Decoder(int | str | None)
_TEXT_OR_NULL: msgspec.json.Decoder[str | None] = msgspec.json.Decoder(str | None)


def read_export_content(buffer: Buffer) -> ExportContent:
    """Read the answer that holds an export.

    A byte order mark is passed over, keys match in any case, ids may be numbers or strings of digits. A letter that the
    server cut in half (half a surrogate pair) reads as U+FFFD: a broken name must not cost the whole export.

    Args:
        buffer: the whole answer.

    Raises:
        NotContentError: it is not such an answer, or not all of it.
    """
    with memoryview(buffer) as whole:
        _require_utf8(whole)
        body = whole[len(_BOM) :] if bytes(whole[: len(_BOM)]) == _BOM else whole[:]
    start = bytes(body[:64]).lstrip()
    if not start:
        raise NotContentError("it is empty")
    if start.startswith(b"<"):
        raise NotContentError("it is a web page, not JSON")
    data = _object(_answer(body).get("data"), "`data`")
    id_ = _number(data.get("id"), "id")
    if id_ is None:
        raise NotContentError("it has no `id`")
    return ExportContent(
        id=id_,
        configuration_id=_number(data.get("configurationid"), "configurationId"),
        starts_at=_text(data.get("startsat"), "startsAt"),
        ends_at=_text(data.get("endsat"), "endsAt"),
        entries=_entries(data.get("entries")),
    )


def _require_utf8(whole: memoryview) -> None:
    """Refuse broken characters, which the decoder below passes over inside entries. In blocks, to stay small."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        for start in range(0, len(whole), _BLOCK_BYTES):
            decoder.decode(whole[start : start + _BLOCK_BYTES])
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        raise NotContentError("it is not UTF-8 text") from None


def _answer(body: memoryview) -> Mapping[str, msgspec.Raw]:
    try:
        return _object(body, "the answer")
    except NotContentError:
        repaired = _ESCAPE.sub(lambda found: b"\\ufffd" if found[1] else found[0], body)
        if repaired == body:
            raise
        return _object(repaired, "the answer")


def _object(raw: memoryview | bytes | msgspec.Raw | None, what: str) -> Mapping[str, msgspec.Raw]:
    if raw is None:
        raise NotContentError(f"it has no {what}")
    try:
        items = _OBJECT.decode(raw)
    except _MALFORMED as error:
        raise NotContentError(f"{what} is not a JSON object: {_why(error)}") from None
    found = {key.text.lower(): value for key, value in items.items()}
    if len(found) != len(items):
        raise NotContentError(f"{what} gives a key twice")
    return found


def _entries(raw: msgspec.Raw | None) -> Sequence[msgspec.Raw]:
    if raw is None:
        raise NotContentError("it has no `entries`")
    try:
        return _ENTRIES.decode(raw)
    except _MALFORMED as error:
        raise NotContentError(f"`entries` is not a list: {_why(error)}") from None


def _number(raw: msgspec.Raw | None, key: str) -> int | None:
    if raw is None:
        return None
    try:
        value = _ID_OR_NULL.decode(raw)
    except _MALFORMED as error:
        raise NotContentError(f"`{key}` is not a number: {_why(error)}") from None
    if value is None:
        return None
    if _ID.fullmatch(str(value)) is None:
        raise NotContentError(f"`{key}` is not a number from 1")
    return int(value)


def _text(raw: msgspec.Raw | None, key: str) -> str | None:
    if raw is None:
        return None
    try:
        return _TEXT_OR_NULL.decode(raw)
    except _MALFORMED as error:
        raise NotContentError(f"`{key}` is not text: {_why(error)}") from None


def _why(error: Exception) -> str:
    # msgspec names positions and types, never values.
    return "it is nested too deep" if isinstance(error, RecursionError) else str(error)
