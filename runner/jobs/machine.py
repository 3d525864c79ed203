"""The state machine: `advance`, the only place where a job's state changes.

The tables (`jobs.tables`) say which event may lead from which state to which; `advance` says which of them it is, and
what is learnt on the way. A step that would leave the table is a fault of this program and raises `ImpossibleError`:
better a stopped job than a second trigger. Everything here is pure: the moment comes in as an argument, nothing is
sent or stored.

What the rules protect (Lucca guide "Export from Lucca Timesheet", steps 1 to 4):

* `baseline_id` is set by the first list and never again, so a late first export stays visible.
* `Triggered` is journaled before the POST leaves. Found after a crash (`Resumed`) it counts as sent.
* An id above the baseline is ours only by its own `endsAt`; every other one is remembered as foreign.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from msgspec.structs import replace

from runner.clock import Instant
from runner.jobs import events as ev
from runner.jobs import model as m
from runner.jobs.model import ErrorCode, Flag, Job, Live, State
from runner.jobs.remedies import job_error
from runner.jobs.tables import TABLES

LOOK_BACK_IDENTIFIED = 5
"""How many of the newest exports are asked for their end where the list does not tell it."""
MAX_LOSSES = 3
"""How often a report that vanished is created again."""
MAX_REPORT_ERRORS = 1
"""How often a report that ended in error is created again (Lucca guide "How to Download Reports", step 3)."""
LEFT_WITHIN_SECONDS = 1.0
"""How long after its stored intent a POST may have left that nobody saw leave."""

_P, _T, _R = State.PENDING, State.TRIGGERED, State.RETRIED
_O, _L, _D, _F = State.POLLING, State.DOWNLOADING, State.DOWNLOADED, State.FAILED


class ImpossibleError(RuntimeError):
    """An event that the table does not allow. A fault of this program, never of the server."""


def advance(job: Job, event: ev.Event, now: Instant) -> Job:
    """The job after `event`.

    Args:
        job: as it was.
        event: what happened.
        now: the moment, for the history and for spacing polls.

    Raises:
        ImpossibleError: the table allows no such event in this state, or not this end of it.
    """
    targets = TABLES[job.spec.kind].get(job.state, {}).get(type(event))
    if targets is None:
        message = f"{job.label}: {type(event).__name__} cannot happen to a {job.state} {job.spec.kind}"
        raise ImpossibleError(message)
    after = _HANDLERS[type(event)](job, event, now)
    if after.state not in targets:
        message = f"{job.label}: {type(event).__name__} may not lead from {job.state} to {after.state}"
        raise ImpossibleError(message)
    if after.state is not job.state:
        after = replace(after, history=(*job.history, m.Transition(after.state, now.wall)))
    return after


# ── finding exports ──────────────────────────────────────────────────────────────────────────────────────────────


def ends_text(job: Job) -> str:
    """The job's end as the ledger writes it: midnight, no zone."""
    spec = job.spec
    assert isinstance(spec, m.ExportSpec)  # noqa: S101 - the tables keep reports out
    return f"{spec.ends_at.isoformat()}T00:00:00"


def _listed(job: Job, event: ev.Listed, now: Instant) -> Job:
    live = job.live
    known = dict(live.known)
    for item in event.items:
        if item.ends_on is not None:
            known[item.id] = item.ends_on
    if event.server_date is not None:
        live = replace(live, server_date=(event.server_date, now.boot_seconds))
    if not event.complete:
        fresh = _unidentified(job, event.items, known)
        return replace(
            job,
            live=replace(
                live,
                known=known,
                listed=live.listed + len(event.items),
                unidentified=(*live.unidentified, *fresh),
            ),
        )
    first_look = job.state is _P
    if first_look and job.baseline_id is None:
        job = replace(job, baseline_id=max((item.id for item in event.items), default=0))
    fresh = _unidentified(job, event.items, known)
    if first_look:
        # Of what is above the baseline none may go unnamed; of what lies below, the newest are asked.
        newest = sorted(fresh, reverse=True)
        baseline = job.baseline_id or 0
        fresh = tuple(id_ for n, id_ in enumerate(newest) if n < LOOK_BACK_IDENTIFIED or id_ > baseline)
    waiting = (*live.unidentified, *fresh)
    live = replace(
        live,
        known=known,
        listed=0,
        unidentified=waiting,
        polled_boot_seconds=now.boot_seconds,
        polls=live.polls + 1,
        revisited=True,
    )
    return _concluded(replace(job, live=live))


