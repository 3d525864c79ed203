"""Play schedules from the command line: `python -m tests.simulation --count 20000 --start 0`."""

import argparse
import sys
import time
from concurrent.futures import ProcessPoolExecutor

from tests.simulation import Report, run_schedule


def main() -> int:
    """Play, tell what was broken; 1 if anything was."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation")
    parser.add_argument("--start", type=int, default=0, help="the first seed")
    parser.add_argument("--count", type=int, default=1000, help="how many seeds")
    parser.add_argument("--seed", type=int, help="this one alone")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--trace", action="store_true", help="tell all that happened")
    parser.add_argument("--most", type=int, default=20, help="stop after so many broken seeds")
    options = parser.parse_args()
    seeds = (
        [options.seed] if options.seed is not None else range(options.start, options.start + options.count)
    )
    began, broken, played, requests, crashes = time.monotonic(), 0, 0, 0, 0
    with ProcessPoolExecutor(options.jobs) as pool:
        reports = (
            pool.map(run_schedule, seeds, chunksize=20) if options.jobs > 1 else map(run_schedule, seeds)
        )
        for report in reports:
            played, requests, crashes = played + 1, requests + report.requests, crashes + report.crashes
            if report.violations or options.trace:
                broken += bool(report.violations)
                _tell(report, trace=options.trace)
            if broken >= options.most:
                pool.shutdown(wait=False, cancel_futures=True)
                break
    seconds = time.monotonic() - began
    _say(
        f"{played} schedules, {requests} requests, {crashes} crashes in {seconds:.1f} s "
        f"({1000 * seconds / played:.1f} ms each); {broken} broken"
    )
    return 1 if broken else 0


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")


def _tell(report: Report, *, trace: bool) -> None:
    _say(f"seed {report.seed}:")
    for line in report.trace if trace else report.violations:
        _say(f"  {line}")


if __name__ == "__main__":
    sys.exit(main())
