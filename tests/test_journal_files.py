"""The journal's file: where it may lie, what another version finds in it, and what is said when it cannot be used."""

import re
import resource
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from random import Random

import pytest
from msgspec.structs import replace

from runner.clock import Instant
from runner.errors import StorageError
from runner.jobs.model import ExportSpec, FileRecord, Job, ReportSpec, State, TemplateId, Transition
from runner.journal import (
    EventRow,
    JournalReader,
    NightRow,
    Spend,
    SqliteJournal,
    happened,
    hold,
)
from runner.journal.database import MEMORY, open_for_writing, storage_error
from runner.journal.place import network_file_system
from runner.journal.queries import MIGRATIONS, QUERIES, choosing
from tests.job_samples import unfinished

pytestmark = pytest.mark.anyio

NIGHT = date(2026, 11, 24)
AT = datetime(2026, 11, 24, 1, 0, tzinfo=UTC)
SPEC = ExportSpec(
    tenant="acme",
    domain="acme.ilucca.net",
    name="payroll",
    due=NIGHT,
    configuration_id=3,
    ends_at=date(2026, 11, 23),
)

# A journal as version 1 left it. Never to be changed: files like it are out there.
VERSION_1 = """
PRAGMA application_id = 1920298610;
CREATE TABLE holder (one INTEGER PRIMARY KEY CHECK (one = 1), epoch INTEGER NOT NULL) STRICT;
INSERT INTO holder VALUES (1, 41);
CREATE TABLE jobs (
    id INTEGER PRIMARY KEY, kind TEXT NOT NULL, domain TEXT NOT NULL, subject TEXT NOT NULL, tenant TEXT NOT NULL,
    name TEXT NOT NULL, due TEXT NOT NULL, created_night TEXT NOT NULL, state TEXT NOT NULL, error_code TEXT,
    trigger_count INTEGER NOT NULL, last_trigger_at TEXT, epoch INTEGER NOT NULL, spec TEXT NOT NULL,
    snapshot TEXT NOT NULL, UNIQUE (kind, domain, subject)
) STRICT;
INSERT INTO jobs VALUES (
    7, 'export', 'acme.ilucca.net', '3@2026-11-23', 'acme', 'payroll', '2026-11-24', '2026-11-24', 'downloading', NULL,
    1, '2026-11-24T01:00:00.000000+00:00', 41,
    '{"configuration_id":3,"domain":"acme.ilucca.net","due":"2026-11-24","empty_ok":false,"ends_at":"2026-11-23",'
        || '"formats":["json"],"name":"payroll","tenant":"acme"}',
    '{"baseline_id":289,"remote_ids":[290],"triggers":[{"boot_id":"b","boot_seconds":5.0,"server_date":null,'
        || '"wall":"2026-11-24T01:00:00Z"}]}'
), (
    8, 'report', 'acme.ilucca.net', 'times@2026-11-24', 'acme', 'times', '2026-11-24', '2026-11-24', 'pending', NULL,
    0, NULL, 41,
    '{"domain":"acme.ilucca.net","due":"2026-11-24","ends_on":null,"formats":["csv"],"name":"times",'
        || '"starts_on":null,"template":{"id":12},"tenant":"acme"}',
    '{}'
);
CREATE TABLE events (
    job_id INTEGER NOT NULL REFERENCES jobs (id), number INTEGER NOT NULL, at TEXT NOT NULL, night TEXT NOT NULL,
    name TEXT NOT NULL, state TEXT, note TEXT NOT NULL, epoch INTEGER NOT NULL, PRIMARY KEY (job_id, number)
) STRICT, WITHOUT ROWID;
INSERT INTO events VALUES (
    7, 1, '2026-11-24T01:00:00.000000+00:00', '2026-11-24', 'Triggered', 'downloading', '', 41
);
CREATE TABLE spends (
    id INTEGER PRIMARY KEY, domain TEXT NOT NULL, boot_id TEXT NOT NULL, boot_seconds REAL NOT NULL, wall TEXT NOT NULL
) STRICT;
CREATE TABLE templates (
    domain TEXT NOT NULL, sha256 TEXT NOT NULL, template_id INTEGER NOT NULL, PRIMARY KEY (domain, sha256)
) STRICT, WITHOUT ROWID;
CREATE TABLE traits (domain TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (domain, key))
    STRICT, WITHOUT ROWID;
CREATE TABLE reports (domain TEXT NOT NULL, name TEXT NOT NULL, first_night TEXT NOT NULL, PRIMARY KEY (domain, name))
    STRICT, WITHOUT ROWID;
CREATE TABLE nights (night TEXT PRIMARY KEY, started_at TEXT NOT NULL, finished_at TEXT, outcome TEXT)
    STRICT, WITHOUT ROWID;
PRAGMA user_version = 1;
"""

