"""How work reaches the disk: in company, each for itself where one fails, and never half."""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from datetime import UTC, date, datetime
from pathlib import Path

import anyio
import pytest
from msgspec.structs import replace

from runner.errors import StorageError
from runner.jobs.model import ExportSpec, Job, Stamp, State, Transition
from runner.journal import JournalReader, Spend, SqliteJournal, StaleHolderError, happened, hold
from runner.journal.database import open_for_writing
from runner.journal.writer import Need, Transactions, Writer
from tests.job_samples import unfinished

pytestmark = pytest.mark.anyio

NIGHT = date(2026, 11, 24)
AT = datetime(2026, 11, 24, 1, 0, tzinfo=UTC)
SPEND = Spend("acme.ilucca.net", "boot", 1.0, AT)


def spec(number: int) -> ExportSpec:
    return ExportSpec(
        tenant="acme",
        domain="acme.ilucca.net",
        name=f"payroll-{number}",
        due=NIGHT,
        configuration_id=number,
        ends_at=date(2026, 11, 23),
    )


async def jobs_of(journal: SqliteJournal, count: int) -> list[Job]:
    return await journal.create([spec(number) for number in range(count)], NIGHT)


def polling(job: Job) -> Job:
    return replace(job, state=State.POLLING, history=(*job.history, Transition(State.POLLING, AT)))


async def record(journal: SqliteJournal, job: Job) -> None:
    await journal.record(polling(job), NIGHT, happened("Happened", job, polling(job), AT))


async def record_all(journal: SqliteJournal, jobs: list[Job]) -> list[BaseException | None]:
    return await asyncio.gather(*(record(journal, job) for job in jobs), return_exceptions=True)


# ── group commit ─────────────────────────────────────────────────────────────────────────────────────────────────


async def test_what_comes_together_is_flushed_together(tmp_path: Path) -> None:
    async with hold(tmp_path / "journal.db") as journal:
        jobs = await jobs_of(journal, 500)
        before = journal.flushes
        assert await record_all(journal, jobs) == [None] * 500
        assert journal.flushes - before == 1
        assert await unfinished(journal) == [polling(job) for job in jobs]


async def test_under_load_a_flush_is_shared_by_twenty_or_more(tmp_path: Path) -> None:
    async with hold(tmp_path / "journal.db") as journal:
        jobs = await jobs_of(journal, 64)
        before = journal.flushes

        async def busy(job: Job) -> None:
            for _ in range(10):
                await record(journal, job)
                await journal.spend(SPEND)

        await asyncio.gather(*(busy(job) for job in jobs))
        assert (journal.flushes - before) * 20 <= 640


async def test_a_batch_gathers_until_it_is_large_enough(tmp_path: Path) -> None:
    async with hold(tmp_path / "journal.db") as journal:
        jobs = await jobs_of(journal, 500)
        await record_all(journal, jobs[:2])
        before = journal.flushes
        await record_all(journal, jobs[2:])
        # The first 256 are handed over at once, the others go together.
        assert journal.flushes - before == 2


async def test_a_lone_call_waits_for_nobody(tmp_path: Path) -> None:
    async with hold(tmp_path / "journal.db") as journal:
        jobs = await jobs_of(journal, 5)
        before = journal.flushes
        for job in jobs:
            await record(journal, job)
        assert journal.flushes - before == 5


async def test_what_is_asked_together_is_done_in_that_order(tmp_path: Path) -> None:
    async with hold(tmp_path / "journal.db") as journal:
        (job,) = await jobs_of(journal, 1)
        await record_all(journal, await journal.create([spec(1), spec(2)], NIGHT))  # the next batch gathers
        named = replace(polling(job), baseline_id=7)
        before = journal.flushes
        _, first, _, second = await asyncio.gather(
            journal.record(polling(job), NIGHT, happened("Happened", job, polling(job), AT)),
            journal.events(job.id),
            journal.record(named, NIGHT, happened("Named", polling(job), named, AT)),
            journal.find([job.spec.identity]),
        )
        assert journal.flushes - before == 1
        assert [row.name for row in first] == ["Happened"]
        assert second == {job.spec.identity: named}
        assert [row.name for row in await journal.events(job.id)] == ["Happened", "Named"]


