"""The `runner` command with mortal ports: `python -m tests.killing --at "export Triggered" --when after -- run`.

With `--fail ENOSPC` it does not die there: its disk fails. Where nothing is to happen to it, it is the command itself.
"""

import argparse
import errno
import sys
from pathlib import Path

from runner.cli import main as runner
from tests.killing.ports import Death, Failure, Reaper, wrap


def main() -> None:
    """Wrap the ports, if anything is to happen there, then be the command."""
    parser = argparse.ArgumentParser(prog="python -m tests.killing")
    parser.add_argument("--at", help="the place; `any` for every one")
    parser.add_argument("--when", choices=("before", "midst", "after"), default="before")
    parser.add_argument("--nth", type=int, default=1)
    parser.add_argument("--fail", help="do not die there but fail from then on: ENOSPC, …")
    parser.add_argument("--mounts", type=Path, help="in place of the system's list of mounted file systems")
    parser.add_argument("--trace", type=Path, help="a file to note every place in")
    parser.add_argument("arguments", nargs="+", help="of runner, after --")
    options = parser.parse_args()
    death = failure = None
    if options.fail is not None:
        failure = Failure(options.at, getattr(errno, options.fail), options.nth)
    elif options.at is not None:
        death = Death(options.at, options.when, options.nth)
    if death or failure or options.trace or options.mounts:
        wrap(Reaper(death, options.trace, failure), options.mounts)
    sys.argv = ["runner", *options.arguments]
    runner()


if __name__ == "__main__":
    main()
