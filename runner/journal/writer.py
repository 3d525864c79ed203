"""Who writes: one thread, and as many pieces of work per transaction as have come together.

Owns transactions, their durability and the epoch's guard. Must not know what the work does.

**Group commit.** While a transaction is being flushed to disk, new work gathers in the event loop; then all of it goes
into the next one. Where calls come in company, the next batch is given a moment to gather, so that a quick disk is not
asked for a flush each; a lone call waits for nobody. Work that fails must not cost the others of its batch: the batch
is rolled back and each piece is run by itself.

Most of it is rows, each for one of a few statements. Those of a batch are stored statement by statement, since whatever
is asked of SQLite alone gives the interpreter away; so no two statements may change the same row.
"""

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import suppress
from enum import IntEnum
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any, TypeVar, cast

import msgspec
from msgspec import Struct

from runner.errors import StorageError
from runner.journal.database import storage_error
from runner.journal.protocol import StaleHolderError
from runner.journal.queries import QUERIES

GATHER_SECONDS = 0.02
"""How long a batch may gather where the one before it was shared."""
GATHER_ENOUGH = 256
"""How many pieces of work wait for no more."""

T = TypeVar("T")
Row = tuple[str, tuple[Any, ...]]
"""A statement that changes one row, and its values."""
_EPOCH = QUERIES["epoch"]


class Need(IntEnum):
    """How well the work must be kept."""

    NOTHING = 0
    """It only reads."""
    PROCESS = 1
    """It survives the end of this process, not of the machine: no flush."""
    POWER = 2
    """It is flushed to disk when the call returns."""


class UnchangedError(Exception):
    """A statement met no row that it could change; nothing of what came with it was stored."""


_Work = Callable[[sqlite3.Connection], Any] | Sequence[Row]


class _Task(Struct, frozen=True):
    work: _Work
    need: Need
    future: "asyncio.Future[Any]"


_Outcome = tuple[Any, Exception | None]


def _answer(task: _Task, result: Any, error: Exception | None) -> None:  # noqa: ANN401 - the work's own
    if error is None:
        task.future.set_result(result)
    else:
        task.future.set_exception(error)


class _TogetherError(Exception):
    """The transaction itself failed: none of the batch is stored, and trying piece by piece would not help."""


class Transactions:
    """Runs work on one connection, a batch per transaction. To be used by one thread at a time."""

    def __init__(self, connection: sqlite3.Connection, path: Path, epoch: int) -> None:
        self._connection = connection
        self._path = path
        self._epoch = epoch
        self._level = Need.POWER
        self.flushes = 0

    def run(self, tasks: Sequence[_Task]) -> list[_Outcome]:
        """What became of each task: its result, or its error."""
        try:
            return [(result, None) for result in self._together(tasks)]
        except _TogetherError as error:
            return [(None, cast("Exception", error.__cause__))] * len(tasks)
        except Exception as error:  # noqa: BLE001 - whatever it is belongs to whoever asked
            if len(tasks) == 1:
                return [(None, self._told(error))]
        return [self.run([task])[0] for task in tasks]

    def _together(self, tasks: Sequence[_Task]) -> list[Any]:
        connection = self._connection
        need = max(task.need for task in tasks)
        if need > Need.NOTHING and need != self._level:
            connection.execute(
                "PRAGMA synchronous = FULL" if need is Need.POWER else "PRAGMA synchronous = NORMAL"
            )
            self._level = need
        try:
            connection.execute("BEGIN" if need is Need.NOTHING else "BEGIN IMMEDIATE")
        except sqlite3.Error as error:
            raise _TogetherError from self._told(error)
        try:
            if need > Need.NOTHING:
                self._refuse_if_stale()
            results = self._results(tasks)
        except BaseException:
            self._roll_back()
            raise
        try:
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            self._roll_back()
            raise _TogetherError from self._told(error)
        self.flushes += need is Need.POWER
        return results

    def _results(self, tasks: Sequence[_Task]) -> list[Any]:
        results: list[Any] = []
        values_of: dict[str, list[tuple[Any, ...]]] = {}
        for task in tasks:
            if callable(task.work):
                self._store(values_of)  # what was asked before it, it is to see
                results.append(task.work(self._connection))
            else:
                for statement, values in task.work:
                    values_of.setdefault(statement, []).append(values)
                results.append(None)
        self._store(values_of)
        return results

    def _store(self, values_of: dict[str, list[tuple[Any, ...]]]) -> None:
        for statement, values in values_of.items():
            if self._connection.executemany(statement, values).rowcount != len(values):
                raise UnchangedError
        values_of.clear()

    def _refuse_if_stale(self) -> None:
        (epoch,) = self._connection.execute(_EPOCH).fetchone()
        if epoch > self._epoch:
            raise stale(self._path, self._epoch, epoch)

    def _roll_back(self) -> None:
        if self._connection.in_transaction:  # SQLite rolls back by itself after some errors.
            with suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")

    def _told(self, error: Exception) -> Exception:
        if isinstance(error, (sqlite3.Error, msgspec.MsgspecError, UnicodeDecodeError)):
            failure = storage_error(self._path, error)
            failure.__cause__ = error
            return failure
        return error


