"""Plays one story with the real program: night, engine, client, journal and files against the sandbox, in virtual time.

Owns the theatre: the clocks, the folder, one run after the other, and what becomes of them. What is a broken promise is
said by `witness` (on the spot) and `judge` (afterwards).
"""

import asyncio
import os
import shutil
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, timedelta
from pathlib import Path
from random import Random
from typing import Final, TypeVar
from zoneinfo import ZoneInfo

from runner.app.nightly import Nightly, Order, Ports
from runner.app.selection import Selection
from runner.credentials import CredentialError, Secret
from runner.errors import RunnerError
from runner.jobs.events import Retried
from runner.jobs.machine import advance, stamp
from runner.jobs.model import ErrorCode, Identity, Job
from runner.journal import JournalReader, SqliteJournal, happened
from runner.journal import hold as hold_journal
from runner.manifest.model import Tenant
from runner.output import Output
from runner.plan import plan
from runner.sandbox import StaffExport, World
from runner.sandbox.faults import Fault
from runner.sandbox.records import RequestRecord
from runner.transport import Transport
from tests.simulation import judge, tally
from tests.simulation.ports import Fate, MortalDisk, MortalJournal, MortalSender, SimulatedCrash
from tests.simulation.rarities import befall
from tests.simulation.stage import perform
from tests.simulation.story import Run, Size, Story, tell
from tests.simulation.witness import Witness
from tests.virtual import VirtualConnector, VirtualSandbox

T = TypeVar("T")

STOPS_WITHIN_SECONDS: Final = 10.0
PUBLISHED: Final = frozenset({"run.json", "index.html", "SHA256SUMS"})
_PARIS: Final = ZoneInfo("Europe/Paris")
PAGES_ONE_IN: Final = 10
"""In so many schedules one page is drawn and one run.json validated: either costs as much as the rest of a night."""


@dataclass(frozen=True, slots=True)
class Report:
    """What came of one schedule.

    Attributes:
        seed: its seed.
        violations: each promise that was broken; none is as it should be.
        trace: what happened, line by line.
        requests: how many the server got.
        runs: how many runs were started.
        crashes: how many of them died.
        met: how often it met which trouble.
    """

    seed: int
    violations: tuple[str, ...]
    trace: tuple[str, ...]
    requests: int
    runs: int
    crashes: int
    met: Counter[str]


def run_schedule(seed: int, size: Size | None = None) -> Report:
    """Play the story of `seed`, in this size or its own, and judge it."""
    return play(befall(tell(seed, size)))


def play(story: Story) -> Report:
    """Play this story and judge it."""
    pages = story.seed % PAGES_ONE_IN == 0
    done, faults = perform(
        lambda sandbox, folder: Theatre(story, sandbox, folder), story.scenario, pages=pages
    )
    return Report(
        seed=story.seed,
        violations=(*done.witness.violations, *faults),
        trace=tuple(done.witness.trace()),
        requests=len(done.world.log),
        runs=done.witness.run + 1,
        crashes=len(done.witness.deaths),
        met=done.met,
    )