def _unidentified(job: Job, items: Iterable[m.Sighting], known: Mapping[int, str]) -> tuple[int, ...]:
    # Foreign ones are asked again in each run: one with a later end must not be forgotten.
    seen = {*known, *job.live.unidentified, *job.remote_ids}
    fresh = dict.fromkeys(item.id for item in items if item.id not in seen)
    return tuple(fresh)


def _identified(job: Job, event: ev.Identified, _now: Instant) -> Job:
    live = job.live
    ends_on = "" if event.ends_at is None else event.ends_at[:19]
    live = replace(
        live,
        known={**live.known, event.id: ends_on},
        unidentified=tuple(id_ for id_ in live.unidentified if id_ != event.id),
        missed_path=None,
    )
    return _concluded(replace(job, live=live))


def _concluded(job: Job) -> Job:
    """What the exports seen so far mean, once the list is read to its end and each of them is identified."""
    if job.live.unidentified or job.live.listed:
        return job
    wanted = ends_text(job)
    known = job.live.known
    ours = sorted({*job.remote_ids, *(id_ for id_, ends_on in known.items() if ends_on == wanted)})
    later = sorted(id_ for id_, ends_on in known.items() if ends_on > wanted)
    if job.state in (_P, _O):
        job = _strangers(job, frozenset(ours))
    if job.state is _P:
        return _first_look(job, ours, later)
    if job.state is _O:
        job = replace(job, superseded_by=later[-1] if later else job.superseded_by)
    if set(ours) > set(job.remote_ids):
        return _to_download(job, ours)
    return job


def _strangers(job: Job, ours: frozenset[int]) -> Job:
    """Every export that appeared while we waited ends on disk or is named."""
    baseline = job.baseline_id or 0
    strangers = {*job.foreign_ids, *(id_ for id_ in job.live.known if id_ > baseline)} - ours
    flags = _flagged(job.flags, Flag.FOREIGN, bool(strangers))
    return replace(job, foreign_ids=tuple(sorted(strangers)), flags=flags)


def _flagged(flags: frozenset[Flag], flag: Flag, on: bool) -> frozenset[Flag]:  # noqa: FBT001 - the fact itself
    """The flags with this one on or off; the same set where it is so already, since a new one takes 200 bytes."""
    return flags if (flag in flags) is on else flags ^ {flag}


def _first_look(job: Job, ours: list[int], later: list[int]) -> Job:
    if ours:
        return _to_download(replace(job, flags=job.flags | {Flag.ADOPTED}), ours)
    if later:
        detail = f"export {later[-1]} ends {job.live.known[later[-1]][:10]}"
        error = job_error(ErrorCode.SUPERSEDED, job.spec, detail)
        return replace(job, state=_F, superseded_by=later[-1], error=error)
    return job


def _to_download(job: Job, ours: list[int]) -> Job:
    flags = job.flags | {Flag.DUPLICATE} if len(ours) > 1 else job.flags
    return replace(job, state=_L, remote_ids=tuple(ours), flags=flags, error=None)


# ── triggering ───────────────────────────────────────────────────────────────────────────────────────────────────


def _triggered(job: Job, event: ev.Triggered, _now: Instant) -> Job:
    return replace(
        job,
        state=_T if job.state is _P else _R,
        triggers=(*job.triggers, event.stamp),
        live=replace(job.live, polls=0, polled_boot_seconds=None),
    )


