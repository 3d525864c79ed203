"""The SQLite file: opening it, bringing it up to date, and saying in words what is wrong with it.

Owns versions, pragmas and the translation of every `sqlite3.Error`. Must not know jobs, threads or the lock.
"""

import re
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from runner.errors import StorageError
from runner.journal.queries import MIGRATIONS
from runner.journal.rows import UnreadableError

MEMORY = Path(":memory:")
"""A journal that is gone with its connection, for simulations."""

_APPLICATION_ID = 1920298610
_LEAST_SQLITE = (3, 37, 0)  # the first with STRICT tables
_BUSY_SECONDS = 5.0

_REMEDIES: dict[int, tuple[str, str]] = {
    sqlite3.SQLITE_FULL: (
        "the disk is full",
        "make room on its disk, then run again: it goes on where this one stopped",
    ),
    sqlite3.SQLITE_READONLY: (
        "it may not be written",
        "give this user the right to write it and its folder, then run again",
    ),
    sqlite3.SQLITE_PERM: (
        "access was refused",
        "give this user the right to write it and its folder, then run again",
    ),
    sqlite3.SQLITE_CANTOPEN: (
        "it could not be opened",
        "see that its folder exists, that this user may write there and open files (ulimit -n), then run again",
    ),
    sqlite3.SQLITE_BUSY: (
        "another program keeps it locked",
        "close what has it open (an SQLite shell, a backup), then run again",
    ),
    sqlite3.SQLITE_IOERR: (
        "its disk failed to read or write",
        "see to the disk: it may be full, or fail (the system's log tells more); then run again",
    ),
}
_DAMAGED = (
    "it is damaged",
    (
        "move it away together with the files of the same name that end in -wal and -shm, restore a copy if there "
        "is one, wait an hour so that no export is still being made, and run again: a new journal adopts what exists "
        "in Lucca"
    ),
)
_OF_DAMAGE = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_VALUE = re.compile(r" '.*'", re.DOTALL)
_UNFORESEEN = ("SQLite refused", "run again; if it comes back, report it with this message")


def storage_error(
    path: Path, error: sqlite3.Error | msgspec.MsgspecError | UnicodeDecodeError
) -> StorageError:
    """The error in words: which file, what happened, what to do."""
    if isinstance(error, UnicodeDecodeError) or str(error).startswith("Could not decode"):
        what, remedy = _DAMAGED
        # SQLite would show the text, and it is a name or a sentence that somebody wrote.
        return StorageError(
            f"the journal {path} could not be used: {what} (text that is no UTF-8). To do: {remedy}."
        )
    if isinstance(error, msgspec.MsgspecError):
        what, remedy = _DAMAGED
        where = _VALUE.sub("", str(error))  # which one, but not what stands there: nobody wrote that
        return StorageError(
            f"the journal {path} could not be read: {what} (a job in it: {where}). To do: {remedy}."
        )
    number = getattr(error, "sqlite_errorcode", None)
    primary = None if number is None else number & 0xFF
    missing = primary == sqlite3.SQLITE_ERROR and str(error).startswith("no such")
    if missing or primary in _OF_DAMAGE or isinstance(error, UnreadableError):
        what, remedy = _DAMAGED
    else:
        what, remedy = _REMEDIES.get(primary or 0, _UNFORESEEN)
    name = getattr(error, "sqlite_errorname", None) or type(error).__name__
    return StorageError(f"the journal {path} could not be used: {what} ({name}: {error}). To do: {remedy}.")


@contextmanager
def telling(path: Path) -> Iterator[None]:
    """Turn what SQLite says into a `StorageError`."""
    try:
        yield
    except (sqlite3.Error, msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise storage_error(path, error) from error


def open_for_writing(path: Path, steps: Sequence[str] = MIGRATIONS) -> sqlite3.Connection:
    """Open the journal and bring it up to date.

    Args:
        path: the file, which may be empty, or `MEMORY`.
        steps: the migrations.

    Raises:
        StorageError: it is damaged, from a newer version, not ours, or cannot be written.
    """
    _check_library()
    with telling(path):
        # One thread at a time uses it, but not always the one that opened it.
        connection = sqlite3.connect(
            path, isolation_level=None, check_same_thread=False, timeout=_BUSY_SECONDS
        )
    try:
        with telling(path):
            _check_ours(connection, path, len(steps))
            (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
            if mode != "wal" and path != MEMORY:  # pragma: no cover - no such file system is at hand
                raise StorageError(
                    f"the journal {path} lies on a file system without shared memory (SQLite keeps to {mode!r}). "
                    "To do: let RUNNER_STATE name a path on a local disk."
                )
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute("PRAGMA synchronous = FULL")
            _migrate(connection, steps)
    except BaseException:
        connection.close()
        raise
    return connection


def open_for_reading(path: Path) -> sqlite3.Connection:
    """Open the journal without the right to change it; a runner may write meanwhile.

    Raises:
        StorageError: there is none, or it cannot be read by this version.
    """
    _check_library()
    if not path.is_file():
        raise _none_yet(path)
    with telling(path):
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)
    try:
        with telling(path):
            version = _check_ours(connection, path, len(MIGRATIONS))
        if version == 0:
            raise _none_yet(path)
        if version < len(MIGRATIONS):
            raise StorageError(
                f"the journal {path} was written by an older version of runner (format {version}, this one reads "
                f"{len(MIGRATIONS)}). To do: `runner run` once; it brings the journal up to date."
            )
    except BaseException:
        connection.close()
        raise
    return connection


def _check_library() -> None:
    if sqlite3.sqlite_version_info < _LEAST_SQLITE:  # pragma: no cover - depends on the machine
        least = ".".join(map(str, _LEAST_SQLITE))
        raise StorageError(
            f"this Python comes with SQLite {sqlite3.sqlite_version}; the journal needs {least} or newer. "
            "To do: use another Python, such as one from python.org, a container image or uv."
        )


def _none_yet(path: Path) -> StorageError:
    return StorageError(
        f"there is no journal at {path} yet. To do: `runner run` makes it; or let RUNNER_STATE (or RUNNER_OUTPUT) name "
        "the place of the one you mean."
    )


def _check_ours(connection: sqlite3.Connection, path: Path, known: int) -> int:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if (version or application or tables) and application != _APPLICATION_ID:
        raise StorageError(
            f"{path} is the database of another program; nothing in it was changed. "
            "To do: let RUNNER_STATE name the journal's own path."
        )
    if version > known:
        raise StorageError(
            f"the journal {path} was written by a newer version of runner (format {version}, this one knows {known}); "
            "nothing in it was changed. To do: install the newer version again; it goes on from here."
        )
    return int(version)


def _migrate(connection: sqlite3.Connection, steps: Sequence[str]) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    for number in range(version + 1, len(steps) + 1):
        # A script is one transaction with its version: a crash leaves the old shape or the new one.
        script = f"BEGIN IMMEDIATE;\n{steps[number - 1]}\nPRAGMA user_version = {number};\nCOMMIT;"
        connection.executescript(script)
