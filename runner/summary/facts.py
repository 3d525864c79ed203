"""What is said of one job in words: its period, where it stands, when it is looked at again, what to remark.

Shared by the morning page and the terminal, so that both say the same. Must not know how either is laid out.
"""

from datetime import date, datetime, timedelta

from runner.jobs.agenda import Policy
from runner.jobs.model import NEEDS_A_PERSON, ErrorCode, ExportSpec, Flag, Job, State
from runner.summary.document import begins_at
from runner.summary.texts import Phrasebook

ACTIONS = tuple(flag for flag in Flag if flag in NEEDS_A_PERSON)
"""The flags that need a person, in the order in which they are told."""

_ONE_DAY = timedelta(days=1)


def period(job: Job, words: Phrasebook) -> str:
    """The days that a job is about, as people count them: the last day is named, not the day after it."""
    spec = job.spec
    if isinstance(spec, ExportSpec):
        last = spec.ends_at - _ONE_DAY
        begin = begins_at(job)
        first = None if begin is None else _date_of(begin)
        if first is None or first > last:
            return words.days("period.until", last, last)
        return words.days("period.from", first, last)
    if spec.starts_on is None or spec.ends_on is None:
        return words("period.template")
    if spec.starts_on == spec.ends_on:
        return words.days("period.day", spec.starts_on, spec.ends_on)
    return words.days("period.report", spec.starts_on, spec.ends_on)


def _date_of(text: str) -> date | None:
    """The day of a moment as Lucca wrote it; None where it cannot be read."""
    try:
        return date.fromisoformat(text[:10])
    except ValueError:
        return None


def remarks(job: Job, words: Phrasebook, night: date | None = None) -> list[str]:
    """What is good to know of a job and asks for nothing."""
    told = []
    if night is not None and job.spec.due < night:
        told.append(words("remark.due", day=words.day(job.spec.due)))
    if Flag.ADOPTED in job.flags:
        told.append(words("flag.adopted.what"))
    if Flag.FOREIGN in job.flags:
        told.append(words("flag.foreign.what", ids=", ".join(map(str, job.foreign_ids))))
    if job.superseded_by is not None:
        told.append(words("remark.later", id=job.superseded_by))
    if len(job.contents) > 1:
        told += [
            words("remark.version", id=content.remote_id, entries=words.count("entries", content.entries))
            for content in job.contents
        ]
    earlier = _earlier_versions(job)
    if earlier:
        told.append(words("remark.older", ids=", ".join(map(str, earlier)), id=job.remote_ids[-1]))
    if len(job.triggers) > 1 and job.finished:
        told.append(words.count("remark.twice", len(job.triggers)))
    return told


def _earlier_versions(job: Job) -> list[int]:
    """Reports whose files stand beside those of the one that answers: made anew, they may tell other hours."""
    if isinstance(job.spec, ExportSpec) or not job.remote_ids:
        return []
    return sorted({record.remote_id for record in job.files if record.placed} - set(job.remote_ids))


def where(job: Job, words: Phrasebook, *, running: bool) -> str:
    """Where a job stands, for the clerk."""
    if job.state is State.POLLING:
        if not job.triggers:
            return words("where.polling.unasked")
        time = words.time(job.triggers[-1].wall)
        if len(job.triggers) == 1:
            return words("where.polling", time=time)
        return words("where.polling.again", n=len(job.triggers), time=time)
    stopped = job.state is State.DOWNLOADING and not running
    return words(f"where.{job.state}.stopped" if stopped else f"where.{job.state}")


def next_look(job: Job, words: Phrasebook, policy: Policy, *, running: bool, orphan: bool = False) -> str:
    """When an unfinished job is looked at again; `orphan`: the manifest no longer has it."""
    if orphan:
        return words("next.orphan")
    if not running:
        return words("next.run")
    if job.state is not State.POLLING:
        return words("next.now")
    if not isinstance(job.spec, ExportSpec):
        return words("next.poll", pause=words.pause(policy.report_poll_interval_seconds))
    pause = words.pause(policy.export_poll_interval_seconds)
    if not job.triggers:
        return words("next.poll", pause=pause)
    time = words.time(hour_up(job, policy))
    return words(
        "next.poll.end" if last_trigger_spent(job, policy) else "next.poll.again", pause=pause, time=time
    )


def hour_up(job: Job, policy: Policy) -> datetime:
    """When the wait after the last trigger is over, by the wall clock: good enough to be told, not to decide."""
    return job.triggers[-1].wall + timedelta(seconds=policy.retrigger_after_seconds)


def last_trigger_spent(job: Job, policy: Policy) -> bool:
    """Whether no further trigger follows the wait."""
    return job.superseded_by is not None or len(job.triggers) - job.forgiven >= policy.max_triggers


def _trouble(job: Job, code: ErrorCode) -> str:
    """An export that has been here once is not unknown to Lucca, but gone."""
    once = isinstance(job.spec, ExportSpec) and job.downloaded_before
    return "gone" if once and code is ErrorCode.NOT_FOUND else code


def issues(job: Job) -> list[str]:
    """The keys of what a person has to see to: `error.…`, then `flag.…`."""
    error = [f"error.{_trouble(job, job.error.code)}"] if job.state is State.FAILED and job.error else []
    return error + [f"flag.{flag}" for flag in ACTIONS if flag in job.flags]
