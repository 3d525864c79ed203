"""The reports of one tenant: templates, one report at a time, and its two files.

Owns the v4 side of a tenant and the rule that makes it dangerous: a new report of any template deletes the earlier one.
Knows no HTTP library.
"""

import csv
import io
import json
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any

from runner.sandbox.answers import Answer, Json, error, json_answer
from runner.sandbox.ledger import Employee, People
from runner.sandbox.records import EvictionRecord
from runner.sandbox.scenario import TenantScenario

OCTETS = "application/octet-stream"
OLE2_MAGIC = bytes.fromhex("d0cf11e0a1b11ae1")
_SECTOR_BYTES = 512


@dataclass(slots=True)
class Report:
    """One report of the tenant; `done_seconds` is None for one that stays pending."""

    id: int
    template_id: int
    starts_on: str | None
    ends_on: str | None
    created_seconds: float
    created_at: datetime
    done_seconds: float | None
    fails: bool
    evicted_at: float | None = None
    evicted_before_download: bool = False
    downloaded: tuple[str, ...] = ()

    def status(self, now: float) -> str:
        """`pending`, `done` or `error` at this moment."""
        if self.done_seconds is None or now < self.done_seconds:
            return "pending"
        return "error" if self.fails else "done"


class Reports:
    """The templates of one tenant and its one report."""

    def __init__(
        self,
        tenant: TenantScenario,
        people: People,
        chance: random.Random,
        wall_at: Callable[[float], datetime],
        evicted: Callable[[EvictionRecord], None],
    ) -> None:
        self._tenant = tenant
        self._scenario = tenant.reports
        self._people = people
        self._chance = chance
        self._wall_at = wall_at
        self._evicted = evicted
        self._templates: dict[int, dict[str, Any]] = {number: {} for number in tenant.reports.templates}
        self._next_template = 100
        self._next_report = chance.randrange(20, 90)
        self._report: Report | None = None
        self._created = 0
        self._foreign: list[float] = []
        self._vanishing: set[int] = set()

    def open(self, now: float) -> None:
        """Plan what colleagues will do."""
        self._foreign = sorted((now + seconds for seconds in self._scenario.foreign_at_seconds), reverse=True)

    def settle(self, now: float) -> None:
        """Let what was to happen by now happen: colleagues' reports, expiry."""
        report = self._report
        if report is not None and report.evicted_at is not None and now >= report.evicted_at:
            self._evict(report.evicted_at, "colleague")
        while self._foreign and self._foreign[-1] <= now:
            self._evict(self._foreign.pop(), "colleague")
        report = self._report
        if report is not None and now >= report.created_seconds + self._scenario.expires_seconds:
            self._report = None

    # --- templates -----------------------------------------------------------------------------------------------

    def create_template(self, path: str, body: bytes) -> Answer:
        """`POST /timmi-timesheet/api/report-templates`."""
        template = _object(body)
        if template is None or not isinstance(template.get("name"), str):
            return _invalid(path, "name", "The name field is required.")
        template_id = self._next_template
        self._next_template += 1
        self._templates[template_id] = template
        if len(self._vanishing) < self._scenario.vanishing_templates:
            self._vanishing.add(template_id)
        return json_answer({**template, "id": template_id}, self._scenario.created_status)

    # --- reports -------------------------------------------------------------------------------------------------

    def create(self, path: str, body: bytes, now: float) -> Answer:
        """`POST /timmi-timesheet/api/reports`."""
        wanted = _object(body)
        if wanted is None:
            return _invalid(path, "$", "The body is not a JSON object.")
        template_id = _number(wanted.get("templateId"))
        if template_id is None:
            return _invalid(path, "templateId", "The templateId field is required.")
        dates = (wanted.get("startsOn"), wanted.get("endsOn"))
        for name, value in zip(("startsOn", "endsOn"), dates, strict=True):
            if not _is_date_or_null(value):
                return _invalid(path, name, "The value is not a date.")
        if template_id in self._vanishing:
            self._templates.pop(template_id, None)
        if template_id not in self._templates:
            status = self._scenario.vanished_status if template_id in self._vanishing else 404
            return error(path, status)
        self._evict(now, "client")
        self._report = self._new(template_id, dates[0], dates[1], now)
        return json_answer(self._shown(self._report, now), self._scenario.created_status)

    def poll(self, path: str, report_id: str, now: float) -> Answer:
        """`GET /timmi-timesheet/api/reports/{id}`."""
        report = self._find(report_id)
        return error(path, 404) if report is None else json_answer(self._shown(report, now))

    def download(self, path: str, report_id: str, form: str, now: float) -> Answer:
        """`GET /timmi-timesheet/api/reports/{id}/download-csv` or `download-excel`."""
        report = self._find(report_id)
        if report is not None and report.evicted_before_download:
            self._evict(now, "colleague")
            report = None
        if report is None:
            return error(path, 404)
        if report.status(now) != "done":
            return error(path, 409, "The report is not done")
        report.downloaded += (form,)
        if form == "download-csv":
            body, name = self._csv(report), f"report-{report.id}.csv"
        else:
            body, name = self._xls(report), f"report-{report.id}.xls"
        return replace(
            Answer(200, body, OCTETS), headers=(("Content-Disposition", f'attachment; filename="{name}"'),)
        )

    def _new(self, template_id: int, starts_on: str | None, ends_on: str | None, now: float) -> Report:
        scenario = self._scenario
        nth = self._created
        self._created += 1
        bounds = scenario.pending_seconds
        seconds = self._chance.uniform(*bounds) if isinstance(bounds, tuple) else bounds
        report = Report(
            id=self._next_report,
            template_id=template_id,
            starts_on=starts_on,
            ends_on=ends_on,
            created_seconds=now,
            created_at=self._wall_at(now),
            done_seconds=None if scenario.pending_forever else now + seconds,
            fails=nth < scenario.error_first,
        )
        self._next_report += 1
        if nth < scenario.evicted_while_pending:
            report.evicted_at = now + seconds / 2
        elif nth < scenario.evicted_while_pending + scenario.evicted_before_download:
            report.evicted_before_download = True
        return report

    def _evict(self, at: float, by: str) -> None:
        report = self._report
        if by == "colleague":
            self._next_report += 1
        if report is None:
            return
        status = report.status(at)
        unfinished = status == "pending" or (status == "done" and not report.downloaded)
        self._evicted(EvictionRecord(at, self._tenant.domain, report.id, by, unfinished, report.downloaded))
        self._report = None

    def _find(self, report_id: str) -> Report | None:
        report = self._report
        return report if report is not None and str(report.id) == report_id else None

    def _shown(self, report: Report, now: float) -> dict[str, Any]:
        template: int | str = report.template_id
        return {
            "id": report.id,
            "status": report.status(now),
            "templateId": str(template) if self._scenario.template_id_as_text else template,
            "startsOn": report.starts_on,
            "endsOn": report.ends_on,
            "createdAt": report.created_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        }

    # --- files ---------------------------------------------------------------------------------------------------

    def _csv(self, report: Report) -> bytes:
        french = self._scenario.french
        text = io.StringIO(newline="")
        writer = csv.writer(text, delimiter=";" if french else ",", lineterminator="\r\n")
        month = (report.starts_on or "2026-11-01")[:7]
        if french:
            writer.writerow(
                ["Nom complet", "Département", f"Temps de travail ({month})", f"Absences ({month})"]
            )
        else:
            writer.writerow(["Full name", "Department", f"Working time ({month})", f"Absences ({month})"])
        rows = self._people.count if self._scenario.rows is None else self._scenario.rows
        for place in range(rows):
            writer.writerow(_csv_row(self._people.employee(place), french=french))
        return ("\ufeff" + text.getvalue()).encode()

    def _xls(self, report: Report) -> bytes:
        # Only the outside of a workbook: nobody here reads what is in it.
        content = f"report {report.id} of template {report.template_id}\n".encode() * 40
        padding = -(len(OLE2_MAGIC) + len(content)) % _SECTOR_BYTES
        return OLE2_MAGIC + content + bytes(padding)


def _csv_row(employee: Employee, *, french: bool) -> list[str]:
    hours = f"{151 - employee.id % 20}.{employee.id % 4 * 25:02d}"
    department = ("Atelier; nuit", "Siège")[employee.id % 2]
    name = f"{employee.last_name} {employee.first_name}"
    return [name, department, hours.replace(".", ",") if french else hours, "0"]


def _object(body: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(body)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _number(value: Json) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, str) and value.isascii() and value.isdigit():
        return int(value)
    return None


def _is_date_or_null(value: Json) -> bool:
    if value is None:
        return True
    if not isinstance(value, str):
        return False
    try:
        date.fromisoformat(value)
    except ValueError:
        return False
    return True


def _invalid(path: str, field: str, message: str) -> Answer:
    body = {"title": "One or more validation errors occurred.", "status": 400, "errors": {field: [message]}}
    del path
    return json_answer(body, 400)
