"""The content of one answer, read from its bytes as they come: is it whole, and what does it say of itself?

Owns the reading of the answer of Lucca guide "Export from Lucca Timesheet", step 4. Must not know how the bytes came,
where they lie or what is made of them. Entries stay raw JSON until somebody asks for one, and are let go block by
block: an export of any size costs the memory of a block.
"""

import codecs
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import Final

import msgspec

from runner.ids import id_in

_BOM = b"\xef\xbb\xbf"
_REST_CAP_BYTES: Final = 64 << 20
"""More that is no whole entry is no answer of ours: it would have to be kept until its end comes."""
_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)
"""Any escape; the group holds half a surrogate pair without its other half."""
_LIST = re.compile(rb'"entries"\s*:\s*\[', re.IGNORECASE)
_BRACE = re.compile(rb"\{|\}(\s*,)?")
_GUESSES = 5
"""So many lists of that name are looked at: a hostile answer may hold thousands."""
_REACHES = (1 << 11, 1 << 16, 1 << 20)
"""How far from the end of a block a place between two entries is looked for."""
_Utf8 = codecs.getincrementaldecoder("utf-8")
_MARK = b'"entries were here"'
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
        entries: how many it holds.
    """

    id: int
    configuration_id: int | None
    starts_at: str | None
    ends_at: str | None
    entries: int


class _Key(str):
    """A key of a JSON object that equals only itself, so that a dict keeps a key that is given twice."""

    __slots__ = ()
    __eq__ = object.__eq__
    __hash__ = object.__hash__


_OBJECT = msgspec.json.Decoder(dict[_Key, msgspec.Raw], dec_hook=str.__new__)
_ENTRIES = msgspec.json.Decoder(list[msgspec.Raw])
_ID_OR_NULL: msgspec.json.Decoder[int | str | None] = msgspec.json.Decoder(int | str | None)
_TEXT_OR_NULL: msgspec.json.Decoder[str | None] = msgspec.json.Decoder(str | None)


Take = Callable[[Sequence[msgspec.Raw]], object]
"""Gets entries in their order, some at a time. They are views of bytes and keep those alive."""


class ExportReader:
    """Reads the answer that holds an export, block by block.

    A byte order mark is passed over, keys match in any case, ids may be numbers or strings of digits. A letter that the
    server cut in half (half a surrogate pair) reads as U+FFFD: a broken name must not cost the whole export.

    How it stays small: where a block can be cut between two entries, or behind the last, is guessed, and what lies
    before the cut is decoded as a list of its own. If that succeeds the guess was right, since a prefix of JSON has one
    reading only. That it is the list of the export's entries was read before. At the end what stands around those that
    were taken away, with a mark in their place, is read as if it were the whole answer: so all of it was decoded.
    """

    def __init__(self, take: Take = len, *, block_bytes: int = 1 << 19) -> None:
        """Begin.

        Args:
            take: gets the entries.
            block_bytes: so much is gathered before entries are looked for.
        """
        self._take = take
        self._utf8 = _Utf8()  # msgspec passes over broken characters in entries
        self._before = b""  # what stands before the first entry
        self._taken = b""  # what stands for those that were taken away
        self._cutting: bool | None = None  # whether that list was found; None before it was looked for
        self._rest: list[bytes] = []
        self._rest_bytes = 0
        self._block_bytes = self._enough_bytes = block_bytes
        self._entries = 0

    def feed(self, block: bytes) -> None:
        """Take the next bytes.

        Raises:
            NotContentError: it is clear already that they belong to no such answer.
        """
        try:
            self._utf8.decode(block)
        except UnicodeDecodeError:
            raise NotContentError("it is not UTF-8 text") from None
        self._rest.append(block)
        self._rest_bytes += len(block)
        if self._rest_bytes >= self._enough_bytes:
            self._advance()
            self._enough_bytes = max(self._block_bytes, 2 * self._rest_bytes)
        if self._rest_bytes > _REST_CAP_BYTES:
            raise NotContentError(f"more than {_REST_CAP_BYTES >> 20} MiB of it are no whole entries")

    def finish(self) -> ExportContent:
        """Tell what the whole answer says of itself.

        Raises:
            NotContentError: it is not such an answer, or not all of it.
        """
        self._advance(to_the_end=True)
        answer = b"".join((self._before, self._taken, *self._rest))
        self._rest.clear()
        return self._read(answer)

    def _advance(self, *, to_the_end: bool = False) -> None:
        """Read the entries that have come whole and let them go."""
        if self._cutting is None:
            text = b"".join(self._rest)
            start = _start_of_entries(text)
            self._cutting = start is not None
            if start is not None:
                self._before, self._rest = text[:start], [text[start:]]
        if not self._cutting:
            return
        found = _split(self._rest, to_the_end=to_the_end)
        if found is not None:
            entries, behind, rest = found
            self._take(entries)
            self._entries += len(entries)
            self._taken = _MARK + behind
            self._rest, self._rest_bytes = [rest], len(rest)

    def _read(self, answer: bytes) -> ExportContent:
        body = answer.removeprefix(_BOM)
        start = body[:64].lstrip()
        if not start:
            raise NotContentError("it is empty")
        if start.startswith(b"<"):
            raise NotContentError("it is a web page, not JSON")
        data = _data(body)
        id_ = _number(data.get("id"), "id")
        if id_ is None:
            raise NotContentError("it has no `id`")
        last = _entries(data.get("entries"))[1 if self._entries else 0 :]
        self._take(last)
        return ExportContent(
            id=id_,
            configuration_id=_number(data.get("configurationid"), "configurationId"),
            starts_at=_text(data.get("startsat"), "startsAt"),
            ends_at=_text(data.get("endsat"), "endsAt"),
            entries=self._entries + len(last),
        )


def read_entries(blocks: Iterable[bytes]) -> Iterator[msgspec.Raw]:
    """Each entry of an answer, in order; views that keep their block alive.

    Raises:
        NotContentError: it is not the content of an export.
    """
    batches: list[Sequence[msgspec.Raw]] = []
    reader = ExportReader(batches.append)
    for block in blocks:
        reader.feed(block)
        while batches:
            yield from batches.pop(0)
    reader.finish()
    for batch in batches:
        yield from batch


class Beginning:
    """Keeps how an answer begins, and counts it: all that a report's content is judged by."""

    KEPT_BYTES: Final = 400

    def __init__(self) -> None:
        """Begin."""
        self.kept = b""
        self.size_bytes = 0

    def feed(self, block: bytes) -> None:
        """Take the next bytes."""
        self.kept += block[: self.KEPT_BYTES - len(self.kept)]
        self.size_bytes += len(block)

    def finish(self) -> "Beginning":
        """It is whole."""
        return self


