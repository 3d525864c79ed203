"""The Lucca wire without I/O: builds each request, reads each answer and error.

Owns every path, query, field name and status of the API, one function per step of the guides ("Export from Lucca
Timesheet", here *export guide*; "How to Download Reports", here *report guide*). Must not know sockets, time, jobs
or the journal: what it reads becomes plain values or one of the four troubles below.

What the guides leave open is read as follows [inferred]: the doubled `/api/v3/api/v3/` of the content path is
a typo that some host may insist on; field names match in any case; an end without zone is local midnight; 400
with an empty or unreadable body is an unknown fault, not a refusal.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from email.utils import parsedate_to_datetime
from enum import Enum, auto
from functools import lru_cache
from typing import Any, Final

import msgspec

_DETAIL_CHARACTERS: Final = 200
_DETAIL_ITEMS: Final = 5
_DETAIL_DEPTH: Final = 4  # A few levels are a server's words, a thousand are an attack on the stack.
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]+")
_BOM: Final = b"\xef\xbb\xbf"
_LOGIN: Final = "/identity/login"
_ZONE: Final = re.compile(r"(?:Z|[+-]\d{2}:?\d{2})$", re.IGNORECASE)

EXPORTS: Final = "/api/v3/timmiexports"
EXPORTS_DOUBLED: Final = "/api/v3/api/v3/timmiexports"
REPORTS: Final = "/timmi-timesheet/api/reports"
TEMPLATES: Final = "/timmi-timesheet/api/report-templates"
LOOK_BACK: Final = 100
"""How many exports a list asks for; a full page means that another may follow."""

_CONTENT_FIELDS: Final = (
    "id,name,createdAt,configurationId,startsAt,endsAt,exportFiles,"
    "entries[id,name,amount,amountUnit,externalCode,endsAt,owner[id,lastName,firstName],"
    "timeType[id,name,payTreatment],axisSections[id,name,code,axisId,active,startOn,endOn]]"
)


class Purpose(Enum):
    """What a request is for: decides its time-outs."""

    ASK = auto()
    TRIGGER = auto()
    DOWNLOAD = auto()


class Request(msgspec.Struct, frozen=True, gc=False):
    """One request, ready but for host and key. `target` is path and query, sent as it is."""

    method: str
    target: str
    purpose: Purpose = Purpose.ASK
    body: bytes | None = None


# ── troubles ─────────────────────────────────────────────────────────────────────────────────────────────────────


class TroubleError(Exception):
    """An answer that is not what was asked for. `detail` is safe to show."""

    def __init__(self, detail: str, retry_after_seconds: float | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.retry_after_seconds = retry_after_seconds


class PassingError(TroubleError):
    """Will pass by itself: 408, 5xx, or an unknown fault. Wait and ask again."""


class ThrottledError(TroubleError):
    """429: too many requests; nothing was executed."""


class NotContentError(TroubleError):
    """An answer that is no content: HTML, a redirect, a wrong shape. Ask again a few times."""


class RefusedError(TroubleError):
    """A definite no. `code` is one of key_refused, forbidden, not_found, rejected."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code


# ── export guide ─────────────────────────────────────────────────────────────────────────────────────────────────


def latest_exports(configuration_id: int) -> Request:
    """Export guide, step 1: the latest exports of a configuration, newest first.

    The guide asks for one; the last hundred also show what staff made by hand for the same end.
    """
    return Request(
        "GET",
        f"{EXPORTS}?configurationId={configuration_id}&orderBy=createdAt,desc,id,desc&archivedAt=null"
        f"&paging=0,{LOOK_BACK}&fields=id,createdat,endsAt",
    )


def run_export(configuration_id: int, ends_at: date) -> Request:
    """Export guide, step 2: generate an export of everything before `ends_at` (midnight, no zone)."""
    body = {"endsAt": f"{ends_at.isoformat()}T00:00:00", "configurationId": configuration_id}
    return Request("POST", f"{EXPORTS}/run?fields=id", Purpose.TRIGGER, msgspec.json.encode(body))


