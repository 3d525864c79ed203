"""The guide "Export from Lucca Timesheet" (*export guide*), one function per step: its requests and their answers.

The doubled `/api/v3/api/v3/` of the content path is read as a typo that some host may insist on [inferred]. Content
itself is read by `runner.content`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Final

import msgspec

from runner.lucca.documents import expected, field, id_of, local_moment, object_of, told_moment
from runner.lucca.statuses import check_status
from runner.lucca.troubles import NotContentError, PassingError
from runner.lucca.wire import Purpose, Request

EXPORTS: Final = "/api/v3/timmiexports"
EXPORTS_DOUBLED: Final = "/api/v3/api/v3/timmiexports"
LOOK_BACK: Final = 100
"""How many exports a list asks for."""
LEAST_PAGE: Final = 10
"""What a list of this generation holds if nobody says how many. A host that allows fewer than we ask for will allow as
many: so a page with as many lines may not be the last [inferred]."""

_CONTENT_FIELDS: Final = (
    "id,name,createdAt,configurationId,startsAt,endsAt,exportFiles,"
    "entries[id,name,amount,amountUnit,externalCode,endsAt,owner[id,lastName,firstName],"
    "timeType[id,name,payTreatment],axisSections[id,name,code,axisId,active,startOn,endOn]]"
)


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
    data = field(object_of(body), "data")
    items = data if isinstance(data, list) else field(data, "items") if isinstance(data, Mapping) else None
    if not isinstance(items, list):
        raise NotContentError(expected("a list of exports"))
    lines: dict[int, ListedExport] = {}
    for item in items:
        if not isinstance(item, Mapping):
            raise NotContentError(expected("a list of exports"))
        id_ = id_of(field(item, "id"))
        lines[id_] = ListedExport(id_, told_moment(field(item, "endsAt")))
    return tuple(lines.values())


def read_export_identity(body: bytes) -> ExportIdentity:
    """The identity of one export.

    Raises:
        NotContentError: not an export.
    """
    data = field(object_of(body), "data")
    if not isinstance(data, Mapping):
        raise NotContentError(expected("an export"))
    configuration = field(data, "configurationId")
    return ExportIdentity(
        id_of(field(data, "id")),
        None if configuration is None else id_of(configuration),
        local_moment(field(data, "endsAt")),
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
        data = field(object_of(body), "data")
        return id_of(field(data, "id")) if isinstance(data, Mapping) else Unknown("answered without an id")
    except (PassingError, NotContentError) as trouble:
        return Unknown(trouble.detail)
