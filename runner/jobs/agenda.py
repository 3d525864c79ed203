"""What a job does next, and when: pure, decided anew from its state at every turn.

Owns the waiting rules (the hour, the spacing of polls, the report's time-out). Nothing here is stored: a
restart asks again and gets the same answer. A step may only be chosen here; what came of it goes through
`advance`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from enum import Enum

from msgspec import Struct
from msgspec.structs import replace

from runner.clock import Instant
from runner.jobs.events import Doubted, Event, Failed, ReportTimedOut, Resumed
from runner.jobs.finding import doubtful
from runner.jobs.machine import missing_pieces
from runner.jobs.model import (
    DOWNLOADED,
    DOWNLOADING,
    FAILED,
    FINISHED,
    PENDING,
    POLLING,
    RETRIED,
    TRIGGERED,
    ErrorCode,
    ExportSpec,
    Job,
    ReportSpec,
    TemplateBody,
    TemplateId,
)
from runner.jobs.remedies import job_error

FRESH_SECONDS = 90.0
"""A look that is older than this is taken again before a trigger. More than a minute, or a host that is asked once a
minute would be looked at for ever and never triggered."""
DOUBT_SECONDS = 30.0
"""How long after its list an export that told no end is asked once more before the first trigger."""
LOOK_BACK = timedelta(days=7)
"""How long a job that was triggered more than once is looked at for a late twin."""
LOOKS = 4
"""How often the look at a finished job is tried; the next night looks again."""
LONGEST_PAUSE_FOR_A_LOOK_SECONDS = 66.0
"""A host that wants more patience than a budget's minute is not waited for only to look."""
_SERVER_DATE_MARGIN_SECONDS = 2.0  # `Date` headers have whole seconds, and two of them are subtracted.
_FIRST_PAUSES = (1 / 16, 1 / 8, 1 / 4, 1 / 2)  # In shares of the interval; they come before the whole one.


class Step(Enum):
    """One action on the outside world. `priority`: where the budget is short, lower goes first."""

    SURVEY = ("survey", 1)
    IDENTIFY = ("identify", 1)
    TRIGGER = ("trigger", 0)
    POLL = ("poll", 2)
    CREATE_TEMPLATE = ("create_template", 0)
    POLL_REPORT = ("poll_report", 2)
    FETCH = ("fetch", 0)
    PLACE = ("place", 0)

    def __init__(self, label: str, priority: int) -> None:
        self.label = label
        self.priority = priority


class Do(Struct, frozen=True, gc=False):
    """Take this step now."""

    step: Step


class Wait(Struct, frozen=True, gc=False):
    """Nothing before this moment of the boot clock."""

    until_boot_seconds: float


class Conclude(Struct, frozen=True, gc=False):
    """Nothing to send: record this event."""

    event: Event


class Rest(Struct, frozen=True, gc=False):
    """Nothing more to do by itself."""


Action = Do | Wait | Conclude | Rest

