"""`python -m tests.bench`: measure the rows, print the table, write it as a page and a picture."""

import argparse
import os
import platform
import sys
import tempfile
import time
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

from tests.bench.measure import ROOT
from tests.bench.rows import QUICK, ROWS, Bench, Sizes
from tests.bench.table import Line, markdown, summary, svg
from tests.readme import fill


def main() -> int:
    """Measure."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("rows", nargs="*", choices=[[], *ROWS], help="which rows; left out: all")
    parser.add_argument(
        "--quick", action="store_true", help="small sizes: about a minute, figures of little worth"
    )
    parser.add_argument("--runs", type=int, help="how often each is run")
    parser.add_argument("--most-jobs", type=int, help="the larger end of the last row (usually 100000)")
    parser.add_argument("--peers", type=Path, help="a Python that has httpx, DBOS and the Airbyte CDK")
    parser.add_argument(
        "--write", type=Path, help="the folder for bench.md and bench.svg; the README gets a summary"
    )
    given = parser.parse_args()
    if given.peers is not None and not given.peers.is_file():
        parser.error(f"--peers: there is no {given.peers}")
    sizes: Sizes = QUICK if given.quick else Sizes()
    if given.runs:
        sizes = replace(sizes, runs=given.runs)
    if given.most_jobs:
        sizes = replace(sizes, most_jobs=given.most_jobs)
    began = time.monotonic()
    lines: list[Line] = []
    # Not under /tmp, which may be memory: journals and files belong on a disk like that of the nights.
    place = ROOT / "build"
    place.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=place) as folder:
        bench = Bench(Path(folder), sizes, given.peers, _say)
        for name in given.rows or ROWS:
            _say(f"[{time.monotonic() - began:4.0f} s] {name}, load {os.getloadavg()[0]:.1f}")
            lines += ROWS[name](bench)
    page = markdown(lines, _machine(sizes, quick=given.quick, seconds=time.monotonic() - began))
    sys.stdout.write(page)
    if given.write is not None:
        (given.write / "bench.md").write_text(page, encoding="utf-8")
        fill("bench", summary(lines))
        (given.write / "bench.svg").write_text(svg(lines, _short_machine()), encoding="utf-8")
    return 0


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")


def _short_machine() -> str:
    python = f"{platform.python_implementation()} {platform.python_version()}"
    return f"{os.cpu_count()} cores ({_model()}), {python}, aiohttp {version('aiohttp')}"


def _machine(sizes: Sizes, *, quick: bool, seconds: float) -> str:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    quickly = " With `QUICK=1`: sizes are too small for more than a glance." if quick else ""
    return (
        f"{_short_machine()}, {memory:.0f} GiB, {platform.system()} {platform.release()}; {sizes.runs} runs of each, "
        f"{seconds / 60:.0f} minutes, load {os.getloadavg()[2]:.1f} over the last quarter of an hour "
        f"(one process of ours and one server at a time make about 1.5 of it).{quickly}"
    )


def _model() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.machine()
    return next(
        (line.partition(":")[2].strip() for line in text.splitlines() if "model name" in line), "unknown"
    )


if __name__ == "__main__":
    sys.exit(main())
