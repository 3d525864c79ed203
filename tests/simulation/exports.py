"""The promises about exports: none triggered that was there or on its way, each on disk or named, no hours left behind.

Owns what counts as broken of them, by the server's own records. Shared by the judge of a schedule and of a year.
"""

from collections import defaultdict
from itertools import pairwise
from math import inf
from typing import TYPE_CHECKING, Any, Final

from runner.jobs.agenda import FRESH_SECONDS
from runner.jobs.finding import LOOK_BACK_IDENTIFIED
from runner.jobs.model import ExportSpec, Flag, Job, State
from runner.lucca import LOOK_BACK
from runner.sandbox.records import ExportRecord, TriggerRecord
from tests.simulation.witness import Asked

if TYPE_CHECKING:
    from tests.simulation.play import Theatre

ROUNDING_SECONDS: Final = 0.001
LATE_SECONDS: Final = 100.0
"""How long after its sending a POST may still be carried out."""


def label(job: Job) -> str:
    return f"{job.spec.kind} {job.spec.domain} {job.spec.identity.subject}"


def was_done(job: Job) -> bool:
    return any(transition.state is State.DOWNLOADED for transition in job.history)


def ends(export: ExportRecord) -> str:
    return export.ends_at.date().isoformat()


def ledger(theatre: "Theatre", domain: str, configuration_id: int) -> list[ExportRecord]:
    return [
        export
        for export in theatre.world.exports(domain)
        if export.configuration_id == configuration_id and not export.archived
    ]


def an_hour_lies_between_triggers(theatre: "Theatre") -> None:
    if theatre.story.journal_forgot:
        return
    policy = theatre.story.policy
    executed: dict[tuple[Any, ...], list[TriggerRecord]] = defaultdict(list)
    for trigger in theatre.world.triggers:
        if trigger.executed:
            executed[trigger.domain, trigger.configuration_id, trigger.ends_at].append(trigger)
    for key, triggers in executed.items():
        most = policy.max_triggers * (1 + sum(run.retry for run in theatre.story.runs))
        if len(triggers) > most:
            theatre.witness.violated(f"{key} was triggered {len(triggers)} times, at most {most} are allowed")
        for first, second in pairwise(triggers):
            gap = second.at_seconds - first.at_seconds
            if gap < policy.retrigger_after_seconds - ROUNDING_SECONDS:
                theatre.witness.violated(f"{key} was triggered twice within {gap:.1f} s")


def nothing_was_triggered_below_the_ledger(theatre: "Theatre") -> None:
    """Of the POSTs that the witness still knows."""
    by_domain: dict[str, list[ExportRecord]] = {}
    bare = {tenant.domain: tenant.bare_lists for tenant in theatre.story.scenario.tenants}
    for asked in theatre.witness.asked_exports:
        what = f"{asked.domain} {asked.configuration_id}@{asked.ends_at[:10]} at {asked.at_seconds:.1f}"
        if asked.listed_seconds is None:
            theatre.witness.violated(f"{what} was triggered without a look at the list in that run")
        elif asked.at_seconds - asked.listed_seconds > FRESH_SECONDS:
            theatre.witness.violated(f"{what} was triggered on a look that was too old")
        if asked.domain not in by_domain:
            by_domain[asked.domain] = theatre.world.exports(asked.domain)
        for export in by_domain[asked.domain]:
            away_seconds = theatre.put_away.get((asked.domain, export.id), 0.0 if export.archived else inf)
            there = asked.at_seconds < away_seconds and not out_of_sight(
                export, by_domain[asked.domain], asked, bare=bare[asked.domain]
            )
            # Of one of the same end the list's own answer must have told, on whatever page it stood.
            long_there = export.at_seconds < (asked.listed_seconds or 0.0) - LATE_SECONDS
            missed = long_there and not bare[asked.domain] and ends(export) == asked.ends_at[:10]
            shown = export.id in asked.visible and ends(export) >= asked.ends_at[:10]
            if there and export.configuration_id == asked.configuration_id and (shown or missed):
                theatre.witness.violated(
                    f"{what} was triggered although export {export.id} until {ends(export)} was to be seen"
                )


