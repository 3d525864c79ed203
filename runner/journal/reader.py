"""Reading a journal while somebody else may be writing it: for `status`, `explain`, `verify`, `plan`.

Owns a connection that cannot change anything. Must not take the lock, nor wait for whoever holds it.
"""

import sqlite3
from collections.abc import Callable
from datetime import date
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from runner.jobs.model import Job
from runner.journal import reads
from runner.journal.database import open_for_reading, telling
from runner.journal.protocol import EventRow
from runner.journal.reads import NightRow

T = TypeVar("T")


class JournalReader:
    """One journal, read-only. Use it as a context manager, or `close` it.

    Raises:
        StorageError: there is no journal yet, or it cannot be read; from any method.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection = open_for_reading(path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let the file go."""
        self._connection.close()

    def jobs(
        self, *, night: date | None = None, tenant: str | None = None, name: str | None = None
    ) -> list[Job]:
        """The jobs of a night, of a tenant, of a name; every one where nothing is asked.

        Args:
            night: those that were made in it, or to which something happened in it.
            tenant: the tenant's name in the manifest.
            name: the name of the export or report.
        """
        choice = reads.NAMED if night is None else reads.NIGHT_NAMED
        values = {"tenant": tenant, "name": name}
        if night is not None:
            values["night"] = night.isoformat()
        return self._read(lambda connection: reads.jobs(connection, choice, values))

    def latest_night(self) -> date | None:
        """The latest batch date that was started."""
        return self._read(reads.last_night)

    def nights(self) -> list[NightRow]:
        """Every night that was started, oldest first."""
        return self._read(reads.nights)

    def first_nights(self) -> dict[tuple[str, str], date]:
        """Of each report, by its domain and name, the first night that knew it."""
        return self._read(reads.first_nights)

    def events(self, job_id: int) -> list[EventRow]:
        """All that happened to one job, in order."""
        return self._read(lambda connection: reads.events(connection, job_id))

    def _read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        with telling(self._path):
            self._connection.execute(
                "BEGIN"
            )  # So that a call sees one moment, however many queries it takes.
            try:
                return work(self._connection)
            finally:
                self._connection.execute("COMMIT")
