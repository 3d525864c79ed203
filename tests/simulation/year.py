"""A year of nights against one Lucca, one journal and one folder of files, in virtual time.

`python -m tests.simulation.year --nights 365 --tenants 200 --seed 1` plays one. Owns how the nights follow each
other: from one o'clock in Paris to half past seven, with the clocks put forward and back, and new versions of the
program over an old journal; and what the judge looks at once instead of every night. Each run is played and judged as
any other schedule's is.
"""

import argparse
import functools
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from datetime import time as time_of_day
from pathlib import Path
from typing import Final
from unittest.mock import patch
from zoneinfo import ZoneInfo

import runner.journal.database
import runner.journal.queries
import runner.journal.sqlite
from runner.jobs.model import Job
from runner.journal import JournalReader
from runner.plan import plan
from runner.settings import Until
from tests.figures import note
from tests.simulation import judge, tally
from tests.simulation.exports import nothing_was_triggered_below_the_ledger
from tests.simulation.play import Theatre
from tests.simulation.stage import perform
from tests.simulation.story import Run, Story
from tests.simulation.years import HOUR_SECONDS, Start, Year, YearNight
from tests.virtual import VirtualSandbox

PARIS: Final = ZoneInfo("Europe/Paris")
FIRST: Final = date(2026, 11, 24)
STARTS_AT: Final = time_of_day(1, 0)
ON_DAYS_OF_CHANGE: Final = time_of_day(2, 30)
"""Which exists twice in October and never in March."""
ENDS_AT: Final = Until(at=time_of_day(7, 30))
CALM_SECONDS: Final = 20 * HOUR_SECONDS
TRACED: Final = 4000
NEWEST_SEEN: Final = 200


@dataclass(frozen=True, slots=True)
class YearReport:
    """What came of a year: each broken promise, the last lines of the trace, and the figures by name."""

    violations: tuple[str, ...]
    trace: tuple[str, ...]
    figures: Counter[str]


def play_year(
    seed: int, *, nights: int, tenants: int, first: date = FIRST, tell: Callable[[str], None] = lambda _: None
) -> YearReport:
    """Play and judge. `tell` is given a line of progress every ten nights."""
    year = Year(seed, nights, tenants, first)
    start = datetime.combine(first, time_of_day(0, 30), PARIS).astimezone(UTC)
    done, faults = perform(
        lambda sandbox, folder: YearTheatre(year, sandbox, folder, tell),
        year.scenario,
        pages=True,
        start=start,
    )
    return YearReport((*done.witness.violations, *faults), tuple(done.witness.trace()), done.met)


