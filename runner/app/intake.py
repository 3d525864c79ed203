"""What tonight's run takes up: the plan, matched with what the journal knows.

Owns the questions "is this job new, unfinished, failed for a reason that may be mended, owed a look, or done?".
Sends nothing, and changes no state itself: what opens a job again is handed to the engine as an event.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from msgspec import Struct
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


class Taken(Struct, frozen=True, gc=False):
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


class _Candidate(Struct, frozen=True, gc=False):
    """A job that may be taken up: as the journal has it, and as tonight's plan wants it, if it does."""

    tenant: Tenant
    job: m.Job
    planned: m.Spec | None = None


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
    identities = [p.spec.identity for p in (*chosen, *missed, *others)]
    known = await journal.find(identities)
    asked = list(zip((*chosen, *missed), identities, strict=False))
    # A missed report that the journal knows is no missed one: it is unfinished, or done, or failed, like any other job.
    wanted = asked[: len(chosen)] + [pair for pair in asked[len(chosen) :] if pair[1] not in known]
    news = [(p.spec, identity) for p, identity in wanted if identity not in known]
    created = await journal.create([spec for spec, _ in news], night)
    jobs = {**known, **{identity: job for (_, identity), job in zip(news, created, strict=True)}}
    due = [_Candidate(p.tenant, jobs[identity], p.spec) for p, identity in wanted]
    read = {job.id: job for job in jobs.values()}
    earlier, notices = await _earlier(
        journal, manifest, selection, now, frozenset(c.job.id for c in due), read
    )
    candidates = await _refresh(journal, [*due, *earlier])
    taken = await _open(output, candidates, night, now)
    told_anew = {c.job.id: c.job for c in candidates} | {t.job.id: t.job for t in taken}
    return Intake(
        taken=tuple(taken),
        due=tuple(told_anew[c.job.id] for c in due),
        beside=tuple(
            known.get(identity) or m.Job(id=0, spec=p.spec)
            for p, identity in zip(others, identities[len(asked) :], strict=True)
        ),
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
    due: frozenset[int],
    read: Mapping[int, m.Job],
) -> tuple[list[_Candidate], list[str]]:
    """Jobs of other dates that this run goes on with."""
    tenants: dict[str, list[Tenant]] = {}
    for tenant in manifest.tenants:
        tenants.setdefault(tenant.domain, []).append(tenant)
    at_fault = {problem.tenant for problem in manifest.problems}
    found: list[_Candidate] = []
    notices: list[str] = []
    seen = set(due)
    jobs = [
        *await journal.unfinished(read),
        *await journal.failed_with(m.TAKEN_UP_AGAIN),
        *await journal.owing_a_look(now.wall - agenda.LOOK_BACK),
    ]
    for job in jobs:
        if job.id in seen:
            continue
        seen.add(job.id)
        spec = job.spec
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
            found.append(_Candidate(owner, job))
    return found, notices


async def _refresh(journal: Journal, candidates: Sequence[_Candidate]) -> list[_Candidate]:
    """Give each job what the manifest says today of its name, formats and template."""
    fresh: list[_Candidate] = []
    changed: list[m.Job] = []
    for candidate in candidates:
        spec = _told_today(candidate)
        job = candidate.job
        if spec is not job.spec:
            job = replace(job, spec=spec)
            if spec != candidate.job.spec and _stored(spec) != _stored(candidate.job.spec):
                changed.append(job)
        fresh.append(_Candidate(candidate.tenant, job))
    if changed:
        await journal.refresh_spec(changed)
    return fresh


def _told_today(candidate: _Candidate) -> m.Spec:
    spec = candidate.job.spec
    if candidate.planned == spec:
        return candidate.planned  # the plan's own values, so that its texts are held once
    entry = entry_of(candidate.tenant, spec)
    return spec if entry is None else refreshed(candidate.tenant, entry, spec)


def _stored(spec: m.Spec) -> m.Spec:
    return replace(spec, template=None) if isinstance(spec, m.ReportSpec) else spec


def _taken_up_again(job: m.Job) -> bool:
    return job.state is m.State.FAILED and job.error is not None and job.error.code in m.TAKEN_UP_AGAIN


async def _open(output: Output, candidates: Sequence[_Candidate], night: date, now: Instant) -> list[Taken]:
    folder = f"{night.isoformat()}/"
    mine = [
        r
        for c in candidates
        if c.job.state is m.State.DOWNLOADED
        for r in c.job.files
        if r.path.startswith(folder)
    ]
    missing = frozenset(await output.present(mine)) if mine else frozenset()
    taken: list[Taken] = []
    for candidate in candidates:
        tenant, job = candidate.tenant, candidate.job
        if not job.finished:
            taken.append(Taken(tenant, job))
            continue
        if agenda.owes_a_look(job, now):
            job = agenda.looking(job)
        lost = tuple(record.path for record in job.files if record.path in missing)
        if lost:
            taken.append(Taken(tenant, job, ev.FilesMissed(lost)))
        elif _taken_up_again(job):
            taken.append(Taken(tenant, job, ev.Reopened()))
        elif not job.live.revisited:
            taken.append(Taken(tenant, job))
    return taken
