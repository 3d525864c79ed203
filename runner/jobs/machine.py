"""The state machine: `advance`, the only place where a job's state changes.

The tables (`jobs.tables`) say which event may lead from which state to which; `advance` decides which of them it is,
and what is learnt on the way; `jobs.finding` decides what a list of exports means. A step that would leave the table is
a fault of this program and raises `ImpossibleError`: better a stopped job than a second trigger. Everything here is
pure: the moment comes in as an argument, nothing is sent or stored.

`Triggered` is journaled before the POST leaves. Found after a crash (`Resumed`) it counts as sent (Lucca guide "Export
from Lucca Timesheet", step 2).
"""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from msgspec.structs import replace

from runner.clock import Instant
from runner.jobs import events as ev
from runner.jobs import finding
from runner.jobs import model as m
from runner.jobs.model import (
    DOWNLOADED,
    DOWNLOADING,
    FAILED,
    PENDING,
    POLLING,
    RETRIED,
    SKIPPED,
    TRIGGERED,
    ErrorCode,
    Flag,
    Job,
    Live,
)
from runner.jobs.remedies import job_error, naming
from runner.jobs.tables import TABLES

MAX_LOSSES = 3
"""How often a report that vanished is created again."""
MAX_REPORT_ERRORS = 1
"""How often a report that ended in error is created again (Lucca guide "How to Download Reports", step 3)."""
LEFT_WITHIN_SECONDS = 1.0
"""How long after its stored intent a POST may have left that nobody saw leave."""


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


# ── triggering ───────────────────────────────────────────────────────────────────────────────────────────────────


def _triggered(job: Job, event: ev.Triggered, _now: Instant) -> Job:
    return replace(
        job,
        state=TRIGGERED if job.state is PENDING else RETRIED,
        triggers=(*job.triggers, event.stamp),
        live=replace(job.live, polls=0, polled_boot_seconds=None, doubted=False),
    )


def _trigger_unsent(job: Job, _event: ev.TriggerUnsent, _now: Instant) -> Job:
    return replace(job, state=PENDING if job.state is TRIGGERED else POLLING, triggers=job.triggers[:-1])


def _trigger_let_go(job: Job, event: ev.TriggerLetGo, _now: Instant) -> Job:
    state = PENDING if isinstance(job.spec, m.ReportSpec) and job.state is TRIGGERED else POLLING
    return replace(job, state=state, triggers=(*job.triggers[:-1], event.stamp))


def _trigger_answered(job: Job, event: ev.TriggerAnswered, _now: Instant) -> Job:
    job = replace(job, triggers=(*job.triggers[:-1], event.stamp))
    if isinstance(job.spec, m.ReportSpec):
        return replace(job, state=POLLING, remote_ids=(event.remote_id,))
    # After a second trigger the first one's export may have arrived as well: only the list shows both.
    sure = len(job.triggers) == 1 and event.remote_id > (job.baseline_id or 0)
    return (
        replace(job, state=DOWNLOADING, remote_ids=(event.remote_id,))
        if sure
        else replace(job, state=POLLING)
    )


def _resumed(job: Job, _event: ev.Resumed, _now: Instant) -> Job:
    # An export's intent counts as sent. A report leaves no trace to look for, so it is asked for again.
    if isinstance(job.spec, m.ReportSpec):
        return replace(job, state=PENDING if job.state is TRIGGERED else POLLING)
    # The POST left a little after its intent was stored, and the server counts the hour from then.
    stored = job.triggers[-1]
    date = stored.server_date
    left = replace(
        stored,
        boot_seconds=stored.boot_seconds + LEFT_WITHIN_SECONDS,
        server_date=None if date is None else date + timedelta(seconds=LEFT_WITHIN_SECONDS),
    )
    return replace(job, state=POLLING, triggers=(*job.triggers[:-1], left))


# ── downloading ──────────────────────────────────────────────────────────────────────────────────────────────────


def _fetched(job: Job, event: ev.Fetched, _now: Instant) -> Job:
    return replace(job, live=replace(job.live, staged=(*job.live.staged, event.staged), missed_path=None))


def _path_missed(job: Job, event: ev.PathMissed, _now: Instant) -> Job:
    return replace(job, live=replace(job.live, missed_path=event.doubled))


