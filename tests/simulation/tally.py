"""What a schedule met, so that nobody need believe that a campaign is hard: it is counted.

Owns the names of the troubles. Reads the story and what came of it; judges nothing.
"""

from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING

from runner.jobs.model import State
from runner.lucca import LOOK_BACK

if TYPE_CHECKING:
    from tests.simulation.play import Theatre


def met(theatre: "Theatre") -> Counter[str]:
    """How often each trouble was met in this schedule."""
    story, witness, world = theatre.story, theatre.witness, theatre.world
    counts: Counter[str] = Counter(f"fault: {name}" for name in theatre.faults)
    counts["run"] = len(theatre.endings)
    counts["request"] = len(world.log)
    for how in theatre.endings:
        counts["crash" if how == "died" else how] += 1
    counts["crash of a recovery"] = sum(
        first == second == "died" for first, second in pairwise(theatre.endings)
    )
    for run in story.runs:
        counts["reboot"] += run.reboot
        counts["clock step"] += bool(run.wall_step_seconds)
        counts["clock set back"] += run.wall_step_seconds < 0
        counts[f"journal {run.journal}"] += run.journal != "kept"
        counts["retried by a person"] += run.retry
        counts["key not to be had"] += bool(run.keyless)
    counts["file lost"] = len(theatre.lost_files)
    counts["archived by staff"] = len(theatre.put_away)
    counts["crossed by staff"] = story.crossed
    counts["crowd of strangers"] = any(len(host.staff_exports) > LOOK_BACK for host in story.scenario.tenants)
    counts["unread for a while"] = any(
        trigger.unread_seconds
        for host in story.scenario.tenants
        for configuration in host.configurations
        for trigger in configuration.triggers
    )
    ours = {(trigger.domain, trigger.configuration_id, trigger.ends_at) for trigger in world.triggers}
    counts["trigger executed"] = sum(trigger.executed for trigger in world.triggers)
    counts["triggered again"] = counts["trigger executed"] - len(
        {(t.domain, t.configuration_id, t.ends_at) for t in world.triggers if t.executed}
    )
    for host in story.scenario.tenants:
        counts["staff export"] += sum(e.origin == "staff" for e in world.exports(host.domain))
        made = Counter(
            (host.domain, e.configuration_id, e.ends_at.strftime("%Y-%m-%dT%H:%M:%S"))
            for e in world.exports(host.domain)
            if e.origin == "trigger"
        )
        counts["twins of ours"] += sum(number > 1 for key, number in made.items() if key in ours)
    for eviction in world.evictions:
        counts[f"report evicted by {eviction.by}"] += eviction.unfinished or eviction.by == "client"
    for job in theatre.jobs:
        counts[f"{job.spec.kind} job"] += 1
        counts["job downloaded"] += job.state is State.DOWNLOADED
        for flag in job.flags:
            counts[f"flag: {flag.value}"] += 1
        if job.error is not None:
            counts[f"error: {job.error.code.value}"] += 1
    counts["post of a report"] = sum(r.kind == "report.create" for r in world.log)
    counts["host shared by tenants"] = len(story.manifest.tenants) - len(story.scenario.tenants)
    counts["several hosts"] = len(story.scenario.tenants) > 1
    counts["record"] = witness.records
    return +counts
