"""Changes: what happens to the jobs of a run, one event at a time.

Owns the jobs as they stand, and the order of things: `jobs.advance` says what an event makes of a job, that is stored,
and only then known to anybody. Must not know what brings an event about, nor what follows from it.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import date
from typing import Protocol

import structlog
from msgspec.structs import replace

from runner.clock import Clock
from runner.jobs import events as ev
from runner.jobs import model as m
from runner.jobs.machine import advance
from runner.journal import Happened, happened
from runner.output import Output
from runner.turns import SpendPort

_log = structlog.get_logger("runner.changes")

Observer = Callable[[m.Job, m.Job, ev.Event], None]


class JournalPort(SpendPort, Protocol):
    """What a run asks of the journal."""

    async def record(self, job: m.Job, night: date, told: Happened) -> None:
        """Store a change, durably, before returning."""


class Changes:
    """The only caller of `advance` in a run.

    Attributes:
        jobs: every job of the run, as it stands now.
        touched: numbers of the jobs that something was recorded of.
    """

    def __init__(
        self,
        clock: Clock,
        journal: JournalPort,
        output: Output,
        night: date,
        observers: Sequence[Observer],
    ) -> None:
        """`observers` are told of every change."""
        self.jobs: dict[int, m.Job] = {}
        self.touched: set[int] = set()
        self._clock = clock
        self._journal = journal
        self._output = output
        self._night = night
        self._observers = observers
        self._log = _log.bind()

    async def happen(self, id_: int, event: ev.Event) -> m.Job:
        """Let the event happen to the job: stored first, then known."""
        before = self.jobs[id_]
        now = self._clock.now()
        after = advance(before, event, now)
        if replace(after, live=before.live) != before:  # what lives only in this run is not stored
            note = event.why if isinstance(event, ev.TriggerLetGo) else ""
            told = happened(type(event).__name__, before, after, now.wall, note)
            await self._journal.record(after, self._night, told)
            self.touched.add(id_)
        self.jobs[id_] = after
        if before.live.staged and not after.live.staged and not isinstance(event, ev.Placed):
            await self._discard((before,))
        if after.state is not before.state:
            self._tell(after)
        for observer in self._observers:
            try:
                observer(before, after, event)
            except Exception:  # noqa: BLE001 - who only looks on can never fail a run
                self._log.exception("observer.failed", job=after.label)
        return after

    async def put_away(self) -> None:
        """Downloads that wait beside their places are of no use to the next run, which asks for them again.

        On a full disk they may hold the very room in which to write that the night ended.
        """
        await self._discard(self.jobs.values())

    async def _discard(self, jobs: Iterable[m.Job]) -> None:
        temps = [temp for job in jobs for staged in job.live.staged for _, temp in staged.parts]
        if temps:
            await self._output.discard(temps)

    def _tell(self, job: m.Job) -> None:
        error = {} if job.error is None else {"error": job.error.code.value}
        self._log.info(f"{job.spec.kind}.{job.state}", tenant=job.spec.tenant, job=job.spec.name, **error)