def _put_off(job: Job, event: ev.PutOff, _now: Instant) -> Job:
    live = replace(job.live, put_off=(*job.live.put_off, event.id), missed_path=None)
    return replace(job, live=live)


def _misattributed(job: Job, event: ev.Misattributed, _now: Instant) -> Job:
    remote_ids = tuple(id_ for id_ in job.remote_ids if id_ != event.id)
    ends_at = event.ends_at or ""
    known = {**job.live.known, event.id: ends_at} if event.exists else job.live.known
    waiting = POLLING if job.triggers else PENDING
    flags = job.flags
    if len(remote_ids) < 2:
        flags -= {Flag.DUPLICATE}
    if not remote_ids:
        flags -= {Flag.ADOPTED}
    job = replace(
        job,
        state=DOWNLOADING if remote_ids else waiting,
        remote_ids=remote_ids,
        flags=flags,
        superseded_by=event.id if ends_at > finding.ends_text(job) else job.superseded_by,
        # The last look took this one for ours, so it is taken again before anything is triggered.
        live=replace(job.live, known=known, missed_path=None, polled_boot_seconds=None),
    )
    return finding.strangers(job, frozenset(remote_ids))


def _named(job: Job, event: ev.Named, _now: Instant) -> Job:
    names = {record.path for record in event.files}
    kept = tuple(record for record in job.files if record.path not in names)
    contents = tuple(staged.content for staged in job.live.staged if staged.content is not None)
    replaced = {content.remote_id for content in contents}
    old = tuple(content for content in job.contents if content.remote_id not in replaced)
    flags = job.flags
    underived = any(staged.underived for staged in job.live.staged)
    if underived or {staged.remote_id for staged in job.live.staged} >= set(job.remote_ids):
        flags = finding.flagged(flags, Flag.DERIVED, underived)  # Without one everything is made anew.
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
    if isinstance(spec, m.ExportSpec):
        empty = not any(content.entries for content in job.contents)
        # The hours may stand in one beside it of which nobody could tell whose it is.
        believed = spec.empty_ok and not finding.unreadable(job)
        flags = finding.flagged(job.flags, Flag.EMPTY, empty and not believed)
        job = replace(job, flags=flags)
        if empty and not job.live.polls:
            # Only the POST's answer told of it. Its hours may stand in one that staff made just before the POST.
            # Once later dates were asked for, what a list shows besides may be theirs.
            unlisted = not job.live.overtaken
            job = replace(job, unlisted=unlisted, live=replace(job.live, revisited=False))
    return replace(job, state=DOWNLOADED, error=None)


def _files_missed(job: Job, event: ev.FilesMissed, _now: Instant) -> Job:
    missed = frozenset(event.paths)
    # Files derived from an answer are made again from it, so the whole answer is asked for again.
    ids = {r.remote_id for r in job.files if r.path in missed}
    # A report of which one file had come was done, so it need not be polled again.
    return replace(
        job,
        state=DOWNLOADING,
        error=None,
        files=tuple(r for r in job.files if r.path not in missed),
        contents=tuple(c for c in job.contents if c.remote_id not in ids),
        live=replace(job.live, staged=()),
    )


def missing_pieces(job: Job) -> tuple[tuple[int, str], ...]:
    """The (remote id, format) downloads that this job still lacks, staged ones not counted as lacking.

    An export is one piece, its `json`; what is derived from it comes along. A report is one piece per format.
    """
    spec = job.spec
    if isinstance(spec, m.ExportSpec):
        placed = {record.remote_id for record in job.files if record.placed and record.format == "json"}
        told = {content.remote_id for content in job.contents}
        have = placed & told | {staged.remote_id for staged in job.live.staged}
        missing = [id_ for id_ in job.remote_ids if id_ not in have]
        return tuple((id_, "json") for id_ in sorted(missing, key=job.live.put_off.__contains__))
    pieces = {(record.remote_id, record.format) for record in job.files if record.placed}
    pieces |= {(staged.remote_id, record.format) for staged in job.live.staged for record, _ in staged.parts}
    return tuple(
        (id_, fmt) for id_ in job.remote_ids[-1:] for fmt in spec.formats if (id_, fmt) not in pieces
    )


