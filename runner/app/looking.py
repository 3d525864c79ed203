"""The verbs that look at what was done: status, explain, verify; and schema. None sends anything or changes a job."""

from datetime import date
from typing import Any

from runner.app.selection import Selection, tenant_and_name
from runner.app.setup import batch_date, settings_of
from runner.app.stores import jobs_named, output_of, policy_of, read_journal
from runner.app.tell import answer, counted, say, table
from runner.clock import SystemClock
from runner.errors import UsageError
from runner.jobs.model import Job
from runner.journal import JournalReader
from runner.manifest import manifest_schema
from runner.settings import Settings
from runner.summary import Night, run_document, run_schema, status_table, story


def status(flags: dict[str, str], selection: Selection, date_text: str | None, *, as_json: bool) -> int:
    """`runner status`: the jobs of a night as the journal has them."""
    settings = settings_of(flags)
    wanted = batch_date(date_text, settings) if date_text else None
    with read_journal(settings) as journal:
        night = wanted or journal.latest_night()
        jobs = _chosen(journal, night, selection) if night else []
        run = next((row for row in journal.nights() if row.night == night), None)
    if as_json:
        outcome = (run.outcome or "running") if run else None
        documents = [_document(job, night, settings) for job in jobs] if night else []
        answer({"date": night.isoformat() if night else None, "outcome": outcome, "jobs": documents})
        return 0
    if night is None:
        say("runner: no night was run yet")
        return 0
    told = status_table(jobs, settings.language, timezone=settings.timezone)
    table(told.columns, told.rows)
    outcome = (run.outcome or "running, or it died") if run else "not run"
    say(f"{night.isoformat()}: {outcome}; {counted(len(jobs), 'job')}")
    return 0


def explain(flags: dict[str, str], label: str, date_text: str | None, *, as_json: bool) -> int:
    """`runner explain TENANT/JOB`: one job's story."""
    settings = settings_of(flags)
    tenant, name = tenant_and_name(label)
    latest = batch_date(date_text, settings) if date_text else date.max
    with read_journal(settings) as journal:
        jobs = [job for job in jobs_named(journal, tenant, name) if job.spec.due <= latest]
        if not jobs:
            raise UsageError(f"{label}: none was due by {latest}; leave --date out for the latest")
        job = max(jobs, key=lambda job: (job.spec.due, job.id))
        events = journal.events(job.id)
    now, language = SystemClock().now(), settings.language
    text = story(job, events, language, now=now, timezone=settings.timezone, policy=policy_of(settings))
    if as_json:
        answer(
            {
                "job": _document(job, job.spec.due, settings),
                "events": [
                    {
                        "at": event.at.isoformat().replace("+00:00", "Z"),
                        "night": event.night.isoformat(),
                        "event": event.name,
                        "state": event.state,
                        "note": event.note,
                    }
                    for event in events
                ],
                "story": text,
            }
        )
    else:
        say(text)
    return 0


def verify(flags: dict[str, str], selection: Selection, date_text: str | None, *, as_json: bool) -> int:
    """`runner verify`: hash every file again. 3 if one is not as recorded."""
    settings = settings_of(flags)
    night = batch_date(date_text, settings) if date_text else None
    with read_journal(settings) as journal:
        jobs = _chosen(journal, night, selection)
    owners = {record.path: job for job in jobs for record in job.files if record.placed}
    records = [record for job in jobs for record in job.files if record.placed]
    found = [
        {"job": owners[path].label, "path": path, "problem": problem}
        for path, problem in output_of(settings).verify(records)
    ]
    if as_json:
        answer({"ok": not found, "files": len(records), "found": found})
    else:
        for row in found:
            say(f"{row['path']} ({row['job']}): {row['problem']}")
        say(f"runner: {counted(len(records), 'file')} read, {len(found)} not as recorded")
    return 3 if found else 0


def schema(what: str) -> int:
    """`runner schema`: of the manifest, or of run.json."""
    answer(run_schema() if what == "run" else manifest_schema())
    return 0


def _document(job: Job, night: date, settings: Settings) -> dict[str, Any]:
    """The job as run.json of that night tells it."""
    now = SystemClock().now().wall
    told = Night(
        date=night, started_at=now, finished_at=None, now=now, jobs=[job], timezone=settings.timezone
    )
    document: dict[str, Any] = run_document(told)["jobs"][0]
    return document


def _chosen(journal: JournalReader, night: date | None, selection: Selection) -> list[Job]:
    jobs = journal.jobs(night=night)
    chosen = [job for job in jobs if selection.takes(job.spec, ())]
    if selection.only:
        selection.refuse_unknown(job.spec for job in (jobs if night is None else journal.jobs()))
    if not chosen and not selection.everything:
        raise UsageError("the selection matches no job of the journal")
    return chosen
