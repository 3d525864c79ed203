"""The grammar of Lucca's older API as far as its exports and users need it.

Owns filters, orders, pages and field selections over plain mappings, after what Lucca documents of it: names match in
any case, an unknown key is a filter that nothing passes, without `fields` an item is its id, name and url, without
`paging` a page is ten items.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl

Json = Any
"""What JSON holds: known only once it is looked at."""

Fields = Mapping[str, "Fields | None"]
Row = Mapping[str, Any]

_DEFAULT_FIELDS = "id,name,url"
_DEFAULT_LIMIT = 10
_MAX_LIMIT = 1000
_RESERVED = frozenset({"fields", "orderby", "paging"})


class BadQueryError(ValueError):
    """The query cannot be understood; the message is for the client."""


@lru_cache(maxsize=4096)
def parse_query(query: str) -> Mapping[str, str]:
    """The query's keys in small letters. The last of two wins."""
    return {name.lower(): value for name, value in parse_qsl(query, keep_blank_values=True)}


@lru_cache(maxsize=512)
def parse_fields(text: str) -> Fields:
    """`id,owner[id,name]` as a tree; names in small letters."""
    root: dict[str, Any] = {}
    open_levels = [root]
    name = ""
    for sign in [*text, ","]:
        if sign not in ",[]":
            name += sign
            continue
        key = name.strip().lower()
        name = ""
        if key:
            open_levels[-1][key] = {} if sign == "[" else None
        if sign == "[":
            if not key:
                raise BadQueryError("fields: a bracket without a name")
            open_levels.append(open_levels[-1][key])
        elif sign == "]":
            if len(open_levels) == 1:
                raise BadQueryError("fields: a bracket is closed that was not opened")
            open_levels.pop()
    if len(open_levels) > 1:
        raise BadQueryError("fields: a bracket is not closed")
    return root


def fields_of(query: Mapping[str, str]) -> Fields:
    """The fields that a query asks for."""
    return parse_fields(query.get("fields") or _DEFAULT_FIELDS)


def project(value: Json, fields: Fields | None) -> Json:
    """`value` reduced to `fields`; its own spelling of names, its own order. Unknown names are left out."""
    if fields is None:
        return value
    if isinstance(value, list):
        return [project(item, fields) for item in value]
    if isinstance(value, Mapping):
        return {
            name: project(item, fields[small])
            for name, item in value.items()
            if (small := name.lower()) in fields
        }
    return value


def select(rows: Iterable[Row], query: Mapping[str, str], *, ignored: Sequence[str] = ()) -> list[Row]:
    """The rows that pass the query's filters, in its order, its page of them."""
    chosen = list(rows)
    for key, wanted in query.items():
        if key in _RESERVED or key in ignored:
            continue
        chosen = [row for row in chosen if _passes(row, key, wanted)]
    chosen = _ordered(chosen, query.get("orderby", ""))
    offset, limit = _page(query.get("paging", ""))
    return chosen[offset : offset + limit]


def _passes(row: Row, key: str, wanted: str) -> bool:
    for name in row:
        if name.lower() == key:
            return _matches(row[name], wanted)
    return False


def _matches(value: Json, wanted: str) -> bool:
    operator, _, operand = wanted.partition(",")
    operator = operator.lower()
    if operator == "null":
        return value is None
    if operator == "notnull":
        return value is not None
    if value is None:
        return False
    if operator in {"greaterthan", "since"}:
        return bool(_comparable(value) > _comparable_text(operand, value))
    if operator in {"lessthan", "until"}:
        return bool(_comparable(value) < _comparable_text(operand, value))
    if operator == "notequal":
        return str(value) not in operand.split(",")
    return str(value) in wanted.split(",")


def _comparable(value: Json) -> Json:
    return value if isinstance(value, int) else str(value)


def _comparable_text(text: str, like: Json) -> Json:
    if not isinstance(like, int):
        return text
    try:
        return int(text)
    except ValueError:
        raise BadQueryError(f"{text} is not a number") from None


def _ordered(rows: list[Row], order: str) -> list[Row]:
    if not order:
        return rows
    words = [word.strip() for word in order.split(",")]
    if len(words) % 2:
        raise BadQueryError("orderBy: a field and asc or desc, in turns")
    # The last criterion first: sorting is stable.
    for name, direction in reversed(list(zip(words[::2], words[1::2], strict=True))):
        if direction.lower() not in {"asc", "desc"}:
            raise BadQueryError(f"orderBy: {direction} is neither asc nor desc")
        small = name.lower()
        rows = sorted(rows, key=lambda row: _sort_key(row, small), reverse=direction.lower() == "desc")
    return rows


def _sort_key(row: Row, small: str) -> tuple[bool, Any]:
    for name, value in row.items():
        if name.lower() == small:
            return (value is not None, value if value is not None else 0)
    raise BadQueryError(f"orderBy: unknown field {small}")


def _page(text: str) -> tuple[int, int]:
    if not text:
        return 0, _DEFAULT_LIMIT
    try:
        offset, limit = (int(part) for part in text.split(","))
    except ValueError:
        raise BadQueryError("paging: offset,limit") from None
    if offset < 0 or not 0 < limit <= _MAX_LIMIT:
        raise BadQueryError(f"paging: an offset from 0 and a limit from 1 to {_MAX_LIMIT}")
    return offset, limit
