"""Plant every fault and tell which was caught: `python -m tests.controls --jobs 2 --write build/controls.json`."""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue

from tests.controls import CONTROLS
from tests.controls.model import Control
from tests.controls.play import SCHEDULES, Copy, Verdict, play
from tests.figures import note


def main() -> int:
    """Play the controls, tell each; 1 if one was not caught."""
    parser = argparse.ArgumentParser(prog="python -m tests.controls")
    parser.add_argument("--jobs", type=int, default=2, help="how many at a time")
    parser.add_argument("--only", action="append", default=[], help="the names of some")
    parser.add_argument("--write", type=Path, help="a JSON file for the figures")
    options = parser.parse_args()
    chosen = [control for control in CONTROLS if not options.only or control.name in options.only]
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="controls-") as folder:
        copies = _copies(Path(folder), chosen, options.jobs)
        verdicts = _play(chosen, copies) if copies else []
    seconds = time.monotonic() - began
    caught = sum(not verdict.missing for verdict in verdicts)
    if options.write:
        options.write.parent.mkdir(parents=True, exist_ok=True)
        options.write.write_text(json.dumps(_document(verdicts, seconds), indent=1) + "\n", encoding="utf-8")
    if not options.only:
        note("controls", planted=len(chosen), caught=caught)
    _say(f"{len(chosen)} faults planted, {caught} caught, in {seconds:.0f} s")
    return 0 if chosen and caught == len(chosen) else 1


def _copies(folder: Path, chosen: Sequence[Control], jobs: int) -> list[Copy]:
    """Copies in which everything is well: none, told, where something is not."""
    first = Copy(folder / "1")
    if not first.runs_own_code():
        _say("the copy does not run its own code, so nothing planted there would mean anything")
        return []
    began = time.monotonic()
    tests = sorted({test for control in chosen for test in control.tests})
    told = first.test(tests, "-n", str(jobs), compiled=True)
    if told.failed or told.trouble:
        _say(f"without a fault the tests must pass: {told.trouble or ', '.join(told.failed)}")
        return []
    simulated = any(control.simulated for control in chosen)
    if simulated and (broken := first.simulate(compiled=True)):
        _say(f"without a fault the simulation must find nothing, and schedule {broken} breaks a promise")
        return []
    schedules = f" and {SCHEDULES} schedules" if simulated else ""
    _say(f"without a fault {told.passed} tests{schedules} pass ({time.monotonic() - began:.0f} s)")
    return [first, *(Copy(folder / str(n), first.root) for n in range(2, jobs + 1))]


def _play(chosen: Sequence[Control], copies: Sequence[Copy]) -> list[Verdict]:
    idle: SimpleQueue[Copy] = SimpleQueue()
    for copy in copies:
        idle.put(copy)

    def one(control: Control) -> Verdict:
        copy = idle.get()
        try:
            return play(control, copy)
        finally:
            idle.put(copy)

    verdicts = []
    with ThreadPoolExecutor(len(copies)) as pool:
        for verdict in pool.map(one, chosen):
            _tell(verdict)
            verdicts.append(verdict)
    return verdicts


def _tell(verdict: Verdict) -> None:
    control = verdict.control
    if verdict.missing:
        _say(f"NOT CAUGHT  {control.name}: {control.breaks} {verdict.missing} ({verdict.seconds:.1f} s)")
        return
    by = sorted({test.partition("::")[2].partition("[")[0] for test in verdict.caught_by})
    by += [f"schedule {verdict.schedule} of the simulation"] if verdict.schedule else []
    _say(f"caught      {control.name}: {control.breaks} By {', '.join(by)} ({verdict.seconds:.1f} s)")


def _document(verdicts: Sequence[Verdict], seconds: float) -> dict[str, object]:
    return {
        "planted": len(verdicts),
        "caught": sum(not verdict.missing for verdict in verdicts),
        "seconds": round(seconds, 1),
        "controls": [
            {
                "name": verdict.control.name,
                "breaks": verdict.control.breaks,
                "modules": sorted({change.module for change in verdict.control.changes}),
                "caught": not verdict.missing,
                "caught_by": verdict.caught_by,
                "schedule": verdict.schedule,
                "missing": verdict.missing,
                "seconds": round(verdict.seconds, 1),
            }
            for verdict in verdicts
        ],
    }


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
