"""Reading JSON answers: objects, ids and moments, however the host spells them.

Field names match in any case; an end without zone is local midnight [inferred]. Must not know which answer it reads.
"""

import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime, time, timedelta
from typing import Any, Final

import msgspec

from runner.ids import id_in
from runner.lucca.troubles import NotContentError

BOM: Final = b"\xef\xbb\xbf"
_ZONE: Final = re.compile(r"\s*(?:Z|[+-]\d{2}(?::?\d{2})?)$", re.IGNORECASE)
_DATE_CHARACTERS: Final = 10


def object_of(body: bytes) -> Mapping[str, Any]:
    """The JSON object that an answer is.

    Raises:
        NotContentError: it is none.
    """
    try:
        document = msgspec.json.decode(body.removeprefix(BOM))
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        start = body[:64].lstrip().lower()
        page = start.startswith((b"<!doctype", b"<html"))
        raise NotContentError("an HTML page instead of JSON" if page else "not JSON") from None
    if not isinstance(document, Mapping):
        raise NotContentError(expected("an object"))
    return document


def v4_object_of(body: bytes) -> Mapping[str, Any]:
    """The same for the reports' interface, which does not wrap it in `data`; should it, that is taken off."""
    document = object_of(body)
    data = field(document, "data")
    return data if isinstance(data, Mapping) and field(document, "id") is None else document


def field(document: Mapping[str, Any], name: str) -> object:
    """The value under `name` in any case: v3 is not consistent."""
    if name in document:
        return document[name]
    wanted = name.casefold()
    for key, value in document.items():
        if key.casefold() == wanted:
            return value
    return None


def id_of(value: object) -> int:
    """A number from 1 that a 64-bit column holds, or the digits of one.

    Raises:
        NotContentError: anything else.
    """
    id_ = id_in(value)
    if id_ is None:
        raise NotContentError(expected("an id"))
    return id_


def local_moment(value: object) -> str | None:
    """A date and time as the ledger writes it: local, to the second; a bare date is its midnight.

    An end is midnight where the tenant lives. One that is told in another zone, such as 23:00 Z for midnight in Paris,
    is taken for the nearest midnight [inferred]: were it taken for another end, the export would be asked for twice.

    Raises:
        NotContentError: a text that is neither.
    """
    if not isinstance(value, str):
        return None
    zone = _ZONE.search(value, _DATE_CHARACTERS)
    try:
        moment = datetime.fromisoformat(value[: zone.start() if zone else None][:19])
    except ValueError:
        raise NotContentError(expected("a date")) from None
    moment = moment.replace(tzinfo=None)
    if zone and moment.time() != time.min:
        with suppress(OverflowError):  # no midnight comes after the last moment of .NET
            moment = datetime.combine((moment + timedelta(hours=12)).date(), time.min)
    return moment.isoformat(timespec="seconds")


def told_moment(value: object) -> str | None:
    """The same where another request can tell more: what cannot be read is not told."""
    try:
        return local_moment(value)
    except NotContentError:
        return None


def expected(what: str) -> str:
    """The reason for a `NotContentError` where JSON came, and not that."""
    return f"JSON of another shape: expected {what}"