class YearTheatre(Theatre):
    """The theatre of a year. Its story is that of the night that is on."""

    def __init__(
        self, year: Year, sandbox: VirtualSandbox, folder: Path, tell: Callable[[str], None]
    ) -> None:
        version = year.version(0)
        story = Story(
            seed=year.seed,
            scenario=year.scenario,
            weather={},
            manifest=version.manifest,
            policy=version.policy,
            timeouts=version.timeouts,
            limits=version.limits,
            requests_per_minute=25,
            runs=(),
        )
        super().__init__(story, sandbox, folder, traced=TRACED)
        self.validates = True
        self._year = year
        self._tell = tell
        self._known: dict[int, Job] = {}
        self._touched: list[str] = []  # the last nights whose folders something may have happened to
        self._version = 0

    async def perform(self) -> None:
        """All nights, then the verdict."""
        year = self._year
        began, broken = time.process_time(), 0
        with ExitStack() as versions:
            for number in range(year.nights):
                night = year.night(number)
                if number and number % year.version_every == 0:
                    self._upgrade(versions)
                await self._night(night)
                for told in self.witness.violations[broken:]:
                    self._tell(f"night {number + 1}, {night.day}: {told}")
                broken = len(self.witness.violations)
                if number % 10 == 9 or number == year.nights - 1:
                    self._tell(
                        f"night {number + 1} of {year.nights}, {night.day}: {len(self.jobs)} jobs, "
                        f"{len(self.world.log)} requests, {len(self.witness.deaths)} crashes, version {self._version}, "
                        f"{len(self.witness.violations)} broken, {time.process_time() - began:.0f} s of CPU"
                    )
            judge.at_the_end(self)
        self.met = tally.met(self)
        self.met["night"] = year.nights
        self.met["new version"] = self._version
        self.met["file"] = len(self.data_files)

    # ── a night ──────────────────────────────────────────────────────────────────────────────────────────────────

    async def _night(self, night: YearNight) -> None:
        await self._wait_for(night.day)
        self._began = self._seconds()
        troubles = {domain: night.weather.get(domain, ()) for domain in self._year.domains}
        self.story = replace(self.story, weather=troubles)
        self._set_clock(night.wall_step_seconds)
        deadline = self._deadline(night)
        for start in night.starts:
            await self._start(start, night, deadline)
            if not self.died and not self.stopped:
                break
        if night.by_hand:
            # It may be another day by then, whose jobs do not all end within two hours.
            by_hand = replace(night, calm=False)
            await self._start(Start(pause_seconds=HOUR_SECONDS), by_hand, self._now() + timedelta(hours=2))

    async def _start(self, start: Start, night: YearNight, deadline: datetime) -> None:
        clock = self.world.clock
        await clock.wait(start.pause_seconds)
        self._set_clock(start.wall_step_seconds)
        left = (deadline - self._now()).total_seconds()
        if left <= 0:
            return
        run = Run(
            night=self._clock.now().wall.astimezone(PARIS).date(),
            reboot=start.reboot,
            deadline_seconds=left,
            ending=start.ending,
            keyless=start.keyless,
            retry=start.retry,
            calm=night.calm,
        )
        self.story = replace(self.story, runs=(*self.story.runs, run))
        await self._between(run)
        await self._play(run)
        self._what_was_due_is_known(run)
        nothing_was_triggered_below_the_ledger(self)
        self.witness.forget(self._seconds() - 2 * HOUR_SECONDS, NEWEST_SEEN)

    def _now(self) -> datetime:
        """What the server's clock reads, which nobody sets."""
        return self.world.clock.now().wall

    async def _wait_for(self, day: date) -> None:
        """Until the timer goes off; on the days on which the clocks change it does so where they do."""
        noons = [datetime.combine(day + timedelta(days=n), time_of_day(12), PARIS) for n in (-1, 0)]
        changes = noons[0].utcoffset() != noons[1].utcoffset()
        at = datetime.combine(day, ON_DAYS_OF_CHANGE if changes else STARTS_AT, PARIS).astimezone(UTC)
        await self.world.clock.wait(max(0.0, (at - self._now()).total_seconds()))

    def _set_clock(self, step_seconds: float) -> None:
        if step_seconds:
            self._clock.shift_wall(step_seconds)
            self.met["clock step"] += 1

    def _deadline(self, night: YearNight) -> datetime:
        """By the clock of the machine, told by the server's."""
        mine = self._clock.now().wall
        left = (
            timedelta(seconds=CALM_SECONDS)
            if night.calm
            else ENDS_AT.deadline(mine.astimezone(PARIS)).astimezone(UTC) - mine
        )
        return self._now() + left

    def _upgrade(self, versions: ExitStack) -> None:
        """From now on it is another version: of the manifest, of the settings, and of the journal's tables."""
        # By the old manifest: who comes later may bring less to a host they share.
        judge.budgets_were_kept(self)
        self.manifest_since = self._seconds()
        self._version += 1
        self.edited = True
        version = self._year.version(self._version)
        self.story = replace(
            self.story,
            manifest=version.manifest,
            policy=version.policy,
            timeouts=version.timeouts,
            limits=version.limits,
        )
        steps = (
            *runner.journal.queries.MIGRATIONS,
            *(
                f"CREATE TABLE later_version_{number} (note TEXT) STRICT;"
                for number in range(1, self._version)
            ),
            f"CREATE TABLE later_version_{self._version} (note TEXT) STRICT;",
        )
        opening = functools.partial(runner.journal.database.open_for_writing, steps=steps)
        versions.enter_context(patch.object(runner.journal.database, "MIGRATIONS", steps))
        versions.enter_context(patch.object(runner.journal.sqlite, "open_for_writing", opening))
        self.close()

    # ── for the judge ────────────────────────────────────────────────────────────────────────────────────────────

    def _read(self, night: date) -> None:
        """What this run may have changed of the jobs and files."""
        all_anew, self.witness.refreshed = self._calm or self.witness.refreshed, False
        if self._reader is None and self.journal_path.exists():
            self._reader = JournalReader(self.journal_path)
        if self._reader is not None:
            found = self._reader.jobs() if all_anew else self._reader.jobs(night=night)
            self._known.update({job.id: job for job in found})
        self.jobs = list(self._known.values())
        self._touched = [*self._touched, night.isoformat()][-4:]
        there = {folder for folder in self._touched if (self.output / folder).is_dir()}
        self.changed_files = {name for folder in there for name in self._files_of(folder)}
        self.data_files = {name for name in self.data_files if name[:10] not in there} | self.changed_files

    def documents(self) -> list[Path]:
        """Those of the last nights."""
        return [path for folder in set(self._touched) if (path := self.output / folder / "run.json").exists()]

    def _what_was_due_is_known(self, run: Run) -> None:
        """Of a run that came to its end every job that was due is in the journal, in whatever state."""
        if self.died or self.stopped:
            return
        known = {job.spec.identity for job in self.jobs}
        for planned in plan(self.story.manifest, run.night):
            if planned.spec.identity not in known:
                self.witness.violated(f"{planned.spec.identity} was due on {run.night} and nobody knows it")


def _lines(report: YearReport) -> Iterator[str]:
    yield from (f"{number:9}  {what}" for what, number in sorted(report.figures.items()))
    yield from report.violations[:20]
    if report.violations:
        yield from report.trace[-200:]


def main() -> int:
    """Play a year, tell what was broken; 1 if anything was."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.year")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--nights", type=int, default=365)
    parser.add_argument("--tenants", type=int, default=200)
    parser.add_argument("--first", type=date.fromisoformat, default=FIRST, help="the first night")
    options = parser.parse_args()

    def say(line: str) -> None:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()

    began = time.monotonic()
    report = play_year(
        options.seed, nights=options.nights, tenants=options.tenants, first=options.first, tell=say
    )
    for line in _lines(report):
        say(line)
    figures = report.figures
    say(
        f"{options.nights} nights of {options.tenants} tenants, seed {options.seed}: "
        f"{figures['export job'] + figures['report job']} jobs, {figures['request']} requests, {figures['run']} runs, "
        f"{figures['crash']} crashes, {figures['new version']} new versions in {time.monotonic() - began:.0f} s; "
        f"{len(report.violations)} broken"
    )
    note(
        "year",
        nights=options.nights,
        jobs=figures["export job"] + figures["report job"],
        crashes=figures["crash"],
        broken=len(report.violations),
    )
    return 1 if report.violations else 0


if __name__ == "__main__":
    sys.exit(main())
