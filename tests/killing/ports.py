"""The ports of a process that kills itself before or after an effect, or whose disk fails from an effect on.

Owns the names of the places. Must not know what dying there is good for, nor change what an effect does: until the end
everything happens as without it.
"""

import errno
import functools
import os
import re
import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Final

from runner.app import acting, nightly, stores
from runner.credentials import Secret
from runner.jobs.model import Job
from runner.journal import Happened, SqliteJournal, database, hold, sqlite
from runner.journal.place import MOUNTS
from runner.lucca import Request
from runner.output import Disk
from runner.transport import Answer, Stream, Transport
from tests.streams import Followed

ANYWHERE: Final = "any"
"""In place of a place: every one counts."""
MIDST_SECONDS: Final = 0.04
"""How long after its bytes could leave a request is in the midst of it."""

_WRITES: Final = frozenset(
    {
        "create",
        "recent_spends",
        "refresh_spec",
        "remember_template",
        "forget_template",
        "remember_trait",
        "first_nights",
        "spend",
        "start_night",
        "finish_night",
    }
)
_DATA_NAME: Final = re.compile(r"\.?[a-z0-9_-]+-\d+\..+")


@dataclass(frozen=True, slots=True)
class Death:
    """Where a process is to die: `when` is before, midst (of a request) or after."""

    place: str
    when: str = "before"
    nth: int = 1

    def __str__(self) -> str:
        return f"{self.when} {self.place}" + (f" #{self.nth}" if self.nth > 1 else "")


@dataclass(frozen=True, slots=True)
class Failure:
    """The effect that fails, and every one like it from then on. The journal knows only `journal commit`."""

    place: str
    errno: int
    nth: int = 1

    def __str__(self) -> str:
        return f"{errno.errorcode[self.errno]} at {self.place}" + (f" #{self.nth}" if self.nth > 1 else "")


class Reaper:
    """Counts what happens and kills this process, or fails it, when its time has come."""

    def __init__(
        self, death: Death | None, trace: Path | None = None, failure: Failure | None = None
    ) -> None:
        """`trace`: a file in which every place is noted, one `WHEN PLACE` a line."""
        self._failure = failure
        self._good = 0 if failure is None else failure.nth - 1
        self._death = death
        self._left = 0 if death is None else death.nth
        self._lock = threading.Lock()
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self._trace = None if trace is None else os.open(trace, flags, 0o600)

    def at(self, when: str, place: str) -> None:
        """Here this process may die."""
        with self._lock:
            if self._trace is not None:
                os.write(self._trace, f"{when} {place}\n".encode())
            failure, death = self._failure, self._death
            if failure is not None and when == "before" and failure.place in (ANYWHERE, place):
                self._good -= 1
                if self._good < 0 and place.startswith(("disk", "journal commit")):
                    raise OSError(failure.errno, os.strerror(failure.errno))
            if death is None or death.when != when or death.place not in (ANYWHERE, place):
                return
            self._left -= 1
            if self._left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    def around(self, place: str, effect: Callable[..., Any], *args: Any, **more: Any) -> Any:
        """Do it, unless dead before."""
        self.at("before", place)
        result = effect(*args, **more)
        self.at("after", place)
        return result

    def soon(self, place: str) -> None:
        """In the midst of a request: its bytes have left, and its answer is not here yet."""
        if self._death is None or self._death.when == "midst":

            def wait() -> None:
                time.sleep(MIDST_SECONDS)
                self.at("midst", place)

            threading.Thread(target=wait, daemon=True).start()


class MortalJournal:
    """The journal; each writing call is a place, `record` one for each event."""

    def __init__(self, journal: SqliteJournal, reaper: Reaper) -> None:
        self._journal = journal
        self._reaper = reaper
        self.epoch = journal.epoch

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._journal, name)
        return functools.partial(self._write, f"journal {name}", method) if name in _WRITES else method

    async def record(self, job: Job, night: date, told: Happened) -> None:
        await self._write(f"{job.spec.kind} {told.event}", self._journal.record, job, night, told)

    async def _write(self, place: str, method: Callable[..., Any], *args: Any) -> Any:
        self._reaper.at("before", place)
        result = await method(*args)
        self._reaper.at("after", place)
        return result


class MortalConnection:
    """The journal's connection; the commit of a transaction that writes is a place, in the thread that does it."""

    def __init__(self, connection: sqlite3.Connection, reaper: Reaper) -> None:
        self._connection = connection
        self._reaper = reaper
        self._writes = False

    def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
        if sql.startswith("BEGIN"):
            self._writes = sql == "BEGIN IMMEDIATE"
        if sql == "COMMIT" and self._writes:
            try:
                self._reaper.at("before", "journal commit")
            except OSError as error:
                raise _sqlite_error(error) from None
            cursor = self._connection.execute(sql)
            self._reaper.at("after", "journal commit")
            return cursor
        return self._connection.execute(sql, *values)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