# As version 2 left it, with its indexes. Never to be changed either.
VERSION_2 = (
    VERSION_1
    + """
CREATE INDEX jobs_created ON jobs (created_night);
CREATE INDEX jobs_named ON jobs (tenant, name);
CREATE INDEX jobs_unfinished ON jobs (id) WHERE state NOT IN ('downloaded', 'failed', 'skipped');
CREATE INDEX jobs_triggered_again ON jobs (kind, last_trigger_at)
    WHERE state = 'downloaded' AND trigger_count > 1;
CREATE INDEX jobs_failed ON jobs (error_code) WHERE state = 'failed';
CREATE INDEX events_of_night ON events (night, job_id);
UPDATE jobs SET snapshot = json_set(snapshot, '$.history', json('[["downloading","2026-11-24T01:00:00Z"]]'))
WHERE id = 7;
DELETE FROM events;
INSERT INTO events VALUES
    (7, 11, '2026-11-24T02:00:00.000000+00:00', '2026-11-25', 'Named', NULL, '', 41),
    (8, 1, '2026-11-2$T01:01:00.000000+00:00', '2026-11-26', 'Surveyed', NULL, '', 41),
    (7, 1, '2026-11-24T01:00:00.000001+00:00', '2026-11-24', 'Listed', NULL, '', 40),
    (7, 2, '2026-11-24T01:00:00.000000+00:00', '2026-11-24', 'Triggered', 'downloading', 'let go', 41);
INSERT INTO spends VALUES
    (1, 'acme.ilucca.net', 'b', 990.0, '2026-11-24T01:00:00.000000+00:00'),
    (2, 'acme.ilucca.net', 'a', 99.0, '2026-11-24T01:00:00.250000+00:00'),
    (3, 'globex.ilucca.net', 'a', 99.0, '2026-11-2$T01:00:00.000000+00:00');
PRAGMA user_version = 2;
"""
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "output" / ".runner" / "journal.db"


def wrote(path: Path, script: str) -> None:
    """Have another program run this script on the file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(script)


async def held(path: Path) -> None:
    """Take the journal and let it go."""
    async with hold(path):
        pass


# ── the place ────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_only_its_owner_may_read_the_journal(path: Path) -> None:
    async with hold(path) as journal:
        await journal.create([SPEC], NIGHT)
        modes = {item.name: stat.S_IMODE(item.stat().st_mode) for item in path.parent.iterdir()}
    assert modes == dict.fromkeys(
        ("journal.db", "journal.db-wal", "journal.db-shm", "journal.db.lock"), 0o600
    )
    assert [stat.S_IMODE(folder.stat().st_mode) for folder in list(path.parents)[:2]] == [0o700, 0o700]


async def test_a_journal_that_was_let_go_is_one_file_beside_its_lock(path: Path) -> None:
    async with hold(path) as journal:
        await journal.create([SPEC], NIGHT)
    assert sorted(item.name for item in path.parent.iterdir()) == ["journal.db", "journal.db.lock"]


async def test_a_journal_in_memory_needs_no_place() -> None:
    for _ in range(2):
        async with hold(MEMORY, inline=True) as journal:
            await journal.create([SPEC], NIGHT)
            assert (journal.epoch, len(await unfinished(journal))) == (1, 1)


async def test_a_place_where_a_file_stands_in_the_way_is_told(path: Path) -> None:
    path.parents[1].parent.mkdir(exist_ok=True)
    path.parents[1].write_text("not a folder")
    with pytest.raises(StorageError, match=r"cannot be opened for writing: Not a directory .*To do:"):
        await held(path)


async def test_a_lock_that_is_a_link_is_not_followed(path: Path, tmp_path: Path) -> None:
    path.parent.mkdir(parents=True)
    path.with_name("journal.db.lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StorageError, match="cannot be opened for writing"):
        await held(path)
    assert not (tmp_path / "elsewhere").exists()


@contextmanager
def no_room() -> Iterator[None]:
    """No file of this process may grow: writing fails as on a full disk."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


async def test_a_disk_without_room_is_told_and_leaves_no_lock_behind(path: Path) -> None:
    await held(path)
    with no_room(), pytest.raises(StorageError, match="cannot be opened for writing: File too large"):
        await held(path)
    await held(path)


async def test_a_disk_that_fills_up_is_told_and_what_was_stored_stays(path: Path) -> None:
    async with hold(path) as journal:
        (job,) = await journal.create([SPEC], NIGHT)
        with no_room(), pytest.raises(StorageError, match=r"its disk failed to read or write .*To do:"):
            await journal.record(
                replace(job, state=State.FAILED),
                NIGHT,
                happened("Failed", job, replace(job, state=State.FAILED), AT),
            )
        assert await unfinished(journal) == [job]
        await journal.record(
            replace(job, baseline_id=1), NIGHT, happened("Listed", job, replace(job, baseline_id=1), AT)
        )
    with JournalReader(path) as reader:
        assert [job.baseline_id for job in reader.jobs()] == [1]


async def test_a_journal_without_its_tables_is_told_and_leaves_no_lock_behind(path: Path) -> None:
    await held(path)
    wrote(path, "DROP TABLE holder")
    for _ in range(2):
        with pytest.raises(StorageError, match="no such table: holder"):
            await held(path)


MOUNTS = r"""
22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw
40 27 0:40 / /srv/payroll rw shared:1 master:2 - nfs4 files:/payroll rw
41 40 254:1 / /srv/payroll/local rw - xfs /dev/vdb rw
42 27 0:41 / /mnt/My\040Share rw - cifs //server/share rw
43 27 0:42 / /mnt/c rw - 9p drvfs rw
44 27 0:43 / /home/me/remote rw - fuse.sshfs me@host: rw
45 27 254:2 / /twice rw - nfs host:/a rw
46 45 254:3 / /twice rw - ext4 /dev/vdc rw
""".strip()


@pytest.mark.parametrize(
    "place, kind",
    [
        ("/var/lib/journal.db", None),
        ("/srv/payroll/journal.db", "nfs4"),
        ("/srv/payroll-2/journal.db", None),
        ("/srv/payroll/local/journal.db", None),
        ("/mnt/My Share/journal.db", "cifs"),
        ("/mnt/c/journal.db", None),
        ("/home/me/remote/x/journal.db", "fuse.sshfs"),
        ("/twice/journal.db", None),
    ],
)
def test_a_network_share_is_known_by_its_mount(place: str, kind: str | None) -> None:
    assert network_file_system(Path(place), MOUNTS) == kind


async def test_a_journal_on_a_network_share_is_refused_before_anything_is_written(
    path: Path, tmp_path: Path
) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(f"{MOUNTS}\n99 27 0:99 / {tmp_path} rw - nfs4 host:/x rw\n")
    with pytest.raises(StorageError, match=r"network share \(nfs4\).*local disk"):
        async with hold(path, mounts=mounts):
            pass
    assert not path.parent.exists()


async def test_a_system_that_tells_no_mounts_refuses_nothing(path: Path, tmp_path: Path) -> None:
    async with hold(path, mounts=tmp_path / "none") as journal:
        assert journal.epoch == 1


# ── versions ─────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_journal_of_version_1_is_read_and_written_on(path: Path) -> None:
    wrote(path, VERSION_1)
    async with hold(path) as journal:
        assert journal.epoch == 42
        exported, reported = await unfinished(journal)
        assert exported.spec == SPEC
        assert exported.history == (Transition(State.DOWNLOADING, AT),)
        assert (exported.baseline_id, exported.remote_ids, exported.triggers[0].wall) == (289, (290,), AT)
        assert isinstance(reported.spec, ReportSpec)
        assert reported.spec.template == TemplateId(12)
        await journal.record(
            replace(exported, state=State.DOWNLOADED),
            NIGHT,
            happened("Placed", exported, replace(exported, state=State.DOWNLOADED), AT),
        )
        assert await unfinished(journal) == [reported]


async def test_what_states_a_job_entered_is_still_known_after_version_1(path: Path) -> None:
    wrote(path, VERSION_1)
    wrote(
        path,
        """
        INSERT INTO events VALUES
            (7, 11, '2026-11-24T01:11:00.000000+00:00', '2026-11-25', 'Fetched', 'downloaded', '', 41),
            (7, 2, '2026-11-24T01:02:00.500000+00:00', '2026-11-24', 'Failed', 'failed', '', 41),
            (7, 3, '2026-11-24T01:03:00.000000+00:00', '2026-11-24', 'Named', NULL, '', 41),
            (8, 1, '2026-11-24T01:01:00.000000+00:00', '2026-11-24', 'Surveyed', NULL, '', 41)
        """,
    )
    await held(path)
    with JournalReader(path) as reader:
        exported, reported = reader.jobs()
    assert exported.history == (
        Transition(State.DOWNLOADING, AT),
        Transition(State.FAILED, AT + timedelta(minutes=2, seconds=0.5)),
        Transition(State.DOWNLOADED, AT + timedelta(minutes=11)),
    )
    assert exported.baseline_id == 289
    assert reported == Job(id=8, spec=reported.spec)


async def test_a_journal_of_version_2_is_read_and_written_on(path: Path) -> None:
    wrote(path, VERSION_2)
    now = Instant(AT + timedelta(seconds=30), 1000.0, "b")
    async with hold(path) as journal:
        assert journal.epoch == 42
        exported, reported = await unfinished(journal)
        assert (exported.spec, exported.history) == (SPEC, (Transition(State.DOWNLOADING, AT),))
        assert await journal.events(7) == [
            EventRow(AT + timedelta(microseconds=1), NIGHT, "Listed", None, "", 40),
            EventRow(AT, NIGHT, "Triggered", State.DOWNLOADING, "let go", 41),
            EventRow(AT + timedelta(hours=1), NIGHT + timedelta(days=1), "Named", None, "", 41),
        ]
        with pytest.raises(StorageError, match="it is damaged"):
            await journal.events(8)  # one that was damaged stays so
        assert (await journal.of_night(NIGHT))[0] == {7, 8}
        assert (await journal.of_night(NIGHT + timedelta(days=1)))[0] == {7}
        assert (await journal.of_night(NIGHT + timedelta(days=2)))[0] == {8}
        assert (await journal.recent_spends(now))["acme.ilucca.net"] == [990.0, 1000.0 - 29.75]
        await journal.record(
            replace(exported, state=State.DOWNLOADED),
            NIGHT,
            happened("Placed", exported, replace(exported, state=State.DOWNLOADED), AT),
        )
        assert await unfinished(journal) == [reported]
        assert [row.name for row in await journal.events(7)] == ["Listed", "Triggered", "Named", "Placed"]


def test_bringing_a_journal_up_to_date_may_be_broken_off_at_any_point(path: Path) -> None:
    def kept(place: Path) -> list[str]:
        with closing(sqlite3.connect(place)) as connection:
            return list(connection.iterdump())

    wrote(path, VERSION_2)
    before, broken_off = kept(path), 0
    for instructions in range(50, 100_000, 50):
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.set_progress_handler(lambda: True, instructions)
            try:
                connection.executescript(
                    f"BEGIN IMMEDIATE;\n{MIGRATIONS[2]}\nPRAGMA user_version = 3;\nCOMMIT;"
                )
            except sqlite3.OperationalError as error:
                assert str(error) == "interrupted"  # noqa: PT017 - not each of them is broken off
                broken_off += 1
            else:
                break
        assert kept(path) == before
    assert broken_off > 5
    open_for_writing(path).close()
    with JournalReader(path) as reader:
        assert [event.name for event in reader.events(7)] == ["Listed", "Triggered", "Named"]


def test_further_steps_lead_from_any_version_to_the_newest(tmp_path: Path) -> None:
    steps = [*MIGRATIONS, "CREATE TABLE more (id INTEGER) STRICT;", "ALTER TABLE more ADD COLUMN word TEXT;"]
    for number in range(len(steps) + 1):
        path = tmp_path / f"{number}.db"
        open_for_writing(path, steps[:number]).close()
        with closing(open_for_writing(path, steps)) as connection:
            assert connection.execute("PRAGMA user_version").fetchone() == (len(steps),)
            assert connection.execute("SELECT id, word FROM more").fetchall() == []


def test_a_step_that_fails_leaves_the_version_before_it(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    steps = [*MIGRATIONS, "CREATE TABLE more (id INTEGER) STRICT; SELECT * FROM nowhere;"]
    with pytest.raises(StorageError, match="no such table: nowhere"):
        open_for_writing(path, steps)
    with closing(open_for_writing(path)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)
        assert connection.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'more'").fetchone() == (0,)


async def test_a_journal_of_a_newer_version_is_refused_and_left_as_it_is(path: Path) -> None:
    await held(path)
    wrote(path, "PRAGMA user_version = 99")
    before = path.read_bytes()
    for use in (lambda: open_for_writing(path), lambda: JournalReader(path)):
        with pytest.raises(StorageError, match=r"newer version .*format 99.*install the newer version"):
            use()
    with pytest.raises(StorageError, match="newer version"):
        await held(path)
    assert path.read_bytes() == before


def test_a_reader_leaves_an_older_journal_to_the_next_run(path: Path) -> None:
    wrote(path, "PRAGMA application_id = 1920298610; CREATE TABLE holder (epoch INTEGER)")
    wrote(path, "PRAGMA user_version = -1")
    with pytest.raises(StorageError, match=r"older version of runner.*`runner run` once"):
        JournalReader(path)


async def test_another_program_s_database_is_not_touched(path: Path) -> None:
    wrote(path, "CREATE TABLE customers (name TEXT)")
    before = path.read_bytes()
    with pytest.raises(StorageError, match="database of another program"):
        await held(path)
    assert path.read_bytes() == before


def test_every_query_compiles(path: Path) -> None:
    path.parent.mkdir(parents=True)
    with closing(open_for_writing(path)) as connection:
        choices = [name for name in QUERIES if name.startswith("choose_")]
        chosen = [choosing("jobs_chosen", name) for name in choices]
        plain = [
            text for name, text in QUERIES.items() if name not in choices and not name.endswith("_chosen")
        ]
        for text in (*chosen, *plain):
            numbers = [int(number) for number in re.findall(r"\?(\d+)", text)]
            places = max(numbers, default=text.count("?"))
            values = (None,) * places or dict.fromkeys(re.findall(r":(\w+)", text))
            connection.execute(f"EXPLAIN {text}", values)


def test_what_is_unfinished_is_found_without_reading_the_rest(path: Path) -> None:
    path.parent.mkdir(parents=True)
    with closing(open_for_writing(path)) as connection:
        for name, index in [
            ("choose_unfinished", "USING INDEX jobs_unfinished"),
            ("choose_owing_a_look", "jobs_triggered_again"),
            ("choose_owing_a_look", "jobs_failed"),
            ("choose_failed_with", "jobs_failed"),
            ("numbers_of_night", "nights_of_jobs"),
        ]:
            values = {"since": "", "night": "", "codes": "[]"}
            query = choosing("jobs_chosen", name) if name.startswith("choose_") else QUERIES[name]
            plan = connection.execute(f"EXPLAIN QUERY PLAN {query}", values).fetchall()
            assert index in str(plan)


# ── damage ───────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_file_that_is_no_database_is_told_with_the_way_back(path: Path) -> None:
    path.parent.mkdir(parents=True)
    path.write_bytes(b"garbage" * 1000)
    with pytest.raises(
        StorageError, match=r"it is damaged .*move it away.*adopts what exists in Lucca"
    ) as told_:
        await held(path)
    assert str(path) in str(told_.value)
    assert told_.value.exit_code == 6
    with pytest.raises(StorageError, match="it is damaged"):
        JournalReader(path)


async def test_damage_within_the_file_is_told_when_it_is_met(path: Path) -> None:
    async with hold(path) as journal:
        specs = [replace(SPEC, configuration_id=number) for number in range(2000)]
        await journal.create(specs, NIGHT)
    content = bytearray(path.read_bytes())
    content[80 * 4096 :] = b"\xff" * (len(content) - 80 * 4096)
    path.write_bytes(content)
    async with hold(path) as journal:
        with pytest.raises(StorageError, match="it is damaged"):
            await unfinished(journal)
    with JournalReader(path) as reader, pytest.raises(StorageError, match="it is damaged"):
        reader.jobs()


async def test_a_job_that_cannot_be_read_is_told(path: Path) -> None:
    async with hold(path) as journal:
        await journal.create([SPEC], NIGHT)
        wrote(path, """UPDATE jobs SET snapshot = '{"baseline_id": "one"}'""")
        with pytest.raises(StorageError, match="a job in it: Expected `int") as told_:
            await unfinished(journal)
    assert "move it away" in str(told_.value)
    with JournalReader(path) as reader, pytest.raises(StorageError, match="a job in it"):
        reader.jobs()


@pytest.mark.parametrize(
    "wrong",
    [
        "UPDATE jobs SET state = 'pendhng'",
        "UPDATE jobs SET spec = CAST(x'7bff7d' AS TEXT)",
        "UPDATE jobs SET snapshot = replace(snapshot, 'T01:00:00Z', 'T0$:00:00Z')",
        "UPDATE jobs SET snapshot = replace(snapshot, '\"downloading\"', '\"pendhng\"')",
        "UPDATE nights SET night = '2026-11-2$'",
        "UPDATE events SET at_seconds = 9e99",
        "UPDATE events SET at_seconds = 9e299",
        "UPDATE events SET night = '2026-11-2$'",
        "UPDATE reports SET first_night = '2026-13-24'",
        "DROP TABLE jobs",
    ],
)
async def test_a_row_that_nobody_wrote_is_damage_and_no_fault_of_ours(path: Path, wrong: str) -> None:
    now = Instant(AT, 100.0, "now")
    async with hold(path) as journal:
        (job,) = await journal.create([SPEC], NIGHT)
        begun = replace(job, state=State.DOWNLOADING, history=(Transition(State.DOWNLOADING, AT),))
        await journal.record(begun, NIGHT, happened("Listed", job, begun, AT))
        await journal.start_night(NIGHT, AT)
        await journal.spend(Spend("acme.ilucca.net", "now", 100.0, AT))
        await journal.first_nights([("acme.ilucca.net", "times")], NIGHT)
    wrote(path, wrong)
    told_ = []
    async with hold(path) as journal:
        for ask in (
            lambda: journal.known([]),
            journal.unclosed_nights,
            lambda: journal.events(job.id),
            lambda: journal.recent_spends(now),
            lambda: journal.first_nights([("acme.ilucca.net", "times")], NIGHT),
        ):
            try:
                await ask()
            except StorageError as error:
                told_.append(str(error))
    assert told_
    assert all("it is damaged" in text and "move it away" in text for text in told_)
    assert [text for text in told_ if "pendhng" in text or "acme" in text] == []


@pytest.mark.parametrize("seed", range(4))
async def test_whatever_bits_are_flipped_a_journal_is_used_or_told(path: Path, seed: int) -> None:
    async with hold(path) as journal:
        await journal.create([replace(SPEC, configuration_id=number) for number in range(40)], NIGHT)
        await journal.start_night(NIGHT, AT)
    whole = path.read_bytes()
    chance = Random(f"flipped/{seed}")
    for _ in range(25):
        content = bytearray(whole)
        page = chance.randrange(len(content) // 4096)
        for _ in range(chance.choice((1, 4, 30))):
            content[page * 4096 + chance.randrange(4096)] ^= 1 << chance.randrange(8)
        path.write_bytes(content)
        with suppress(StorageError):
            async with hold(path) as journal:
                await journal.unclosed_nights()
                await unfinished(journal)
                await journal.of_night(NIGHT)
                await journal.start_night(NIGHT, AT)


async def test_a_journal_that_went_wrong_can_be_moved_away_and_made_anew(path: Path) -> None:
    path.parent.mkdir(parents=True)
    path.write_bytes(b"garbage" * 1000)
    with pytest.raises(StorageError):
        await held(path)
    path.rename(path.with_name("journal.db.damaged"))
    async with hold(path) as journal:
        assert journal.epoch == 1


@pytest.mark.parametrize(
    "code, words",
    [
        (sqlite3.SQLITE_FULL, "the disk is full .*make room"),
        (sqlite3.SQLITE_READONLY, "may not be written .*right"),
        (sqlite3.SQLITE_IOERR_FSYNC, "its disk failed .*see to the disk"),
        (sqlite3.SQLITE_BUSY, "another program keeps it locked .*close"),
        (sqlite3.SQLITE_TOOBIG, "SQLite refused .*report it"),
    ],
)
def test_each_trouble_of_sqlite_has_its_remedy(path: Path, code: int, words: str) -> None:
    error = sqlite3.OperationalError("in its own words")
    error.sqlite_errorcode, error.sqlite_errorname = code, "NAME"
    with pytest.raises(StorageError, match=rf"{path} .*{words}"):
        raise storage_error(path, error)


def test_an_error_without_a_code_is_told_as_well(path: Path) -> None:
    with pytest.raises(StorageError, match=r"SQLite refused \(ProgrammingError: odd\)"):
        raise storage_error(path, sqlite3.ProgrammingError("odd"))


async def test_a_folder_in_the_journal_s_place_is_told(path: Path) -> None:
    path.mkdir(parents=True)
    with pytest.raises(StorageError, match="Is a directory"):
        await held(path)
    with pytest.raises(StorageError, match="there is no journal at"):
        JournalReader(path)


# ── readers ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_reader_says_that_there_is_no_journal_yet(path: Path) -> None:
    with pytest.raises(StorageError, match=r"there is no journal at .* yet. To do: `runner run` makes it"):
        JournalReader(path)
    path.parent.mkdir(parents=True)
    path.touch()
    with pytest.raises(StorageError, match="there is no journal at"):
        JournalReader(path)
    assert [item.name for item in path.parent.iterdir()] == ["journal.db"]


async def filled(journal: SqliteJournal) -> list[Job]:
    """Two jobs, the first of them downloaded a night later, with one file in place and one only named."""
    first, second = await journal.create(
        [SPEC, replace(SPEC, tenant="globex", domain="globex.ilucca.net")], NIGHT
    )
    await journal.start_night(NIGHT, AT)
    await journal.finish_night(NIGHT, AT, "incomplete")
    morrow = date(2026, 11, 25)
    await journal.start_night(morrow, AT)
    placed = FileRecord("2026-11-25/acme/payroll-290.json", 10, "ab", 290, "json", placed=True)
    named = FileRecord("2026-11-25/acme/payroll-291.json", 11, "cd", 291, "json")
    done = replace(
        first, state=State.DOWNLOADED, files=(placed, named), history=(Transition(State.DOWNLOADED, AT),)
    )
    await journal.record(done, morrow, happened("Placed", first, done, AT))
    return [done, second]


async def test_a_reader_reads_while_a_runner_writes(path: Path) -> None:
    async with hold(path) as journal:
        done, second = await filled(journal)
        with JournalReader(path) as reader:
            assert reader.jobs() == [done, second]
            third, *_ = await journal.create([replace(SPEC, configuration_id=4)], NIGHT)
            assert reader.jobs() == [done, second, third]


async def test_a_reader_chooses_by_night_tenant_and_name(path: Path) -> None:
    async with hold(path) as journal:
        done, second = await filled(journal)
    with JournalReader(path) as reader:
        assert reader.jobs(night=NIGHT) == [done, second]
        assert reader.jobs(night=date(2026, 11, 25)) == [done]
        assert reader.jobs(tenant="globex") == [second]
        assert reader.jobs(tenant="globex", name="times") == []
        assert reader.jobs(night=NIGHT, tenant="acme", name="payroll") == [done]


async def test_a_reader_tells_nights_and_events(path: Path) -> None:
    async with hold(path) as journal:
        done, second = await filled(journal)
    with JournalReader(path) as reader:
        morrow = date(2026, 11, 25)
        assert reader.latest_night() == morrow
        assert reader.nights() == [NightRow(NIGHT, AT, AT, "incomplete"), NightRow(morrow, AT, None, None)]
        assert [(row.name, row.state) for row in reader.events(done.id)] == [("Placed", State.DOWNLOADED)]
        assert reader.events(second.id) == []


async def test_a_reader_cannot_write(path: Path) -> None:
    await held(path)
    before = path.read_bytes()
    with JournalReader(path) as reader:
        assert reader.jobs() == []
        assert reader.latest_night() is None
    assert path.read_bytes() == before
