"""Jobs and moments for the tests of `runner.jobs`, with the words to make something happen to them."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

from msgspec.structs import replace

from runner.clock import Instant
from runner.jobs import events as ev
from runner.jobs import model as m
from runner.jobs.machine import advance, stamp
from runner.journal import Journal

START = datetime(2026, 11, 24, 1, 0, tzinfo=UTC)
ENDS = "2026-11-23T00:00:00"
EARLIER = "2026-10-26T00:00:00"
LATER = "2026-11-30T00:00:00"

EXPORT = m.ExportSpec(
    tenant="acme",
    domain="acme.ilucca.net",
    name="payroll",
    due=date(2026, 11, 24),
    configuration_id=3,
    ends_at=date(2026, 11, 23),
    formats=("json", "csv"),
)
REPORT = m.ReportSpec(
    tenant="acme",
    domain="acme.ilucca.net",
    name="times",
    due=date(2026, 11, 24),
    template=m.TemplateId(12),
    starts_on=date(2026, 11, 1),
    ends_on=date(2026, 11, 30),
    formats=("csv", "excel"),
)
TEMPLATE = m.TemplateBody(b'{"id":0}', "ab" * 32)


def at(
    seconds: float, *, boot: str = "boot-1", boot_seconds: float | None = None, wall: float = 0.0
) -> Instant:
    """So many seconds into the night. `wall`: how far its clock is off; `boot_seconds`: since the start of `boot`."""
    return Instant(
        START + timedelta(seconds=seconds + wall),
        1000.0 + seconds if boot_seconds is None else boot_seconds,
        boot,
    )


def export(**changes: Any) -> m.Job:
    """An export job that nothing has happened to, but for these changes."""
    return m.Job(**{"id": 1, "spec": EXPORT, **changes})


def report(**changes: Any) -> m.Job:
    """A report job that nothing has happened to, but for these changes."""
    return m.Job(**{"id": 2, "spec": REPORT, **changes})


def happen(job: m.Job, *events: ev.Event, seconds: float = 0.0) -> m.Job:
    """The job after these, all at one moment."""
    for event in events:
        job = advance(job, event, at(seconds))
    return job


def listed(
    *items: int | tuple[int, str], complete: bool = True, server_date: datetime | None = None
) -> ev.Listed:
    """A list of exports: bare ids, or ids with their ends."""
    sightings = tuple(m.Sighting(i) if isinstance(i, int) else m.Sighting(*i) for i in items)
    return ev.Listed(sightings, complete, server_date)


def triggered(seconds: float = 0.0) -> ev.Triggered:
    """The intent was stored at that second."""
    return ev.Triggered(stamp(at(seconds)))


def let_go(seconds: float = 0.0) -> ev.TriggerLetGo:
    """The POST was let go at that second."""
    return ev.TriggerLetGo(stamp(at(seconds)), "timed out")


def answered(remote_id: int, seconds: float = 0.0) -> ev.TriggerAnswered:
    """The POST was answered at that second."""
    return ev.TriggerAnswered(remote_id, stamp(at(seconds)))


def failed(code: m.ErrorCode = m.ErrorCode.REJECTED) -> ev.Failed:
    """Something definite."""
    return ev.Failed(m.JobError(code, "it went wrong"))


def record(remote_id: int, format_: str = "json", *, placed: bool = False) -> m.FileRecord:
    """A file of that export or report."""
    path = f"2026-11-24/acme/job-{remote_id}.{format_}"
    return m.FileRecord(path, 10, "cd" * 32, remote_id, format_, placed)


def staged(
    remote_id: int, *formats: str, entries: int | None = 5, underived: tuple[str, ...] = ()
) -> m.Staged:
    """A download that waits beside its place; of an export unless `entries` is None."""
    parts = tuple((record(remote_id, f), f"tmp-{remote_id}.{f}") for f in formats or ("json", "csv"))
    content = None if entries is None else m.Content(remote_id, entries, EARLIER)
    return m.Staged(remote_id, parts, content, underived)


def put_in_place(job: m.Job) -> m.Job:
    """What is staged gets its names, then its places."""
    records = tuple(r for s in job.live.staged for r, _ in s.parts)
    return happen(job, ev.Named(records), ev.Placed(tuple(r.path for r in records)))


def downloaded(job: m.Job, *, entries: int = 5) -> m.Job:
    """A downloading export job with all its exports fetched and placed."""
    for remote_id in job.remote_ids:
        job = put_in_place(happen(job, ev.Fetched(staged(remote_id, entries=entries))))
    return job


def restarted(job: m.Job) -> m.Job:
    """The job as the next run reads it from the journal."""
    return replace(job, live=m.Live())


async def unfinished(journal: Journal) -> list[m.Job]:
    """Every job of the journal that is not downloaded, failed or skipped."""
    _, jobs = await journal.known(())
    return jobs