_POSTED = frozenset({TRIGGERED, RETRIED})
# What every look at a job that waits gives, made once.
_SURVEY = Do(Step.SURVEY)
_TRIGGER = Do(Step.TRIGGER)
_FETCH = Do(Step.FETCH)
_PLACE = Do(Step.PLACE)
_POLL = Do(Step.POLL)
_POLL_REPORT = Do(Step.POLL_REPORT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """The settings that decide when. All in seconds but the count."""

    export_poll_interval_seconds: float = 30.0
    report_poll_interval_seconds: float = 10.0
    report_timeout_seconds: float = 3600.0
    retrigger_after_seconds: float = 3600.0
    max_triggers: int = 3


def next_action(job: Job, now: Instant, policy: Policy) -> Action:
    """What `job` does at `now`."""
    state = job.state
    if state in FINISHED:
        return _look(job)
    if state in _POSTED:
        return Conclude(Resumed())  # Nobody asks while the POST is on its way, so its answer was lost.
    if state is DOWNLOADING:
        return _download_action(job)
    if isinstance(job.spec, ExportSpec):
        return _export_action(job, now, policy)
    return _report_action(job, now, policy)


def _look(job: Job) -> Action:
    if job.live.unidentified:
        return Do(Step.IDENTIFY)
    return Rest() if job.live.revisited else _POLL


def unplaced(job: Job) -> bool:
    """Whether a file has its name in the journal, and nobody has said yet that it stands there."""
    return any(not record.placed for record in job.files)


def _download_action(job: Job) -> Action:
    whole = job.live.staged and isinstance(job.spec, ExportSpec)
    return _PLACE if whole or unplaced(job) or not missing_pieces(job) else _FETCH


def _export_action(job: Job, now: Instant, policy: Policy) -> Action:
    live = job.live
    if live.unidentified:
        return Do(Step.IDENTIFY)
    if job.state is PENDING:
        surveyed = live.polled_boot_seconds
        if surveyed is None or now.boot_seconds - surveyed > FRESH_SECONDS:
            return _SURVEY
        if not doubtful(job):
            return _TRIGGER
        again = surveyed + min(DOUBT_SECONDS, policy.export_poll_interval_seconds)
        return Conclude(Doubted()) if now.boot_seconds >= again else Wait(again)
    if live.listed:
        return _POLL
    polled = live.polled_boot_seconds
    if polled is None:
        return _first_poll(job, now, policy.export_poll_interval_seconds)
    elapsed = elapsed_seconds(job, now)
    next_poll = polled + poll_pause(live.polls, policy.export_poll_interval_seconds)
    if elapsed is None:
        error = job_error(
            ErrorCode.NO_EXPORT,
            job.spec,
            "this machine's clock reads earlier than the last trigger, so the hour cannot be told: check the clock",
        )
        return Conclude(Failed(error))
    hour_up = now.boot_seconds + policy.retrigger_after_seconds - elapsed
    if now.boot_seconds >= hour_up:
        if polled < hour_up or now.boot_seconds - polled > FRESH_SECONDS:
            return _POLL
        return _after_the_hour(job, policy)
    return _at(min(next_poll, hour_up), now, _POLL)


def _after_the_hour(job: Job, policy: Policy) -> Action:
    if job.superseded_by is not None:
        detail = f"export {job.superseded_by} appeared while we waited; not triggered again"
        return Conclude(Failed(job_error(ErrorCode.SUPERSEDED, job.spec, detail)))
    if doubtful(job):
        return Conclude(Doubted())
    if len(job.triggers) - job.forgiven >= policy.max_triggers:
        return Conclude(
            Failed(job_error(ErrorCode.NO_EXPORT, job.spec, f"triggered {len(job.triggers)} times"))
        )
    return _TRIGGER


def _report_action(job: Job, now: Instant, policy: Policy) -> Action:
    spec = job.spec
    assert isinstance(spec, ReportSpec)  # noqa: S101 - the other kind was handled
    if not job.remote_ids:
        if isinstance(spec.template, TemplateBody) and not job.live.templated:
            return Do(Step.CREATE_TEMPLATE)
        return _TRIGGER
    interval = policy.report_poll_interval_seconds
    polled = job.live.polled_boot_seconds
    if polled is None:
        return _first_poll(job, now, interval)
    elapsed = elapsed_seconds(job, now)
    over = elapsed is not None and elapsed >= policy.report_timeout_seconds
    if over and now.boot_seconds - polled <= FRESH_SECONDS:
        # Pending just now. One that could not be asked all that time may have been done long ago.
        return Conclude(ReportTimedOut())
    return _at(polled + poll_pause(job.live.polls, interval), now, _POLL_REPORT)


def _first_poll(job: Job, now: Instant, interval: float) -> Action:
    poll = _POLL if isinstance(job.spec, ExportSpec) else _POLL_REPORT
    last = job.triggers[-1] if job.triggers else None
    if last is None or last.boot_id != now.boot_id:
        return poll
    return _at(last.boot_seconds + poll_pause(0, interval), now, poll)


def _at(boot_seconds: float, now: Instant, action: Do) -> Action:
    return action if now.boot_seconds >= boot_seconds else Wait(boot_seconds)


def poll_pause(polls: int, interval_seconds: float) -> float:
    """The pause after so many polls: soon at first, doubling up to the interval."""
    return interval_seconds * _FIRST_PAUSES[polls] if polls < len(_FIRST_PAUSES) else interval_seconds


def elapsed_seconds(job: Job, now: Instant) -> float | None:
    """Seconds since the last trigger, never more than the truth; None when no clock can tell.

    Within one boot the boot clock decides. After a reboot, or on another host, the server's `Date` headers
    do. Only without these the wall clock is asked, and one that reads earlier than the trigger has no answer.
    """
    last = job.triggers[-1]
    if last.boot_id == now.boot_id:
        return now.boot_seconds - last.boot_seconds
    seen = job.live.server_date
    if last.server_date is not None and seen is not None:
        date, at = seen
        between: float = (date - last.server_date).total_seconds()
        return between + now.boot_seconds - at - _SERVER_DATE_MARGIN_SECONDS
    elapsed = (now.wall - last.wall).total_seconds()
    return elapsed if elapsed >= 0 else None


def free_at(job: Job, now: Instant, policy: Policy) -> float:
    """The boot second from which nothing that this job asked for can still be on its way; 0 where nothing is.

    That is the end of the hour since its trigger. A job that failed is no exception, unless its POST was answered with
    a no: whoever asks for another date of its configuration meanwhile may get it first, and the older one's hours too.
    """
    if not isinstance(job.spec, ExportSpec) or not job.triggers or job.remote_ids:
        return 0.0
    before_it_failed = job.history[-2].state if job.finished and len(job.history) > 1 else None
    if before_it_failed in _POSTED:
        return 0.0
    last = job.triggers[-1]
    # The host's clock would tell, and was not heard yet: this machine's may have been set meanwhile.
    untold = last.boot_id != now.boot_id and last.server_date is not None and job.live.server_date is None
    elapsed = None if untold else elapsed_seconds(job, now)
    left = policy.retrigger_after_seconds - (elapsed or 0.0)
    return now.boot_seconds + left if left > 0 else 0.0


def lined_up(
    lane: Iterable[Job], underway: Iterable[Job], now: Instant, policy: Policy
) -> list[tuple[Job, float]]:
    """The jobs of a lane in their order, each with the boot second before which it is not begun; 0 for at once.

    Args:
        lane: those that a run takes up.
        underway: those that it leaves out: what they asked for may still be on its way.
        now: the moment.
        policy: the waiting rules.
    """
    ordered = sorted(lane, key=lambda job: _lane_order(job, now, policy))
    begin_at = max((free_at(job, now, policy) for job in underway), default=0.0)
    return [
        (job, 0.0 if job.remote_ids or free_at(job, now, policy) else begin_at)  # not, if it is begun already
        for job in ordered
    ]


def _lane_order(job: Job, now: Instant, policy: Policy) -> tuple[bool, float, bool, date, int]:
    """Within a lane what Lucca may be working on goes first, then what is in flight, then the oldest date.

    Only what was asked for last can still be on its way, or there: any other report was deleted by its POST.
    """
    spec = job.spec
    if isinstance(spec, ExportSpec):
        worked_on, day = free_at(job, now, policy) > 0, spec.ends_at
    else:
        worked_on, day = bool(job.remote_ids), spec.due
    last = job.triggers[-1] if worked_on else None
    latest_first = 0.0 if last is None else -(last.server_date or last.wall).timestamp()
    in_flight = job.state not in (PENDING, FAILED)
    return not worked_on, latest_first, not in_flight, day, job.id


def steps_aside(job: Job, now: Instant, policy: Policy) -> bool:
    """Whether a job that met trouble lets the others of its lane go first: it may be in trouble for ever.

    An export that is there was made before theirs, and stays. A report must not be there yet, as theirs would delete
    it; but one that could not be had in all the time that a report may take is given up for them, and made anew.
    """
    if isinstance(job.spec, ExportSpec):
        return job.state is DOWNLOADING
    if not job.remote_ids:
        return True
    elapsed = elapsed_seconds(job, now)
    return elapsed is not None and elapsed >= policy.report_timeout_seconds


def overtaken(job: Job) -> Job:
    """The export that is there already, with later dates of its configuration going on beside it."""
    return replace(job, live=replace(job.live, overtaken=True))


def joins_again(job: Job) -> bool:
    """Whether a job that others overtook goes after them: the export that was taken for its own was not."""
    return job.live.overtaken and job.state in (PENDING, POLLING)


def owes_a_look(job: Job, now: Instant) -> bool:
    """Whether a finished job is looked at once, read-only, by this run.

    So are exports that were triggered more than once in the last seven days (a twin may come late), those that no
    trigger brought: without end where nothing came, for the seven days where a later export came first; and one without
    entries whose look another run left undone.
    """
    if not isinstance(job.spec, ExportSpec) or not job.triggers:
        return False
    recent = now.wall - job.triggers[-1].wall <= LOOK_BACK
    if job.state is FAILED and job.error is not None:
        code = job.error.code
        return code is ErrorCode.NO_EXPORT or (code is ErrorCode.SUPERSEDED and recent)
    return job.state is DOWNLOADED and (job.unlisted or (len(job.triggers) > 1 and recent))


def leaves_the_look(attempts: int, pause_seconds: float) -> bool:
    """Whether a look that met trouble so often, with this pause to come, is left to the next night."""
    return attempts >= LOOKS or pause_seconds > LONGEST_PAUSE_FOR_A_LOOK_SECONDS


def looking(job: Job) -> Job:
    """The finished job with its look still to take."""
    return replace(job, live=replace(job.live, revisited=False))


def looked(job: Job) -> Job:
    """The finished job whose look could not be taken in this run."""
    return replace(job, live=replace(job.live, revisited=True, unidentified=(), listed=0))


def template_of(job: Job) -> int | None:
    """The template id to create this report from; None while it must be created first."""
    spec = job.spec
    assert isinstance(spec, ReportSpec)  # noqa: S101 - exports have no template
    return spec.template.id if isinstance(spec.template, TemplateId) else job.template_id