def _trigger_unsent(job: Job, _event: ev.TriggerUnsent, _now: Instant) -> Job:
    return replace(job, state=_P if job.state is _T else _O, triggers=job.triggers[:-1])


def _trigger_let_go(job: Job, event: ev.TriggerLetGo, _now: Instant) -> Job:
    state = _P if isinstance(job.spec, m.ReportSpec) and job.state is _T else _O
    return replace(job, state=state, triggers=(*job.triggers[:-1], event.stamp))


def _trigger_answered(job: Job, event: ev.TriggerAnswered, _now: Instant) -> Job:
    job = replace(job, triggers=(*job.triggers[:-1], event.stamp))
    if isinstance(job.spec, m.ReportSpec):
        return replace(job, state=_O, remote_ids=(event.remote_id,))
    # After a second trigger the first one's export may have arrived as well: only the list shows both.
    sure = len(job.triggers) == 1 and event.remote_id > (job.baseline_id or 0)
    return replace(job, state=_L, remote_ids=(event.remote_id,)) if sure else replace(job, state=_O)


def _resumed(job: Job, _event: ev.Resumed, _now: Instant) -> Job:
    # An export's intent counts as sent. A report leaves no trace to look for, so it is asked for again.
    if isinstance(job.spec, m.ReportSpec):
        return replace(job, state=_P if job.state is _T else _O)
    # The POST left a little after its intent was stored, and the server counts the hour from then.
    stored = job.triggers[-1]
    date = stored.server_date
    left = replace(
        stored,
        boot_seconds=stored.boot_seconds + LEFT_WITHIN_SECONDS,
        server_date=None if date is None else date + timedelta(seconds=LEFT_WITHIN_SECONDS),
    )
    return replace(job, state=_O, triggers=(*job.triggers[:-1], left))


# ── downloading ──────────────────────────────────────────────────────────────────────────────────────────────────


def _fetched(job: Job, event: ev.Fetched, _now: Instant) -> Job:
    return replace(job, live=replace(job.live, staged=(*job.live.staged, event.staged), missed_path=None))


def _path_missed(job: Job, event: ev.PathMissed, _now: Instant) -> Job:
    return replace(job, live=replace(job.live, missed_path=event.doubled))


def _misattributed(job: Job, event: ev.Misattributed, _now: Instant) -> Job:
    remote_ids = tuple(id_ for id_ in job.remote_ids if id_ != event.id)
    ends_on = "" if event.ends_at is None else event.ends_at[:19]
    known = {**job.live.known, event.id: ends_on} if event.exists else job.live.known
    waiting = _O if job.triggers else _P
    flags = job.flags
    if len(remote_ids) < 2:
        flags -= {Flag.DUPLICATE}
    if not remote_ids:
        flags -= {Flag.ADOPTED}
    job = replace(
        job,
        state=_L if remote_ids else waiting,
        remote_ids=remote_ids,
        flags=flags,
        superseded_by=event.id if ends_on > ends_text(job) else job.superseded_by,
        # The last look took this one for ours, so it is taken again before anything is triggered.
        live=replace(job.live, known=known, missed_path=None, polled_boot_seconds=None),
    )
    return _strangers(job, frozenset(remote_ids))


def _named(job: Job, event: ev.Named, _now: Instant) -> Job:
    names = {record.path for record in event.files}
    kept = tuple(record for record in job.files if record.path not in names)
    contents = tuple(staged.content for staged in job.live.staged if staged.content is not None)
    replaced = {content.remote_id for content in contents}
    old = tuple(content for content in job.contents if content.remote_id not in replaced)
    flags = job.flags
    underived = any(staged.underived for staged in job.live.staged)
    if underived or {staged.remote_id for staged in job.live.staged} >= set(job.remote_ids):
        flags = _flagged(flags, Flag.DERIVED, underived)  # Without one everything is made anew.
    return replace(
        job,
        files=(*kept, *event.files),
        contents=tuple(sorted((*old, *contents), key=lambda content: content.remote_id)),
        flags=flags,
    )


