"""The verbs that look at the manifest: plan and check. Neither sends or writes anything.

They import as little as they can: on a small manifest that is nearly all they cost.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any

from runner.app.selection import Selection
from runner.app.setup import batch_date, journal_path, manifest_of, settings_of
from runner.app.tell import answer, counted, say, table
from runner.collector import uncollected
from runner.errors import ManifestError
from runner.jobs.model import ExportSpec, Identity, Spec
from runner.manifest import Manifest, warnings
from runner.plan import Planned, budgets, by_domain, missed_reports, owner_of, refreshed, twins_to_come
from runner.plan import plan as plan_night
from runner.settings import Settings

_LEAST_EXPORT_REQUESTS = 3
_LEAST_REPORT_REQUESTS = 2


@uncollected()
def plan(flags: dict[str, str], selection: Selection, date_text: str | None, *, as_json: bool) -> int:
    """`runner plan`: what would run, what earlier nights left included, its end, how many requests and minutes."""
    settings = settings_of(flags)
    night = batch_date(date_text, settings)
    manifest = manifest_of(settings)
    planned = plan_night(manifest, night)
    selection.check(manifest)
    states, earlier = _known(settings, manifest, planned, night)
    chosen = [p for p in (*planned, *earlier) if selection.takes(p.spec, p.tenant.tags)]
    rows = [(p.spec, states.get(p.spec.identity, "new") if states else "new") for p in chosen]
    open_ = [spec for spec, state in rows if state not in ("downloaded", "skipped")]
    requests, minutes = _effort(open_, budgets(manifest, settings.requests_per_minute))
    problems = [p for p in manifest.problems if selection.concerns(p)]
    warned = [*warnings(manifest, night), *twins_to_come(manifest, night)]
    if as_json:
        answer(
            {
                "date": night.isoformat(),
                "jobs": [_document(spec, state) for spec, state in rows],
                "requests": requests,
                "minutes": minutes,
                "problems": [{"tenant": p.tenant, "message": p.message} for p in problems],
                "warnings": warned,
            }
        )
    else:
        table(
            ("job", "domain", "due", "asks for", "state"),
            [
                (f"{spec.tenant}/{spec.name}", spec.domain, spec.due.isoformat(), _asks(spec), state)
                for spec, state in rows
            ],
        )
        for text in (*(p.message for p in problems), *(f"warning: {w}" for w in warned)):
            say(text)
        say(
            f"{len(open_)} of {counted(len(chosen), 'job')} to do on {night.isoformat()}: "
            f"at least {counted(requests, 'request')}, "
            f"{minutes} min by the budget of the busiest host"
        )
    return 3 if problems else 0


def _document(spec: Spec, state: str) -> dict[str, Any]:
    if isinstance(spec, ExportSpec):
        asked: dict[str, Any] = {
            "configuration_id": spec.configuration_id,
            "ends_at": f"{spec.ends_at.isoformat()}T00:00:00",
        }
    else:
        asked = {
            "template_id": getattr(spec.template, "id", None),
            "starts_on": spec.starts_on.isoformat() if spec.starts_on else None,
            "ends_on": spec.ends_on.isoformat() if spec.ends_on else None,
        }
    return {
        "tenant": spec.tenant,
        "domain": spec.domain,
        "kind": spec.kind,
        "name": spec.name,
        "due": spec.due.isoformat(),
        **asked,
        "formats": list(spec.formats),
        "requests": _least(spec),
        "state": state,
    }


def _asks(spec: Spec) -> str:
    if isinstance(spec, ExportSpec):
        return f"all before {spec.ends_at.isoformat()}"
    return f"{spec.starts_on} to {spec.ends_on}" if spec.starts_on else "the template's own period"


def _least(spec: Spec) -> int:
    if isinstance(spec, ExportSpec):
        return _LEAST_EXPORT_REQUESTS
    return _LEAST_REPORT_REQUESTS + len(spec.formats)


def _effort(specs: Iterable[Spec], per_minute: Mapping[str, int]) -> tuple[int, int]:
    """How many requests, and how many minutes by the budget of the host that takes longest."""
    per_domain: Counter[str] = Counter()
    for spec in specs:
        per_domain[spec.domain] += _least(spec)
    minutes = max((math.ceil(n / per_minute[domain]) for domain, n in per_domain.items()), default=0)
    return sum(per_domain.values()), minutes


def _known(
    settings: Settings, manifest: Manifest, planned: Iterable[Planned], night: date
) -> tuple[dict[Identity, str], list[Planned]]:
    """How each job stands in the journal, and what is made up for of earlier nights: reports missed, jobs left."""
    if not journal_path(settings).exists():
        return {}, []
    from runner.app.stores import read_journal  # noqa: PLC0415 - only where there is one

    with read_journal(settings) as journal:
        jobs, first_nights = journal.jobs(), journal.first_nights()
    states = {job.spec.identity: job.state.value for job in jobs}
    earlier = [p for p in missed_reports(manifest, night, first_nights) if p.spec.identity not in states]
    due = {p.spec.identity for p in planned}
    left = [j for j in jobs if (j.taken_up_again or not j.finished) and j.spec.identity not in due]
    sharing = by_domain(manifest) if left else {}
    for job in left:
        owner = owner_of(sharing.get(job.spec.domain, ()), job.spec, begun=job.begun)
        if owner is not None:
            earlier.append(Planned(owner[0], refreshed(*owner, job.spec, asked=bool(job.remote_ids))))
    return states, earlier


@uncollected()
def check(flags: dict[str, str], date_text: str | None, *, as_json: bool) -> int:
    """`runner check`: every fault and warning of the manifest. 2 for any fault."""
    settings = settings_of(flags)
    night = batch_date(date_text, settings)
    warned: list[str] = []
    try:
        manifest = manifest_of(settings)
        faults = [problem.message for problem in manifest.problems]
        plan_night(manifest, night)
        warned = [*warnings(manifest, night), *twins_to_come(manifest, night)]
        tenants = len(manifest.tenants)
    except ManifestError as error:
        faults, tenants = list(error.faults), 0
    if as_json:
        answer({"ok": not faults, "tenants": tenants, "faults": faults, "warnings": warned})
    else:
        for text in (*faults, *(f"warning: {w}" for w in warned)):
            say(text)
        if not faults:
            say(f"{settings.manifest}: {counted(tenants, 'tenant')}, no fault")
    return 2 if faults else 0
