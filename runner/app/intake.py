"""What tonight's run takes up: the plan, matched with what the journal knows.

Owns the questions "is this job new, unfinished, failed for a reason that may be mended, owed a look, or done?".
Sends nothing, and changes no state itself: what opens a job again is handed to the engine as an event.
"""

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date

from msgspec import Struct
from msgspec.structs import replace

from runner.app.selection import Selection
from runner.arrivals import Taken
from runner.clock import Instant
from runner.jobs import agenda
from runner.jobs import events as ev
from runner.jobs import model as m
from runner.journal import Journal
from runner.manifest import Manifest, Tenant
from runner.output import Output
from runner.plan import Planned, by_domain, entry_of, missed_reports, owner_of, refreshed


class Candidate(Struct, frozen=True, gc=False):
    """A job that may be taken up: what it wants, and how it stands, is still to be looked into.

    Attributes:
        tenant: whose key and budget it uses.
        job: as the journal has it.
        planned: what tonight's plan wants, if it wants it.
    """

    tenant: Tenant
    job: m.Job
    planned: m.Spec | None = None


@dataclass(frozen=True, slots=True)
class Intake:
    """Tonight's work.

    Attributes:
        taken: the jobs that the engine takes up.
        underway: exports that were asked for once and that the selection leaves out: they may still be on their way.
        untouched: the jobs that the engine has nothing to do with, of those that are due or that earlier runs of this
            date worked on, by their numbers.
        unselected: jobs that are due but not selected, as the journal has them; unknown ones are pending with id 0.
        due: the numbers of all jobs that are due on this date and selected.
        tonight: the numbers of all jobs that earlier runs of this date worked on.
        orphans: the numbers of the jobs that no run goes on with by itself, since the manifest no longer asks for them.
        notices: what a person should know of the matching.
    """

    taken: tuple[Taken, ...] = ()
    underway: tuple[m.Job, ...] = ()
    untouched: Mapping[int, m.Job] = field(default_factory=dict)
    unselected: tuple[m.Job, ...] = ()
    due: frozenset[int] = frozenset()
    tonight: frozenset[int] = frozenset()
    orphans: frozenset[int] = frozenset()
    notices: tuple[str, ...] = ()


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
    known, unfinished = await journal.known([p.spec for p in (*chosen, *missed, *others)])
    missed_from, others_from = len(chosen), len(chosen) + len(missed)
    of_chosen, of_missed, of_others = known[:missed_from], known[missed_from:others_from], known[others_from:]
    # A missed report that the journal knows is no missed one: it is unfinished, or done, or failed, like any other job.
    unfinished += [job for job in (*of_missed, *of_others) if job is not None and not job.finished]
    news = [p for p, job in zip(missed, of_missed, strict=True) if job is None]
    going_on, candidates = await _due(journal, [*chosen, *news], [*of_chosen, *[None] * len(news)], night)
    due = frozenset([one.job.id for one in going_on] + [one.job.id for one in candidates])
    known_others = [job for job in of_others if job is not None]
    tonight, read = await journal.of_night(night, due.union([job.id for job in known_others]))
    # What an earlier run of this night finished has its files in tonight's folder, whatever its date.
    unfinished += [job for job in read if job.state is m.State.DOWNLOADED]
    earlier, unchosen, orphans = await _earlier(journal, manifest, selection, now, unfinished, due)
    opened, passed = await _open(output, await _refresh(journal, [*candidates, *earlier]), night, now)
    here = {candidate.job.id for candidate in earlier}
    untouched = (*passed, *known_others, *(job for job in read if job.id not in here))
    return Intake(
        taken=(*going_on, *opened),
        underway=tuple(
            job for job in (*unchosen, *known_others) if job.triggers and job.spec.kind == "export"
        ),
        untouched={job.id: job for job in untouched},
        unselected=tuple(
            m.Job(id=0, spec=p.spec) if job is None else job for p, job in zip(others, of_others, strict=True)
        ),
        due=due,
        tonight=tonight,
        orphans=frozenset([job.id for job, _ in orphans]),
        # A failed one of another night is no news.
        notices=tuple(
            _orphaned(job, owner) for job, owner in orphans if not job.finished or job.id in tonight
        ),
    )


def _split(planned: Iterable[Planned], selection: Selection) -> tuple[list[Planned], list[Planned]]:
    if selection.everything:
        return list(planned), []
    chosen: list[Planned] = []
    others: list[Planned] = []
    for p in planned:
        (chosen if selection.takes(p.spec, p.tenant.tags) else others).append(p)
    return chosen, others


async def _missed(
    journal: Journal, manifest: Manifest, chosen: Iterable[Planned], selection: Selection, night: date
) -> list[Planned]:
    reports = [(p.spec.domain, p.spec.name) for p in chosen if p.spec.kind == "report"]
    if not reports:
        return []
    first_nights = await journal.first_nights(reports, night)
    missed = missed_reports(manifest, night, first_nights)
    return [p for p in missed if selection.takes(p.spec, p.tenant.tags)]


async def _due(
    journal: Journal, planned: Iterable[Planned], known: Iterable[m.Job | None], night: date
) -> tuple[list[Taken], list[Candidate]]:
    """Each of the planned with its job, stored where it is new: those that go on as they are, and the others."""
    going_on: list[Taken] = []
    candidates: list[Candidate] = []
    news: list[Planned] = []
    for p, job in zip(planned, known, strict=True):
        if job is None:
            news.append(p)
        elif job.spec is p.spec and job.state not in m.FINISHED and not job.files:
            going_on.append(Taken(p.tenant, job))
        else:
            candidates.append(Candidate(p.tenant, job, p.spec))
    created = await journal.create([p.spec for p in news], night)
    candidates += [Candidate(p.tenant, job, p.spec) for p, job in zip(news, created, strict=True)]
    return going_on, candidates