def _placed(job: Job, event: ev.Placed, _now: Instant) -> Job:
    paths = frozenset(event.paths)
    files = tuple(replace(r, placed=True) if r.path in paths else r for r in job.files)
    job = replace(job, files=files, live=replace(job.live, staged=()))
    if missing_pieces(job):
        return job
    spec = job.spec
    flags = job.flags
    if isinstance(spec, m.ExportSpec):
        empty = not spec.empty_ok and not any(content.entries for content in job.contents)
        flags = _flagged(flags, Flag.EMPTY, empty)
    return replace(job, state=_D, flags=flags, error=None)


def _files_missed(job: Job, event: ev.FilesMissed, _now: Instant) -> Job:
    missed = frozenset(event.paths)
    # Files derived from an answer are made again from it, so the whole answer is asked for again.
    ids = (
        {r.remote_id for r in job.files if r.path in missed} if isinstance(job.spec, m.ExportSpec) else set()
    )
    files = tuple(r for r in job.files if r.path not in missed)
    return replace(
        job,
        state=_L,
        files=files,
        contents=tuple(c for c in job.contents if c.remote_id not in ids),
        live=replace(job.live, staged=()),
    )


def missing_pieces(job: Job) -> tuple[tuple[int, str], ...]:
    """The (remote id, format) downloads that this job still lacks, staged ones not counted as lacking.

    An export is one piece, its `json`; what is derived from it comes along. A report is one piece per format.
    """
    spec = job.spec
    have = {(r.remote_id, r.format) for r in job.files if r.placed}
    have |= {(staged.remote_id, record.format) for staged in job.live.staged for record, _ in staged.parts}
    if isinstance(spec, m.ExportSpec):
        told = {c.remote_id for c in job.contents} | {s.remote_id for s in job.live.staged}
        return tuple((id_, "json") for id_ in job.remote_ids if (id_, "json") not in have or id_ not in told)
    return tuple((id_, fmt) for id_ in job.remote_ids[-1:] for fmt in spec.formats if (id_, fmt) not in have)


# ── reports ──────────────────────────────────────────────────────────────────────────────────────────────────────


def _template_created(job: Job, event: ev.TemplateCreated, _now: Instant) -> Job:
    return replace(job, template_id=event.template_id)


def _template_refused(job: Job, _event: ev.TemplateRefused, _now: Instant) -> Job:
    state = _O if job.state is _R else _P
    return replace(job, state=state, triggers=job.triggers[:-1], template_id=None, template_made=True)


def _report_polled(job: Job, event: ev.ReportPolled, now: Instant) -> Job:
    if event.status == "done":
        return replace(job, state=_L)
    if event.status == "error":
        return _report_error(job, "its status is error")
    live = replace(job.live, polled_boot_seconds=now.boot_seconds, polls=job.live.polls + 1)
    return replace(job, live=live)


def _report_timed_out(job: Job, _event: ev.ReportTimedOut, _now: Instant) -> Job:
    return _report_error(job, "it stayed pending too long")


def _report_error(job: Job, detail: str) -> Job:
    errors = job.errors + 1
    if errors > MAX_REPORT_ERRORS:
        error = job_error(ErrorCode.REPORT_ERROR, job.spec, f"report {job.remote_ids[-1]}: {detail}, twice")
        return replace(job, state=_F, errors=errors, error=error)
    return _without_report(replace(job, errors=errors))


def _report_lost(job: Job, _event: ev.ReportLost, _now: Instant) -> Job:
    losses = job.losses + 1
    if losses > MAX_LOSSES:
        detail = f"the report vanished {losses} times: something else generates reports in this tenant"
        error = job_error(ErrorCode.REPORT_ERROR, job.spec, detail)
        return replace(job, state=_F, losses=losses, error=error)
    return _without_report(replace(job, losses=losses))