def stale(path: Path, ours: int, theirs: int) -> StaleHolderError:
    """The refusal of a holder whose time is over."""
    return StaleHolderError(
        f"another runner took the journal {path} meanwhile (its epoch is {theirs}, ours {ours}); what this one tried "
        "to record was not written. To do: let the other one go on; never remove the lock file of a running one."
    )


class Writer:
    """Hands work to the thread that writes, or runs it in place (`inline`).

    All of its state belongs to the event loop's thread; the writing thread only sees batches.
    """

    def __init__(self, transactions: Transactions, path: Path, *, inline: bool) -> None:
        self._transactions = transactions
        self._path = path
        self._closed = False
        self._abandoned = False
        self._gathered: list[_Task] = []
        self._busy = False
        self._gathering: asyncio.TimerHandle | None = None
        self._batches: SimpleQueue[list[_Task] | None] = SimpleQueue()
        self._thread: Thread | None = None
        if not inline:
            self._loop = asyncio.get_running_loop()
            # A daemon, so that a program that dies without closing can end; half a transaction is none.
            self._thread = Thread(target=self._write, name="journal", daemon=True)
            self._thread.start()

    async def do(self, work: Callable[[sqlite3.Connection], T], need: Need) -> T:
        """Run `work` in a transaction and return its result once it is kept as well as it needs.

        Work is run even if the caller is cancelled while it waits.
        """
        return cast("T", await self._asked(work, need))

    async def store(self, rows: Sequence[Row], need: Need) -> None:
        """Store rows, all or none, as `do` would.

        Raises:
            UnchangedError: for one of them there was nothing to change.
        """
        await self._asked(rows, need)

    def _asked(self, work: _Work, need: Need) -> "asyncio.Future[Any]":
        if self._closed:
            raise StorageError(f"the journal {self._path} is closed: nothing more can be read or recorded.")
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        task = _Task(work, need, future)
        if self._thread is None:
            _answer(task, *self._transactions.run([task])[0])
            return future
        self._gathered.append(task)
        if not self._busy:
            self._busy = True
            # At the end of this turn of the loop: the others that are ready now come along.
            self._loop.call_soon(self._hand_over)
        elif self._gathering is not None and len(self._gathered) >= GATHER_ENOUGH:
            self._gathering.cancel()
            self._hand_over()
        return future

    def close(self) -> None:
        """Do what was asked so far, then stop. Blocks for that long, so that no cancellation can come between."""
        self._closed = True
        if self._thread is not None:
            self._batches.put(self._gathered)
            self._gathered = []
            self._batches.put(None)
            self._thread.join()

    def abandon(self) -> None:
        """Stop as a crash would: what is not committed is lost."""
        self._abandoned = True
        self.close()

    def _hand_over(self) -> None:
        self._gathering = None
        if self._gathered:
            self._batches.put(self._gathered)
            self._gathered = []
        else:
            self._busy = False

    def _write(self) -> None:
        while (batch := self._batches.get()) is not None:
            if self._abandoned:
                lost = StorageError(f"the journal {self._path} was abandoned before this was recorded.")
                outcomes: list[_Outcome] = [(None, lost)] * len(batch)
            else:
                outcomes = self._transactions.run(batch) if batch else []
            with suppress(RuntimeError):  # The loop is closed: nobody waits any more.
                self._loop.call_soon_threadsafe(self._settle, batch, outcomes)

    def _settle(self, batch: list[_Task], outcomes: list[_Outcome]) -> None:
        for task, (result, error) in zip(batch, outcomes, strict=True):
            if not task.future.done():  # Else its caller was cancelled.
                _answer(task, result, error)
        if sum(task.need is Need.POWER for task in batch) > 1:
            self._gathering = self._loop.call_later(GATHER_SECONDS, self._hand_over)
        else:
            # After the one that just got its answer had its turn: it may bring more.
            self._loop.call_soon(self._hand_over)
