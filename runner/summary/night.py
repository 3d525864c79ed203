"""A night as it is told. Owns what counts as finished well; must not know how it is written down."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Literal
from zoneinfo import ZoneInfo

from msgspec import Struct

from runner.jobs.agenda import Policy
from runner.jobs.model import Job, State
from runner.manifest.model import Problem

__all__ = [
    "Counts",
    "Night",
    "Outcome",
    "Problem",
    "TenantInfo",
    "counts",
    "ordered",
    "outcome",
]

Outcome = Literal["running", "ok", "failed", "incomplete"]

BROKEN = frozenset({"storage", "internal", "locked", "died"})
"""Reasons for which a night cannot be called good, even where every job it knew of is finished."""


class TenantInfo(Struct, frozen=True, gc=False, kw_only=True):
    """What people call a tenant."""

    name: str
    label: str | None = None
    dossier: str | None = None
    owner: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Night:
    """One batch date, as far as it has come.

    Attributes:
        date: the batch date; its name is the folder that run.json stands in.
        started_at: when the run began, the latest of this date.
        finished_at: when the run ended; None while it runs.
        now: when this is written.
        jobs: due on that date, or worked on by a run of it.
        orphans: numbers of the jobs that no run goes on with by itself, since the manifest no longer asks for them.
        problems: faults of the manifest that stopped a tenant.
        notices: what is told though it is no fault.
        tenants: what people call them, by name.
        reason: why it stopped early: `deadline`, `SIGTERM`, `SIGHUP`, `SIGINT`, `storage`, `internal`, `died`, or
            None.
        timezone: of the times that people read.
        policy: the waiting rules, to say when a job is asked for again.
    """

    date: date
    started_at: datetime
    finished_at: datetime | None
    now: datetime
    jobs: Sequence[Job]
    timezone: ZoneInfo
    orphans: frozenset[int] = frozenset()
    problems: Sequence[Problem] = ()
    notices: Sequence[str] = ()
    tenants: Mapping[str, TenantInfo] = field(default_factory=dict)
    reason: str | None = None
    policy: Policy = field(default_factory=Policy)


@dataclass(frozen=True, slots=True)
class Counts:
    """How many jobs ended how. Those that a person skipped are in none of them."""

    downloaded: int
    failed: int
    unfinished: int


def counts(jobs: Sequence[Job]) -> Counts:
    """How many of the jobs ended how."""
    return Counts(
        downloaded=sum(job.state is State.DOWNLOADED for job in jobs),
        failed=sum(job.state is State.FAILED for job in jobs),
        unfinished=sum(not job.finished for job in jobs),
    )


def outcome(night: Night) -> Outcome:
    """The night in one word, as run.json says it."""
    if night.finished_at is None:
        return "running"
    if any(not job.finished for job in night.jobs):
        return "incomplete"
    if night.problems or night.reason in BROKEN or any(job.needs_a_person for job in night.jobs):
        return "failed"
    return "ok"


def ordered(jobs: Sequence[Job]) -> list[Job]:
    """The jobs in the order in which they are always told: tenant, kind, name, due date."""
    return sorted(jobs, key=lambda job: (job.spec.tenant, job.spec.kind, job.spec.name, job.spec.due, job.id))