# ── reports ──────────────────────────────────────────────────────────────────────────────────────────────────────


def _template_created(job: Job, event: ev.TemplateCreated, _now: Instant) -> Job:
    return replace(job, template_id=event.template_id, live=replace(job.live, templated=True))


def _template_refused(job: Job, _event: ev.TemplateRefused, _now: Instant) -> Job:
    state = POLLING if job.state is RETRIED else PENDING
    live = replace(job.live, templated=False)
    return replace(job, state=state, triggers=job.triggers[:-1], template_id=None, live=live)


def _report_polled(job: Job, event: ev.ReportPolled, now: Instant) -> Job:
    if event.status == "done":
        return replace(job, state=DOWNLOADING)
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
        return replace(job, state=FAILED, errors=errors, error=error)
    return _without_report(replace(job, errors=errors))


def _report_lost(job: Job, _event: ev.ReportLost, _now: Instant) -> Job:
    losses = job.losses + 1
    if losses > MAX_LOSSES:
        detail = f"the report vanished {losses} times: something else generates reports in this tenant"
        error = job_error(ErrorCode.REPORT_ERROR, job.spec, detail)
        return replace(job, state=FAILED, losses=losses, error=error)
    return _without_report(replace(job, losses=losses))


def _without_report(job: Job) -> Job:
    """Ready to create the report again. Both formats of one report come from one id, so nothing staged is kept."""
    return replace(
        job,
        state=POLLING,
        remote_ids=(),
        files=tuple(record for record in job.files if record.placed),
        live=replace(job.live, staged=(), polled_boot_seconds=None, polls=0),
    )


# ── endings and returns ──────────────────────────────────────────────────────────────────────────────────────────


def _failed(job: Job, event: ev.Failed, now: Instant) -> Job:
    triggers = job.triggers
    if job.state in (TRIGGERED, RETRIED):
        # The POST was answered just now, with a no; the hour counts from here, by every clock.
        triggers = (*triggers[:-1], stamp(now, host_time(job, now) or triggers[-1].server_date))
    error = naming(event.error, finding.unnamed(job))
    live = Live(server_date=job.live.server_date)
    return replace(job, state=FAILED, error=error, triggers=triggers, live=live)


def _reopened(job: Job, _event: ev.Reopened, _now: Instant) -> Job:
    """Go on from what is known: never back before a trigger that may have been executed."""
    if isinstance(job.spec, m.ReportSpec):
        state = POLLING if job.remote_ids else PENDING
    elif job.remote_ids:
        state = DOWNLOADING
    else:
        state = POLLING if job.triggers else PENDING
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
    )
    if job.error is not None and job.error.code is ErrorCode.REPORT_ERROR:
        job = _without_report(job)  # It ended in error or vanished: to ask for it again would use up a try.
    return _reopened(job, ev.Reopened(), now)


def _skipped(job: Job, _event: ev.Skipped, _now: Instant) -> Job:
    """What is known of it stays known, for whoever takes that back."""
    return replace(job, state=SKIPPED, live=Live())


_Handler = Callable[[Job, Any, Instant], Job]
_HANDLERS: Mapping[type[Any], _Handler] = {
    ev.Listed: finding.listed,
    ev.Identified: finding.identified,
    ev.Doubted: finding.doubted,
    ev.Triggered: _triggered,
    ev.TriggerUnsent: _trigger_unsent,
    ev.TriggerLetGo: _trigger_let_go,
    ev.TriggerAnswered: _trigger_answered,
    ev.Resumed: _resumed,
    ev.Fetched: _fetched,
    ev.PathMissed: _path_missed,
    ev.PutOff: _put_off,
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
    ev.Skipped: _skipped,
}


def host_time(job: Job, now: Instant) -> datetime | None:
    """The host's own time, carried on from its last `Date` header; None where it sent none."""
    seen = job.live.server_date
    return None if seen is None else seen[0] + timedelta(seconds=now.boot_seconds - seen[1])


def stamp(now: Instant, server_date: datetime | None = None) -> m.Stamp:
    """This moment as it is stored with a trigger."""
    return m.Stamp(now.wall, now.boot_id, now.boot_seconds, server_date)