class Theatre:
    """One schedule while it is played."""

    def __init__(
        self, story: Story, sandbox: VirtualSandbox, folder: Path, *, traced: int | None = None
    ) -> None:
        """`traced`: so many lines of the trace are kept, the last ones."""
        self.story = story
        self.world: World = sandbox.world
        self.output = folder / "output"
        self.journal_path = self.output / ".runner" / "journal.db"
        self.witness = Witness(self._seconds, story.policy.retrigger_after_seconds, traced)
        self._clock = sandbox.clock
        self._gateway = sandbox.gateway
        self._copy = folder / "journal.copy"
        self._dice = Random(f"weather/{story.seed}")
        self._calm = False
        self._fate: Fate | None = None
        self._began = self._seconds()
        # Of the run just played, for whoever judges it.
        self.jobs: list[Job] = []
        self.data_files: set[str] = set()
        self.changed_files: set[str] = set()  # those that may not be as they were seen
        self.before: dict[Identity, Job] = {}
        self.posts_before = 0
        self.last_start = 0.0
        self.code: int | None = None
        self.died = False
        self.stopped = False
        # Of the whole schedule, to be counted.
        self.met: Counter[str] = Counter()
        self.faults: list[str] = []
        self.endings: list[str] = []
        self._reader: JournalReader | None = None
        self.edited = False  # whether the manifest was
        self.manifest_since = self._began
        self.lost_files: set[str] = set()
        self.put_away: dict[tuple[str, int], float] = {}  # what staff archived, and when
        self._crosses = story.crossed
        self.validates = story.seed % PAGES_ONE_IN == 0
        self.world.on_request = self._bend

    def _seconds(self) -> float:
        """The server's clock, which nobody sets."""
        return self.world.clock.now().boot_seconds

    async def perform(self) -> None:
        """All runs, then the verdict."""
        for number, run in enumerate(self.story.runs):
            await self._between(run)
            if run.journal != "kept":
                self._read(run.night)
            if number == 1 and self.story.journal_forgot and self.journal_path.exists():
                shutil.copyfile(self.journal_path, self._copy)
            await self._play(run)
        judge.at_the_end(self)
        self.met = tally.met(self)

    async def _play(self, run: Run) -> None:
        self.before, self.posts_before = {job.spec.identity: job for job in self.jobs}, self.witness.posts
        self.witness.starts({identity: job for identity, job in self.before.items() if not job.finished})
        self.last_start, self.code, self.stopped = self._seconds(), None, False
        await self._run(run)
        self._read(run.night)
        judge.after_run(self, run)

    # ── between two runs ─────────────────────────────────────────────────────────────────────────────────────────

    async def _between(self, run: Run) -> None:
        self._calm = run.calm
        if run.pause_seconds:
            await self.world.clock.wait(run.pause_seconds)
        if run.reboot:
            self._clock.reboot(f"boot-{self.witness.run + 2}")
        if run.wall_step_seconds:
            self._clock.shift_wall(run.wall_step_seconds)
        if run.journal == "lost" or (run.journal == "restored" and not self._copy.exists()):
            for suffix in ("", "-wal", "-shm"):
                self.journal_path.with_name(self.journal_path.name + suffix).unlink(missing_ok=True)
        elif run.journal == "restored":
            shutil.copyfile(self._copy, self.journal_path)
        if run.robbed:
            self._rob(run.night.isoformat())
        if run.put_away_chance:
            self._put_away(run.put_away_chance)
        self.witness.note(
            "start",
            f"night {run.night:%m-%d}, calm {run.calm}, reboot {run.reboot}, wall {run.wall_step_seconds:+g} s, "
            f"journal {run.journal}, deadline {run.deadline_seconds:g} s, {run.ending}",
        )

    def _rob(self, night: str) -> None:
        robbed = {name for name in self.data_files if name.startswith(f"{night}/")}
        for name in robbed:
            (self.output / name).unlink()
        self.lost_files |= robbed
        self.witness.note("lost", ", ".join(sorted(robbed)))

    def _put_away(self, chance: float) -> None:
        for host in self.story.scenario.tenants:
            for export in self.world.exports(host.domain):
                if export.origin != "history" and not export.archived and self._dice.random() < chance:
                    self.world.put_away(host.domain, export.id)
                    self.put_away[host.domain, export.id] = self._seconds()
                    self.witness.note("archive", f"{export.id} of {host.domain}")

    def _read(self, _night: date) -> None:
        """Every job of the journal as stored, and every file but the journal's and the published ones."""
        try:
            if self._reader is None:
                self._reader = JournalReader(self.journal_path)
            self.jobs = self._reader.jobs()
        except RunnerError:  # it died before the journal was there
            self.jobs = []
        if self.story.journal_forgot:
            self.close()
        nights = [folder.name for folder in os.scandir(self.output) if folder.name != ".runner"]
        self.data_files = {name for night in nights for name in self._files_of(night)}
        self.changed_files = self.data_files

    def _files_of(self, night: str) -> Iterator[str]:
        for entry in os.scandir(self.output / night):
            if entry.is_dir():
                yield from (f"{night}/{entry.name}/{file.name}" for file in os.scandir(entry))
            elif entry.name not in PUBLISHED:
                yield f"{night}/{entry.name}"

    def documents(self) -> list[Path]:
        """Every run.json that a crash may have torn."""
        return list(self.output.glob("*/run.json"))

    def close(self) -> None:
        """Let the journal go. As long as it is open here, no end of a run tidies its files up, as no kill does."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    # ── one run ──────────────────────────────────────────────────────────────────────────────────────────────────

    async def _run(self, run: Run) -> None:
        story, clock, witness = self.story, self._clock, self.witness
        async with (
            hold_journal(self.journal_path, inline=True, mounts=self._copy.parent / "none") as journal,
            Transport(
                clock, timeouts=story.timeouts, gateway=self._gateway, connector=VirtualConnector()
            ) as transport,
        ):
            if run.retry:
                await self._retry(journal, run)
            nightly: Nightly
            task: asyncio.Task[int]

            def end(how: str) -> None:
                if how == "stop":
                    stopped.append(self._seconds())
                    nightly.stop("SIGTERM")
                else:
                    witness.deaths.append(self._seconds())
                    task.cancel()

            stopped: list[float] = []
            fate = self._fate = Fate(run.ending, witness, end)
            disk = MortalDisk(fate)
            ports = Ports(
                clock=clock,
                journal=MortalJournal(journal, fate, witness),
                sender=MortalSender(transport, fate, witness),
                output=Output(self.output, disk=disk, offload=_inline),
                random=Random(f"jitter/{story.seed}/{witness.run}"),
                key=lambda tenant: self._key(tenant, run),
            )
            now = clock.now()
            order = Order(
                manifest=story.manifest,
                planned=plan(story.manifest, run.night),
                selection=Selection(),
                date=run.night,
                policy=story.policy,
                limits=story.limits,
                requests_per_minute=story.requests_per_minute,
                deadline=now.wall.astimezone(UTC) + timedelta(seconds=run.deadline_seconds),
                timezone=_PARIS,
            )
            nightly = Nightly(ports, order)
            started = self._seconds()
            task = asyncio.create_task(nightly.run())
            timer = None
            if run.ending is not None and run.ending.where == "time":
                timer = asyncio.get_running_loop().call_later(run.ending.number, fate.happen, "at its moment")
            done, _ = await asyncio.wait({task}, timeout=run.deadline_seconds + 60.0)
            if timer is not None:
                timer.cancel()
            if not done:
                witness.violated("the run does not end although its deadline is over")
                fate.dead = True
                task.cancel()
                await asyncio.wait({task})
            self._fate = None
            self.died = fate.dead
            if not fate.dead:
                self._ended(task, started, stopped, run)
            else:
                _retrieve(task)
            self.endings.append("died" if fate.dead else f"exit {self.code}")
            witness.note("end", self.endings[-1])
        if self.died:
            await asyncio.sleep(0)

    def _ended(self, task: asyncio.Task[int], started: float, stopped: list[float], run: Run) -> None:
        now = self._seconds()
        error = task.exception()
        if error is not None:
            self.witness.violated("the run raised " + "".join(traceback.format_exception(error)))
            return
        self.code = task.result()
        deadline = started + run.deadline_seconds
        latest = min([deadline, *stopped]) + STOPS_WITHIN_SECONDS
        if now > latest:
            self.witness.violated(f"the run ended {now - latest:.1f} s later than it may")
        self.stopped = min(stopped, default=deadline) < deadline

    async def _key(self, tenant: Tenant, run: Run) -> Secret:
        if tenant.name in run.keyless:
            raise CredentialError("the environment variable KEY is not set")
        scenario = next(t for t in self.story.scenario.tenants if t.domain == tenant.domain)
        return Secret(scenario.key)

    async def _retry(self, journal: SqliteJournal, run: Run) -> None:
        now = self._clock.now()
        for job in await journal.failed_with(list(ErrorCode)):
            after = advance(job, Retried(stamp(now)), now)
            await journal.record(after, run.night, happened("Retried", job, after, now.wall))
            self.witness.recorded(after, "Retried")

    # ── the way to the server ────────────────────────────────────────────────────────────────────────────────────

    def _bend(self, record: RequestRecord) -> Fault | None:
        fate = self._fate
        if fate is not None and not fate.dead and record.kind in ("trigger", "report.create"):
            try:
                fate.point(f"the server received {record.kind}", "received", after=False)
                fate.point(f"the server received {record.kind}", "received", after=True)
            except SimulatedCrash:
                pass
        if self._crosses and record.kind == "trigger":
            self._crosses = False
            asked = next(a for a in reversed(self.witness.asked_exports) if a.domain == record.domain)
            self.witness.note("staff", f"export {asked.configuration_id}@{asked.ends_at[:10]} just before us")
            ends_at = date.fromisoformat(asked.ends_at[:10])
            self.world.export_by_hand(
                record.domain,
                StaffExport(at_seconds=0.0, ends_at=ends_at, configuration_id=asked.configuration_id),
            )
        if self._calm:
            return None
        since = record.at_seconds - self._began
        for weather in self.story.weather[record.domain]:
            if (
                weather.kind not in ("", record.kind)
                or not weather.from_seconds <= since < weather.to_seconds
            ):
                continue
            if weather.chance == 1.0 or self._dice.random() < weather.chance:
                self.faults.append(type(weather.fault).__name__ if weather.kind else "outage")
                self.witness.note("weather", f"{record.kind} of {record.domain} meets {weather.fault}")
                return weather.fault
        return None


def _retrieve(task: "asyncio.Task[int]") -> None:
    """Take the exception of a dead run, so that nobody complains that it was never taken."""
    if not task.cancelled():
        task.exception()


async def _inline(work: Callable[[], T]) -> T:
    return work()
