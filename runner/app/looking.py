"""The verbs that only look: plan, check, status, explain, verify, schema. None sends anything or changes a job."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import date
from typing import Any

from runner.app.selection import Selection
from runner.app.setup import (
    batch_date,
    journal_path,
    manifest_of,
    output_of,
    policy_of,
    read_journal,
    settings_of,
)
from runner.app.tell import answer, say, table
from runner.clock import SystemClock
from runner.errors import ManifestError, UsageError
from runner.jobs.model import ExportSpec, Job, Spec
from runner.manifest import manifest_schema, warnings
from runner.plan import Planned
from runner.plan import plan as plan_night
from runner.settings import Settings
from runner.summary import Night, run_document, run_schema, status_table, story

_LEAST_EXPORT_REQUESTS = 3
_LEAST_REPORT_REQUESTS = 2


def plan(flags: dict[str, str], selection: Selection, date_text: str | None, *, as_json: bool) -> int:
    """`runner plan`: what would run, its end, how many requests and minutes."""
    settings = settings_of(flags)
    night = batch_date(date_text, settings)
    manifest = manifest_of(settings)
    planned = plan_night(manifest, night)
    selection.check(manifest)
    chosen = [p for p in planned if selection.takes(p.tenant.name, p.spec.name, p.spec.kind, p.tenant.tags)]
    states = _states(settings, [p.spec for p in chosen])
    rows = [_planned(p, states.get(p.spec.identity, "new")) for p in chosen]
    open_ = [p for p in chosen if states.get(p.spec.identity) not in ("downloaded", "skipped")]
    requests, minutes = _effort(open_, settings.requests_per_minute)
    problems = [p for p in manifest.problems if selection.takes_tenant(p.tenant)]
    if as_json:
        answer(
            {
                "date": night.isoformat(),
                "jobs": rows,
                "requests": requests,
                "minutes": minutes,
                "problems": [{"tenant": p.tenant, "message": p.message} for p in problems],
                "warnings": list(warnings(manifest, night)),
            }
        )
    else:
        table(
            ("job", "domain", "due", "asks for", "state"),
            [(f"{r['tenant']}/{r['name']}", r["domain"], r["due"], _asks(r), r["state"]) for r in rows],
        )
        for text in (*(p.message for p in problems), *(f"warning: {w}" for w in warnings(manifest, night))):
            say(text)
        say(
            f"{len(open_)} of {len(chosen)} jobs to do on {night.isoformat()}: at least {requests} requests, "
            f"{minutes} min by the budget of the busiest host"
        )
    return 3 if problems else 0


def _planned(p: Planned, state: str) -> dict[str, Any]:
    spec = p.spec
    row: dict[str, Any] = {
        "tenant": spec.tenant,
        "domain": spec.domain,
        "kind": spec.kind,
        "name": spec.name,
        "due": spec.due.isoformat(),
    }
    if isinstance(spec, ExportSpec):
        row |= {"configuration_id": spec.configuration_id, "ends_at": f"{spec.ends_at.isoformat()}T00:00:00"}
    else:
        row |= {
            "template_id": getattr(spec.template, "id", None),
            "starts_on": spec.starts_on.isoformat() if spec.starts_on else None,
            "ends_on": spec.ends_on.isoformat() if spec.ends_on else None,
        }
    return row | {"formats": list(spec.formats), "requests": _least(spec), "state": state}


def _asks(row: dict[str, Any]) -> str:
    if row["kind"] == "export":
        return f"all before {row['ends_at'][:10]}"
    return f"{row['starts_on']} to {row['ends_on']}" if row["starts_on"] else "the template's own period"


def _least(spec: Spec) -> int:
    if isinstance(spec, ExportSpec):
        return _LEAST_EXPORT_REQUESTS
    return _LEAST_REPORT_REQUESTS + len(spec.formats)


def _effort(planned: Iterable[Planned], requests_per_minute: int) -> tuple[int, int]:
    per_domain: Counter[str] = Counter()
    budgets: dict[str, int] = {}
    for p in planned:
        per_domain[p.spec.domain] += _least(p.spec)
        budget = p.tenant.requests_per_minute or requests_per_minute
        budgets[p.spec.domain] = min(budget, budgets.get(p.spec.domain, budget))
    minutes = max((math.ceil(n / budgets[domain]) for domain, n in per_domain.items()), default=0)
    return sum(per_domain.values()), minutes


def _states(settings: Settings, specs: Sequence[Spec]) -> dict[Any, str]:
    """What the journal knows of these; without a journal everything is new."""
    if not journal_path(settings).exists():
        return {}
    wanted = {spec.identity for spec in specs}
    with read_journal(settings) as journal:
        return {job.spec.identity: job.state.value for job in journal.jobs() if job.spec.identity in wanted}


def check(flags: dict[str, str], date_text: str | None, *, as_json: bool) -> int:
    """`runner check`: every fault and warning of the manifest. 2 for any fault."""
    settings = settings_of(flags)
    night = batch_date(date_text, settings)
    told: list[str] = []
    try:
        manifest = manifest_of(settings)
        faults = [problem.message for problem in manifest.problems]
        plan_night(manifest, night)
        told = list(warnings(manifest, night))
        tenants = len(manifest.tenants)
    except ManifestError as error:
        faults, tenants = list(error.faults), 0
    if as_json:
        answer({"ok": not faults, "tenants": tenants, "faults": faults, "warnings": told})
    else:
        for text in (*faults, *(f"warning: {w}" for w in told)):
            say(text)
        if not faults:
            say(f"{settings.manifest}: {tenants} tenants, no fault")
    return 2 if faults else 0


def status(flags: dict[str, str], selection: Selection, date_text: str | None, *, as_json: bool) -> int:
    """`runner status`: the jobs of a night as the journal has them."""
    settings = settings_of(flags)
    with read_journal(settings) as journal:
        night = batch_date(date_text, settings) if date_text else journal.latest_night()
        jobs = _chosen(journal.jobs(night=night), selection) if night else []
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
    say(f"{night.isoformat()}: {outcome}; {len(jobs)} jobs")
    return 0


def explain(flags: dict[str, str], label: str, date_text: str | None, *, as_json: bool) -> int:
    """`runner explain TENANT/JOB`: one job's story."""
    settings = settings_of(flags)
    tenant, slash, name = label.partition("/")
    if not (tenant and slash and name):
        raise UsageError(f"{label}: name the job as TENANT/JOB")
    with read_journal(settings) as journal:
        jobs = journal.jobs(tenant=tenant, name=name)
        if date_text:
            due = batch_date(date_text, settings)
            jobs = [job for job in jobs if job.spec.due <= due]
        if not jobs:
            raise UsageError(f"{label}: the journal knows no such job; `runner status` shows what there is")
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
    with read_journal(settings) as journal:
        night = batch_date(date_text, settings) if date_text else None
        jobs = _chosen(journal.jobs(night=night), selection)
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
        say(f"runner: {len(records)} files read, {len(found)} not as recorded")
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


def _chosen(jobs: Iterable[Job], selection: Selection) -> list[Job]:
    chosen = [j for j in jobs if selection.takes(j.spec.tenant, j.spec.name, j.spec.kind, ())]
    if not chosen and not selection.everything:
        raise UsageError("the selection matches no job of the journal")
    return chosen
