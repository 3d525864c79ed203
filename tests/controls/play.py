"""A copy of the repository, faults planted in it, and the tests run there.

Owns the processes and what they tell. What runs is the copy's code, in the tests and in every program that they start:
the copy stands before the installed program on the path, which `runs_own_code` proves before anything is planted.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from xml.etree import ElementTree as ET

from tests.controls.model import Change, Control, NotPlantableError, planted

REPOSITORY: Final = Path(__file__).parents[2]
SCHEDULES: Final = 1000
"""So many are played until one breaks a promise: several times as many as any fault of the table needed."""
_COPIED: Final = ("runner", "tests", "docs", "pyproject.toml", "README.md", "tenants.example.yaml")
_RUNNER: Final = Path(sys.executable).with_name("runner")
_SECONDS: Final = 300.0
"""A control that takes longer has shown nothing."""
_PLANTED_AT: Final = 10**18
"""No source is as old, so what was compiled before a fault was planted is not taken for it."""
_SIMULATE: Final = """
import sys
from tests.simulation import run_schedule
print(next((seed + 1 for seed in range(int(sys.argv[1])) if run_schedule(seed).violations), ""), end="")
"""
_VERSION: Final = Control(
    "version",
    "The program tells another version.",
    (Change("runner/__init__.py", '__version__ = "', '__version__ = "99.'),),
    (),
)


class NotPlayedError(Exception):
    """The simulation could not be played, which shows nothing."""


@dataclass(frozen=True, slots=True)
class Told:
    """What the tests said: each that failed, with the beginning of its reason, and how many passed."""

    failed: dict[str, str]
    passed: int
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of a control.

    Attributes:
        caught_by: the tests that failed, with the beginning of their reasons.
        schedule: which schedule of the simulation noticed it, counted from 1; None where it was not asked or did not.
        missing: why it does not count as caught; empty when it does.
    """

    control: Control
    caught_by: dict[str, str]
    schedule: int | None
    missing: str
    seconds: float


class Copy:
    """A copy of the repository in a folder of its own."""

    def __init__(self, folder: Path, origin: Path = REPOSITORY) -> None:
        self.root = folder / "repository"
        self._folder = folder
        self._whole: dict[Path, tuple[bytes, int]] = {}
        ignored = shutil.ignore_patterns(*(["__pycache__"] if origin == REPOSITORY else []))
        for name in _COPIED:
            source, target = origin / name, self.root / name
            if source.is_dir():
                shutil.copytree(source, target, ignore=ignored)
            elif source.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, target)

    def _run(self, *arguments: str | Path, compiled: bool = False) -> subprocess.CompletedProcess[str]:
        environ = {
            name: value for name, value in os.environ.items() if name not in ("PYTEST_ADDOPTS", "FIGURES")
        }
        environ |= {
            "PYTHONPATH": str(self.root),
            "PYTHONDONTWRITEBYTECODE": "" if compiled else "1",
            "CI": "1",  # the same search each time
        }
        return subprocess.run(
            arguments,
            cwd=self.root,
            env=environ,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )

    def plant(self, control: Control) -> None:
        """Put the fault into the copy.

        Raises:
            NotPlantableError: its text is not there, or not once.
        """
        sources = planted(control, lambda module: (self.root / module).read_text("utf-8"))
        for module, source in sources.items():
            path = self.root / module
            self._whole[path] = path.read_bytes(), path.stat().st_mtime_ns
            path.write_text(source, encoding="utf-8")
            os.utime(path, ns=(_PLANTED_AT, _PLANTED_AT))

    def restore(self) -> None:
        """Take out again what was planted."""
        while self._whole:
            path, (source, changed_at) = self._whole.popitem()
            path.write_bytes(source)
            os.utime(path, ns=(changed_at, changed_at))

    def runs_own_code(self) -> bool:
        """Whether both the command and the interpreter take the copy's program."""
        self.plant(_VERSION)
        try:
            said = [
                self._run(_RUNNER, "--version").stdout,
                self._run(sys.executable, "-c", "import runner; print(runner.__version__)").stdout,
            ]
        finally:
            self.restore()
        return all("99." in words for words in said)

    def test(self, tests: Iterable[str], *more: str, compiled: bool = False) -> Told:
        """Run these tests here."""
        report = self._folder / "report.xml"
        report.unlink(missing_ok=True)
        options = [
            "-q",
            "-p",
            "no:randomly",
            "-p",
            "no:cacheprovider",
            "--timeout=60",
            f"--junit-xml={report}",
        ]
        temporary = f"--basetemp={self._folder / 'tmp'}"
        try:
            done = self._run(
                sys.executable, "-m", "pytest", *options, temporary, *more, *tests, compiled=compiled
            )
        except subprocess.TimeoutExpired:
            return Told({}, 0, f"the tests took more than {_SECONDS:g} s")
        if done.returncode not in (0, 1) or not report.exists():
            words = (done.stdout + done.stderr).strip().splitlines()
            return Told({}, 0, f"pytest ended with {done.returncode}: {words[-1] if words else ''}")
        failed: dict[str, str] = {}
        passed, errors = 0, []
        for case in ET.parse(report).iter("testcase"):  # noqa: S314 - pytest wrote it just now
            name = f"{case.get('classname', '').replace('.', '/')}.py::{case.get('name')}"
            failure = case.find("failure")
            if failure is not None:
                failed[name] = " ".join(failure.get("message", "").split())[:200]
            elif case.find("error") is not None:
                errors.append(name)
            elif case.find("skipped") is None:
                passed += 1
        return Told(failed, passed, f"an error in {errors[0]}" if errors else "")

    def simulate(self, *, compiled: bool = False) -> int | None:
        """Which schedule breaks a promise first, counted from 1; None where none does.

        Raises:
            NotPlayedError: the simulation itself failed.
        """
        try:
            done = self._run(sys.executable, "-c", _SIMULATE, str(SCHEDULES), compiled=compiled)
        except subprocess.TimeoutExpired:
            raise NotPlayedError(f"the simulation took more than {_SECONDS:g} s") from None
        if done.returncode:
            raise NotPlayedError(f"the simulation failed: {done.stderr.strip().splitlines()[-1]}")
        return int(done.stdout) if done.stdout else None


def play(control: Control, copy: Copy) -> Verdict:
    """Plant the fault, ask the tests, take it out again."""
    began = time.monotonic()
    told, schedule, missing = Told({}, 0), None, ""
    try:
        copy.plant(control)
        told = copy.test(control.tests)
        missing = told.trouble or uncaught(control.tests, told.failed)
        if control.simulated and not missing:
            schedule = copy.simulate()
            missing = "" if schedule else f"{SCHEDULES} schedules of the simulation noticed nothing"
    except NotPlantableError as error:
        missing = f"not planted: {error}"
    except NotPlayedError as error:
        missing = str(error)
    finally:
        copy.restore()
    return Verdict(control, told.failed, schedule, missing, time.monotonic() - began)


def uncaught(tests: Sequence[str], failed: Iterable[str]) -> str:
    """Which of the named tests did not fail, in words; empty when each did."""
    names = list(failed)
    silent = [test for test in tests if not any(n == test or n.startswith(f"{test}[") for n in names)]
    return f"not noticed by {', '.join(silent)}" if silent else ""