def _start_of_entries(text: bytes) -> int | None:
    """Where the first entry begins, if so much has come: what stands before it is read as if the answer ended there."""
    for found in islice(_LIST.finditer(text), _GUESSES):
        before = text[: found.end()].removeprefix(_BOM)
        with suppress(NotContentError):
            entries = _entries(_data(before + _MARK + b"]}}").get("entries"))
            if [bytes(entry) for entry in entries] == [_MARK]:
                return found.end()
    return None


def _split(pieces: Sequence[bytes], *, to_the_end: bool) -> tuple[Sequence[msgspec.Raw], bytes, bytes] | None:
    """The entries that came whole, if any: they, what stands behind them (a comma or the list's end), and the rest.

    Where to cut is looked for in the last piece alone, so that large ones need not be joined for it.
    """
    *before, last = pieces
    tried: set[int] = set()
    for cut in _places(last, to_the_end=to_the_end):
        if cut not in tried:
            tried.add(cut)
            entries = _decoded(b"".join((b"[", *before, memoryview(last)[:cut], b"]")))
            if entries:
                return entries, last[cut : cut + 1], last[cut + 1 :]
    return _split([b"".join(pieces)], to_the_end=to_the_end) if before else None


def _places(text: bytes, *, to_the_end: bool) -> Iterator[int]:
    """Where the text may be cut, the likelier first."""
    end = text.rfind(b"]")
    if to_the_end and end >= 0:
        yield end
    for reach in _REACHES:
        yield from _cuts(text, max(0, len(text) - reach))


def _cuts(text: bytes, start: int) -> Sequence[int]:
    """Commas that may stand between two entries, the likelier first: inside the fewest objects, and late.

    Braces in words may mislead it. Then what is cut does not decode.
    """
    found: list[tuple[int, int]] = []
    depth = 0
    for brace in _BRACE.finditer(text, start):
        if brace[0] == b"{":
            depth += 1
        else:
            depth -= 1
            if brace[1]:
                found.append((depth, 1 - brace.end()))
    return [-place for _, place in sorted(found)[:2]]


def _decoded(window: bytes) -> Sequence[msgspec.Raw] | None:
    try:
        return _ENTRIES.decode(window)
    except _MALFORMED:
        repaired = _repaired(window)
        if repaired == window:
            return None
    try:
        return _ENTRIES.decode(repaired)
    except _MALFORMED:
        return None


def _repaired(text: bytes) -> bytes:
    return _ESCAPE.sub(lambda found: b"\\ufffd" if found[1] else found[0], text)


def _data(body: bytes) -> Mapping[str, msgspec.Raw]:
    return _object(_answer(body).get("data"), "`data`")


def _answer(body: bytes) -> Mapping[str, msgspec.Raw]:
    try:
        return _object(body, "the answer")
    except NotContentError:
        repaired = _repaired(body)
        if repaired == body:
            raise
        return _object(repaired, "the answer")


def _object(raw: bytes | msgspec.Raw | None, what: str) -> Mapping[str, msgspec.Raw]:
    if raw is None:
        raise NotContentError(f"it has no {what}")
    try:
        items = _OBJECT.decode(raw)
    except _MALFORMED as error:
        raise NotContentError(f"{what} is not a JSON object: {_why(error)}") from None
    found = {key.lower(): value for key, value in items.items()}
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
    id_ = id_in(value)
    if id_ is None:
        raise NotContentError(f"`{key}` is not a number from 1")
    return id_


def _text(raw: msgspec.Raw | None, key: str) -> str | None:
    if raw is None:
        return None
    try:
        return _TEXT_OR_NULL.decode(raw)
    except _MALFORMED as error:
        raise NotContentError(f"`{key}` is not text: {_why(error)}") from None


def _why(error: Exception) -> str:
    # msgspec names types, never values. It names places too, but not in the whole.
    return (
        "it is nested too deep" if isinstance(error, RecursionError) else str(error).partition(" (byte ")[0]
    )
