"""The journal in one SQLite file.

Owns what each call of the protocol means in queries. Must not know what a state leads to, nor how work gets to disk.
"""

import sqlite3
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager
from datetime import date, datetime
from pathlib import Path
from typing import Any

from runner.clock import Instant
from runner.errors import StorageError
from runner.jobs.model import ErrorCode, Identity, Job, Spec
from runner.journal import reads, rows
from runner.journal.database import MEMORY, open_for_writing, telling
from runner.journal.place import MOUNTS, Lock, make_place, real_path, refuse_network
from runner.journal.protocol import RECENT_SECONDS, EventRow, Happened, Spend
from runner.journal.queries import QUERIES
from runner.journal.rows import day, moment
from runner.journal.writer import Need, Row, Transactions, UnchangedError, Writer, stale

_RECORD_SNAPSHOT = QUERIES["record_snapshot"]
_RECORD_NIGHT = QUERIES["record_night"]
_RECORD_EVENT = QUERIES["record_event"]
_SPEND = QUERIES["spend"]
_CREATE = QUERIES["create"]


class SqliteJournal:
    """The journal of one host. To be had from `hold`; the protocol tells what each method does.

    Attributes:
        epoch: of this holder.
    """

    def __init__(
        self, connection: sqlite3.Connection, path: Path, *, epoch: int, lock: Lock | None, inline: bool
    ) -> None:
        self.epoch = epoch
        self._path = path
        self._connection = connection
        self._lock = lock
        self._transactions = Transactions(connection, path, epoch)
        self._writer = Writer(self._transactions, path, inline=inline)
        self._next_sweep_boot_seconds = 0.0
        self._old: Mapping[str, Any] | None = None  # spends that counted no more when this holder looked
        self._night: date | None = None
        self._jobs_of_night: set[int] = set()

    @staticmethod
    @asynccontextmanager
    async def hold(
        path: Path, *, inline: bool = False, mounts: Path = MOUNTS
    ) -> "AsyncIterator[SqliteJournal]":
        """Take the journal, for as long as the context lasts.

        Args:
            path: its file, made with its folders where missing; `:memory:` for one that nothing keeps.
            inline: write on the caller's thread, a transaction per call: for simulations in virtual time.
            mounts: where the system tells its mounted file systems.

        Raises:
            LockHeldError: another runner holds it.
            StorageError: it cannot be read or written, or lies on a network share.
        """
        journal = _take(path, inline=inline, mounts=mounts)
        try:
            yield journal
        finally:
            journal.close()

    @property
    def flushes(self) -> int:
        """How many transactions were flushed to disk."""
        return self._transactions.flushes

    def close(self) -> None:
        """Record what was asked so far, then let the journal go. A second call does nothing."""
        self._writer.close()
        self._let_go()

    def abandon(self) -> None:
        """Let the journal go as a crash would: what is not committed is lost, and the next one may take it."""
        self._writer.abandon()
        self._let_go()

    def _let_go(self) -> None:
        # The last one to close brings the write-ahead log into the file by itself. All that is committed stands in one
        # of them either way.
        self._connection.close()
        if self._lock is not None:
            self._lock.release()

    # ── jobs ─────────────────────────────────────────────────────────────────────────────────────────────────────

    async def known(self, wanted: Sequence[Spec]) -> tuple[list[Job | None], list[Job]]:
        """See `Journal.known`."""
        return await self._writer.do(lambda connection: reads.known(connection, wanted), Need.NOTHING)

    async def find(self, identities: Sequence[Identity]) -> dict[Identity, Job]:
        """See `Journal.find`."""
        return await self._writer.do(
            lambda connection: reads.jobs_found(connection, identities), Need.NOTHING
        )

    async def owing_a_look(self, since: datetime) -> list[Job]:
        """See `Journal.owing_a_look`."""
        return await self._jobs(reads.OWING_A_LOOK, {"since": moment(since)})

    async def failed_with(self, codes: Collection[ErrorCode]) -> list[Job]:
        """See `Journal.failed_with`."""
        return await self._jobs(reads.FAILED_WITH, {"codes": rows.codes_text(codes)})

    async def of_night(
        self, night: date, known: frozenset[int] = frozenset()
    ) -> tuple[frozenset[int], list[Job]]:
        """See `Journal.of_night`."""
        return await self._writer.do(
            lambda connection: reads.of_night(connection, night, known), Need.NOTHING
        )

    async def _jobs(self, choice: str, values: Mapping[str, Any]) -> list[Job]:
        return await self._writer.do(lambda connection: reads.jobs(connection, choice, values), Need.NOTHING)

    async def create(self, specs: Sequence[Spec], night: date) -> list[Job]:
        """See `Journal.create`."""
        if not specs:
            return []
        today, epoch = night.isoformat(), self.epoch

        def work(connection: sqlite3.Connection) -> tuple[list[Job], list[int]]:
            jobs: list[Job | None] = [None] * len(specs)
            there: dict[int, Identity] = {}
            for number in _in_turn(specs):
                spec = specs[number]
                identity = spec.identity
                key = (identity.kind, identity.domain, identity.subject)
                names = (spec.tenant, spec.name, spec.due.isoformat())
                row = connection.execute(
                    _CREATE, (*key, *names, today, epoch, rows.spec_text(spec))
                ).fetchone()
                if row is None:
                    there[number] = identity
                else:
                    jobs[number] = Job(id=row[0], spec=rows.stored(spec))
            made = [job.id for job in jobs if job is not None]
            connection.executemany(_RECORD_NIGHT, [(today, id_) for id_ in made])
            found = reads.jobs_found(connection, list(there.values()))
            return [found[there[number]] if job is None else job for number, job in enumerate(jobs)], made

        jobs, made = await self._writer.do(work, Need.POWER)
        self._of_night(night).update(made)
        return jobs

    async def record(self, job: Job, night: date, told: Happened) -> None:
        """See `Journal.record`."""
        snapshot = (job.id, self.epoch, *rows.snapshot_values(job))
        entered = "" if told.entered is None else told.entered.value
        event = (job.id, self.epoch, told.at.timestamp(), day(night), told.event, entered, told.note)
        changes: list[Row] = [(_RECORD_SNAPSHOT, snapshot), (_RECORD_EVENT, event)]
        of_night = self._of_night(night)
        if job.id not in of_night:
            changes.append((_RECORD_NIGHT, (day(night), job.id)))
        try:
            await self._writer.store(changes, Need.POWER)
        except UnchangedError:
            await self._writer.do(lambda connection: self._refuse(connection, job), Need.NOTHING)
            raise
        of_night.add(job.id)

    def _of_night(self, night: date) -> set[int]:
        """The jobs that this holder has stored to be of this night."""
        if self._night != night:
            self._night, self._jobs_of_night = night, set()
        return self._jobs_of_night

    async def refresh_spec(self, jobs: Sequence[Job]) -> None:
        """See `Journal.refresh_spec`."""
        values = [
            (
                job.spec.tenant,
                job.spec.name,
                job.spec.due.isoformat(),
                rows.spec_text(job.spec),
                job.id,
                self.epoch,
            )
            for job in jobs
        ]

        def work(connection: sqlite3.Connection) -> None:
            if connection.executemany(QUERIES["refresh_spec"], values).rowcount == len(values):
                return
            for job in jobs:
                self._refuse(connection, job)

        if values:
            await self._writer.do(work, Need.POWER)

    async def events(self, job_id: int) -> list[EventRow]:
        """See `Journal.events`."""
        return await self._writer.do(lambda connection: reads.events(connection, job_id), Need.NOTHING)

    # ── the budget ───────────────────────────────────────────────────────────────────────────────────────────────

    async def spend(self, spend: Spend) -> None:
        """See `Journal.spend`."""
        if spend.boot_seconds >= self._next_sweep_boot_seconds:
            # All that is kept is looked through, so that is done as seldom as any of it grows old.
            self._next_sweep_boot_seconds = spend.boot_seconds + RECENT_SECONDS
            await self._write(
                "forget_spends", _since(spend.boot_id, spend.boot_seconds, spend.wall), Need.PROCESS
            )
        values = (spend.domain, spend.boot_id, spend.boot_seconds, spend.wall.timestamp())
        await self._writer.store(((_SPEND, values),), Need.PROCESS)

    async def recent_spends(self, now: Instant) -> dict[str, list[float]]:
        """See `Journal.recent_spends`. The older ones are deleted later: the first requests wait for this."""
        since = self._old = _since(now.boot_id, now.boot_seconds, now.wall)
        self._next_sweep_boot_seconds = now.boot_seconds + RECENT_SECONDS

        def work(connection: sqlite3.Connection) -> dict[str, list[float]]:
            spent: dict[str, list[float]] = {}
            for domain, at in connection.execute(QUERIES["recent_spends"], since):
                spent.setdefault(domain, []).append(at)
            return spent

        return await self._writer.do(work, Need.NOTHING)

    # ── what was learnt ──────────────────────────────────────────────────────────────────────────────────────────

    async def template(self, domain: str, sha256: str) -> int | None:
        """See `Journal.template`."""
        found = await self._rows("template", {"domain": domain, "sha256": sha256})
        return found[0][0] if found else None

    async def remember_template(self, domain: str, sha256: str, template_id: int) -> None:
        """See `Journal.remember_template`."""
        await self._write(
            "remember_template", {"domain": domain, "sha256": sha256, "template_id": template_id}
        )

    async def forget_template(self, domain: str, sha256: str) -> None:
        """See `Journal.forget_template`."""
        await self._write("forget_template", {"domain": domain, "sha256": sha256})

    async def traits(self) -> dict[tuple[str, str], str]:
        """See `Journal.traits`."""
        return {(domain, key): value for domain, key, value in await self._rows("traits", {})}

    async def remember_trait(self, domain: str, key: str, value: str) -> None:
        """See `Journal.remember_trait`."""
        await self._write("remember_trait", {"domain": domain, "key": key, "value": value})

    async def first_nights(
        self, reports: Sequence[tuple[str, str]], night: date
    ) -> dict[tuple[str, str], date]:
        """See `Journal.first_nights`."""

        def work(connection: sqlite3.Connection) -> dict[tuple[str, str], date]:
            stored = reads.first_nights(connection)
            first_nights = {report: min(stored.get(report, night), night) for report in reports}
            news = [
                (*report, first.isoformat())
                for report, first in first_nights.items()
                if stored.get(report) != first
            ]
            connection.executemany(QUERIES["remember_first_night"], news)
            return first_nights

        return await self._writer.do(work, Need.POWER)

    # ── nights ───────────────────────────────────────────────────────────────────────────────────────────────────

    async def start_night(self, night: date, at: datetime) -> None:
        """See `Journal.start_night`."""
        await self._write("start_night", {"night": night.isoformat(), "at": moment(at)})

    async def finish_night(self, night: date, at: datetime, outcome: str) -> None:
        """See `Journal.finish_night`. However short the night was, old spends do not outlive it."""
        values = {"night": night.isoformat(), "at": moment(at), "outcome": outcome}

        def work(connection: sqlite3.Connection) -> None:
            connection.execute(QUERIES["finish_night"], values)
            if self._old is not None:
                connection.execute(QUERIES["forget_spends"], self._old)

        await self._writer.do(work, Need.POWER)

    async def unclosed_nights(self) -> dict[date, datetime]:
        """See `Journal.unclosed_nights`."""
        return await self._writer.do(reads.unclosed_nights, Need.NOTHING)

    # ── by name ──────────────────────────────────────────────────────────────────────────────────────────────────

    async def _rows(self, query: str, values: Mapping[str, Any]) -> list[Any]:
        return await self._writer.do(
            lambda connection: connection.execute(QUERIES[query], values).fetchall(), Need.NOTHING
        )

    async def _write(self, query: str, values: Mapping[str, Any], need: Need = Need.POWER) -> None:
        def work(connection: sqlite3.Connection) -> None:
            connection.execute(QUERIES[query], values)

        await self._writer.do(work, need)

    def _refuse(self, connection: sqlite3.Connection, job: Job) -> None:
        """Say why this job could not be written, if it could not."""
        row = connection.execute(QUERIES["epoch_of_job"], {"id": job.id}).fetchone()
        if row is None:
            raise StorageError(
                f"the journal {self._path} has no job {job.id} ({job.label}), although this run read it there. "
                "To do: see whether the file was replaced meanwhile, then run again."
            )
        if row[0] > self.epoch:
            raise stale(self._path, self.epoch, row[0])


