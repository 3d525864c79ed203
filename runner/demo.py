"""The example night of `make run`: a local Lucca of many moods, one run of the real program, files to look at.

Starts the two commands a person would start, with intervals so short that hours become seconds, and says so.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

FOLDER = Path("demo-output")
_MARK = ".made-by-the-demo"
_TENANTS = 36
_SEED = 1
_READY_SECONDS = 15.0
_SHORT = {
    "RUNNER_RETRIGGER_AFTER": "8s",
    "RUNNER_TRIGGER_TIMEOUT": "3s",
    "RUNNER_EXPORT_POLL_INTERVAL": "2s",
    "RUNNER_REPORT_POLL_INTERVAL": "1s",
    "RUNNER_REPORT_TIMEOUT": "8s",
    "RUNNER_REQUESTS_PER_MINUTE": "45",
    "RUNNER_UNTIL": "90s",
}


def main() -> int:
    """Run the example night; 0 when it went as it should, troubles of the tenants included."""
    if not _clear():
        print(f"{FOLDER} exists and is not the demo's; move it away first", file=sys.stderr)
        return 2
    environment = {key: value for key, value in os.environ.items() if not key.startswith("RUNNER_")} | _SHORT
    sandbox = subprocess.Popen(
        [
            *_runner(),
            "sandbox",
            "--port",
            "0",
            "--seed",
            str(_SEED),
            "--tenants",
            str(_TENANTS),
            "--write",
            str(FOLDER),
        ],
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    try:
        gateway = _gateway(sandbox)
        if gateway is None:
            print("the sandbox did not start", file=sys.stderr)
            return 1
        environment |= {"RUNNER_GATEWAY": gateway, "RUNNER_OUTPUT": str(FOLDER)}
        _introduce(gateway)
        began = time.monotonic()
        night = subprocess.run(
            [*_runner(), "run", str(FOLDER / "tenants.yaml"), *_quiet()], env=environment, check=False
        )
        took = time.monotonic() - began
    finally:
        sandbox.terminate()
        sandbox.communicate(timeout=10)
    return _tell(night.returncode, took)


def _runner() -> list[str]:
    return [sys.executable, "-c", "from runner.cli import main; main()"]


def _quiet() -> list[str]:
    # On a terminal the live view tells the night; into a pipe its end is enough.
    return [] if sys.stderr.isatty() else ["--log-level", "error"]


def _clear() -> bool:
    if FOLDER.exists():
        if not (FOLDER / _MARK).exists():
            return False
        shutil.rmtree(FOLDER)
    FOLDER.mkdir()
    (FOLDER / _MARK).touch()
    return True


def _gateway(sandbox: "subprocess.Popen[str]") -> str | None:
    end = time.monotonic() + _READY_SECONDS
    while sandbox.stderr and time.monotonic() < end and (line := sandbox.stderr.readline()):
        if "http://127.0.0.1:" in line:
            return next(word for word in line.split() if word.startswith("http://"))
    return None


def _introduce(gateway: str) -> None:
    print(
        f"A local Lucca with {_TENANTS} tenants of all moods is at {gateway}. Now the night, with short intervals:"
    )
    print(
        "  " + "  ".join(f"{name.removeprefix('RUNNER_').lower()}={value}" for name, value in _SHORT.items())
    )
    print("  (in earnest an hour passes before a second trigger, and a night has eight)\n", flush=True)


def _tell(code: int, took_seconds: float) -> int:
    found = sorted(FOLDER.glob("20*/run.json"))
    if not found:
        print(f"the night left no run.json; exit code {code}", file=sys.stderr)
        return 1
    document: dict[str, Any] = json.loads(found[-1].read_text(encoding="utf-8"))
    states = Counter(job["state"] for job in document["jobs"])
    print(f"\nThe night took {took_seconds:.0f} s and ended with exit code {code}: {_meaning(code)}.")
    print("  " + ", ".join(f"{count} {state}" for state, count in states.most_common()))
    for job in document["jobs"]:
        if job["error"] or job["flags"]:
            why = job["error"]["code"] if job["error"] else ", ".join(job["flags"])
            print(f"  {job['tenant']}/{job['name']}: {why}")
    print(f"\nLook at  {found[-1].with_name('index.html')}\n    and  {found[-1]}")
    job = max(document["jobs"], key=lambda job: (job["kind"] == "export", len(job["transitions"])))
    print(f"    try  .venv/bin/runner explain {job['tenant']}/{job['name']} --output {FOLDER} --language en")
    return 0 if code in (0, 3) else 1


def _meaning(code: int) -> str:
    return {
        0: "everything arrived",
        3: "some clients need a person, as the moods of this Lucca would have it",
        4: "the deadline came first",
    }.get(code, "that was not to happen")


if __name__ == "__main__":
    sys.exit(main())