async def test_two_changes_of_one_job_that_are_stored_together_keep_their_order(tmp_path: Path) -> None:
    async with hold(tmp_path / "journal.db") as journal:
        first, second = await jobs_of(journal, 2)
        listed = replace(first, baseline_id=7)
        begun = replace(polling(listed), triggers=(Stamp(AT, "b", 1.0),))
        named = replace(begun, remote_ids=(8,))
        before = journal.flushes
        await asyncio.gather(
            journal.record(listed, NIGHT, happened("Listed", first, listed, AT)),
            record(journal, second),
            journal.record(begun, NIGHT, happened("Triggered", listed, begun, AT)),
            journal.spend(SPEND),
            journal.record(named, NIGHT, happened("Named", begun, named, AT)),
        )
        assert journal.flushes - before == 1
        assert await unfinished(journal) == [named, polling(second)]
        assert [row.name for row in await journal.events(first.id)] == ["Listed", "Triggered", "Named"]


async def test_spends_alone_are_not_flushed(tmp_path: Path) -> None:
    async with hold(tmp_path / "journal.db") as journal:
        (job,) = await jobs_of(journal, 1)
        before = journal.flushes
        await asyncio.gather(*(journal.spend(SPEND) for _ in range(50)))
        assert journal.flushes == before
        await asyncio.gather(journal.spend(SPEND), record(journal, job))
        assert journal.flushes == before + 1


async def test_in_place_each_call_is_its_own_transaction_and_there_is_no_thread(tmp_path: Path) -> None:
    threads = threading.active_count()
    async with hold(tmp_path / "journal.db", inline=True) as journal:
        jobs = await jobs_of(journal, 3)
        before = journal.flushes
        await record_all(journal, jobs)
        assert journal.flushes - before == 3
        assert threading.active_count() == threads


# ── failures ─────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_one_that_fails_does_not_cost_the_others_of_its_batch(tmp_path: Path) -> None:
    async with hold(tmp_path / "journal.db") as journal:
        jobs = await jobs_of(journal, 10)
        with closing(sqlite3.connect(tmp_path / "journal.db")) as rival, rival:
            rival.execute("UPDATE jobs SET epoch = 9 WHERE id = ?", [jobs[4].id])
        outcomes = await record_all(journal, jobs)
        assert isinstance(outcomes.pop(4), StaleHolderError)
        assert outcomes == [None] * 9
        states = [job.state for job in await unfinished(journal)]
        assert states == [State.PENDING if number == 4 else State.POLLING for number in range(10)]
        assert [len(await journal.events(job.id)) for job in jobs] == [
            int(number != 4) for number in range(10)
        ]


Table = tuple[Writer, sqlite3.Connection, Path]


@pytest.fixture
async def table(tmp_path: Path) -> AsyncIterator[Table]:
    """A writer on a journal whose connection the test may bend."""
    path = tmp_path / "journal.db"
    connection = open_for_writing(path)
    connection.execute("PRAGMA busy_timeout = 0")
    writer = Writer(Transactions(connection, path, 1), path, inline=False)
    yield writer, connection, path
    writer.close()
    connection.close()


def remembering(key: str) -> Callable[[sqlite3.Connection], None]:
    def work(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO traits VALUES ('a.ilucca.net', ?, '')", [key])

    return work


async def keys(writer: Writer) -> list[str]:
    return await writer.do(
        lambda connection: [key for (key,) in connection.execute("SELECT key FROM traits ORDER BY key")],
        Need.NOTHING,
    )


async def test_what_must_survive_a_power_cut_is_committed_where_sqlite_flushes_its_log(table: Table) -> None:
    """2 is FULL: each commit is flushed. 1 is NORMAL: a power cut may undo the last of them, a kill may not."""
    writer, _, _ = table

    def level(connection: sqlite3.Connection) -> int:
        (told,) = connection.execute("PRAGMA synchronous").fetchone()
        return int(told)

    assert [await writer.do(level, need) for need in (Need.POWER, Need.PROCESS, Need.POWER)] == [2, 1, 2]
    assert tuple(await asyncio.gather(writer.do(level, Need.PROCESS), writer.do(level, Need.POWER))) == (2, 2)


async def test_a_commit_that_fails_fails_all_of_its_batch(table: Table) -> None:
    writer, _, _ = table

    def doomed(connection: sqlite3.Connection) -> None:
        connection.execute("PRAGMA defer_foreign_keys = ON")
        connection.execute("INSERT INTO events VALUES (1, 99, 0.0, '', '', NULL, '', 1)")

    outcomes = await asyncio.gather(
        writer.do(remembering("a"), Need.POWER), writer.do(doomed, Need.POWER), return_exceptions=True
    )
    assert [str(type(outcome).__name__) for outcome in outcomes] == ["StorageError"] * 2
    assert await keys(writer) == []
    await writer.do(remembering("b"), Need.POWER)
    assert await keys(writer) == ["b"]


async def test_a_journal_that_another_program_locks_is_told(table: Table) -> None:
    writer, _, path = table
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StorageError, match="another program keeps it locked"):
            await writer.do(remembering("a"), Need.POWER)
        other.execute("ROLLBACK")
    await writer.do(remembering("a"), Need.POWER)


