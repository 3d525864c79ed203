"""What was seen of a schedule while it ran: requests asked, answers shown, changes recorded, and a trace to read.

Owns notes and the checks that need the moment itself (was the intent stored when the POST left? who held the lane?).
Judges nothing that can be judged afterwards.
"""

import json
import re
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from msgspec.structs import replace

from runner.jobs.model import Identity, Job, State
from runner.lucca import Request
from runner.transport import Answer

_IN_FLIGHT = frozenset({State.TRIGGERED, State.RETRIED, State.POLLING, State.DOWNLOADING})
_POSTING = frozenset({State.TRIGGERED, State.RETRIED})
_CONFIGURATION = re.compile(r"configurationId=([0-9]+)")

EXPORT_POST = "/timmiexports/run"
REPORT_POST = "/timmi-timesheet/api/reports"


@dataclass(slots=True)
class Asked:
    """An export's POST as it left the program, and which exports it had been shown before."""

    at_seconds: float
    run: int
    domain: str
    configuration_id: int
    ends_at: str
    visible: frozenset[int]
    listed_seconds: float | None
    refused: bool = False
    """Whether the server said that it did nothing."""


@dataclass(slots=True)
class Held:
    """A report that a job of ours holds: from when to when, None while it still does."""

    identity: Identity
    from_seconds: float
    to_seconds: float | None = None


