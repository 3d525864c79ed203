"""What cannot be seen from outside: children that run a part of the program and tell its figures as JSON on stdout.

python -m tests.bench.probes NAME ARGUMENT…
"""

import asyncio
import csv
import gc
import io
import json
import os
import sqlite3
import sys
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any


def _tell(**figures: Any) -> None:
    json.dump(figures, sys.stdout)
    sys.stdout.write("\n")


def _peak_bytes() -> int:
    # Not ru_maxrss: that counts whoever started this process, too.
    text = Path("/proc/self/status").read_text(encoding="ascii")
    return int(next(line for line in text.splitlines() if line.startswith("VmHWM")).split()[1]) * 1024


def _own_bytes() -> int:
    """What is resident without the pages of mapped files, which the system may take back at any time."""
    text = Path("/proc/self/status").read_text(encoding="ascii")
    return int(next(line for line in text.splitlines() if line.startswith("RssAnon")).split()[1]) * 1024


# ── the load: flushes and the loop's lag ─────────────────────────────────────────────────────────────────────────


def load(gateway: str, manifest: str, output: str, night: str) -> None:
    """A night as `runner run` does it, with a probe in its loop and a look at its journal's flushes."""
    from runner.app import acting
    from runner.app.selection import Selection
    from runner.journal import SqliteJournal

    lags: list[float] = []
    flushes: list[int] = []
    run, close = acting._run, SqliteJournal.close

    async def probed(*arguments: Any) -> int:
        async def probe() -> None:
            while True:
                due = time.perf_counter() + 0.005
                await asyncio.sleep(0.005)
                lags.append(time.perf_counter() - due)

        task = asyncio.get_running_loop().create_task(probe())
        try:
            return await run(*arguments)
        finally:
            task.cancel()

    def counted(journal: SqliteJournal) -> None:
        flushes.append(journal.flushes)
        close(journal)

    acting._run = probed  # type: ignore[assignment]
    SqliteJournal.close = counted  # type: ignore[method-assign, assignment]
    flags = {
        "manifest": manifest, "gateway": gateway, "output": output,
        "log_format": "json", "log_level": "warning",
    }  # fmt: skip
    code = acting.run(flags, Selection(), night, as_json=False)
    with sqlite3.connect(f"{output}/.runner/journal.db") as connection:
        ((transitions,),) = connection.execute("SELECT count(*) FROM events").fetchall()
    lags.sort()
    _tell(
        code=code,
        transitions=transitions,
        flushes=max(flushes),
        lag_p99_seconds=lags[int(len(lags) * 0.99)],
        lag_most_seconds=lags[-1],
    )


