"""One tenant at work: what meets a request, in which order, and what is noted of it.

Owns the order in which a request meets its fate: outage, fault, budget, key, and only then the API; and what a client
may conclude of its POST. Time comes from the clock that it is given and chance from the scenario's seed, one stream per
tenant, so that the same requests at the same times get the same answers. Knows no HTTP library.
"""

import contextlib
import json
import math
import random
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from email.utils import format_datetime
from typing import Any

from runner.clock import Clock
from runner.sandbox.answers import RESET, Answer, bent, error, fault_answer, json_answer
from runner.sandbox.exports import Exports, Generation
from runner.sandbox.faults import (
    REPLACING,
    Delay,
    Fault,
    Hang,
    Html,
    RawBody,
    Redirect,
    Replacing,
    Reset,
    Status,
)
from runner.sandbox.ledger import People
from runner.sandbox.query import BadQueryError, fields_of, parse_query, project, select
from runner.sandbox.records import Book, Outcome, RequestRecord, TriggerRecord
from runner.sandbox.reports import Reports
from runner.sandbox.requests import WireRequest, kind_of
from runner.sandbox.scenario import Scenario, TenantScenario

WINDOW_SECONDS = 60.0
# A client that waits the window out to the microsecond is in time, whatever floats make of it.
WINDOW_SLACK_SECONDS = 0.001
_KEY_SCHEME = "lucca application="


