"""The exports of one tenant: lists, contents, and the synchronous POST that makes a new one.

Owns the v3 side of a tenant. What is to happen later (a generation that ends, a colleague who exports by hand) waits in
a heap and happens when the clock is looked at next, so that nothing runs in the background. Knows no HTTP library.
"""

import heapq
import itertools
import json
import random
from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

from runner.sandbox.answers import Answer, Json, error, json_answer
from runner.sandbox.ledger import Ledger, People, Taken, midnight, unmark
from runner.sandbox.query import BadQueryError, fields_of, parse_query, project, select
from runner.sandbox.records import ExportRecord
from runner.sandbox.scenario import Configuration, Scenario, StaffExport, TenantScenario, Trigger

_ENDS_AT_LENGTH = len("2026-11-30T00:00:00")
_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
_PARIS = ZoneInfo("Europe/Paris")


@dataclass(slots=True)
class Export:
    """One export of the tenant. It has no page of its own before `unread_until_seconds`, nor once it is `gone`."""

    record: ExportRecord
    name: str
    taken: Taken
    row: dict[str, Any]
    unread_until_seconds: float = 0.0
    gone: bool = False


@dataclass(slots=True)
class Generation:
    """One generation under way. `ends_seconds` is None where it never yields anything."""

    plan: Trigger
    configuration_id: int
    ends_on: date
    started_seconds: float
    ends_seconds: float | None
    number: int | None = None
    trigger_index: int | None = None
    export_id: int | None = None
    refused: str | None = None
    abandoned: bool = False
    is_gone: Callable[[], bool] = lambda: False


