"""What the exports that a list shows mean for a job: which is ours, which a stranger's, which too late. Pure.

Owns whose an export is: an id above the baseline is ours only by its own `endsAt`; every other one is remembered as
foreign. The baseline is set by the first list and never again, so a late first export stays visible (Lucca guide
"Export from Lucca Timesheet", steps 1 and 3). Changes states for `jobs.machine` alone.
"""

from collections.abc import Iterable, Mapping

from msgspec.structs import replace

from runner.clock import Instant
from runner.jobs import events as ev
from runner.jobs import model as m
from runner.jobs.model import DOWNLOADING, FAILED, PENDING, POLLING, ErrorCode, Flag, Job
from runner.jobs.remedies import job_error

LOOK_BACK_IDENTIFIED = 5
"""How many of the newest exports are asked for their end where the list does not tell it."""
ASKED_AGAIN_BY_EVERY = 10
"""Which polls ask again the exports that did not tell their end. Were it each of them, the looks of a host with a small
budget would never be fresh enough for a trigger."""


def ends_text(job: Job) -> str:
    """The job's end as the ledger writes it: midnight, no zone."""
    spec = job.spec
    assert isinstance(spec, m.ExportSpec)  # noqa: S101 - the tables keep reports out
    return f"{spec.ends_at.isoformat()}T00:00:00"


def listed(job: Job, event: ev.Listed, now: Instant) -> Job:
    """The job after a list of exports, or a page of one."""
    live = job.live
    known = {**live.known, **{item.id: item.ends_at for item in event.items if item.ends_at is not None}}
    fresh = _unidentified(job, event.items, known)
    heard = live.server_date if event.server_date is None else (event.server_date, now.boot_seconds)
    if not event.complete:
        live = replace(
            live,
            known=known,
            listed=live.listed + len(event.items),
            unidentified=(*live.unidentified, *fresh),
            server_date=heard,
        )
        return replace(job, live=live)
    baseline_id = job.baseline_id
    if job.state is PENDING:
        if baseline_id is None:
            baseline_id = max((item.id for item in event.items), default=0)
        # Of what is above the baseline none may go unnamed; of what lies below, the newest are asked.
        newest = sorted(fresh, reverse=True)
        fresh = tuple(id_ for n, id_ in enumerate(newest) if n < LOOK_BACK_IDENTIFIED or id_ > baseline_id)
    live = replace(
        live,
        known=known,
        listed=0,
        unidentified=(*live.unidentified, *fresh),
        server_date=heard,
        polled_boot_seconds=now.boot_seconds,
        polls=live.polls + 1,
        revisited=True,
    )
    return _concluded(replace(job, baseline_id=baseline_id, live=live))


def _unidentified(job: Job, items: Iterable[m.Sighting], known: Mapping[int, str]) -> tuple[int, ...]:
    # Foreign ones are asked again in each run: one with a later end must not be forgotten. One that did not tell its
    # end is asked again now and then: it may be ours, and was not to be read yet.
    again = job.state is POLLING and job.live.polls % ASKED_AGAIN_BY_EVERY == 0
    told = (id_ for id_, ends_at in known.items() if ends_at or not again)
    seen = {*told, *job.live.unidentified, *job.remote_ids}
    fresh = dict.fromkeys(item.id for item in items if item.id not in seen)
    return tuple(fresh)


def identified(job: Job, event: ev.Identified, _now: Instant) -> Job:
    """The job after one export of a list told its end."""
    live = job.live
    live = replace(
        live,
        known={**live.known, event.id: event.ends_at or ""},
        unidentified=tuple(id_ for id_ in live.unidentified if id_ != event.id),
        missed_path=None,
    )
    return _concluded(replace(job, live=live))


def doubtful(job: Job) -> bool:
    """Whether to look once more before a trigger: an export that told no end may only be to be read later.

    Once for each trigger, or where nobody ever tells an end the look would be too old whenever it was taken.
    """
    return not job.live.doubted and unreadable(job)


def unreadable(job: Job) -> bool:
    """Whether there is an export that did not tell its end, and that may be ours."""
    least = 0 if job.state is PENDING else job.baseline_id or 0
    return any(not ends_at and id_ > least for id_, ends_at in job.live.known.items())


def doubted(job: Job, _event: ev.Doubted, _now: Instant) -> Job:
    """The job that looks anew, and asks what is still shown and nobody could tell: not what was archived meanwhile."""
    known = {id_: ends_at for id_, ends_at in job.live.known.items() if ends_at}
    return replace(job, live=replace(job.live, known=known, polled_boot_seconds=None, doubted=True))


def _concluded(job: Job) -> Job:
    """What the exports seen so far mean, once the list is read to its end and each of them is identified."""
    if job.live.unidentified or job.live.listed:
        return job
    # Later looks show the exports of later dates too, which are no strangers'.
    in_time = job.state in (PENDING, POLLING) or job.unlisted
    wanted = ends_text(job)
    known = job.live.known
    ours = sorted({*job.remote_ids, *(id_ for id_, ends_at in known.items() if ends_at == wanted)})
    later = sorted(id_ for id_, ends_at in known.items() if ends_at > wanted)
    if in_time:
        job = strangers(job, frozenset(ours))
    if job.state is PENDING:
        return _first_look(job, ours, later)
    if in_time:
        superseded_by = later[-1] if later else job.superseded_by
        # Whoever says that empty is ok means a period without hours, not one whose hours went with another export.
        flags = job.flags | {Flag.EMPTY} if job.unlisted and later else job.flags
        job = replace(job, superseded_by=superseded_by, flags=flags, unlisted=False)
    if set(ours) > set(job.remote_ids):
        return _to_download(job, ours)
    return job


def strangers(job: Job, ours: frozenset[int]) -> Job:
    """Every export that appeared while we waited ends on disk or is named."""
    baseline = job.baseline_id or 0
    strangers = {*job.foreign_ids, *(id_ for id_ in job.live.known if id_ > baseline)} - ours
    flags = flagged(job.flags, Flag.FOREIGN, bool(strangers))
    return replace(job, foreign_ids=tuple(sorted(strangers)), flags=flags)


def unnamed(job: Job) -> list[int]:
    """What lists showed above the baseline, and is neither ours nor a stranger's: not everything was identified yet."""
    seen = {*job.live.known, *job.live.unidentified} - {*job.remote_ids, *job.foreign_ids}
    return sorted(id_ for id_ in seen if job.baseline_id is not None and id_ > job.baseline_id)


def flagged(flags: frozenset[Flag], flag: Flag, on: bool) -> frozenset[Flag]:  # noqa: FBT001 - the fact itself
    """The flags with this one on or off; the same set where it is so already, since a new one takes 200 bytes."""
    return flags if (flag in flags) is on else flags ^ {flag}


def _first_look(job: Job, ours: list[int], later: list[int]) -> Job:
    if ours:
        return _to_download(replace(job, flags=job.flags | {Flag.ADOPTED}), ours)
    if later:
        detail = f"export {later[-1]} ends {job.live.known[later[-1]][:10]}"
        error = job_error(ErrorCode.SUPERSEDED, job.spec, detail)
        return replace(job, state=FAILED, superseded_by=later[-1], error=error)
    return job


def _to_download(job: Job, ours: list[int]) -> Job:
    flags = job.flags | {Flag.DUPLICATE} if len(ours) > 1 else job.flags
    live = replace(job.live, put_off=())
    return replace(job, state=DOWNLOADING, remote_ids=tuple(ours), flags=flags, error=None, live=live)