def _without_report(job: Job) -> Job:
    """Ready to create the report again. Both formats of one report come from one id, so nothing staged is kept."""
    return replace(
        job,
        state=_O,
        remote_ids=(),
        files=tuple(record for record in job.files if record.placed),
        live=replace(job.live, staged=(), polled_boot_seconds=None, polls=0),
    )


# ── endings and returns ──────────────────────────────────────────────────────────────────────────────────────────


def _failed(job: Job, event: ev.Failed, now: Instant) -> Job:
    triggers = job.triggers
    if job.state in (_T, _R):
        # The POST was answered just now, with a no; the hour counts from here, by every clock.
        triggers = (*triggers[:-1], stamp(now, host_time(job, now) or triggers[-1].server_date))
    live = Live(server_date=job.live.server_date)
    return replace(job, state=_F, error=event.error, triggers=triggers, live=live)


def _reopened(job: Job, _event: ev.Reopened, _now: Instant) -> Job:
    """Go on from what is known: never back before a trigger that may have been executed."""
    if job.remote_ids:
        state = _L if isinstance(job.spec, m.ExportSpec) else _O
    else:
        state = _O if job.triggers else _P
    if state is _O and isinstance(job.spec, m.ReportSpec) and not job.remote_ids:
        state = _P
    return replace(job, state=state, error=None, live=Live(server_date=job.live.server_date))


def _retried(job: Job, event: ev.Retried, now: Instant) -> Job:
    triggers = job.triggers
    if triggers and triggers[-1].wall > event.stamp.wall:
        # The last trigger lies in the future of a clock that was set back; the person who looked starts the hour anew.
        # What the host said of that trigger's time stays true.
        triggers = (*triggers[:-1], replace(event.stamp, server_date=triggers[-1].server_date))
    job = replace(
        job,
        triggers=triggers,
        forgiven=len(triggers),
        superseded_by=None,
        errors=0,
        losses=0,
        template_made=False,
    )
    if job.error is not None and job.error.code is ErrorCode.REPORT_ERROR:
        job = _without_report(job)  # It ended in error or vanished: to ask for it again would use up a try.
    return _reopened(job, ev.Reopened(), now)


_Handler = Callable[[Job, Any, Instant], Job]
_HANDLERS: Mapping[type[Any], _Handler] = {
    ev.Listed: _listed,
    ev.Identified: _identified,
    ev.Triggered: _triggered,
    ev.TriggerUnsent: _trigger_unsent,
    ev.TriggerLetGo: _trigger_let_go,
    ev.TriggerAnswered: _trigger_answered,
    ev.Resumed: _resumed,
    ev.Fetched: _fetched,
    ev.PathMissed: _path_missed,
    ev.Misattributed: _misattributed,
    ev.Named: _named,
    ev.Placed: _placed,
    ev.FilesMissed: _files_missed,
    ev.TemplateCreated: _template_created,
    ev.TemplateRefused: _template_refused,
    ev.ReportPolled: _report_polled,
    ev.ReportTimedOut: _report_timed_out,
    ev.ReportLost: _report_lost,
    ev.Failed: _failed,
    ev.Reopened: _reopened,
    ev.Retried: _retried,
}


def host_time(job: Job, now: Instant) -> datetime | None:
    """The host's own time, carried on from its last `Date` header; None where it sent none."""
    seen = job.live.server_date
    return None if seen is None else seen[0] + timedelta(seconds=now.boot_seconds - seen[1])


def stamp(now: Instant, server_date: datetime | None = None) -> m.Stamp:
    """This moment as it is stored with a trigger."""
    return m.Stamp(now.wall, now.boot_id, now.boot_seconds, server_date)
