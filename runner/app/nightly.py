"""One night, from the plan to the page: builds the engine, lets it work, keeps the night's documents true.

The ports (clock, journal, transport, output, chance, keys) come in from outside, so that the same night runs
against the real world and in virtual time.
"""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import date, datetime
from functools import partial
from random import Random
from typing import Final
from zoneinfo import ZoneInfo

import anyio
import structlog

from runner.app.intake import Intake, take_in
from runner.app.memory import JournalMemory
from runner.app.selection import Selection
from runner.changes import Observer
from runner.clock import Clock, Instant
from runner.collector import uncollected
from runner.credentials import Secret
from runner.engine import Engine
from runner.errors import ManifestError, RunnerError, StorageError
from runner.jobs import model as m
from runner.jobs.agenda import Policy
from runner.journal import Journal, StaleHolderError
from runner.manifest import Manifest, Problem, Tenant
from runner.output import Output, PlaceError, sha256sums
from runner.plan import Planned, budgets, plan
from runner.summary import (
    BEGINNING_BYTES,
    Language,
    Night,
    TenantInfo,
    document_pieces,
    exit_code,
    outcome,
    page_pieces,
    says_running,
)
from runner.turns import Client, Limits, SenderPort

_log = structlog.get_logger("runner.night")

REWRITTEN_SECONDS: Final = 60.0
"""How often the night's documents are written anew while it runs."""
SEEN_SECONDS: Final = 2.0
"""When they are first written where those of a run that died say already that the night runs: after the first requests,
which would wait for the interpreter beside them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """The outside world of a night."""

    clock: Clock
    journal: Journal
    sender: SenderPort
    output: Output
    random: Random
    key: Callable[[Tenant], Awaitable[Secret]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What a night is asked to do.

    Attributes:
        manifest: the tenants.
        planned: what is due on `date`.
        selection: which of it.
        date: the batch date.
        policy: the waiting rules.
        limits: requests in flight.
        requests_per_minute: the budget of a domain whose tenant names none.
        deadline: stop then.
        timezone: of the times that people read.
        language: of the page.
    """

    manifest: Manifest
    planned: tuple[Planned, ...]
    selection: Selection
    date: date
    policy: Policy
    limits: Limits
    requests_per_minute: int
    deadline: datetime
    timezone: ZoneInfo
    language: Language = "fr"


