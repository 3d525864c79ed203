"""Two runners at the same moment, as real processes: one program that has everything imported, and forks itself.

Reads a folder per line, and for each starts two `runner run` in it that wait for one moment and then go. Answers each
line with a line of JSON: of both runners the exit code, when they began and how long they took. Run as
`python -m tests.e2e.racing`; it knows neither the server nor what comes of it.
"""

import json
import os
import sys
import time
from pathlib import Path

from runner import cli
from runner.app import acting
from runner.app.logs import log_to_stderr

LEAD_SECONDS = 0.08
"""So long before the moment both are there, waiting for it."""
SPIN_SECONDS = 0.001
"""The last bit is waited for awake: a sleeper is late by as much as he likes."""
PRELOADED = (acting, log_to_stderr)


def main() -> None:
    """Race in the folder of each line."""
    for line in sys.stdin:
        print(json.dumps(race(Path(line.strip()))), flush=True)  # noqa: T201 - that is its answer


def race(folder: Path) -> list[dict[str, float]]:
    """Both runners to their ends."""
    moment = time.monotonic() + LEAD_SECONDS
    pids = {_started(folder, name, moment): name for name in ("one", "other")}
    told = []
    while pids:
        pid, status = os.wait()
        name = pids.pop(pid)
        begun = float((folder / f"{name}.begun").read_text(encoding="ascii"))
        told.append(
            {
                "code": os.waitstatus_to_exitcode(status),
                "late": begun - moment,
                "seconds": time.monotonic() - begun,
            }
        )
    return told


def _started(folder: Path, name: str, moment: float) -> int:
    pid = os.fork()
    if pid:
        return pid
    code = 70
    try:
        os.chdir(folder)
        out = os.open(f"{name}.out", os.O_WRONLY | os.O_CREAT, 0o600)
        os.dup2(out, 1)
        os.dup2(out, 2)
        sys.argv = ["runner", "run", "--date", "2026-11-24"]
        time.sleep(max(0.0, moment - SPIN_SECONDS - time.monotonic()))
        while (begun := time.monotonic()) < moment:
            pass
        Path(f"{name}.begun").write_text(f"{begun:.6f}", encoding="ascii")
        cli.main()
    except SystemExit as end:
        code = int(end.code or 0)
    finally:
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    main()