def exports_after(configuration_id: int, baseline_id: int, offset: int = 0) -> Request:
    """Export guide, step 3: the exports above the baseline, in an order and with a page, which the guide leaves out."""
    return Request(
        "GET",
        f"{EXPORTS}?configurationId={configuration_id}&id=greaterthan,{baseline_id}&archivedAt=null"
        f"&orderBy=id,asc&paging={offset},{LOOK_BACK}&fields=id,createdat,endsAt",
    )


def export_identity(export_id: int, *, doubled: bool = False) -> Request:
    """One export without its entries: whose is it? For lists that do not tell `endsAt`."""
    return Request("GET", f"{_exports(doubled)}/{export_id}?fields=id,configurationId,endsAt")


def export_content(export_id: int, *, doubled: bool = False) -> Request:
    """Export guide, step 4: the content."""
    return Request("GET", f"{_exports(doubled)}/{export_id}?fields={_CONTENT_FIELDS}", Purpose.DOWNLOAD)


def _exports(doubled: bool) -> str:  # noqa: FBT001 - private, one use
    return EXPORTS_DOUBLED if doubled else EXPORTS


class ListedExport(msgspec.Struct, frozen=True, gc=False):
    """A line of the export list; `ends_at` is None where the list does not tell."""

    id: int
    ends_at: str | None


@dataclass(frozen=True, slots=True)
class ExportIdentity:
    """Whose an export is; None for what it does not tell."""

    id: int
    configuration_id: int | None
    ends_at: str | None


def read_export_list(body: bytes) -> tuple[ListedExport, ...]:
    """The lines of a v3 list, in the order they came, each id once.

    Raises:
        NotContentError: not a list of things with ids.
    """
    data = _field(_object(body), "data")
    items = data if isinstance(data, list) else _field(data, "items") if isinstance(data, Mapping) else None
    if not isinstance(items, list):
        raise NotContentError(_expected("a list of exports"))
    lines: dict[int, ListedExport] = {}
    for item in items:
        if not isinstance(item, Mapping):
            raise NotContentError(_expected("a list of exports"))
        id_ = _id(_field(item, "id"))
        lines[id_] = ListedExport(id_, _told_moment(_field(item, "endsAt")))
    return tuple(lines.values())


def read_export_identity(body: bytes) -> ExportIdentity:
    """The identity of one export.

    Raises:
        NotContentError: not an export.
    """
    data = _field(_object(body), "data")
    if not isinstance(data, Mapping):
        raise NotContentError(_expected("an export"))
    configuration = _field(data, "configurationId")
    return ExportIdentity(
        _id(_field(data, "id")),
        None if configuration is None else _id(configuration),
        local_moment(_field(data, "endsAt")),
    )


@dataclass(frozen=True, slots=True)
class Unknown:
    """The POST left, and nobody can tell what became of it: poll."""

    why: str


def read_run_answer(status: int, headers: Mapping[str, str], body: bytes) -> int | Unknown:
    """The id of the export that the POST made, or Unknown.

    Raises:
        ThrottledError: 429, nothing was executed.
        RefusedError: definite: 401, 403, 404, or a 4xx that says why.
    """
    try:
        check_status(status, headers, body)
        data = _field(_object(body), "data")
        return _id(_field(data, "id")) if isinstance(data, Mapping) else Unknown("answered without an id")
    except (PassingError, NotContentError) as trouble:
        return Unknown(trouble.detail)


# ── report guide ─────────────────────────────────────────────────────────────────────────────────────────────────


def create_template(body: bytes) -> Request:
    """Report guide, step 1: the payload is sent as it was given."""
    return Request("POST", TEMPLATES, Purpose.ASK, body)


def create_report(template_id: int, starts_on: date | None, ends_on: date | None) -> Request:
    """Report guide, step 2. Null dates mean the template's own period; the id is sent as a number."""
    body = {"templateId": template_id, "startsOn": starts_on, "endsOn": ends_on}
    return Request("POST", REPORTS, Purpose.ASK, msgspec.json.encode(body))


