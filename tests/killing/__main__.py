"""The `runner` command with mortal ports: `python -m tests.killing --at "export Triggered" --when after -- run`."""

import argparse
import sys
from pathlib import Path

from runner.cli import main as runner
from tests.killing.ports import Death, Reaper, wrap


def main() -> None:
    """Wrap the ports, then be the command."""
    parser = argparse.ArgumentParser(prog="python -m tests.killing")
    parser.add_argument("--at", help="the place; `any` for every one")
    parser.add_argument("--when", choices=("before", "midst", "after"), default="before")
    parser.add_argument("--nth", type=int, default=1)
    parser.add_argument("--trace", type=Path, help="a file to note every place in")
    parser.add_argument("arguments", nargs="+", help="of runner, after --")
    options = parser.parse_args()
    wrap(Reaper(Death(options.at, options.when, options.nth) if options.at else None, options.trace))
    sys.argv = ["runner", *options.arguments]
    runner()


if __name__ == "__main__":
    main()