def _sqlite_error(error: OSError) -> sqlite3.OperationalError:
    """What SQLite makes of the system's refusal."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    told = sqlite3.OperationalError("database or disk is full" if full else "disk I/O error")
    told.sqlite_errorcode = sqlite3.SQLITE_FULL if full else sqlite3.SQLITE_IOERR
    told.sqlite_errorname = "SQLITE_FULL" if full else "SQLITE_IOERR"
    return told


class MortalSender:
    """The transport; each kind of request is a place."""

    def __init__(self, transport: Transport, reaper: Reaper) -> None:
        self._transport = transport
        self._reaper = reaper

    async def send(self, domain: str, key: Secret, request: Request, left: Callable[[], None]) -> Answer:
        place = place_of(request)
        self._reaper.at("before", place)
        answer = await self._transport.send(domain, key, request, self._leaving(place, left))
        self._reaper.at("after", place)
        return answer

    async def download(self, domain: str, key: Secret, request: Request, left: Callable[[], None]) -> Stream:
        place = place_of(request)
        self._reaper.at("before", place)
        stream = await self._transport.download(domain, key, request, self._leaving(place, left))

        def ended(well: bool) -> None:
            if well:
                self._reaper.at("after", place)

        return Followed(stream, ended)

    def _leaving(self, place: str, left: Callable[[], None]) -> Callable[[], None]:
        def leaving() -> None:
            left()
            self._reaper.soon(place)

        return leaving


def place_of(request: Request) -> str:
    """What a request is for, in a word."""
    path, _, query = request.target.partition("?")
    if "/timmiexports" in path:
        if request.method == "POST":
            return "send trigger"
        if path.endswith("/timmiexports"):
            return "send poll" if "greaterthan" in query else "send survey"
        return "send content" if "entries" in query else "send identity"
    if request.method == "POST":
        return "send template" if path.endswith("/report-templates") else "send report"
    return f"send {path.rpartition('/')[2]}" if "/download-" in path else "send report-poll"


class MortalDisk(Disk):
    """The file system; each kind of effect is a place, on data files and on what is published apart."""

    def __init__(self, reaper: Reaper) -> None:
        self._reaper = reaper
        self._open: dict[int, str] = {}
        self._fresh: set[int] = set()

    def make_folder(self, name: str, *, folder: int) -> None:
        self._reaper.around(f"disk make {_kind(name)}", super().make_folder, name, folder=folder)

    def open_folder(self, name: str, *, folder: int) -> int:
        return self._opened(name, super().open_folder(name, folder=folder))

    def create(self, name: str, *, folder: int) -> int:
        place = f"disk create {_kind(name)}"
        fd = self._opened(name, self._reaper.around(place, super().create, name, folder=folder))
        self._fresh.add(fd)
        return fd

    def write(self, fd: int, pieces: Sequence[memoryview]) -> int:
        self._reaper.at("before", place := f"disk write {self._open[fd]}")
        if fd in self._fresh:
            self._fresh.remove(fd)
            data = memoryview(b"".join(pieces))
            pieces = [data[: max(1, len(data) // 2)]]  # so that dying after the first leaves a torn file
        size_bytes = super().write(fd, pieces)
        self._reaper.at("after", place)
        return size_bytes

    def flush(self, fd: int) -> None:
        self._reaper.around(f"disk flush {self._open[fd]}", super().flush, fd)

    def flush_folder(self, fd: int) -> None:
        self._reaper.around(f"disk flush {self._open.get(fd, 'root')}", super().flush_folder, fd)

    def link(self, source: str, target: str, *, folder: int) -> None:
        self._reaper.around(f"disk link {_kind(target)}", super().link, source, target, folder=folder)

    def rename(self, source: str, target: str, *, folder: int) -> None:
        self._reaper.around(f"disk rename {target}", super().rename, source, target, folder=folder)

    def unlink(self, name: str, *, folder: int) -> None:
        self._reaper.around(f"disk unlink {_kind(name)}", super().unlink, name, folder=folder)

    def _opened(self, name: str, fd: int) -> int:
        self._open[fd] = _kind(name)
        return fd


def _kind(name: str) -> str:
    """What stands, or will stand, under this name."""
    if re.fullmatch(r"\d{4}-\d\d-\d\d", name):
        return "night"
    if "." not in name and name != "SHA256SUMS":
        return "tenant"
    return "data" if _DATA_NAME.fullmatch(name) else "page"


def wrap(reaper: Reaper, mounts: Path | None = None) -> None:
    """Let this process construct mortal ports in place of its own.

    Args:
        reaper: beside each port.
        mounts: what to believe of the file systems, in place of the system's own word.
    """
    make_ports, open_journal = nightly.Ports, database.open_for_writing

    def ports(**given: Any) -> Any:
        journal = MortalJournal(given["journal"], reaper)
        return make_ports(**{**given, "journal": journal, "sender": MortalSender(given["sender"], reaper)})

    def opened(path: Path) -> Any:
        return MortalConnection(open_journal(path), reaper)

    for module, name, replacement in (
        (acting, "Ports", ports),
        (stores, "Disk", functools.partial(MortalDisk, reaper)),
        (sqlite, "open_for_writing", opened),
        (stores, "hold", functools.partial(hold, mounts=mounts or MOUNTS)),
    ):
        assert hasattr(module, name), f"{module.__name__}.{name} is not where ports are made any more"
        setattr(module, name, replacement)
