"""What the program asks of a journal, whatever stores it.

Owns the protocol, its values and the refusal of a stale holder. Must not know SQL, files or threads.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Protocol

from msgspec import Struct

from runner.clock import Instant
from runner.errors import RunnerError
from runner.jobs.model import ErrorCode, Identity, Job, Spec, State

RECENT_SECONDS = 70.0
"""At least so long a request weighs on its domain's budget."""


class StaleHolderError(RunnerError):
    """Another runner took the journal meanwhile. What this one tried to record was not written."""

    exit_code = 5
    code = "stale"


class Spend(Struct, frozen=True, gc=False):
    """One request that counts against a domain's budget, by both clocks."""

    domain: str
    boot_id: str
    boot_seconds: float
    wall: datetime


@dataclass(frozen=True, slots=True)
class EventRow:
    """One event of a job.

    Attributes:
        at: when it happened.
        night: the batch date it was recorded under.
        name: what happened.
        state: the state it entered, None when it changed none.
        note: a word for people.
        epoch: which holder recorded it.
    """

    at: datetime
    night: date
    name: str
    state: State | None
    note: str
    epoch: int


class Happened(Struct, frozen=True, gc=False):
    """An event to store: what happened, when, which state was entered, a word for people."""

    event: str
    at: datetime
    entered: State | None = None
    note: str = ""


def happened(event: str, before: Job, after: Job, at: datetime, note: str = "") -> Happened:
    """This event, that made the job `after` of `before`: it entered a state if that had another."""
    return Happened(event, at, None if after.state is before.state else after.state, note)


class Journal(Protocol):
    """What is known of every job, and survives.

    Jobs come in the order they were made, without `live`; of those made at once the first of each domain before the
    second of any.
    What a call has stored when it returns is on disk; only a `spend` need not outlive more than this process.
    """

    epoch: int
    """Of this holder; it grows by one each time somebody takes the journal."""

    async def known(self, wanted: Sequence[Spec]) -> tuple[list[Job | None], list[Job]]:
        """What is known of each wanted job, at its place; and all others that are not downloaded, failed or skipped.

        An unfinished one that wants what is wanted in every word holds that very value, so that nothing is held twice.
        """

    async def find(self, identities: Sequence[Identity]) -> dict[Identity, Job]:
        """Those of these jobs that the journal knows."""

    async def owing_a_look(self, since: datetime) -> list[Job]:
        """Finished exports to look at once more.

        These are the downloaded ones with several triggers, the last not before `since`, those that failed because
        no export appeared, and those that a later export overtook, their last trigger not before `since`.
        """

    async def failed_with(self, codes: Collection[ErrorCode]) -> list[Job]:
        """Failed jobs whose error has one of these codes."""

    async def of_night(
        self, night: date, known: frozenset[int] = frozenset()
    ) -> tuple[frozenset[int], list[Job]]:
        """The numbers of the jobs that were made in that night, or to which something happened in it.

        And those jobs, except the ones in `known`: they are not read again.
        """

    async def create(self, specs: Sequence[Spec], night: date) -> list[Job]:
        """One pending job per spec, in their order. A job whose identity is known already is returned as it is."""

    async def record(self, job: Job, night: date, told: Happened) -> None:
        """Store what became of a job together with the event that did it, both or neither.

        Raises:
            StaleHolderError: a newer holder has written this job; nothing was written.
        """

    async def refresh_spec(self, jobs: Sequence[Job]) -> None:
        """Store the specs of these jobs anew: the manifest changed what their identity leaves open."""

    async def spend(self, spend: Spend) -> None:
        """Remember a request."""

    async def recent_spends(self, now: Instant) -> dict[str, list[float]]:
        """By domain, when the requests were made that may still weigh on its budget at `now`: in seconds of this boot.

        These are the ones of the last 60 s of this boot, and of other boots those whose wall time lies within 60 s
        or ahead: they count from as long ago as it tells, at most from now.
        """

    async def template(self, domain: str, sha256: str) -> int | None:
        """The id of the template with this content, if it was made in this domain."""

    async def remember_template(self, domain: str, sha256: str, template_id: int) -> None:
        """Store the id of a template that was made."""

    async def forget_template(self, domain: str, sha256: str) -> None:
        """It is no longer usable."""

    async def traits(self) -> dict[tuple[str, str], str]:
        """What was learnt of the domains, by (domain, key)."""

    async def remember_trait(self, domain: str, key: str, value: str) -> None:
        """Store something learnt of a domain."""

    async def first_nights(
        self, reports: Sequence[tuple[str, str]], night: date
    ) -> dict[tuple[str, str], date]:
        """The first night in which each (domain, report name) was known. New ones are known from `night` on."""

    async def start_night(self, night: date, at: datetime) -> None:
        """A run of this night begins."""

    async def finish_night(self, night: date, at: datetime, outcome: str) -> None:
        """The night's run came to its end, or what it left was cleared away."""

    async def unclosed_nights(self) -> dict[date, datetime]:
        """Nights that were started and not finished, oldest first, each with its latest start.

        A crash may have left something in their folders.
        """

    async def events(self, job_id: int) -> list[EventRow]:
        """All that happened to one job, in order."""