class Witness:
    """Takes note; `seconds` reads the server's clock, which nobody sets."""

    def __init__(self, seconds: Callable[[], float], hour_seconds: float, traced: int | None = None) -> None:
        self.run = -1
        self.violations: list[str] = []
        self.asked_exports: list[Asked] = []
        self.reports: dict[tuple[str, int], list[Held]] = {}
        self.delivered_reports: dict[tuple[str, int], float] = {}
        self.unanswered_reports: dict[str, list[float]] = {}
        self.deaths: list[float] = []
        self.jobs: dict[Identity, Job] = {}
        self.posts = 0
        self.records = 0
        self.refreshed = False  # whether wishes of known jobs were stored anew, which no event tells
        self._seconds = seconds
        self._hour_seconds = hour_seconds
        self._intended: dict[Identity, float] = {}
        self._lost: set[Identity] = set()  # whose POST an earlier run took along
        self.seen_waiting: dict[Identity, set[int]] = {}  # what polls showed a job above its baseline
        self._waiting: dict[tuple[str, int | str], dict[Identity, Job]] = {}  # by lane
        self._visible: dict[tuple[str, int], set[int]] = {}
        self._listed: dict[tuple[str, int], float] = {}
        self._newest_report: dict[str, int] = {}
        self._trace: deque[tuple[float, str, str]] = deque(maxlen=traced)

    def note(self, what: str, told: str) -> None:
        """A line of the trace."""
        self._trace.append((self._seconds(), what, told))

    def trace(self) -> list[str]:
        """Everything noted, in order, for people."""
        return [f"{seconds:12.3f}  {what:<9} {told}" for seconds, what, told in self._trace]

    def violated(self, told: str) -> None:
        """A promise was broken."""
        self.violations.append(told)
        self.note("BROKEN", told)

    def starts(self, jobs: dict[Identity, Job]) -> None:
        """A run begins with these jobs in the journal."""
        self.run += 1
        self.jobs = jobs
        self._lost = {identity for identity, job in jobs.items() if job.state in _POSTING}
        self._listed.clear()
        self._waiting.clear()
        for job in jobs.values():
            self._waits(job)

    def forget(self, before_seconds: float, newest: int) -> None:
        """Let go of POSTs that left before this moment, and of a list's ids all but the newest."""
        self.asked_exports = [asked for asked in self.asked_exports if asked.at_seconds >= before_seconds]
        for ids in self._visible.values():
            ids.difference_update(sorted(ids)[:-newest])

    # ── what the program does ────────────────────────────────────────────────────────────────────────────────────

    def recorded(self, after: Job, event: str) -> None:
        """The journal has stored a change."""
        spec = after.spec
        before = self.jobs.get(spec.identity) or Job(id=after.id, spec=spec)
        self.records += 1
        told = f"{after.label}@{spec.due:%m-%d} {event}: {before.state} → {after.state}"
        if after.remote_ids != before.remote_ids:
            told += f" {list(after.remote_ids)}"
        self.note("record", told)
        if replace(before, live=after.live) == after:
            self.violated(f"{event} of {after.label} was recorded and changed nothing")
        self.jobs[spec.identity] = after
        self._lost.discard(spec.identity)
        self._waits(after)
        if event == "Triggered":
            self._lane_is_free(after)
            self._intended[spec.identity] = self._seconds()
        if spec.kind == "report":
            self._hold_reports(before, after)

    def _waits(self, job: Job) -> None:
        """Whether this job waits for its export; what it is shown meanwhile must be told in the end."""
        if job.spec.kind == "export" and job.state is State.POLLING:
            self._waiting.setdefault(job.spec.lane, {})[job.spec.identity] = job
        else:
            self._waiting.get(job.spec.lane, {}).pop(job.spec.identity, None)

    def _lane_is_free(self, job: Job) -> None:
        for other in self.jobs.values():
            if other.spec.lane != job.spec.lane or other.spec.identity == job.spec.identity:
                continue
            if self._holds(other) if job.spec.kind == "report" else self._may_be_running(other):
                self.violated(f"{job.label} was triggered while {other.label} is {other.state} in its lane")
        if job.spec.kind == "report" and job.remote_ids:
            self.violated(f"{job.label} was triggered although it holds report {job.remote_ids}")

    def _holds(self, job: Job) -> bool:
        """Whether a report is being made for this job, or still there: of a host only the newest can be."""
        if job.state in _POSTING:
            return job.spec.identity not in self._lost
        if job.state not in _IN_FLIGHT or not job.remote_ids:
            return False
        return job.remote_ids[-1] == self._newest_report[job.spec.domain]

    def _may_be_running(self, job: Job) -> bool:
        failed = job.state is State.FAILED and len(job.history) > 1 and job.history[-2].state is State.POLLING
        if not (failed or job.state in _IN_FLIGHT) or job.remote_ids:
            return False
        # A thousandth is the most that adding up such times can be wrong by.
        subject, since = job.spec.identity.subject, self._seconds() - self._hour_seconds + 0.001
        # The export of a POST that a crash took along has come within its hour, or never will.
        intended = self._intended.get(job.spec.identity, 0.0) > since
        return (intended and job.state in _POSTING) or any(
            asked.at_seconds > since
            and not asked.refused
            and asked.domain == job.spec.domain
            and f"{asked.configuration_id}@{asked.ends_at[:10]}" == subject
            for asked in self.asked_exports
        )

    def _hold_reports(self, before: Job, after: Job) -> None:
        domain, now = after.spec.domain, self._seconds()
        holds = () if after.finished else after.remote_ids
        for id_ in {*before.remote_ids, *after.remote_ids}:
            held = self.reports.setdefault((domain, id_), [])
            self._newest_report[domain] = max(id_, self._newest_report.get(domain, 0))
            open_ = bool(held) and held[-1].to_seconds is None
            if id_ in holds and not open_:
                held.append(Held(after.spec.identity, now))
            elif id_ not in holds and open_:
                held[-1].to_seconds = now

    def asked(self, domain: str, request: Request) -> None:
        """The program is about to send this."""
        self.note("ask", f"{request.method} {domain}{request.target[:110]}")
        if request.method != "POST":
            return
        self.posts += 1
        if request.target.partition("?")[0].endswith(EXPORT_POST):
            body = json.loads(request.body or b"")
            configuration_id, ends_at = body["configurationId"], body["endsAt"]
            key = (domain, configuration_id)
            visible = frozenset(self._visible.get(key, ()))
            self.asked_exports.append(
                Asked(self._seconds(), self.run, domain, *key[1:], ends_at, visible, self._listed.get(key))
            )
            job = self.jobs.get(Identity("export", domain, f"{configuration_id}@{ends_at[:10]}"))
            if job is None or job.state not in _POSTING:
                self.violated(f"POST of {configuration_id}@{ends_at} to {domain} without a stored intent")
            return
        if request.target != REPORT_POST:
            return
        self.unanswered_reports.setdefault(domain, []).append(self._seconds())
        if not any(
            job.state in _POSTING and job.spec.domain == domain and job.spec.kind == "report"
            for job in self.jobs.values()
        ):
            self.violated(f"POST of a report to {domain} without a stored intent")

    def shown(self, domain: str, request: Request, answer: Answer) -> None:
        """The program holds this answer in its hands."""
        self.note("answer", f"{answer.status} {request.method} {domain}{request.target[:40]}")
        if request.target == REPORT_POST and answer.status in (200, 201):
            self.unanswered_reports[domain].pop()  # one at a time, so it is the last one's
        if request.target.partition("?")[0].endswith(EXPORT_POST) and _is_refusal(answer):
            self._refused(domain, json.loads(request.body or b""))
        if not 200 <= answer.status < 300:
            return
        if request.target == REPORT_POST:
            id_ = _value(answer.body, "id")
            if isinstance(id_, int):
                self.delivered_reports[domain, id_] = self._seconds()
        elif found := _CONFIGURATION.search(request.target):
            ids = _listed_ids(answer)
            if ids is not None:
                key = (domain, int(found[1]))
                self._visible.setdefault(key, set()).update(ids)
                self._listed[key] = self._seconds()
                for job in self._waiting.get(key, {}).values():
                    above = {id_ for id_ in ids if id_ > (job.baseline_id or 0)}
                    self.seen_waiting.setdefault(job.spec.identity, set()).update(above)

    def _refused(self, domain: str, body: Any) -> None:
        wanted = (domain, body["configurationId"], body["endsAt"])
        for asked in reversed(self.asked_exports):
            if (asked.domain, asked.configuration_id, asked.ends_at) == wanted:
                asked.refused = True
                return


def _is_refusal(answer: Answer) -> bool:
    """Of a 400 only one that says why: their framework answers an empty one to an unknown fault."""
    return answer.status in (401, 403, 404, 429) or (answer.status == 400 and b"essage" in answer.body)


def _value(body: bytes, name: str) -> Any:
    try:
        return json.loads(body)[name]
    except (ValueError, KeyError, TypeError):
        return None


def _listed_ids(answer: Answer) -> list[int] | None:
    """The ids of a list of exports; None where it is not flawless."""
    if "content-encoding" in answer.headers and not answer.body:
        return None
    try:
        return [item["id"] for item in json.loads(answer.body)["data"]["items"]]
    except (ValueError, KeyError, TypeError):
        return None