class Nightly:
    """A night at work. `run` does it all; `stop` ends it early."""

    def __init__(
        self,
        ports: Ports,
        order: Order,
        observers: tuple[Observer, ...] = (),
        taken_in: Callable[[], None] = lambda: None,
    ) -> None:
        """Nothing is read or sent yet.

        Args:
            ports: the outside world.
            order: what to do.
            observers: are told of every change.
            taken_in: is called when what stays for the night was made, and before anything is sent.
        """
        self._taken_in = taken_in
        self._ports = ports
        self._order = order
        self._observers = observers
        self._intake = Intake()
        self._engine: Engine | None = None
        self._stopped: str | None = None
        self._started = ports.clock.now()
        self._finished: Instant | None = None

    async def run(self) -> int:
        """Run the night to its end and give the exit code.

        Raises:
            StorageError: the journal or the output failed; the documents say so where they still can be written.
        """
        ports, order = self._ports, self._order
        unclosed = await ports.journal.unclosed_nights()
        # Known before anything is written into its folder, so that what a crash leaves there is cleaned some day.
        await ports.journal.start_night(order.date, self._started.wall)
        await ports.output.prepare(order.date)
        await ports.output.clean([order.date])
        for died, started_at in unclosed.items():
            if died != order.date:
                await self._bury(died, started_at)
        engine = await self._take_in()
        try:
            # Before the first request a night must be seen as one that runs, for it may die at once. Where the run
            # before it died, it is seen so already.
            beginning = await ports.output.beginning(order.date, "run.json", BEGINNING_BYTES)
            seen = says_running(beginning)
            if not seen:
                await self.publish()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._rewrite, SEEN_SECONDS if seen else REWRITTEN_SECONDS)
                await engine.run(until_boot_seconds=self._deadline())
                tasks.cancel_scope.cancel()
        except Exception as caught:  # noqa: BLE001 - told, then raised
            # One job's fault never gets here; what does concerns the whole run.
            error = first_of(caught)
            self._stopped = error.code if isinstance(error, RunnerError) else "internal"
            self._finished = ports.clock.now()
            if not isinstance(error, StaleHolderError):
                await self._publish_if_possible()
            raise error from None
        self._finished = ports.clock.now()
        self._stopped = engine.reason or ("internal" if engine.crashed else None)
        if not await self.publish():
            self._stopped = self._stopped or "internal"
            await self.publish()  # what can be told says so
        await ports.journal.finish_night(order.date, self._finished.wall, outcome(self.night()))
        return self.exit_code()

    def stop(self, reason: str) -> None:
        """End the night early: what is in flight has a few seconds."""
        self._stopped = self._stopped or reason
        if self._engine is not None:
            self._engine.stop(reason)

    def exit_code(self) -> int:
        """Of the selected jobs as they stand."""
        takes, tags = self._order.selection.takes, {t.name: t.tags for t in self._order.manifest.tenants}
        chosen = [job for job in self.jobs() if takes(job.spec, tags.get(job.spec.tenant, ()))]
        orphans = self._intake.orphans
        return exit_code(jobs=chosen, orphans=orphans, problems=self.problems(), reason=self._stopped)

    def problems(self) -> list[Problem]:
        """The manifest's faults that concern the selection."""
        selection = self._order.selection
        return [p for p in self._order.manifest.problems if selection.concerns(p)]

    def jobs(self) -> list[m.Job]:
        """Every job that is due on this date or was worked on by a run of it, as it stands."""
        if self._engine is None:
            return []
        intake = self._intake
        due, worked_on = intake.due, intake.tonight | self._engine.touched
        listed = [
            job
            for jobs in (intake.untouched, self._engine.jobs)
            for id_, job in jobs.items()
            if id_ in worked_on or (id_ in due and not job.settled)
        ]
        told = {job.id for job in listed}
        return listed + [job for job in intake.unselected if job.id not in told and not job.settled]

    def night(self) -> Night:
        """The night as it is told."""
        order, now = self._order, self._ports.clock.now()
        return Night(
            date=order.date,
            started_at=self._started.wall,
            finished_at=None if self._finished is None else self._finished.wall,
            now=now.wall,
            jobs=self.jobs(),
            orphans=self._intake.orphans,
            problems=order.manifest.problems,
            notices=(*self._intake.notices, *(self._engine.announcements if self._engine else ())),
            tenants={
                t.name: TenantInfo(name=t.name, label=t.label, dossier=t.dossier, owner=t.owner)
                for t in order.manifest.tenants
            },
            reason=self._stopped,
            timezone=order.timezone,
            policy=order.policy,
        )

    async def publish(self) -> bool:
        """Write run.json, index.html and SHA256SUMS anew, each whole; whether all could be told."""
        return await self._publish(self.night())

    async def _publish(self, night: Night) -> bool:
        """Each by itself: a fault of ours in how the jobs are told costs neither them nor the other documents."""
        records = (r for job in night.jobs for r in job.files if r.placed)
        documents = {
            "SHA256SUMS": sha256sums(records, night.date),
            "index.html": page_pieces(night, self._order.language),
            "run.json": document_pieces(night),
        }
        told = True
        for name, pieces in documents.items():
            try:
                await self._ports.output.publish(night.date, name, pieces)
            except RunnerError:
                raise
            except Exception:  # noqa: BLE001 - whatever it is
                _log.exception("document.failed", document=name, night=night.date.isoformat())
                told = False
        return told

    async def _bury(self, died: date, started_at: datetime) -> None:
        """Clean up after a night that died, and tell what it had come to.

        What it finished in its last minute no other night lists.
        """
        journal, order, output = self._ports.journal, self._order, self._ports.output
        with suppress(PlaceError):  # somebody put its folder away, or closed it
            await output.clean([died])
        beginning = await output.beginning(died, "run.json", BEGINNING_BYTES)
        if says_running(beginning):  # else somebody put it away
            tonight, jobs = await journal.of_night(died)
            with suppress(ManifestError):  # today's entries may mean one job twice on another date
                due = await journal.find([p.spec.identity for p in plan(order.manifest, died)])
                jobs += [job for job in due.values() if job.id not in tonight and not job.settled]
            night = replace(self.night(), date=died, jobs=jobs, reason="died")
            night = replace(night, started_at=started_at, finished_at=self._started.wall)
            with suppress(StorageError):  # that night's trouble, not tonight's
                await self._publish(night)
        await journal.finish_night(died, self._started.wall, "died")

    async def _publish_if_possible(self) -> None:
        with suppress(Exception):  # the trouble itself is about to be raised
            await self.publish()

    async def _rewrite(self, first_seconds: float) -> None:
        await self._ports.clock.wait(first_seconds)
        while True:
            await self.publish()
            await self._ports.clock.wait(REWRITTEN_SECONDS)

    def _deadline(self) -> float:
        now = self._ports.clock.now()
        return now.boot_seconds + (self._order.deadline - now.wall).total_seconds()

    async def _take_in(self) -> Engine:
        """The engine with tonight's work. What it takes up is kept there, and not here too."""
        ports, order = self._ports, self._order
        with uncollected():  # what is made here stays for the night
            intake = await take_in(
                ports.journal,
                ports.output,
                order.manifest,
                order.planned,
                order.selection,
                order.date,
                self._started,
            )
            engine = await self._build(intake)
            self._taken_in()
        self._intake = replace(intake, taken=(), underway=())
        self._engine = engine
        return engine

    async def _build(self, intake: Intake) -> Engine:
        ports, order = self._ports, self._order
        now = ports.clock.now()
        spent = await ports.journal.recent_spends(now)
        engine = Engine(
            clock=ports.clock,
            journal=ports.journal,
            sender=ports.sender,
            output=ports.output,
            memory=JournalMemory(ports.journal, await ports.journal.traits()),
            client=partial(self._client, budgets(order.manifest, order.requests_per_minute), spent),
            policy=order.policy,
            limits=order.limits,
            night=order.date,
            random=ports.random,
            observers=self._observers,
        )
        engine.add(intake.taken, intake.underway)
        if self._stopped is not None:
            engine.stop(self._stopped)
        return engine

    def _client(self, per_minute: dict[str, int], spent: dict[str, list[float]], tenant: Tenant) -> Client:
        key = self._ports.key
        return Client(
            name=tenant.name,
            domain=tenant.domain,
            requests_per_minute=per_minute[tenant.domain],
            key=lambda: key(tenant),
            spent=tuple(spent.get(tenant.domain, ())),
        )


def first_of(error: Exception) -> Exception:
    """The error itself, out of the groups that task groups wrap around it: its exit code must be seen."""
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error