class Tenant:
    """One tenant at work."""

    def __init__(
        self,
        scenario: Scenario,
        tenant: TenantScenario,
        clock: Clock,
        book: Book,
        bend: Callable[[RequestRecord], Fault | None],
    ) -> None:
        self.scenario = tenant
        self.arrivals: list[float] = []
        self._clock = clock
        self._book = book
        self._bend = bend
        self._started = clock.now()
        self._window: deque[float] = deque()
        self._counts: dict[str, int] = {}
        self._rule_counts = [0] * len(tenant.faults)
        chance = random.Random(f"{scenario.seed}/{tenant.domain}")
        self._people = People(chance, tenant.employees)
        self.exports = Exports(scenario, tenant, self._people, chance, self._wall_at, self._note_production)
        self.reports = Reports(tenant, self._people, chance, self._wall_at, book.evictions.append)
        self.exports.open(self._started.boot_seconds)
        self.reports.open(self._started.boot_seconds)

    def _wall_at(self, boot_seconds: float) -> datetime:
        past = boot_seconds - self._started.boot_seconds + self.scenario.clock_skew_seconds
        return self._started.wall + timedelta(seconds=past)

    async def handle(self, request: WireRequest) -> tuple[Answer, int]:
        """Record a request, let it meet its fate, and answer."""
        clock, log = self._clock, self._book.log
        place = len(log)
        record = self._record(request)
        log.append(record)
        refusal = self._over_budget(record, request.path)
        if self.scenario.latency_seconds:
            await clock.wait(self.scenario.latency_seconds)
        fault = self._fault(record)
        if isinstance(fault, REPLACING) and not fault.executes:
            trigger = self._note_trigger(record, request) if record.kind == "trigger" else None
            self._judge(trigger, fault)
            return await self._carry_out(fault, request.path), place
        if isinstance(fault, Delay):
            await clock.wait(fault.seconds)
        replacing = fault if isinstance(fault, REPLACING) else None
        answer = await self._answer(request, record, replacing, refusal)
        if fault is not None and replacing is None and not answer.reset:
            answer = bent(answer, fault)  # type: ignore[arg-type]  # what does not replace bends
        return answer, place

    def settle(self, now: float) -> None:
        """Let everything happen that was to happen by now."""
        self.exports.settle(now)
        self.reports.settle(now)

    def _record(self, request: WireRequest) -> RequestRecord:
        now = self._clock.now()
        kind = kind_of(request.method, request.path, request.query)
        nth_of_kind = self._counts.get(kind, 0) + 1
        self._counts[kind] = nth_of_kind
        self.arrivals.append(now.boot_seconds)
        self._window.append(now.boot_seconds)
        return RequestRecord(
            at_seconds=now.boot_seconds,
            wall=now.wall,
            domain=self.scenario.domain,
            method=request.method,
            path=request.path,
            query=request.query,
            kind=kind,
            key_ok=self._refused_with(request, len(self.arrivals)) is None,
            nth=len(self.arrivals),
            nth_of_kind=nth_of_kind,
        )

    # --- troubles ------------------------------------------------------------------------------------------------

    def _fault(self, record: RequestRecord) -> Fault | None:
        since_start = record.at_seconds - self._started.boot_seconds
        for outage in self.scenario.outages:
            if outage.from_seconds <= since_start < outage.to_seconds:
                return Status(503) if outage.form == "503" else Reset()
        hooked = self._bend(record)
        if hooked is not None:
            return hooked
        chosen: Fault | None = None
        for place, rule in enumerate(self.scenario.faults):
            if rule.kind in {"", record.kind}:
                self._rule_counts[place] += 1
                if chosen is None and rule.first <= self._rule_counts[place] <= rule.last:
                    chosen = rule.fault
        return chosen

    async def _carry_out(self, fault: Replacing, path: str) -> Answer:
        if isinstance(fault, Hang):
            await self._clock.wait(fault.seconds)
        return fault_answer(fault, path)

    def _over_budget(self, record: RequestRecord, path: str) -> Answer | None:
        window = self._window
        edge = record.at_seconds - WINDOW_SECONDS + WINDOW_SLACK_SECONDS
        while window and window[0] <= edge:
            window.popleft()
        budget = max(0, self.scenario.requests_per_minute - self.scenario.other_requests_per_minute)
        if len(window) <= budget:
            return None
        oldest_to_leave = window[min(len(window) - budget, len(window) - 1)]
        seconds = math.ceil(max(1.0, oldest_to_leave + WINDOW_SECONDS - record.at_seconds))
        form = self.scenario.retry_after
        if form == "none":
            return error(path, 429, "Too many requests")
        value = {
            "seconds": str(seconds),
            "date": format_datetime(
                self._wall_at(record.at_seconds) + timedelta(seconds=seconds), usegmt=True
            ),
            "zero": "0",
        }[form]
        return error(path, 429, "Too many requests", Retry_After=value)

    def _refused_with(self, request: WireRequest, nth: int) -> int | None:
        """The status that refuses this request's key, or None."""
        key = _key_of(request.authorization)
        refused_from = self.scenario.key_refused_from
        if refused_from is not None and nth >= refused_from:
            return 401
        if key == self.scenario.key:
            return None
        if key in self.scenario.read_only_keys:
            return None if request.method == "GET" else 403
        return 401

    # --- the API -------------------------------------------------------------------------------------------------

    async def _answer(
        self, request: WireRequest, record: RequestRecord, fault: Replacing | None, refusal: Answer | None
    ) -> Answer:
        path = request.path
        trigger = self._note_trigger(record, request) if record.kind == "trigger" else None
        if refusal is None and not record.key_ok:
            refusal = error(path, self._refused_with(request, record.nth) or 401)
        if refusal is None and request.method == "POST" and not _says_json(request.content_type):
            refusal = error(path, 415, "Send application/json")
        if refusal is not None:
            self._close_trigger(trigger, refusal.status, executed=False)
            return refusal
        now = self._clock.now().boot_seconds
        self.settle(now)
        if trigger is not None:
            return await self._run_export(request, trigger, fault)
        answer = self._route(request, record.kind, now)
        return answer if fault is None else await self._carry_out(fault, path)

    def _route(self, request: WireRequest, kind: str, now: float) -> Answer:
        path = request.path
        if kind in {"list", "poll"}:
            return self.exports.listing(path, request.query)
        if kind in {"item", "content"}:
            if self.scenario.content_path not in {"both", "doubled" if request.is_doubled() else "plain"}:
                return error(path, 404, "No such resource")
            return self.exports.item(path, path.rpartition("/")[2], request.query)
        if kind == "users":
            return self._users(path, request.query)
        if kind == "template.create":
            return self.reports.create_template(path, request.body)
        if kind == "report.create":
            return self.reports.create(path, request.body, now)
        if kind == "report.poll":
            return self.reports.poll(path, path.rpartition("/")[2], now)
        if kind == "report.download":
            report_path, _, form = path.rpartition("/")
            return self.reports.download(path, report_path.rpartition("/")[2], form.lower(), now)
        return error(path, 404, "No such resource")

    def _users(self, path: str, query_text: str) -> Answer:
        query = parse_query(query_text)
        leavers_too = query.get("formeremployees", "").lower() == "true"
        rows = [
            {
                "id": employee.id,
                "name": f"{employee.first_name} {employee.last_name}",
                "url": f"https://{self.scenario.domain}/api/v3/users/{employee.id}",
                "firstName": employee.first_name,
                "lastName": employee.last_name,
                "employeeNumber": employee.number,
                "legalEntityId": employee.legal_entity_id,
            }
            for employee in self._people
            if leavers_too or not employee.former
        ]
        try:
            wanted = fields_of(query)
            chosen = select(rows, query, ignored=("formeremployees",))
        except BadQueryError as fault:
            return error(path, 400, str(fault))
        return json_answer({"data": {"items": [project(row, wanted) for row in chosen]}})

    # --- triggers ------------------------------------------------------------------------------------------------

    async def _run_export(self, request: WireRequest, trigger: int, fault: Replacing | None) -> Answer:
        clock = self._clock
        wanted = self.exports.check(request.path, request.body)
        if isinstance(wanted, Answer):
            if fault is not None:
                self._judge(trigger, fault)
                return await self._carry_out(fault, request.path)
            self._close_trigger(trigger, wanted.status, executed=False)
            return wanted
        started = clock.now().boot_seconds
        generation = self.exports.begin(wanted[0], wanted[1], started, request.is_gone)
        generation.trigger_index = trigger
        if generation.refused is not None and fault is None:
            self._close_trigger(trigger, 400, executed=False)
            return error(request.path, 400, generation.refused)
        if fault is not None:
            self._judge(trigger, fault)
            return await self._carry_out(fault, request.path)
        return await self._listen(request, trigger, generation)

    async def _listen(self, request: WireRequest, trigger: int, generation: Generation) -> Answer:
        """Keep the client waiting as its plan says, and answer."""
        clock, plan = self._clock, generation.plan
        limit = self.scenario.post_timeout_seconds
        if plan.answer is not None:
            await clock.wait(plan.answer_seconds)
            self._judge(trigger, plan.answer)
            return await self._carry_out(plan.answer, request.path)
        ends = generation.ends_seconds
        if limit is not None and (ends is None or ends - generation.started_seconds > limit):
            await clock.wait(limit)
            generation.abandoned = generation.abandoned or self.scenario.post_timeout_loses
            self._close_trigger(trigger, self.scenario.post_timeout_status, executed=True)
            return fault_answer(Status(self.scenario.post_timeout_status), request.path)
        self._close_trigger(trigger, "pending", executed=True)
        if ends is None:
            answer = await self._carry_out(Hang(), request.path)
            self._close_trigger(trigger, "reset", executed=True)
            return answer
        await clock.wait(ends - generation.started_seconds)
        # Waiting may end a breath early by the clock: what was promised for now has happened.
        self.exports.settle(max(ends, clock.now().boot_seconds))
        if generation.export_id is None:
            self._close_trigger(trigger, "aborted", executed=True)
            return RESET
        self._close_trigger(trigger, "aborted" if request.is_gone() else 200, executed=True)
        return self.exports.created(request.path, generation.export_id, request.query)

    def _note_trigger(self, record: RequestRecord, request: WireRequest) -> int:
        wanted: Any = None
        with contextlib.suppress(ValueError):
            wanted = json.loads(request.body)
        small: Mapping[str, Any] = {}
        if isinstance(wanted, dict):
            small = {str(name).lower(): value for name, value in wanted.items()}
        configuration_id, ends_at = small.get("configurationid"), small.get("endsat")
        self._book.triggers.append(
            TriggerRecord(
                record.at_seconds,
                record.wall,
                record.domain,
                configuration_id if isinstance(configuration_id, int) else None,
                ends_at if isinstance(ends_at, str) else None,
            )
        )
        return len(self._book.triggers) - 1

    def _judge(self, trigger: int | None, fault: Replacing) -> None:
        """Note what a client must make of this fault: after most of them it cannot know whether its POST counted."""
        if trigger is None:
            return
        status: Outcome = "reset"
        unknown = True
        if isinstance(fault, (Status, Html, Redirect, RawBody)):
            status = fault.status
            body = getattr(fault, "body", None)
            unreadable = body is not None and not _is_json(body)
            # Not executed for certain: 429, and a refusal that says why.
            definite = {401, 403, 404, 405, 415, 429} | (set() if unreadable else {400})
            unknown = status not in definite or fault.executes
        self._close_trigger(trigger, status, executed=unknown)

    def _close_trigger(self, trigger: int | None, status: Outcome, *, executed: bool) -> None:
        if trigger is not None:
            triggers = self._book.triggers
            triggers[trigger] = replace(triggers[trigger], status=status, executed=executed)

    def _note_production(self, generation: Generation) -> None:
        if generation.trigger_index is not None:
            triggers = self._book.triggers
            place = generation.trigger_index
            triggers[place] = replace(triggers[place], export_id=generation.export_id)


def _key_of(authorization: str) -> str:
    if authorization[: len(_KEY_SCHEME)].lower() != _KEY_SCHEME:
        return ""
    return authorization[len(_KEY_SCHEME) :].strip()


def _says_json(content_type: str) -> bool:
    return content_type.partition(";")[0].strip().lower() == "application/json"


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True