async def test_a_full_disk_is_told_and_costs_nothing_that_was_stored(table: Table) -> None:
    writer, connection, _ = table
    await writer.do(remembering("a"), Need.POWER)
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StorageError, match=r"the disk is full .*make room on its disk, then run again"):
        await writer.do(remembering("b" * 100_000), Need.POWER)
    assert await keys(writer) == ["a"]
    connection.execute("PRAGMA max_page_count = 100000")
    await writer.do(remembering("c"), Need.POWER)
    assert await keys(writer) == ["a", "c"]


async def test_a_fault_of_the_work_itself_reaches_its_caller(table: Table) -> None:
    writer, _, _ = table

    def faulty(connection: sqlite3.Connection) -> None:
        remembering("half")(connection)
        raise ZeroDivisionError

    outcomes = await asyncio.gather(
        writer.do(faulty, Need.POWER), writer.do(remembering("a"), Need.POWER), return_exceptions=True
    )
    assert isinstance(outcomes[0], ZeroDivisionError)
    assert await keys(writer) == ["a"]


async def test_a_caller_that_was_cancelled_disturbs_nobody(tmp_path: Path) -> None:
    async with hold(tmp_path / "journal.db") as journal:
        jobs = await jobs_of(journal, 3)
        async with anyio.create_task_group() as tasks:
            with anyio.CancelScope() as scope:
                scope.cancel()
                await record(journal, jobs[0])
            for job in jobs[1:]:
                tasks.start_soon(record, journal, job)
        assert [job.state for job in await unfinished(journal)][1:] == [State.POLLING] * 2


# ── endings ──────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_what_was_asked_before_the_end_is_recorded(tmp_path: Path) -> None:
    async with hold(tmp_path / "journal.db") as journal:
        jobs = await jobs_of(journal, 3)
        asked = [asyncio.ensure_future(record(journal, job)) for job in jobs]
        await asyncio.sleep(0)
    assert await asyncio.gather(*asked) == [None] * 3
    with JournalReader(tmp_path / "journal.db") as reader:
        assert [job.state for job in reader.jobs()] == [State.POLLING] * 3


async def test_closing_twice_does_nothing(tmp_path: Path) -> None:
    async with hold(tmp_path / "journal.db") as journal:
        journal.close()
        journal.close()


@pytest.mark.parametrize("inline", [False, True])
async def test_an_abandoned_journal_keeps_what_was_committed_and_may_be_taken_at_once(
    tmp_path: Path, inline: bool
) -> None:
    path = tmp_path / "journal.db"
    async with hold(path, inline=inline) as journal:
        job, other = await jobs_of(journal, 2)
        await record(journal, job)
        asked = asyncio.ensure_future(record(journal, other))
        if not inline:
            await asyncio.sleep(0)
        journal.abandon()
        async with hold(path, inline=inline) as heir:
            assert heir.epoch == journal.epoch + 1
            assert await unfinished(heir) == [polling(job), other]
        with pytest.raises(StorageError, match=r"was abandoned|is closed"):
            await asked


def test_a_loop_that_is_gone_does_not_keep_the_journal_from_closing(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    loop = asyncio.new_event_loop()
    holding = hold(path)
    journal = loop.run_until_complete(holding.__aenter__())
    (job,) = loop.run_until_complete(jobs_of(journal, 1))
    asked = loop.create_task(record(journal, job))
    loop.run_until_complete(asyncio.sleep(0))
    asked.cancel()
    loop.run_until_complete(asyncio.gather(asked, return_exceptions=True))
    loop.close()
    journal.close()
    with JournalReader(path) as reader:
        assert reader.jobs() == [polling(job)]