class Exports:
    """The exports of one tenant, its ledgers, and what is still to come."""

    def __init__(
        self,
        scenario: Scenario,
        tenant: TenantScenario,
        people: People,
        chance: random.Random,
        wall_at: Callable[[float], datetime],
        produced: Callable[[Generation], None],
    ) -> None:
        self._tenant = tenant
        self._chance = chance
        self._wall_at = wall_at
        self._produced = produced
        self._exports: list[Export] = []
        self._ids: list[int] = []
        self._next_id = chance.randrange(200, 400)
        self._later: list[tuple[float, int, Callable[[float], None]]] = []
        self._order = itertools.count()
        self._now = 0.0
        self._triggers_of: dict[int, int] = {}
        self._people = people
        self.ledgers = {
            configuration.id: Ledger(tenant, configuration, people, scenario.date, scenario.seed)
            for configuration in tenant.configurations
            if configuration.exists
        }
        self._configurations = {configuration.id: configuration for configuration in tenant.configurations}

    def open(self, now: float) -> None:
        """Make what lies in the past and plan what staff will do."""
        for configuration in self._tenant.configurations:
            if configuration.exists:
                self._make_history(configuration, now)
        for staff in sorted(self._tenant.staff_exports, key=lambda staff: staff.at_seconds):
            when = now + staff.at_seconds
            if staff.configuration_id not in self.ledgers:
                continue
            if staff.at_seconds <= 0:
                self.make_by_hand(staff, when)
            else:
                self._at(when, partial(self.make_by_hand, staff))

    def settle(self, now: float) -> None:
        """Let everything happen that was to happen by now."""
        self._now = now
        while self._later and self._later[0][0] <= now:
            when, _, act = heapq.heappop(self._later)
            act(when)

    @property
    def records(self) -> list[ExportRecord]:
        """All exports, by id."""
        return [export.record for export in self._exports]

    def entry_ids(self, export_id: int) -> list[int]:
        """The ids of the entries of one export: who is in it, for tests that count."""
        export = self._find(export_id)
        if export is None:
            return []
        ledger = self.ledgers[export.record.configuration_id]
        return [entry["id"] for entry in ledger.entries(export.taken)]

    # --- reading -------------------------------------------------------------------------------------------------

    def listing(self, path: str, query_text: str) -> Answer:
        """`GET /api/v3/timmiexports`."""
        query = parse_query(query_text)
        try:
            fields = fields_of(query)
            rows = select(self._rows_after(query), query)[: self._tenant.longest_page]
        except BadQueryError as fault:
            return error(path, 400, str(fault))
        if self._tenant.bare_lists:
            fields = {
                name: below for name, below in fields.items() if name in {"id", "name", "url", "createdat"}
            }
        return json_answer({"data": {"items": [project(row, fields) for row in rows]}})

    def item(self, path: str, export_id: str, query_text: str) -> Answer:
        """`GET /api/v3/timmiexports/{id}`."""
        export = self._find(int(export_id)) if export_id.isascii() and export_id.isdigit() else None
        if export is None or export.gone or self._now < export.unread_until_seconds:
            return error(path, 404, f"No timmiExport with id {export_id}")
        try:
            fields = fields_of(parse_query(query_text))
        except BadQueryError as fault:
            return error(path, 400, str(fault))
        head = _encoded(project(export.row, fields))
        if "entries" not in fields:
            return Answer(200, b'{"data":' + head + b"}")
        wanted = fields["entries"] or {"id": None, "name": None}
        ledger = self.ledgers[export.record.configuration_id]
        # One by one: as a single tree, the entries of a large firm would take some hundred megabytes.
        entries = b",".join(_encoded(project(entry, wanted)) for entry in ledger.entries(export.taken))
        comma = b"," if head != b"{}" else b""
        return Answer(200, b'{"data":' + head[:-1] + comma + b'"entries":[' + unmark(entries) + b"]}}")

    def created(self, path: str, export_id: int, query_text: str) -> Answer:
        """The answer to the POST that made this export."""
        return self.item(path, str(export_id), query_text)

    def _rows_after(self, query: Mapping[str, str]) -> list[dict[str, Any]]:
        # The filter of every poll, answered without looking at what came before.
        operator, _, operand = query.get("id", "").partition(",")
        start = 0
        if operator.lower() == "greaterthan" and operand.isascii() and operand.isdigit():
            start = bisect_right(self._ids, int(operand))
        return [export.row for export in self._exports[start:] if not export.gone]

    def _find(self, export_id: int) -> Export | None:
        place = bisect_right(self._ids, export_id) - 1
        return self._exports[place] if place >= 0 and self._ids[place] == export_id else None

    # --- making --------------------------------------------------------------------------------------------------

    def check(self, path: str, body: bytes) -> tuple[int, date] | Answer:
        """What a POST asks for, or why it is refused."""
        try:
            wanted = json.loads(body)
        except ValueError:
            return error(path, 400, "The body is not JSON")
        if not isinstance(wanted, dict):
            return error(path, 400, "The body is not an object")
        small = {str(name).lower(): value for name, value in wanted.items()}
        configuration_id = small.get("configurationid")
        if not isinstance(configuration_id, int) or isinstance(configuration_id, bool):
            return error(path, 400, "configurationId is required and is a number")
        ends_at = _midnight_of(small.get("endsat"))
        if ends_at is None:
            return error(path, 400, "endsAt is required, as a date-time whose time is midnight")
        if configuration_id not in self.ledgers:
            status = self._tenant.unknown_configuration_status
            return error(path, status, f"Export configuration {configuration_id} does not exist")
        return configuration_id, ends_at

    def begin(
        self, configuration_id: int, ends_on: date, now: float, is_gone: Callable[[], bool]
    ) -> Generation:
        """Start the generation of an export; `is_gone` tells whether whoever asked for it has left."""
        plan = self._next_plan(self._configurations[configuration_id])
        seconds = self._chance.uniform(*plan.seconds) if isinstance(plan.seconds, tuple) else plan.seconds
        ends = now + seconds if plan.completes else None
        generation = Generation(plan, configuration_id, ends_on, now, ends, is_gone=is_gone)
        ledger = self.ledgers[configuration_id]
        if ledger.configuration.nothing_new != "made" and not ledger.holds_news_before(ends_on):
            generation.ends_seconds = None
            if ledger.configuration.nothing_new == "rejected":
                generation.refused = "There is nothing to export for this period"
        if plan.numbered_early:
            generation.number = self._draw_number()
        if generation.ends_seconds is not None:
            self._at(generation.ends_seconds, lambda at: self._complete(generation, at))
        return generation

    def _next_plan(self, configuration: Configuration) -> Trigger:
        nth = self._triggers_of.get(configuration.id, 0)
        self._triggers_of[configuration.id] = nth + 1
        return configuration.triggers[nth] if nth < len(configuration.triggers) else configuration.trigger

    def _complete(self, generation: Generation, at: float) -> None:
        if generation.abandoned or (generation.plan.stops_with_client and generation.is_gone()):
            return
        number = self._draw_number() if generation.number is None else generation.number
        export = self._make(generation.configuration_id, generation.ends_on, at, "trigger", number)
        export.unread_until_seconds = at + generation.plan.unread_seconds
        generation.export_id = export.record.id
        self._produced(generation)

    def put_away(self, export_id: int) -> None:
        """Staff archive an export: from now on neither a list nor its own page shows it."""
        export = self._find(export_id)
        assert export is not None  # noqa: S101 - whoever plays staff looks first
        export.gone = True
        export.record = replace(export.record, archived=True)

    def make_by_hand(self, staff: StaffExport, at: float) -> None:
        """Staff make an export in the web page, now."""
        number = self._draw_number()
        self._make(staff.configuration_id, staff.ends_at, at, "staff", number, archived=staff.archived)

    def _draw_number(self) -> int:
        number = self._next_id
        self._next_id += self._chance.choice((1, 1, 1, 2))
        return number

    def _make(
        self,
        configuration_id: int,
        ends_on: date,
        at: float,
        origin: str,
        id_: int,
        *,
        archived: bool = False,
    ) -> Export:
        taken = self.ledgers[configuration_id].take(ends_on)
        created_at = self._wall_at(at)
        record = ExportRecord(
            id=id_,
            domain=self._tenant.domain,
            configuration_id=configuration_id,
            starts_at=midnight(taken.starts_on),
            ends_at=midnight(taken.ends_on),
            created_at=created_at,
            at_seconds=at,
            origin=origin,
            entry_count=taken.entry_count,
            archived=archived,
        )
        name = f"Export du {created_at:%d/%m/%Y}"
        export = Export(record, name, taken, self._row(record, name))
        place = bisect_right(self._ids, id_)
        self._ids.insert(place, id_)
        self._exports.insert(place, export)
        return export

    def _row(self, record: ExportRecord, name: str) -> dict[str, Any]:
        return {
            "id": record.id,
            "name": name,
            "url": f"https://{record.domain}/api/v3/timmiexports/{record.id}",
            "createdAt": self._shown(record.created_at),
            "configurationId": record.configuration_id,
            "startsAt": record.starts_at.isoformat(),
            "endsAt": record.ends_at.isoformat(),
            "archivedAt": self._shown(record.created_at) if record.archived else None,
            "exportFiles": [],
        }

    def _shown(self, moment: datetime) -> str:
        if self._tenant.zoneless:
            return moment.astimezone(_PARIS).strftime("%Y-%m-%dT%H:%M:%S")
        return moment.strftime("%Y-%m-%dT%H:%M:%SZ")

    def _make_history(self, configuration: Configuration, now: float) -> None:
        ledger = self.ledgers[configuration.id]
        opened = ledger.opened_on
        for months_ago in range(configuration.history, 0, -1):
            ends_on = opened - timedelta(days=28 * (months_ago - 1))
            ledger.exported_until = ends_on - timedelta(days=28)
            at = now - months_ago * 28 * 86_400
            self._make(configuration.id, ends_on, at, "history", self._draw_number())
        # History carries no corrections of its own: the first export of the night starts clean.
        ledger.exported_until = opened
        ledger.corrections_exported = ledger.corrections_entered

    def _at(self, when: float, act: Callable[[float], None]) -> None:
        heapq.heappush(self._later, (when, next(self._order), act))


def _encoded(value: Json) -> bytes:
    return _ENCODER.encode(value).encode()


def _midnight_of(value: Json) -> date | None:
    if not isinstance(value, str) or len(value) != _ENDS_AT_LENGTH or not value.endswith("T00:00:00"):
        return None
    try:
        return date.fromisoformat(value[:10])
    except ValueError:
        return None
