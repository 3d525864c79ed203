"""The guide "How to Download Reports" (*report guide*), one function per step: its requests and their answers."""

from collections.abc import Mapping
from datetime import date
from typing import Final, Literal

import msgspec

from runner.lucca.documents import BOM, expected, field, id_of, v4_object_of
from runner.lucca.troubles import NotContentError
from runner.lucca.wire import Purpose, Request

REPORTS: Final = "/timmi-timesheet/api/reports"
TEMPLATES: Final = "/timmi-timesheet/api/report-templates"


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
    return id_of(field(v4_object_of(body), "id"))


def read_template_id(body: bytes) -> int:
    """The id of a created template, in an object like all else, or bare [inferred].

    Step 1 of the guide only says: the created `report-template` `{id}` will be answered. Where that is not understood,
    each try leaves one more template with the client.

    Raises:
        NotContentError: no id.
    """
    bare = body.removeprefix(BOM).strip().strip(b'"')
    return id_of(bare.decode()) if bare.isdigit() else read_created_id(body)


def read_report_status(body: bytes, report_id: int) -> Literal["pending", "done", "error"]:
    """pending, done or error. A status that the guide does not name is read as pending: its end is still to come.

    Args:
        body: the answer.
        report_id: which report was asked for; an answer need not name it, but must not name another.

    Raises:
        NotContentError: not a report, or another one.
    """
    document = v4_object_of(body)
    id_, status = field(document, "id"), field(document, "status")
    if id_ is not None and id_of(id_) != report_id:
        raise NotContentError("another report than the one asked for")
    if not isinstance(status, str):
        raise NotContentError(expected("a report's status"))
    if status.casefold() == "done":
        return "done"
    return "error" if status.casefold() == "error" else "pending"


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