def _in_turn(specs: Sequence[Spec]) -> list[int]:
    """Their places, the first of each domain before the second of any, as a night works on them.

    Rows that change together lie together: there are fewer pages to write.
    """
    counts: dict[str, int] = {}
    ranks: list[int] = []
    for spec in specs:
        rank = counts.get(spec.domain, 0)
        counts[spec.domain] = rank + 1
        ranks.append(rank)
    return sorted(range(len(specs)), key=ranks.__getitem__)


def _since(boot_id: str, boot_seconds: float, wall: datetime) -> dict[str, Any]:
    """This moment, and since when a spend still counts, by both clocks."""
    wall_seconds = wall.timestamp()
    return {
        "boot_id": boot_id,
        "boot_seconds": boot_seconds,
        "wall_seconds": wall_seconds,
        "since_boot_seconds": boot_seconds - RECENT_SECONDS,
        "since_wall_seconds": wall_seconds - RECENT_SECONDS,
    }


def _take(path: Path, *, inline: bool, mounts: Path) -> SqliteJournal:
    with ExitStack() as undo:
        lock = None
        if path != MEMORY:
            path = real_path(path)
            refuse_network(path, mounts)
            make_place(path)
            lock = Lock.take(path)
            undo.callback(lock.release)
        connection = open_for_writing(path)
        undo.callback(connection.close)
        with telling(path):
            # Not flushed by itself: what this holder writes comes behind it, and nothing of that is on disk before it.
            connection.execute("PRAGMA synchronous = NORMAL")
            ((epoch,),) = connection.execute(QUERIES["take"]).fetchall()
            connection.execute("PRAGMA synchronous = FULL")
        journal = SqliteJournal(connection, path, epoch=epoch, lock=lock, inline=inline)
        undo.pop_all()
        return journal