def flushing(folder: str, seconds: str) -> None:
    """How many times a second this disk flushes a page that was appended."""
    descriptor = os.open(f"{folder}/flushed", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    began, count = time.perf_counter(), 0
    while time.perf_counter() - began < float(seconds):
        os.write(descriptor, bytes(4096))
        os.fsync(descriptor)
        count += 1
    _tell(per_second=count / (time.perf_counter() - began))


# ── taking up again ──────────────────────────────────────────────────────────────────────────────────────────────


def resume(gateway: str, manifest: str, output: str, night: str) -> None:
    """From a manifest that is read and a plan that is made to the first request: the journal's part of a start."""
    from runner.app import acting
    from runner.app.selection import Selection
    from runner.transport import Transport

    began: list[float] = []
    run = acting._run

    async def timed(*arguments: Any) -> int:
        began.append(time.perf_counter())
        return await run(*arguments)

    async def first(*_arguments: Any) -> Any:
        _tell(seconds=time.perf_counter() - began[0], own_bytes=_own_bytes())
        sys.stdout.flush()
        os._exit(0)

    acting._run = timed  # type: ignore[assignment]
    Transport.send = first  # type: ignore[method-assign, assignment]
    flags = {
        "manifest": manifest, "gateway": gateway, "output": output,
        "log_format": "json", "log_level": "warning",
    }  # fmt: skip
    acting.run(flags, Selection(), night, as_json=False)


def fetch(journal: str, night: str) -> None:
    """The same rows by sqlite3 alone: unfinished jobs, which jobs this night worked on, and what was sent of late."""
    from runner.clock import SystemClock
    from runner.journal.queries import QUERIES, choosing
    from runner.journal.sqlite import _since

    now = SystemClock().now()
    since = _since(now.boot_id, now.boot_seconds, now.wall)
    began = time.perf_counter()
    connection = sqlite3.connect(f"file:{journal}?mode=ro", uri=True)
    jobs = connection.execute(choosing("jobs_chosen", "choose_unfinished")).fetchall()
    ((numbers,),) = connection.execute(QUERIES["numbers_of_night"], {"night": night}).fetchall()
    spends = connection.execute(QUERIES["recent_spends"], since).fetchall()
    _tell(seconds=time.perf_counter() - began, jobs=len(jobs), numbers_bytes=len(numbers), spends=len(spends))


# ── reading manifests ────────────────────────────────────────────────────────────────────────────────────────────


def parse(manifest: str) -> None:
    """The manifest by libyaml alone, which makes events of it and nothing more."""
    import yaml

    with Path(manifest).open("rb") as file:
        _tell(events=sum(1 for _ in yaml.parse(file, Loader=yaml.CSafeLoader)))


# ── tables ───────────────────────────────────────────────────────────────────────────────────────────────────────


def table(answer: str, target: str) -> None:
    """An export's CSV as the program makes it: from the file on disk, block by block."""
    from runner.content import ExportReader
    from runner.derived import write_csv

    def work() -> None:
        with Path(answer).open("rb") as file, Path(target).open("wb") as out:
            reader = ExportReader()
            for block in iter(lambda: file.read(1 << 20), b""):
                reader.feed(block)
            file.seek(0)
            write_csv(reader.finish(), iter(lambda: file.read(1 << 20), b""), out.write)

    _timed(work)


def table_in_memory(answer: str, target: str) -> None:
    """The same in the plainest way: everything decoded, then `csv.writer`."""
    import msgspec

    def work() -> None:
        document = msgspec.json.decode(Path(answer).read_bytes())
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["id", "name", "amount", "amountUnit", "externalCode", "endsAt"])
        encode = msgspec.json.encode
        for e in document["data"]["entries"]:
            owner, kind = e["owner"], e["timeType"]
            row = [e["id"], e["name"], e["amount"], e["amountUnit"], e["externalCode"], e["endsAt"]]
            row += [owner["id"], owner["lastName"], owner["firstName"]]
            row += [kind["id"], kind["name"], kind["payTreatment"], encode(e["axisSections"]).decode()]
            writer.writerow(row)
        Path(target).write_text(text.getvalue(), encoding="utf-8")

    _timed(work)


def _timed(work: Callable[[], None]) -> None:
    gc.collect()
    idle, began, used = _own_bytes(), time.perf_counter(), time.process_time()
    most = [idle]

    # The peak of what is its own: looked at from another thread, often enough for a thing of seconds.
    import threading

    done = threading.Event()

    def look() -> None:
        while not done.wait(0.01):
            most.append(_own_bytes())

    looker = threading.Thread(target=look)
    looker.start()
    work()
    seconds, cpu_seconds = time.perf_counter() - began, time.process_time() - used
    most.append(_own_bytes())
    done.set()
    looker.join()
    _tell(
        seconds=seconds, cpu_seconds=cpu_seconds, own_bytes=max(most) - idle, peak_bytes=_peak_bytes() - idle
    )


# ── a night in virtual time ──────────────────────────────────────────────────────────────────────────────────────


def night(tenants: str, seed: str, folder: str) -> None:
    """A night of many tenants, and the least time that it could have taken."""
    from runner.app.logs import log_to_stderr
    from tests.bench.makespan import play

    log_to_stderr("json", "error")
    made = play(int(tenants), int(seed), Path(folder), date(2026, 11, 24))
    _tell(makespan_seconds=made.seconds, bound_seconds=made.bound_seconds, jobs=made.jobs, code=made.code)


_PROBES: dict[str, Callable[..., None]] = {
    probe.__name__: probe for probe in (load, flushing, resume, fetch, parse, table, table_in_memory, night)
}

if __name__ == "__main__":
    _PROBES[sys.argv[1]](*sys.argv[2:])