def out_of_sight(export: ExportRecord, others: list[ExportRecord], asked: Asked, *, bare: bool) -> bool:
    """In a crowd: of a list only the last hundred are looked at, and where it tells no ends the last five."""
    crowd = [other.id for other in others if other.configuration_id == asked.configuration_id]
    newer = sum(id_ > export.id for id_ in crowd)
    return len(crowd) > LOOK_BACK and newer >= (LOOK_BACK_IDENTIFIED if bare else LOOK_BACK)


def every_export_is_accounted_for(theatre: "Theatre", jobs: list[Job]) -> None:
    last_look = min(
        (r.at_seconds for r in theatre.world.log if r.at_seconds >= theatre.last_start), default=0.0
    )
    named: dict[tuple[str, int], list[Job]] = defaultdict(list)
    told: set[tuple[str, int]] = set()
    for job in jobs:
        if isinstance(job.spec, ExportSpec):
            for id_ in job.remote_ids:
                named[job.spec.domain, id_].append(job)
            more = () if job.superseded_by is None else (job.superseded_by,)
            told |= {(job.spec.domain, id_) for id_ in (*job.foreign_ids, *more)}
    accounted = told | named.keys()
    for job in jobs:
        seen = theatre.witness.seen_waiting.get(job.spec.identity, ())
        untold = [id_ for id_ in sorted(seen) if (job.spec.domain, id_) not in accounted]
        if untold and job.state is State.DOWNLOADED and not theatre.story.journal_forgot:
            theatre.witness.violated(f"{label(job)} was shown {untold}, which are neither on disk nor named")
    by_identity = {(job.spec.domain, job.spec.identity.subject): job for job in jobs}
    for tenant in theatre.story.scenario.tenants:
        for export in theatre.world.exports(tenant.domain):
            key = (tenant.domain, export.id)
            owners = named.get(key, [])
            if len(owners) > 1:
                theatre.witness.violated(f"export {key} answers two jobs: {[label(o) for o in owners]}")
            # Of one that staff archived, maybe nothing but its POST's answer ever told.
            if owners or export.origin != "trigger" or key in told or key in theatre.put_away:
                continue
            ours = by_identity.get((tenant.domain, f"{export.configuration_id}@{ends(export)}"))
            if export.at_seconds < last_look and not may_be_overlooked(theatre, ours):
                theatre.witness.violated(
                    f"export {key} until {ends(export)} answers a POST of ours and is neither on disk nor named"
                )


def may_be_overlooked(theatre: "Theatre", job: Job | None) -> bool:
    """Twins of what a single trigger brought, or of what a journal forgot, are not looked for.

    Those of what the last run itself brought to its end are looked for by the next one.
    """
    if theatre.story.journal_forgot or job is None:
        return theatre.story.journal_forgot
    before = theatre.before.get(job.spec.identity)
    just_now = before is None or before.state is not State.DOWNLOADED
    return job.state is State.DOWNLOADED and (len(job.triggers) == 1 or just_now)


def no_hours_lie_behind_an_empty_answer(theatre: "Theatre", jobs: list[Job]) -> None:
    """Where nothing disturbed the looks of its run."""
    if theatre.story.journal_forgot or not all(how in ("exit 0", "exit 3") for how in theatre.endings):
        return
    for job in jobs:
        spec = job.spec
        empty = job.state is State.DOWNLOADED and not any(content.entries for content in job.contents)
        if not isinstance(spec, ExportSpec) or not empty or theatre.story.weather.get(spec.domain):
            continue
        exports = ledger(theatre, spec.domain, spec.configuration_id)
        ours = [export.at_seconds for export in exports if export.id in job.remote_ids]
        for export in exports:
            beside = ends(export) == spec.ends_at.isoformat() and export.id not in job.remote_ids
            if export.id in job.foreign_ids and Flag.EMPTY in job.flags:
                continue  # it could not be read: it is named, and a person is told that ours is empty
            if beside and export.entry_count and export.at_seconds < max(ours, default=0.0):
                theatre.witness.violated(
                    f"{label(job)} is empty: the hours are in {export.id}, and nobody says so"
                )