def report_status(report_id: int) -> Request:
    """Report guide, step 3."""
    return Request("GET", f"{REPORTS}/{report_id}")


def report_content(report_id: int, format_: str) -> Request:
    """Report guide, step 4: `format_` is csv or excel."""
    return Request("GET", f"{REPORTS}/{report_id}/download-{format_}", Purpose.DOWNLOAD)


def read_created_id(body: bytes) -> int:
    """The id of a created template or report, whatever 2xx it came with.

    Raises:
        NotContentError: no id.
    """
    return _id(_field(_v4(body), "id"))


def read_report_status(body: bytes, report_id: int | None = None) -> str:
    """pending, done or error. A status that the guide does not name is read as pending: its end is still to come.

    Args:
        body: the answer.
        report_id: which report was asked for; an answer need not name it, but must not name another.

    Raises:
        NotContentError: not a report, or another one.
    """
    document = _v4(body)
    id_, status = _field(document, "id"), _field(document, "status")
    if report_id is not None and id_ is not None and _id(id_) != report_id:
        raise NotContentError("another report than the one asked for")
    if not isinstance(status, str):
        raise NotContentError(_expected("a report's status"))
    status = status.casefold()
    return status if status in ("done", "error") else "pending"


def check_report_content(head: bytes, size_bytes: int, headers: Mapping[str, str], format_: str) -> None:
    """Refuse what is no report file. The bytes themselves are Lucca's business: encoding and delimiter follow the key.

    Raises:
        NotContentError: empty, a page, or an error object.
    """
    if size_bytes == 0:
        raise NotContentError("the file is empty")
    kind = headers.get("content-type", "").casefold()
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()[:200].lower()
    page = start.startswith((b"<!doctype", b"<html", b"<head", b"<body", b"<?xml", b"<script", b"<!--"))
    if "text/html" in kind or (page and (format_ == "csv" or b"html" in start)):
        raise NotContentError("an HTML page instead of the file")
    if "json" in kind or start.startswith((b'{"', b"{ ", b"{\n", b"{\r")):
        raise NotContentError("a JSON object instead of the file")


# ── errors, in all their shapes ──────────────────────────────────────────────────────────────────────────────────


def check_status(status: int, headers: Mapping[str, str], body: bytes) -> None:
    """Return for a 2xx; raise what any other status means for a request that may be repeated.

    Raises:
        RefusedError: 401, 403, 404, or another 4xx that says why.
        ThrottledError: 429.
        PassingError: 408, 425, 5xx, and a 4xx that does not say why.
        NotContentError: a redirect (never followed: the key must not leave the host), or a 1xx.
    """
    if 200 <= status < 300:
        return
    message = error_message(body)
    detail = f"{status}: {message}" if message else f"status {status}"
    retry_after = retry_after_seconds(headers)
    if status == 429:
        raise ThrottledError(detail, retry_after)
    if status == 401:
        raise RefusedError("key_refused", detail)
    if status == 403:
        raise RefusedError("forbidden", detail)
    if status in (404, 410):
        raise RefusedError("not_found", detail)
    if status in (408, 425) or status >= 500:
        raise PassingError(detail, retry_after)
    if 400 <= status < 500:
        if message:
            raise RefusedError("rejected", detail)
        raise PassingError(f"{detail} without a reason")
    login = _LOGIN in headers.get("location", "").casefold()
    raise NotContentError(f"status {status}, a redirect" + (" to the login page" if login else ""))


def error_message(body: bytes) -> str:
    """What the server says went wrong, on one line and short; "" where it does not say.

    v3 says `{"Status", "Message"}`, v4 `{"title", "status", "errors"}` or `detail`, a framework's default is one bare
    string; proxies say HTML (read as nothing).
    """
    try:
        document = msgspec.json.decode(body.removeprefix(_BOM))
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return ""
    told = [document]
    if isinstance(document, Mapping):
        told = [_field(document, name) for name in ("message", "title", "detail", "errors")]
    parts = [part for value in told for part in _words(value, _DETAIL_DEPTH)]
    return one_line("; ".join(dict.fromkeys(parts)))


