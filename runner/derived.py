"""The files made from an export's answer: `csv` and `csv-fr`, one row per entry.

Owns their columns, numbers and quoting. Must not know where the rows are written. Numbers are copied as the literal
that came, digit for digit: they never pass through a float. Entries are decoded one at a time, so a large export stays
small.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import msgspec

from runner.content import ExportContent, read_entries

Write = Callable[[bytes], object]

COLUMNS: Final = (
    "id",
    "name",
    "amount",
    "amountUnit",
    "externalCode",
    "endsAt",
    "owner.id",
    "owner.lastName",
    "owner.firstName",
    "timeType.id",
    "timeType.name",
    "timeType.payTreatment",
    "axisSections",
)
"""Named by their path in the answer."""

_BLOCK_CHARS = 64 * 1024
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")  # noqa: RUF001 - full width runs too
_PLACES = tuple(tuple(column.lower().partition(".")[::2]) for column in COLUMNS)
_AXIS_SECTIONS = "axissections"


class NotDerivableError(Exception):
    """No table can be made of this export. The message names the entry by its position, never a person."""


@dataclass(frozen=True, slots=True)
class Derived:
    """One derived format.

    Attributes:
        suffix: what follows the name and id in the file name.
        write: gets what the export says of itself and its answer block by block; writes the whole file, block by block.
    """

    suffix: str
    write: Callable[[ExportContent, Iterable[bytes], Write], None]


_Cell = tuple[str, bool]
"""What stands in a cell, and whether that is words (else a number, true, false or JSON). A plain tuple is quickest."""
_EMPTY: Final[_Cell] = ("", False)

_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
_STRING = msgspec.json.Decoder(str)
# Fractions come back as the raw text they were written with, which the encoder then writes as it is.
_TREE = msgspec.json.Decoder(float_hook=lambda literal: msgspec.Raw(literal.encode()))


def write_csv(content: ExportContent, blocks: Iterable[bytes], write: Write) -> None:
    """Write UTF-8 without mark, commas, decimal dots, a header, a line feed after each row.

    Raises:
        NotDerivableError: an entry is no object, or has the wrong shape.
    """
    special = re.compile(r'[",\r\n]')
    _write_rows(content, blocks, write, ",", "\n", lambda cell: _quoted(cell[0], special))


def write_csv_fr(content: ExportContent, blocks: Iterable[bytes], write: Write) -> None:
    """Write what a French Excel opens: UTF-8 with mark, semicolons, decimal commas, CRLF, formulas disarmed.

    Raises:
        NotDerivableError: an entry is no object, or has the wrong shape.
    """
    special = re.compile(r'[";\r\n]')

    def show(cell: _Cell) -> str:
        text, is_words = cell
        if is_words:
            if text.startswith(_FORMULA_STARTS):
                text = f"'{text}"
        elif "." in text and _NUMBER.fullmatch(text):
            text = text.replace(".", ",")
        return _quoted(text, special)

    write("\ufeff".encode())
    _write_rows(content, blocks, write, ";", "\r\n", show)


FORMATS: Final[Mapping[str, Derived]] = {
    "csv": Derived(".csv", write_csv),
    "csv-fr": Derived(".fr.csv", write_csv_fr),
}
"""The derived formats by their name in the manifest."""


def _quoted(text: str, special: re.Pattern[str]) -> str:
    # csv.writer leaves a lone carriage return bare where lines end in a line feed, and readers break the row there.
    return '"' + text.replace('"', '""') + '"' if special.search(text) else text


def _write_rows(
    content: ExportContent,
    blocks: Iterable[bytes],
    write: Write,
    delimiter: str,
    line_end: str,
    show: Callable[[_Cell], str],
) -> None:
    lines = [delimiter.join(COLUMNS)]
    chars = 0
    for position, entry in enumerate(read_entries(blocks), start=1):
        try:
            line = delimiter.join([show(cell) for cell in _cells(entry)])
        except NotDerivableError as error:
            raise NotDerivableError(f"entry {position} of export {content.id}: {error}") from None
        lines.append(line)
        chars += len(line)
        if chars >= _BLOCK_CHARS:
            write((line_end.join(lines) + line_end).encode())
            lines = []
            chars = 0
    if lines:
        write((line_end.join(lines) + line_end).encode())


def _cells(entry: msgspec.Raw) -> Iterator[_Cell]:
    top = _object(entry, "it")
    if top is None:
        raise NotDerivableError("it is null")
    nested: dict[str, Mapping[str, msgspec.Raw] | None] = {}
    for parent, child in _PLACES:
        if not child:
            raw = top.get(parent)
            yield _json(raw) if parent == _AXIS_SECTIONS else _scalar(raw, parent)
            continue
        if parent not in nested:
            nested[parent] = _object(top.get(parent), parent)
        inside = nested[parent]
        yield _EMPTY if inside is None else _scalar(inside.get(child), parent, child)


def _object(raw: msgspec.Raw | None, what: str) -> Mapping[str, msgspec.Raw] | None:
    """An object by its keys in lower case; None for null or nothing."""
    if raw is None or bytes(raw) == b"null":
        return None
    try:
        items = _OBJECT.decode(raw)
    except (msgspec.DecodeError, RecursionError):
        raise NotDerivableError(f"{what} is not an object") from None
    found = {key.lower(): value for key, value in items.items()}
    if len(found) != len(items):
        raise NotDerivableError(f"{what} gives a key twice")
    return found


def _scalar(raw: msgspec.Raw | None, *path: str) -> _Cell:
    if raw is None:
        return _EMPTY
    literal = bytes(raw)
    match literal[:1]:
        case b'"':
            text = _STRING.decode(literal)
            # Some servers write decimals as strings; an amount is a number however it was wrapped.
            return text, not (path == ("amount",) and _NUMBER.fullmatch(text))
        case b"{" | b"[":
            raise NotDerivableError(f"{'.'.join(path)} is not a plain value")
        case b"n":
            return _EMPTY
        case _:
            return literal.decode("ascii"), False


def _json(raw: msgspec.Raw | None) -> _Cell:
    """Compact JSON, its letters unescaped, its numbers as written."""
    if raw is None or bytes(raw) == b"null":
        return _EMPTY
    try:
        text = msgspec.json.encode(_TREE.decode(raw)).decode()
    except (msgspec.DecodeError, RecursionError):
        raise NotDerivableError("axisSections cannot be read") from None
    # A bare string would begin with a quote, a list or object with its bracket: nothing here starts a formula.
    return text, False
