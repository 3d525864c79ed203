"""Random kills for as long as one likes: `python -m tests.killing.soak --minutes 60`.

First what of the table the tests leave out, then nights that are killed wherever chance has it, up to four times.
Prints each night that broke a promise, with its number (`--seed` plays it again), and at the end the figures.
"""

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import count, islice
from pathlib import Path
from random import Random
from typing import Final

from tests.figures import note
from tests.killing.cases import FURTHER, MATRIX, STORIES, Case
from tests.killing.nights import TOGETHER, House, Told, house_of, play
from tests.killing.ports import ANYWHERE, Death

LOT: Final = 50
"""So many nights share a sandbox, whose memory grows with them."""
MOST_PLACES: Final = 130
"""A night that nobody kills passes a few less."""


def random_case(seed: int) -> Case:
    """A night and its deaths. Those that follow come sooner: less is left to do."""
    chance = Random(f"soak/{seed}")
    story = chance.choice(STORIES)
    times = chance.choice((1, 1, 2, 2, 3, 4))
    deaths = [
        Death(
            ANYWHERE, chance.choice(("before", "after")), chance.randint(1, MOST_PLACES // (1 + already // 2))
        )
        for already in range(times)
    ]
    if chance.random() < 0.2:
        kinds = (
            ("send report", "send template", "send report-poll") if story == "report" else ("send trigger",)
        )
        deaths[0] = Death(chance.choice(kinds), "midst")
    return Case(story, tuple(deaths))


class Tally:
    """What came of the nights."""

    def __init__(self) -> None:
        self.nights = self.kills = self.broken = 0
        self.resumed: list[float] = []

    def add(self, name: str, case: Case, night: "Future[Told]") -> None:
        self.nights += 1
        error = night.exception()
        if error is None:
            told = night.result()
            self.kills += told.kills
            if told.kills and told.resumed_seconds is not None:
                self.resumed.append(told.resumed_seconds)
            return
        self.broken += 1
        say(f"BROKEN {name} ({case}):\n  {type(error).__name__}: {error}")

    def __str__(self) -> str:
        resumed = sorted(self.resumed) or [0.0]
        middle, late = resumed[len(resumed) // 2], resumed[len(resumed) * 95 // 100]
        return (
            f"{self.nights} nights, {self.kills} kills, {self.broken} broken; a resuming run sends its first request "
            f"after {middle:.2f} s (median), {late:.2f} s (95 %), {resumed[-1]:.2f} s (longest)"
        )


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def nights(first_seed: int, table: Sequence[Case]) -> Iterator[tuple[str, Case, bool]]:
    """Name and case of each night, and whether it has to reach every death."""
    for number, case in enumerate(table):
        yield f"table-{number}", case, True
    for seed in count(first_seed):
        yield f"seed-{seed}", random_case(seed), False


def soak(todo: Iterator[tuple[str, Case, bool]], until: float, *, keep: Path | None) -> Tally:
    """Play nights until the time has come or there are no more."""
    tally = Tally()
    told = time.monotonic()
    while time.monotonic() < until and (lot := list(islice(todo, LOT))):
        folder = Path(tempfile.mkdtemp(prefix="soak-"))
        with house_of({name: case.story for name, case, _ in lot}) as house:
            _play_lot(lot, house, folder, tally, until)
        if keep is None or not tally.broken:
            shutil.rmtree(folder)
        else:
            say(f"kept: {folder}")
            return tally
        if time.monotonic() > told + 60:
            told = time.monotonic()
            say(str(tally))
    return tally


def _play_lot(
    lot: Sequence[tuple[str, Case, bool]], house: House, folder: Path, tally: Tally, until: float
) -> None:
    waiting = list(reversed(lot))
    running: dict[Future[Told], tuple[str, Case]] = {}
    with ThreadPoolExecutor(TOGETHER) as together:
        while running or (waiting and time.monotonic() < until):
            while waiting and len(running) < TOGETHER and time.monotonic() < until:
                name, case, must = waiting.pop()
                night = together.submit(play, folder / name, house, name, case.deaths, must=must)
                running[night] = (name, case)
            for night in wait(running, return_when=FIRST_COMPLETED).done:
                tally.add(*running.pop(night), night)


def main() -> int:
    """Soak, tell the figures; 1 if anything broke."""
    parser = argparse.ArgumentParser(prog="python -m tests.killing.soak")
    parser.add_argument("--minutes", type=float, default=60.0, help="at most so long")
    parser.add_argument("--nights", type=int, help="so many nights")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--seed", type=int, help="this night alone")
    parser.add_argument(
        "--table", choices=("further", "all", "none"), default="further", help="what of the table to play"
    )
    parser.add_argument("--keep", type=Path, help="stop at the first broken night and keep its folder")
    options = parser.parse_args()
    table = {"further": FURTHER, "all": (*MATRIX, *FURTHER), "none": ()}[options.table]
    todo = nights(options.first, table)
    if options.seed is not None:
        todo = islice(nights(options.seed, ()), 1)
    elif options.nights is not None:
        todo = islice(todo, options.nights)
    tally = soak(todo, time.monotonic() + 60 * options.minutes, keep=options.keep)
    say(str(tally))
    note("soak", nights=tally.nights, kills=tally.kills, broken=tally.broken, resumed_seconds=tally.resumed)
    return 1 if tally.broken else 0


if __name__ == "__main__":
    sys.exit(main())
