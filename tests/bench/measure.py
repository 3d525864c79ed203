"""Children and what they cost: wall and CPU time, peak memory, by `wait4`. Owns processes; must not know any row."""

import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PYTHON = sys.executable
RUNNER = str(Path(PYTHON).with_name("runner"))


@dataclass(frozen=True, slots=True)
class Cost:
    """What one child cost.

    Attributes:
        wall_seconds: from its start to its end.
        cpu_seconds: user and system, its own children too.
        peak_bytes: the largest resident set.
        said: its stdout.
    """

    wall_seconds: float
    cpu_seconds: float
    peak_bytes: int
    said: str = ""


class ChildError(Exception):
    """A child did not do its work: its figures would mean nothing."""


def environment(**more: str) -> dict[str, str]:
    """The environment of a child: this one's, without settings of the program."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("RUNNER_")}
    return {**kept, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "", **more}


def run_child(
    argv: Sequence[str | Path], *, env: Mapping[str, str], cwd: Path, codes: tuple[int, ...] = (0,)
) -> Cost:
    """Run a child to its end.

    Raises:
        ChildError: it ended with another code than one of `codes`.
    """
    with (cwd / "child.out").open("w+b") as out, (cwd / "child.err").open("w+b") as err:
        started = time.monotonic()
        child = subprocess.Popen([str(part) for part in argv], env=dict(env), cwd=cwd, stdout=out, stderr=err)
        _, status, usage = os.wait4(child.pid, 0)
        wall_seconds = time.monotonic() - started
        child.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        err.seek(0)
        if child.returncode not in codes:
            told = err.read()[-2000:].decode(errors="replace")
            raise ChildError(f"{' '.join(map(str, argv))} ended with {child.returncode}:\n{told}")
        said = out.read().decode(errors="replace")
    return Cost(wall_seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024, said)


@dataclass
class Living:
    """A child that is looked at while it runs."""

    process: "subprocess.Popen[bytes]"

    def memory_bytes(self) -> int:
        """Its resident set now."""
        text = Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii")
        return int(next(line for line in text.splitlines() if line.startswith("VmRSS")).split()[1]) * 1024

    def cpu_seconds(self) -> float:
        """What it has used up to now."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def living(argv: Sequence[str | Path], *, env: Mapping[str, str], cwd: Path) -> Iterator[Living]:
    """Start a child, and kill it in the end."""
    with (cwd / "child.err").open("wb") as err:
        process = subprocess.Popen(
            [str(part) for part in argv], env=dict(env), cwd=cwd, stdout=subprocess.DEVNULL, stderr=err
        )
        try:
            yield Living(process)
        finally:
            process.kill()
            process.wait()


@dataclass
class Server:
    """The server of a row, in a process of its own."""

    port: int
    _last: dict[str, Any] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def told(self) -> dict[str, Any]:
        """What it has seen since the last reset."""
        return self._ask("/__told__")

    def reset(self) -> dict[str, Any]:
        """The same, and begin to count anew."""
        return self._ask("/__reset__")

    def _ask(self, path: str) -> dict[str, Any]:
        with urllib.request.urlopen(self.url + path) as answer:  # noqa: S310 - our own server
            document: dict[str, Any] = json.load(answer)
        return document


@contextmanager
def serving(*, content_bytes: int = 100_000, lets_go: bool = False) -> Iterator[Server]:
    """Start the server, and end it in the end."""
    argv = [PYTHON, "-m", "tests.bench.server", "--content", str(content_bytes)]
    with subprocess.Popen(
        [*argv, "--lets-go"] if lets_go else argv, env=environment(), cwd=ROOT, stdout=subprocess.PIPE
    ) as process:
        try:
            assert process.stdout is not None
            yield Server(int(process.stdout.readline()))
        finally:
            process.kill()
