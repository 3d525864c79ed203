"""What tonight's run takes up: the plan, matched with what the journal knows.

Owns the questions "is this job new, unfinished, failed for a reason that may be mended, owed a look, or done?".
Sends nothing, and changes no state itself: what opens a job again is handed to the engine as an event.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from msgspec.structs import replace

from runner.app.selection import Selection
from runner.clock import Instant
from runner.jobs import agenda
from runner.jobs import events as ev
from runner.jobs import model as m
from runner.journal import Journal
from runner.manifest import Manifest, Tenant
from runner.output import Output
from runner.plan import Planned, entry_of, missed_reports, refreshed


@dataclass(frozen=True, slots=True)
class Taken:
    """A job for the engine, and the event that opens it again, if one does."""

    tenant: Tenant
    job: m.Job
    opening: ev.Event | None = None


@dataclass(frozen=True, slots=True)
class Intake:
    """Tonight's work.

    Attributes:
        taken: the jobs that the engine takes up.
        due: every job that is due on this date and selected, as the journal has it.
        beside: jobs that are due but not selected, as the journal has them; unknown ones are pending with id 0.
        earlier_tonight: jobs that earlier runs of this date worked on.
        notices: what a person should know of the matching.
    """

    taken: tuple[Taken, ...]
    due: tuple[m.Job, ...]
    beside: tuple[m.Job, ...]
    earlier_tonight: tuple[m.Job, ...]
    notices: tuple[str, ...]


async def take_in(
    journal: Journal,
    output: Output,
    manifest: Manifest,
    planned: Sequence[Planned],
    selection: Selection,
    night: date,
    now: Instant,
) -> Intake:
    """Match the plan with the journal; new jobs are stored as pending."""
    chosen, others = _split(planned, selection)
    missed = await _missed(journal, manifest, chosen, selection, night)
    known = await journal.find([p.spec.identity for p in (*chosen, *missed, *others)])
    # A missed report that the journal knows is no missed one: it is unfinished, or done, or failed, like any other job.
    wanted = [*chosen, *(p for p in missed if p.spec.identity not in known)]
    created = await journal.create([p.spec for p in wanted if p.spec.identity not in known], night)
    jobs = {**known, **{job.spec.identity: job for job in created}}
    due = {p.spec.identity: (p.tenant, jobs[p.spec.identity]) for p in wanted}
    read = {job.id: job for job in jobs.values()}
    earlier, notices = await _earlier(journal, manifest, selection, now, set(due), read)
    candidates = await _refresh(journal, [*due.values(), *earlier])
    taken = await _open(output, candidates, night, now)
    by_id = {t.job.id: t.job for t in taken}
    told_anew = {job.id: job for _, job in candidates}
    return Intake(
        taken=tuple(taken),
        due=tuple(by_id.get(job.id, job) for _, job in due.values()),
        beside=tuple(known.get(p.spec.identity, m.Job(id=0, spec=p.spec)) for p in others),
        earlier_tonight=tuple(await journal.of_night(night, {**read, **told_anew})),
        notices=tuple(notices),
    )


def _split(planned: Iterable[Planned], selection: Selection) -> tuple[list[Planned], list[Planned]]:
    chosen: list[Planned] = []
    others: list[Planned] = []
    for p in planned:
        takes = selection.takes(p.tenant.name, p.spec.name, p.spec.kind, p.tenant.tags)
        (chosen if takes else others).append(p)
    return chosen, others


async def _missed(
    journal: Journal, manifest: Manifest, chosen: Iterable[Planned], selection: Selection, night: date
) -> list[Planned]:
    reports = [(p.spec.domain, p.spec.name) for p in chosen if isinstance(p.spec, m.ReportSpec)]
    first_nights = await journal.first_nights(reports, night) if reports else {}
    return [
        p
        for p in missed_reports(manifest, night, first_nights)
        if selection.takes(p.tenant.name, p.spec.name, p.spec.kind, p.tenant.tags)
    ]


async def _earlier(
    journal: Journal,
    manifest: Manifest,
    selection: Selection,
    now: Instant,
    due: set[m.Identity],
    read: Mapping[int, m.Job],
) -> tuple[list[tuple[Tenant, m.Job]], list[str]]:
    """Jobs of other dates that this run goes on with."""
    tenants: dict[str, list[Tenant]] = {}
    for tenant in manifest.tenants:
        tenants.setdefault(tenant.domain, []).append(tenant)
    at_fault = {problem.tenant for problem in manifest.problems}
    found: list[tuple[Tenant, m.Job]] = []
    notices: list[str] = []
    seen: set[int] = set()
    jobs = [
        *await journal.unfinished(read),
        *await journal.failed_with(m.TAKEN_UP_AGAIN),
        *await journal.owing_a_look(now.wall - agenda.LOOK_BACK),
    ]
    for job in jobs:
        spec = job.spec
        if spec.identity in due or job.id in seen:
            continue
        seen.add(job.id)
        sharing = sorted(tenants.get(spec.domain, ()), key=lambda t: t.name != spec.tenant)
        owner = next((t for t in sharing if entry_of(t, spec) is not None), None)
        if owner is None:
            if not job.finished and spec.tenant not in at_fault:
                notices.append(
                    f"{job.label} of {spec.due.isoformat()} is {job.state.value} and no longer in the manifest: "
                    "it is left alone. Put it back into the manifest to have it finished."
                )
            continue
        entry = entry_of(owner, spec)
        assert entry is not None  # noqa: S101 - just found
        if selection.takes(owner.name, entry.name, spec.kind, owner.tags):
            found.append((owner, job))
    return found, notices


async def _refresh(journal: Journal, pairs: Sequence[tuple[Tenant, m.Job]]) -> list[tuple[Tenant, m.Job]]:
    """Give each job what the manifest says today of its name, formats and template."""
    fresh: list[tuple[Tenant, m.Job]] = []
    changed: list[m.Job] = []
    for tenant, job in pairs:
        entry = entry_of(tenant, job.spec)
        spec = job.spec if entry is None else refreshed(tenant, entry, job.spec)
        if spec != job.spec:
            if _stored(spec) != _stored(job.spec):
                changed.append(replace(job, spec=spec))
            job = replace(job, spec=spec)  # noqa: PLW2901 - the same job, told anew
        fresh.append((tenant, job))
    if changed:
        await journal.refresh_spec(changed)
    return fresh


def _stored(spec: m.Spec) -> m.Spec:
    return replace(spec, template=None) if isinstance(spec, m.ReportSpec) else spec


def _taken_up_again(job: m.Job) -> bool:
    return job.state is m.State.FAILED and job.error is not None and job.error.code in m.TAKEN_UP_AGAIN


async def _open(
    output: Output, pairs: Sequence[tuple[Tenant, m.Job]], night: date, now: Instant
) -> list[Taken]:
    folder = f"{night.isoformat()}/"
    mine = [
        r
        for _, job in pairs
        if job.state is m.State.DOWNLOADED
        for r in job.files
        if r.path.startswith(folder)
    ]
    missing = frozenset(await output.present(mine)) if mine else frozenset()
    taken: list[Taken] = []
    for tenant, job in pairs:
        if agenda.owes_a_look(job, now):
            job = agenda.looking(job)  # noqa: PLW2901 - the same job, with a look to take
        lost = tuple(record.path for record in job.files if record.path in missing)
        if not job.finished:
            taken.append(Taken(tenant, job))
        elif lost:
            taken.append(Taken(tenant, job, ev.FilesMissed(lost)))
        elif _taken_up_again(job):
            taken.append(Taken(tenant, job, ev.Reopened()))
        elif not job.live.revisited:
            taken.append(Taken(tenant, job))
    return taken