def _words(value: object, depth: int) -> list[str]:
    if isinstance(value, str):
        return [value.strip()] if value.strip() else []
    if not depth:
        return []
    if isinstance(value, Mapping):
        inner = list(value.items())[:_DETAIL_ITEMS]
        return [f"{key}: {text}" for key, deeper in inner for text in _words(deeper, depth - 1)]
    if isinstance(value, list):
        return [text for deeper in value[:_DETAIL_ITEMS] for text in _words(deeper, depth - 1)]
    return []


def one_line(text: str) -> str:
    """Server words made safe to print: no control characters, not long."""
    text = " ".join(_CONTROL.sub(" ", text).split())
    return text if len(text) <= _DETAIL_CHARACTERS else text[: _DETAIL_CHARACTERS - 1] + "…"


def server_date(headers: Mapping[str, str]) -> datetime | None:
    """The `Date` header, aware, in UTC; None where it is missing or garbage."""
    return _http_date(headers.get("date", ""))


def announcement(headers: Mapping[str, str]) -> str | None:
    """What `Deprecation` and `Sunset` say of this part of the API, for people; None where they are silent."""
    said = [f"{name.title()}: {headers[name]}" for name in ("deprecation", "sunset") if name in headers]
    return one_line(", ".join(said)) if said else None


def retry_after_seconds(headers: Mapping[str, str]) -> float | None:
    """`Retry-After` as seconds from now; None where it is missing or garbage.

    A date is read against the answer's own `Date`.
    """
    text = headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:12])
    moment = _http_date(text)
    sent = server_date(headers)
    if moment is None or sent is None:
        return None
    return max(0.0, (moment - sent).total_seconds())


@lru_cache(maxsize=256)  # the answers of one second share theirs
def _http_date(text: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text)
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


# ── reading JSON ─────────────────────────────────────────────────────────────────────────────────────────────────


def _object(body: bytes) -> Mapping[str, Any]:
    try:
        document = msgspec.json.decode(body.removeprefix(_BOM))
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        start = body[:64].lstrip().lower()
        page = start.startswith((b"<!doctype", b"<html"))
        raise NotContentError("an HTML page instead of JSON" if page else "not JSON") from None
    if not isinstance(document, Mapping):
        raise NotContentError(_expected("an object"))
    return document


def _v4(body: bytes) -> Mapping[str, Any]:
    document = _object(body)
    data = _field(document, "data")
    return data if isinstance(data, Mapping) and _field(document, "id") is None else document


def _field(document: Mapping[str, Any], name: str) -> object:
    """The value under `name` in any case: v3 is not consistent."""
    if name in document:
        return document[name]
    wanted = name.casefold()
    for key, value in document.items():
        if key.casefold() == wanted:
            return value
    return None


def _id(value: object) -> int:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 18:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or value <= 0 or value >= 2**63:
        raise NotContentError(_expected("an id"))
    return value


def local_moment(value: object) -> str | None:
    """A date and time as the ledger writes it: local, to the second; a bare date is its midnight.

    An end is midnight where the tenant lives. One that is told in another zone, such as 23:00 Z for midnight in Paris,
    is taken for the nearest midnight [inferred]: were it taken for another end, the export would be asked for twice.

    Raises:
        NotContentError: a text that is neither.
    """
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value[:19])
    except ValueError:
        raise NotContentError(_expected("a date")) from None
    moment = moment.replace(tzinfo=None)
    if _ZONE.search(value[19:]) and moment.time() != time.min:
        moment = datetime.combine((moment + timedelta(hours=12)).date(), time.min)
    return moment.isoformat(timespec="seconds")


def _told_moment(value: object) -> str | None:
    """The same where another request can tell more: what cannot be read is not told."""
    try:
        return local_moment(value)
    except NotContentError:
        return None


def _expected(what: str) -> str:
    return f"JSON of another shape: expected {what}"
