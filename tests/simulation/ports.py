"""The runner's ports, at each of which it may die: between any two effects, before or after one.

Owns the death of a simulated process. Once dead, nothing of it has an effect any more: every port refuses. Also notes
what the program was shown of Lucca, which the sandbox alone cannot know. Must not judge.
"""

import functools
from collections.abc import Callable
from datetime import date
from typing import Any

from runner.clock import Instant
from runner.credentials import Secret
from runner.jobs.model import Job
from runner.journal import Happened, Spend, SqliteJournal
from runner.lucca import Request
from runner.output import Disk
from runner.transport import Answer, Stream, Transport
from tests.simulation.story import Ending
from tests.simulation.witness import Witness
from tests.streams import Followed


class SimulatedCrash(BaseException):
    """The process is gone: nothing after it happens."""


class Fate:
    """How one run ends: counts its effects, and kills or stops it where the story says."""

    def __init__(self, ending: Ending | None, witness: Witness, end: Callable[[str], None]) -> None:
        """`end` is called with `crash` or `stop` when the time has come."""
        self.dead = False
        self.effects = 0
        self._ending = ending
        self._witness = witness
        self._end = end
        self._counts: dict[str, int] = {}

    def point(self, what: str, kind: str, *, after: bool) -> None:
        """Here the process may die: before or after an effect of this kind."""
        if self.dead:
            raise SimulatedCrash
        if not after:
            self.effects += 1
        ending = self._ending
        if ending is None or ending.after is not after or ending.where not in ("effect", kind):
            return
        number = self._counts[ending.where] = self._counts.get(ending.where, 0) + 1
        if number == ending.number:
            self.happen(f"{'after' if after else 'before'} {what}")
            if self.dead:
                raise SimulatedCrash

    def happen(self, told: str) -> None:
        """The end comes now."""
        if self.dead or self._ending is None:
            return
        self._witness.note(self._ending.how, told)
        self.dead = self._ending.how == "crash"
        self._end(self._ending.how)


_WRITES = frozenset(
    {
        "create",
        "refresh_spec",
        "remember_template",
        "forget_template",
        "remember_trait",
        "first_nights",
        "start_night",
        "finish_night",
    }
)


class MortalJournal:
    """The journal of a process that may die before or after each write."""

    def __init__(self, journal: SqliteJournal, fate: Fate, witness: Witness) -> None:
        self._journal = journal
        self._fate = fate
        self._witness = witness
        self.epoch = journal.epoch

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._journal, name)
        if name not in _WRITES:
            return functools.partial(self._read, method)
        return functools.partial(self._write, name, method)

    async def _read(self, method: Callable[..., Any], *args: Any) -> Any:
        if self._fate.dead:
            raise SimulatedCrash
        return await method(*args)

    async def _write(self, name: str, method: Callable[..., Any], *args: Any) -> Any:
        self._fate.point(name, "write", after=False)
        result = await method(*args)
        self._witness.refreshed |= name == "refresh_spec"
        self._fate.point(name, "write", after=True)
        return result

    async def record(self, job: Job, night: date, happened: Happened) -> None:
        """Store a change, or die before or after."""
        told = f"recording {happened.event} of {job.label}"
        self._fate.point(told, "record", after=False)
        await self._journal.record(job, night, happened)
        self._witness.recorded(job, happened.event)
        self._fate.point(told, "record", after=True)

    async def spend(self, spend: Spend) -> None:
        """Store a spend, or die before or after."""
        self._fate.point("spending", "spend", after=False)
        await self._journal.spend(spend)
        self._fate.point("spending", "spend", after=True)

    async def recent_spends(self, now: Instant) -> dict[str, list[float]]:
        """As the journal has them."""
        return await self._journal.recent_spends(now)


class MortalSender:
    """The transport of a process that may die before a request, or with its answer in hand."""

    def __init__(self, transport: Transport, fate: Fate, witness: Witness) -> None:
        self._transport = transport
        self._fate = fate
        self._witness = witness

    async def send(self, domain: str, key: Secret, request: Request, left: Callable[[], None]) -> Answer:
        """Send, or die before or after."""
        kind = "trigger" if request.method == "POST" else "send"
        told = f"{request.method} {request.target[:60]}"
        self._fate.point(told, kind, after=False)
        self._witness.asked(domain, request)
        answer = await self._transport.send(domain, key, request, left)
        self._fate.point(told, kind, after=True)
        self._witness.shown(domain, request, answer)
        return answer

    async def download(self, domain: str, key: Secret, request: Request, left: Callable[[], None]) -> Stream:
        """Send and stream, or die before the request, with its head in hand, or after the last byte."""
        told = f"download {request.target[:60]}"
        self._fate.point(told, "download", after=False)
        stream = await self._transport.download(domain, key, request, left)
        try:
            self._fate.point(told, "download", after=False)
        except SimulatedCrash:
            async with stream:
                raise

        def ended(well: bool) -> None:
            if well:
                self._fate.point(told, "download", after=True)

        return Followed(stream, ended)


class MortalDisk(Disk):
    """The file system under a process that may die before any effect."""

    def __init__(self, fate: Fate) -> None:
        for name in [name for name in vars(Disk) if not name.startswith("_") and name != "close"]:
            setattr(self, name, functools.partial(self._effect, name, getattr(Disk, name), fate))

    def _effect(self, name: str, effect: Callable[..., Any], fate: Fate, *args: Any, **more: Any) -> Any:
        fate.point(name, "disk", after=False)
        result = effect(self, *args, **more)
        try:
            fate.point(name, "disk", after=True)
        except SimulatedCrash:
            if name.startswith(("open", "create")):
                self.close(result)  # the system closes what a dead process held
            raise
        return result
