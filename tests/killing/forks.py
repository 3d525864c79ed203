"""The mortal command without its start: a process that has everything imported forks itself for every command.

Owns these processes and the way to tell them what to be. What is forked is a process like any other, with a folder, an
environment and words of its own, and nothing of the program has begun before; to be killed it need not be started from
nothing, which takes four times what a small night does. Must not know what is killed where.
"""

import json
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from tempfile import TemporaryFile
from typing import IO, Any, Final

from runner.app import acting
from runner.app.logs import log_to_stderr
from tests.e2e.bureau import Bureau, Result
from tests.killing.__main__ import main as mortal_command

ROOT: Final = Path(__file__).parents[2]
LONGEST_SECONDS: Final = 180
"""A budget that the killed runs used up is waited for, which takes a minute."""
PRELOADED: Final = (acting, log_to_stderr)


class Forks:
    """So many processes that wait to fork; more commands than that wait for one another."""

    def __init__(self, waiting: "list[subprocess.Popen[str]]") -> None:
        self._free: SimpleQueue[subprocess.Popen[str]] = SimpleQueue()
        for process in waiting:
            self._free.put(process)

    def run(self, bureau: Bureau, *arguments: str, **changes: str) -> Result:
        """`python -m tests.killing` with these arguments in the bureau's folder, to its end or its death."""
        command = {
            "folder": str(bureau.folder),
            "environ": bureau.environment(**changes),
            "arguments": arguments,
        }
        process = self._free.get()
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(command) + "\n")
        process.stdin.flush()
        result = Result(**json.loads(process.stdout.readline()))
        self._free.put(process)
        assert bureau.leaked(result.out + result.err) == []
        return result


@contextmanager
def forks(count: int) -> Iterator[Forks]:
    """Have so many processes waiting."""
    waiting = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.killing.forks"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )
        for _ in range(count)
    ]
    try:
        yield Forks(waiting)
    finally:
        for process in waiting:
            process.communicate()


def main() -> None:
    """Be asked for one command after the other, each a line of JSON, and answer each with a line."""
    for line in sys.stdin:
        with TemporaryFile() as out, TemporaryFile() as err:
            pid = os.fork()
            if pid == 0:
                _become(json.loads(line), out, err)
            _, status = os.waitpid(pid, 0)
            told = {"code": os.waitstatus_to_exitcode(status), "out": _words(out), "err": _words(err)}
        print(json.dumps(told), flush=True)  # noqa: T201 - that is its answer


def _words(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode()


def _become(command: dict[str, Any], out: IO[bytes], err: IO[bytes]) -> None:
    """Be that command from here on, and end with it."""
    code: int | str | None = 70
    try:
        nothing = os.open(os.devnull, os.O_RDONLY)
        for file, standard in ((nothing, 0), (out.fileno(), 1), (err.fileno(), 2)):
            os.dup2(file, standard)
        for file in (nothing, out.fileno(), err.fileno()):
            os.close(file)
        signal.alarm(LONGEST_SECONDS)
        os.chdir(command["folder"])
        os.environ.clear()
        os.environ.update(command["environ"])
        sys.argv = ["tests.killing", *command["arguments"]]
        mortal_command()
        code = 0
    except SystemExit as end:
        code = end.code
    except BaseException:  # noqa: BLE001 - as the interpreter does at its end
        traceback.print_exc()
        code = 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 0 if code is None else 1)


if __name__ == "__main__":
    main()
