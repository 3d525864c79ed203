"""Play schedules from the command line: `python -m tests.simulation --count 20000 --start 0`."""

import argparse
import functools
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor

from tests.simulation import Report, run_schedule

LOT = 500
"""So many seeds are played between two looks at the time."""


def main() -> int:
    """Play, tell what was broken; 1 if anything was."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation")
    parser.add_argument("--start", type=int, default=0, help="the first seed")
    parser.add_argument("--count", type=int, default=1000, help="how many seeds")
    parser.add_argument("--minutes", type=float, help="as many seeds as fit, whatever --count says")
    parser.add_argument("--seed", type=int, help="this one alone")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--trace", action="store_true", help="tell all that happened")
    parser.add_argument("--most", type=int, default=20, help="stop after so many broken seeds")
    parser.add_argument(
        "--size", choices=("small", "whole"), help="of every story, instead of each one's own"
    )
    options = parser.parse_args()
    lots = _lots(options.start, options.count, options.minutes)
    if options.seed is not None:
        lots = iter([range(options.seed, options.seed + 1)])
    totals: Counter[str] = Counter()
    schedules: Counter[str] = Counter()
    began, broken, played, requests, crashes = time.monotonic(), 0, 0, 0, 0
    one = functools.partial(run_schedule, size=options.size)
    with ProcessPoolExecutor(options.jobs) as pool:
        play = functools.partial(pool.map, chunksize=20) if options.jobs > 1 else map
        for report in (report for lot in lots for report in play(one, lot)):
            played, requests, crashes = played + 1, requests + report.requests, crashes + report.crashes
            totals += report.met
            schedules.update(report.met.keys())
            if report.violations or options.trace:
                broken += bool(report.violations)
                _tell(report, trace=options.trace)
            if broken >= options.most:
                pool.shutdown(wait=False, cancel_futures=True)
                break
    seconds = time.monotonic() - began
    if options.seed is None:
        for what, number in sorted(totals.items()):
            _say(f"{number:9}  {what}, in {100 * schedules[what] / played:.1f} % of the schedules")
    _say(
        f"{played} schedules, {requests} requests, {crashes} crashes in {seconds:.1f} s "
        f"({1000 * seconds / played:.1f} ms each); {broken} broken"
    )
    return 1 if broken else 0


def _lots(start: int, count: int, minutes: float | None) -> Iterator[range]:
    """The seeds: so many, or lot by lot until the time is over."""
    if minutes is None:
        yield range(start, start + count)
        return
    until = time.monotonic() + 60 * minutes
    while time.monotonic() < until:
        yield range(start, start + LOT)
        start += LOT


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")


def _tell(report: Report, *, trace: bool) -> None:
    _say(f"seed {report.seed}:")
    for line in report.trace if trace else report.violations:
        _say(f"  {line}")


if __name__ == "__main__":
    sys.exit(main())
