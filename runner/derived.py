"""The files made from an export's answer: `csv` and `csv-fr`, one row per entry.

Owns their columns, numbers and quoting. Must not know where the rows are written. Numbers are copied as the literal
that came, digit for digit: they never pass through a float. Entries are decoded one at a time, so a large export stays
small.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, Final

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
_MOST_SHAPES = 1000
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_FORMULA_STARTS = frozenset("=+-@\t\r\n＝＋－＠")  # noqa: RUF001 - full width runs too
_NESTED = ("owner", "timeType", "axisSections")
_AMOUNT: Final = COLUMNS.index("amount")


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


_Value = str | int | msgspec.Raw | None
"""What stands in a cell: words; or a number, true or false, as their literal unless Python would write the same."""
_Show = Callable[[Sequence[Any]], list[str]]

_VALUES = msgspec.json.Decoder(float_hook=lambda literal: msgspec.Raw(literal.encode()))
"""Fractions come back as the raw text they were written with, which the encoder then writes as it is."""
_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
_STRING = msgspec.json.Decoder(str)
_MALFORMED = (msgspec.DecodeError, RecursionError)


class _DoubtError(Exception):
    """The quick way cannot tell: the literals have to be looked at."""


def write_csv(content: ExportContent, blocks: Iterable[bytes], write: Write) -> None:
    """Write UTF-8 without mark, commas, decimal dots, a header, a line feed after each row.

    Raises:
        NotDerivableError: an entry is no object, or has the wrong shape.
    """

    def show(values: Sequence[_Value]) -> list[str]:
        return [value if type(value) is str else _literal(value) for value in values]

    _write_rows(content, blocks, write, ",", "\n", show)


def write_csv_fr(content: ExportContent, blocks: Iterable[bytes], write: Write) -> None:
    """Write what a French Excel opens: UTF-8 with mark, semicolons, decimal commas, CRLF, formulas disarmed.

    Raises:
        NotDerivableError: an entry is no object, or has the wrong shape.
    """

    def show(values: Sequence[_Value]) -> list[str]:
        cells = [
            (f"'{value}" if value[:1] in _FORMULA_STARTS else value)
            if type(value) is str
            else _literal(value).replace(".", ",")
            for value in values
        ]
        amount = values[_AMOUNT]
        # Some servers write decimals as strings; an amount is a number however it was wrapped.
        if type(amount) is str and _NUMBER.fullmatch(amount):
            cells[_AMOUNT] = amount.replace(".", ",")
        return cells

    write("\ufeff".encode())
    _write_rows(content, blocks, write, ";", "\r\n", show)


FORMATS: Final[Mapping[str, Derived]] = {
    "csv": Derived(".csv", write_csv),
    "csv-fr": Derived(".fr.csv", write_csv_fr),
}
"""The derived formats by their name in the manifest."""


def _write_rows(
    content: ExportContent, blocks: Iterable[bytes], write: Write, delimiter: str, line_end: str, show: _Show
) -> None:
    # csv.writer leaves a lone carriage return bare where lines end in a line feed, and readers break the row there.
    special = re.compile(f'["{delimiter}\r\n]')

    def quoted(text: str) -> str:
        return '"' + text.replace('"', '""') + '"' if special.search(text) else text

    rows = _Rows()
    lines = [delimiter.join(COLUMNS)]
    chars = 0
    for position, entry in enumerate(read_entries(blocks), start=1):
        try:
            try:
                values, sections = rows.quickly(entry)
                cells = show(values)
            except _DoubtError:
                values, sections = rows.literally(entry)
                cells = show(values)
        except NotDerivableError as error:
            raise NotDerivableError(f"entry {position} of export {content.id}: {error}") from None
        line = delimiter.join(cells)
        if line.count(delimiter) >= len(cells) or '"' in line or "\n" in line or "\r" in line:
            line = delimiter.join(map(quoted, cells))
        # As JSON this begins with a bracket or a quote: nothing here starts a formula.
        lines.append(line + delimiter + quoted(sections))
        chars += len(line) + len(sections)
        if chars >= _BLOCK_CHARS:
            write((line_end.join(lines) + line_end).encode())
            lines = []
            chars = 0
    if lines:
        write((line_end.join(lines) + line_end).encode())


def _literal(value: Any) -> str:  # noqa: ANN401 - words are not meant, and a dict or list is doubted
    """A value that is no words, as JSON writes it."""
    kind = type(value)
    if kind is msgspec.Raw:
        return str(value, "ascii")
    if value is None:
        return ""
    if kind is int and value:  # a zero may have been written -0
        return str(value)
    if kind is bool:
        return "true" if value else "false"
    raise _DoubtError


class _Rows:
    """Takes an entry apart: twelve plain values, and the axis sections as compact JSON, its letters unescaped."""

    def __init__(self) -> None:
        self._entry = _Picks("it", "id", "name", "amount", "amountUnit", "externalCode", "endsAt", *_NESTED)
        self._owner = _Picks("owner", "id", "lastName", "firstName")
        self._time_type = _Picks("timetype", "id", "name", "payTreatment")

    def quickly(self, entry: msgspec.Raw) -> tuple[Sequence[_Value], str]:
        """The entry decoded as a whole. Values may be none of the plain ones.

        Raises:
            _DoubtError: it is no entry, or something about it has to be looked at.
        """
        try:
            top = _VALUES.decode(entry)
            if top is None:
                raise _DoubtError
            *plain, owner, time_type, sections = self._entry.of(top)
            values = (*plain, *self._owner.of(owner), *self._time_type.of(time_type))
            return values, "" if sections is None else msgspec.json.encode(sections).decode()
        except (*_MALFORMED, NotDerivableError):
            raise _DoubtError from None

    def literally(self, entry: msgspec.Raw) -> tuple[Sequence[_Value], str]:
        """The same value by value, each as it was written.

        Raises:
            NotDerivableError: it is no entry.
        """
        top = _object(entry, "it")
        if top is None:
            raise NotDerivableError("it is null")
        *plain, owner, time_type, sections = self._entry.of(top)
        raws = (
            *plain,
            *self._owner.of(_object(owner, "owner")),
            *self._time_type.of(_object(time_type, "timetype")),
        )
        values = [_scalar(raw, column) for raw, column in zip(raws, COLUMNS, strict=False)]
        return values, _json(sections)


class _Picks(dict[tuple[str, ...], Callable[[dict[Any, Any]], Sequence[Any]]]):
    """How the wanted values are taken out of an object whose keys are spelled so. Most entries are alike."""

    def __init__(self, what: str, *wanted: str) -> None:
        super().__init__()
        self._what = what
        self._wanted = [name.lower() for name in wanted]

    def of(self, item: Any) -> Sequence[Any]:  # noqa: ANN401 - whatever JSON holds
        """The wanted values of an object, None for what is missing; all None for null."""
        if item is None:
            return [None] * len(self._wanted)
        if type(item) is not dict:
            raise NotDerivableError(f"{self._what} is not an object")
        pick = self[tuple(item)]
        item[None] = None  # never a key of JSON: it stands for those that are missing
        return pick(item)

    def __missing__(self, keys: tuple[str, ...]) -> Callable[[dict[Any, Any]], Sequence[Any]]:
        spelled = {key.lower(): key for key in keys}
        if len(spelled) != len(keys):
            raise NotDerivableError(f"{self._what} gives a key twice")
        if len(self) >= _MOST_SHAPES:
            self.clear()
        pick = self[keys] = itemgetter(*(spelled.get(name) for name in self._wanted))
        return pick


def _object(raw: msgspec.Raw | None, what: str) -> dict[str, msgspec.Raw] | None:
    """An object by its keys; None for null or nothing."""
    if raw is None or bytes(raw) == b"null":
        return None
    try:
        return _OBJECT.decode(raw)
    except _MALFORMED:
        raise NotDerivableError(f"{what} is not an object") from None


def _scalar(raw: msgspec.Raw | None, column: str) -> _Value:
    literal = b"null" if raw is None else bytes(raw)
    match literal[:1]:
        case b'"':
            return _STRING.decode(literal)
        case b"{" | b"[":
            raise NotDerivableError(f"{column.lower()} is not a plain value")
        case b"n":
            return None
        case _:
            return raw


def _json(raw: msgspec.Raw | None) -> str:
    if raw is None or bytes(raw) == b"null":
        return ""
    try:
        return msgspec.json.encode(_VALUES.decode(raw)).decode()
    except _MALFORMED:
        raise NotDerivableError("axisSections cannot be read") from None
