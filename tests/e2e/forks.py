"""Commands without their start: a process that has everything imported forks itself for each of them.

Owns these processes and the way to tell them what to be. What is forked is a process like any other, with a folder, an
environment and words of its own, and nothing of the program has begun before. To be killed, or to be run for the
tenth time in a test of what files become, it need not be started from nothing, which takes four times what a small
night does. Coverage does not measure it. Must not know what is asked of the command.
"""

import json
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from queue import Empty, SimpleQueue
from tempfile import TemporaryFile
from typing import IO, Any, Final

ROOT: Final = Path(__file__).parents[2]
LONGEST_SECONDS: Final = 180
"""A budget that killed runs used up is waited for, which takes a minute."""

Program = Callable[[], None]


class Forks:
    """As many processes that wait to fork as there were ever commands at once."""

    def __init__(self) -> None:
        self._free: SimpleQueue[subprocess.Popen[str]] = SimpleQueue()

    def run(
        self, program: str, arguments: Sequence[str], folder: Path, environ: Mapping[str, str]
    ) -> dict[str, Any]:
        """`runner` or `tests.killing`, to its end or its death: `code`, `out` and `err`."""
        process = self._waiting()
        assert process.stdin is not None
        assert process.stdout is not None
        command = {
            "program": program,
            "arguments": arguments,
            "folder": str(folder),
            "environ": dict(environ),
        }
        process.stdin.write(json.dumps(command) + "\n")
        process.stdin.flush()
        told: dict[str, Any] = json.loads(process.stdout.readline())
        self._free.put(process)
        return told

    def _waiting(self) -> "subprocess.Popen[str]":
        try:
            return self._free.get_nowait()
        except Empty:
            return subprocess.Popen(
                [sys.executable, "-m", "tests.e2e.forks"],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                encoding="utf-8",
            )

    def close(self) -> None:
        """Let those go that wait."""
        while not self._free.empty():
            self._free.get().communicate()


@contextmanager
def forks() -> Iterator[Forks]:
    """Have such processes."""
    waiting = Forks()
    try:
        yield waiting
    finally:
        waiting.close()


def main() -> None:
    """Be asked for one command after the other, each a line of JSON, and answer each with a line."""
    programs = _programs()
    for line in sys.stdin:
        with TemporaryFile() as out, TemporaryFile() as err:
            pid = os.fork()
            if pid == 0:
                _become(json.loads(line), programs, out, err)
            _, status = os.waitpid(pid, 0)
            told = {"code": os.waitstatus_to_exitcode(status), "out": _words(out), "err": _words(err)}
        print(json.dumps(told), flush=True)  # noqa: T201 - that is its answer


def _programs() -> dict[str, Program]:
    """What it can be, with all that a run of it would import."""
    from runner import cli  # noqa: PLC0415 - who only asks for a command need not load it
    from runner.app import acting, deciding, logs, looking, planning  # noqa: PLC0415
    from tests.killing import __main__ as killing  # noqa: PLC0415

    assert all((acting, deciding, logs, looking, planning))
    return {"runner": cli.main, "tests.killing": killing.main}


def _words(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode()


def _become(command: dict[str, Any], programs: Mapping[str, Program], out: IO[bytes], err: IO[bytes]) -> None:
    """Be that command from here on, and end with it."""
    code: int | str | None = None
    try:
        nothing = os.open(os.devnull, os.O_RDONLY)
        for file, standard in ((nothing, 0), (out.fileno(), 1), (err.fileno(), 2)):
            os.dup2(file, standard)
            os.close(file)
        signal.alarm(LONGEST_SECONDS)
        os.chdir(command["folder"])
        os.environ.clear()
        os.environ.update(command["environ"])
        sys.argv = [command["program"], *command["arguments"]]
        programs[command["program"]]()
    except SystemExit as end:
        code = end.code
    except BaseException:  # noqa: BLE001 - as the interpreter does at its end
        traceback.print_exc()
        code = 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else int(code is not None))


if __name__ == "__main__":
    main()