async def _earlier(
    journal: Journal,
    manifest: Manifest,
    selection: Selection,
    now: Instant,
    unfinished: Iterable[m.Job],
    due: Container[int],
) -> tuple[list[Candidate], list[m.Job], list[tuple[m.Job, Tenant | None]]]:
    """Jobs of other dates that this run goes on with, and those that the selection leaves alone.

    And those that the manifest no longer asks for, each with whose it would be if it had been asked for already.
    """
    jobs = {
        job.id: job
        for job in (
            *unfinished,
            *await journal.failed_with(m.TAKEN_UP_AGAIN),
            *await journal.owing_a_look(now.wall - agenda.LOOK_BACK),
        )
        if job.id not in due
    }
    sharing = by_domain(manifest) if jobs else {}
    at_fault = {problem.tenant for problem in manifest.problems}
    found: list[Candidate] = []
    unchosen: list[m.Job] = []
    orphans: list[tuple[m.Job, Tenant | None]] = []
    for job in jobs.values():
        spec = job.spec
        tenants = sharing.get(spec.domain, ())
        owner = owner_of(tenants, spec, begun=job.begun)
        if owner is None:
            # What was downloaded is only not looked at any more.
            if job.state is not m.State.DOWNLOADED and spec.tenant not in at_fault:
                begun = owner_of(tenants, spec, begun=True)
                orphans.append((job, begun[0] if begun else None))
            continue
        tenant, entry = owner
        if selection.takes_entry(tenant.name, entry.name, spec.kind, tenant.tags):
            found.append(Candidate(tenant, job))
        else:
            unchosen.append(job)
    return found, unchosen, orphans


def _orphaned(job: m.Job, owner: Tenant | None) -> str:
    spec = job.spec
    told = f"{job.label} of {spec.due.isoformat()} is {job.state.value} and"
    if owner is None:
        meant = "tried again" if job.finished else "finished"
        why, to_do = "no longer in the manifest", f"Put it back into the manifest to have it {meant}"
    else:
        assert isinstance(spec, m.ExportSpec)  # noqa: S101 - of a report nothing else can have changed
        meant = "tried again" if job.finished else "made"
        if owner.since is not None and spec.ends_at < owner.since:
            why, to_do = "ends before its tenant's `since`", f"Move `since` back to have it {meant}"
        else:
            why = f"was to end before {spec.ends_at.isoformat()}; by now the manifest has another end for it"
            to_do = f"Put its `ends_at` back to have it {meant}"
    return f"{told} {why}: it is left alone. {to_do}, or set it aside with `runner skip {job.label}`."


async def _refresh(journal: Journal, candidates: Iterable[Candidate]) -> list[Candidate]:
    """Give each job what the manifest says today of its name, formats and template."""
    fresh: list[Candidate] = []
    changed: list[m.Job] = []
    for candidate in candidates:
        before = candidate.job.spec
        spec = before if candidate.planned is before else _told_today(candidate)
        if spec is before:
            fresh.append(candidate)
            continue
        job = replace(candidate.job, spec=spec)
        if spec != before and _stored(spec) != _stored(before):
            changed.append(job)
        fresh.append(Candidate(candidate.tenant, job))
    if changed:
        await journal.refresh_spec(changed)
    return fresh


def _told_today(candidate: Candidate) -> m.Spec:
    job, spec = candidate.job, candidate.job.spec
    if candidate.planned == spec:
        return candidate.planned  # the plan's own values, so that its texts are held once
    entry = entry_of(candidate.tenant, spec)
    return spec if entry is None else refreshed(candidate.tenant, entry, spec, asked=bool(job.remote_ids))


def _stored(spec: m.Spec) -> m.Spec:
    return replace(spec, template=None) if isinstance(spec, m.ReportSpec) else spec


async def _open(
    output: Output, candidates: Iterable[Candidate], night: date, now: Instant
) -> tuple[list[Taken], list[m.Job]]:
    """Those that the engine takes up, and the jobs of the others."""
    folder = f"{night.isoformat()}/"
    owed = [r for c in candidates if c.job.files for r in _owed(c.job, folder)]
    missing = frozenset(await output.missing(owed)) if owed else frozenset()
    taken: list[Taken] = []
    passed: list[m.Job] = []
    for candidate in candidates:
        job = candidate.job
        opening: ev.Event | None = None
        if lost := tuple(r.path for r in _owed(job, folder) if r.path in missing) if missing else ():
            opening = ev.FilesMissed(lost)
        elif job.taken_up_again:
            opening = ev.Reopened()
        if agenda.owes_a_look(job, now):
            job = agenda.looking(job)
        if opening is None and job.state in m.FINISHED and job.live.revisited:
            passed.append(job)
        else:
            taken.append(Taken(candidate.tenant, job, opening))
    return taken, passed


def _owed(job: m.Job, folder: str) -> list[m.FileRecord]:
    """The files of this job that have to stand when this run ends, and stood once.

    Of one that was downloaded those in this night's folder: what lies in older ones may have been taken away and paid,
    and must not come twice. Of one that never was, wherever they are: nobody was told yet that they had come.
    """
    if job.state is m.State.DOWNLOADED:
        return [r for r in job.files if r.path.startswith(folder)]
    if job.state in m.FINISHED and not job.taken_up_again:
        return []
    told = job.downloaded_before
    ids = job.remote_ids if isinstance(job.spec, m.ExportSpec) else job.remote_ids[-1:]
    return [
        r for r in job.files if r.placed and r.remote_id in ids and (not told or r.path.startswith(folder))
    ]
