"""What every journal must do, whatever stores it.

Another implementation joins by another `Store` in `STORES`. Nothing in here knows SQL.
"""

import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, closing
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from runner.clock import Instant
from runner.errors import RunnerError, StorageError
from runner.jobs.model import (
    Content,
    ErrorCode,
    ExportSpec,
    FileRecord,
    Flag,
    Identity,
    Job,
    JobError,
    Live,
    ReportSpec,
    Spec,
    Stamp,
    State,
    TemplateBody,
    TemplateId,
    Transition,
)
from runner.journal import EventRow, Journal, Spend, StaleHolderError, happened, hold
from runner.journal.protocol import RECENT_SECONDS
from tests.job_samples import unfinished

pytestmark = pytest.mark.anyio

NIGHT = date(2026, 11, 24)
AT = datetime(2026, 11, 24, 1, 0, 0, 123456, tzinfo=UTC)


class Store(Protocol):
    """A place where journals are kept, and the rivals that a test needs there."""

    def take(self) -> AbstractAsyncContextManager[Journal]:
        """Hold the journal of this place."""

    def overtake(self, job: Job | None = None) -> None:
        """Another runner takes the journal, and writes this job."""


class SqliteStore:
    """One SQLite file, written by a thread or in place."""

    def __init__(self, folder: Path, *, inline: bool) -> None:
        self.path = folder / "journal.db"
        self._inline = inline

    def take(self) -> AbstractAsyncContextManager[Journal]:
        return hold(self.path, inline=self._inline)

    def overtake(self, job: Job | None = None) -> None:
        with closing(sqlite3.connect(self.path)) as rival, rival:
            if job is None:
                rival.execute("UPDATE holder SET epoch = epoch + 1")
            else:
                rival.execute("UPDATE jobs SET epoch = epoch + 1 WHERE id = ?", [job.id])


STORES: dict[str, Callable[[Path], Store]] = {
    "sqlite": lambda folder: SqliteStore(folder, inline=False),
    "sqlite-inline": lambda folder: SqliteStore(folder, inline=True),
}


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return STORES[request.param](tmp_path)


@pytest.fixture
async def journal(store: Store) -> AsyncIterator[Journal]:
    async with store.take() as held:
        yield held


def export(number: int = 1, **changes: Any) -> ExportSpec:
    values: dict[str, Any] = {
        "tenant": "acme",
        "domain": "acme.ilucca.net",
        "name": "payroll",
        "due": NIGHT,
        "configuration_id": number,
        "ends_at": date(2026, 11, 23),
    }
    return ExportSpec(**{**values, **changes})


def report(**changes: Any) -> ReportSpec:
    values: dict[str, Any] = {
        "tenant": "acme",
        "domain": "acme.ilucca.net",
        "name": "times",
        "due": NIGHT,
        "template": TemplateId(12),
        "starts_on": date(2026, 11, 1),
        "formats": ("csv", "excel"),
    }
    return ReportSpec(**{**values, **changes})


def stamp(at: datetime = AT) -> Stamp:
    return Stamp(at, "boot", 12.5, at - timedelta(seconds=3))


def entered(job: Job, state: State, at: datetime = AT, **changes: Any) -> Job:
    return replace(job, state=state, history=(*job.history, Transition(state, at)), **changes)


async def made(journal: Journal, *specs: Spec) -> list[Job]:
    return await journal.create(specs or [export()], NIGHT)


# ── jobs ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_new_job_is_pending_and_stays_when_the_journal_is_taken_again(store: Store) -> None:
    async with store.take() as journal:
        jobs = await journal.create([export(3), report()], NIGHT)
        assert [job.spec for job in jobs] == [export(3), report()]
        assert {job.state for job in jobs} == {State.PENDING}
    async with store.take() as journal:
        assert await unfinished(journal) == jobs


async def test_a_job_that_is_known_already_is_returned_as_it_is(journal: Journal) -> None:
    (job,) = await made(journal)
    done = entered(job, State.DOWNLOADING, remote_ids=(290,))
    await journal.record(done, NIGHT, happened("Listed", job, done, AT))
    again = await journal.create([export(2), export(1, tenant="other", formats=("json", "csv"))], NIGHT)
    assert again[1] == done
    assert again[0].id != job.id


async def test_an_identity_given_twice_is_one_job(journal: Journal) -> None:
    first, second = await made(journal, export(), export())
    assert first == second


async def test_jobs_are_found_by_their_identity(journal: Journal) -> None:
    jobs = await made(journal, export(1), export(2), report())
    strangers = [export(9).identity, Identity("report", "acme.ilucca.net", export(1).identity.subject)]
    found = await journal.find([jobs[2].spec.identity, *strangers, jobs[0].spec.identity])
    assert found == {jobs[0].spec.identity: jobs[0], jobs[2].spec.identity: jobs[2]}
    assert await journal.find([]) == {}


async def test_thirty_thousand_jobs_are_made_and_found_at_once(tmp_path: Path) -> None:
    specs = [export(domain=f"tenant{number}.ilucca.net") for number in range(30_000)]
    async with hold(tmp_path / "journal.db") as journal:
        jobs = await journal.create(specs, NIGHT)
        assert [job.spec for job in jobs] == specs
        found = await journal.find([spec.identity for spec in specs])
        assert found == {job.spec.identity: job for job in jobs}


@pytest.mark.parametrize("state", State)
async def test_what_is_downloaded_failed_or_skipped_is_not_unfinished(journal: Journal, state: State) -> None:
    (job,) = await made(journal)
    after = replace(job, state=state)
    await journal.record(after, NIGHT, happened("Happened", job, after, AT))
    assert len(await unfinished(journal)) == (not after.finished)


UTC_MOMENTS = st.datetimes(
    min_value=datetime(2020, 1, 1),  # noqa: DTZ001 - the zone is added by the next argument
    max_value=datetime(2100, 1, 1),  # noqa: DTZ001
    timezones=st.just(UTC),
)
IDS = st.integers(0, 2**53)
STAMPS = st.builds(
    Stamp, UTC_MOMENTS, st.text(), st.floats(0, 1e12, allow_nan=False), st.none() | UTC_MOMENTS
)
FILES = st.builds(FileRecord, st.text(), IDS, st.text(), IDS, st.text(), st.booleans())
EVERY_FIELD: dict[str, st.SearchStrategy[Any]] = {
    "history": st.lists(st.builds(Transition, st.sampled_from(State), UTC_MOMENTS), max_size=3).map(tuple),
    "state": st.sampled_from(State),
    "baseline_id": st.none() | IDS,
    "triggers": st.lists(STAMPS, max_size=3).map(tuple),
    "forgiven": IDS,
    "remote_ids": st.lists(IDS).map(tuple),
    "foreign_ids": st.lists(IDS).map(tuple),
    "superseded_by": st.none() | IDS,
    "contents": st.lists(st.builds(Content, IDS, IDS, st.none() | st.text()), max_size=3).map(tuple),
    "files": st.lists(FILES, max_size=3).map(tuple),
    "flags": st.frozensets(st.sampled_from(Flag)),
    "error": st.none() | st.builds(JobError, st.sampled_from(ErrorCode), st.text()),
    "template_id": st.none() | IDS,
    "errors": IDS,
    "losses": IDS,
    "unlisted": st.booleans(),
}


def test_the_round_trip_below_has_every_field_of_a_job() -> None:
    assert set(Job.__struct_fields__) == {*EVERY_FIELD, "id", "spec", "live"}


@given(known=st.fixed_dictionaries(EVERY_FIELD))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_every_field_of_a_job_comes_back(tmp_path_factory: pytest.TempPathFactory, known: Any) -> None:
    for make in STORES.values():
        async with make(tmp_path_factory.mktemp("round")).take() as journal:
            job, _ = await made(journal, export(), report())
            after = replace(job, **known, live=Live(polls=3))
            await journal.record(after, NIGHT, happened("Happened", job, after, AT))
            found = await journal.find([job.spec.identity])
            assert found == {job.spec.identity: replace(after, live=Live())}


@pytest.mark.parametrize(
    "spec",
    [
        export(formats=("json", "csv-fr"), empty_ok=True),
        report(ends_on=date(2026, 11, 30)),
        report(template=None, starts_on=None),
    ],
    ids=["export", "report", "report-of-no-template"],
)
async def test_every_field_of_a_spec_comes_back(journal: Journal, spec: Spec) -> None:
    (job,) = await made(journal, spec)
    assert job.spec == spec


async def test_the_body_of_a_template_is_left_to_the_manifest(journal: Journal) -> None:
    spec = report(template=TemplateBody(b'{"id": 0}', "abc"))
    (job,) = await made(journal, spec)
    assert job.spec == replace(spec, template=None)


async def test_a_changed_manifest_changes_the_spec_and_nothing_else(journal: Journal) -> None:
    job, other = await made(journal, export(1), export(2))
    await journal.record(
        entered(job, State.POLLING), NIGHT, happened("Happened", job, entered(job, State.POLLING), AT)
    )
    changed = export(1, formats=("json", "csv"), tenant="acme-2", name="wages", due=date(2026, 12, 1))
    await journal.refresh_spec([replace(job, spec=changed)])
    await journal.refresh_spec([])
    assert await unfinished(journal) == [replace(entered(job, State.POLLING), spec=changed), other]
    assert [row.name for row in await journal.events(job.id)] == ["Happened"]


# ── events ───────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_events_tell_the_job_story_with_the_states_it_entered(journal: Journal) -> None:
    (job,) = await made(journal)
    later = AT + timedelta(minutes=5)
    listed = replace(job, baseline_id=0)
    await journal.record(listed, NIGHT, happened("Listed", job, listed, AT))
    triggered = entered(listed, State.TRIGGERED, later, triggers=(stamp(),))
    await journal.record(
        triggered, NIGHT + timedelta(days=1), happened("Triggered", listed, triggered, later, "the first")
    )
    assert await unfinished(journal) == [triggered]
    assert await journal.events(job.id) == [
        EventRow(AT, NIGHT, "Listed", None, "", journal.epoch),
        EventRow(later, NIGHT + timedelta(days=1), "Triggered", State.TRIGGERED, "the first", journal.epoch),
    ]
    assert await journal.events(job.id + 1) == []


async def test_a_night_holds_the_jobs_made_in_it_and_those_to_which_something_happened(
    journal: Journal,
) -> None:
    first, second = await made(journal, export(1), export(2))
    morrow = NIGHT + timedelta(days=1)
    (third,) = await journal.create([export(3)], morrow)
    await journal.record(
        replace(second, baseline_id=7), morrow, happened("Listed", second, replace(second, baseline_id=7), AT)
    )
    await journal.record(
        replace(second, baseline_id=7), morrow, happened("Listed", second, replace(second, baseline_id=7), AT)
    )
    second_then = replace(second, baseline_id=7)
    assert await journal.of_night(NIGHT) == (frozenset({first.id, second.id}), [first, second_then])
    assert await journal.of_night(morrow) == (frozenset({second.id, third.id}), [second_then, third])
    assert await journal.of_night(morrow + timedelta(days=1)) == (frozenset(), [])


async def test_a_job_of_an_earlier_night_is_of_this_one_once_something_happens_to_it(
    journal: Journal,
) -> None:
    (job,) = await made(journal)
    morrow = NIGHT + timedelta(days=1)
    (known, new) = await journal.create([job.spec, export(2)], morrow)
    assert await journal.of_night(morrow) == (frozenset({new.id}), [new])
    await journal.record(
        entered(known, State.POLLING), morrow, happened("Happened", known, entered(known, State.POLLING), AT)
    )
    assert await journal.of_night(morrow) == (
        frozenset({known.id, new.id}),
        [entered(known, State.POLLING), new],
    )


async def test_a_job_whose_record_failed_is_of_the_night_of_the_next_one(journal: Journal) -> None:
    (job,) = await made(journal)
    morrow, nameless = NIGHT + timedelta(days=1), cast("str", None)
    with pytest.raises(StorageError):
        await journal.record(
            replace(job, baseline_id=7), morrow, happened(nameless, job, replace(job, baseline_id=7), AT)
        )
    assert await journal.of_night(morrow) == (frozenset(), [])
    await journal.record(
        replace(job, baseline_id=7), morrow, happened("Listed", job, replace(job, baseline_id=7), AT)
    )
    assert await journal.of_night(morrow) == (frozenset({job.id}), [replace(job, baseline_id=7)])


async def test_of_jobs_made_at_once_the_first_of_each_domain_come_first(journal: Journal) -> None:
    specs = [export(number, domain=f"{name}.ilucca.net") for name in ("acme", "globex") for number in (1, 2)]
    jobs = await journal.create(specs, NIGHT)
    assert [job.spec for job in jobs] == specs
    assert await unfinished(journal) == [jobs[0], jobs[2], jobs[1], jobs[3]]


@given(st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001
@settings(max_examples=50, deadline=None)
async def test_the_moment_of_an_event_comes_back_to_the_microsecond(at: datetime) -> None:
    async with hold(Path(":memory:"), inline=True) as journal:
        (job,) = await made(journal)
        await journal.record(
            entered(job, State.POLLING), NIGHT, happened("Happened", job, entered(job, State.POLLING), at)
        )
        assert [row.at for row in await journal.events(job.id)] == [at]


async def test_jobs_of_a_night_that_the_caller_holds_are_not_read_again(journal: Journal) -> None:
    first, second = await made(journal, export(1), export(2))
    assert await journal.of_night(NIGHT, frozenset({first.id, 999})) == (
        frozenset({first.id, second.id}),
        [second],
    )
    assert await journal.of_night(NIGHT, frozenset({first.id, second.id})) == (
        frozenset({first.id, second.id}),
        [],
    )


async def test_an_unfinished_job_that_wants_what_is_wanted_today_holds_that_very_value(
    journal: Journal,
) -> None:
    templated = report(template=TemplateBody(b'{"id": 0}', "abc"))
    jobs = await made(journal, export(1), export(2), templated, export(4))
    after = entered(jobs[1], State.POLLING, baseline_id=7, triggers=(stamp(),))
    await journal.record(after, NIGHT, happened("Listed", jobs[1], after, AT))
    wanted: list[Spec] = [export(3), templated, export(1, name="wages"), export(2)]
    known, others = await journal.known(wanted)
    assert known == [None, replace(jobs[2], spec=templated), jobs[0], after]
    assert [job is not None and job.spec is wish for job, wish in zip(known, wanted, strict=True)] == [
        False,
        True,
        False,
        True,
    ]
    assert others == [jobs[3]]


async def test_a_wanted_job_is_known_however_it_stands_and_no_job_is_told_twice(journal: Journal) -> None:
    done, renamed, other, _ = jobs = await made(journal, export(1), export(2), export(3), export(4))
    for job, state in ((done, State.DOWNLOADED), (jobs[3], State.FAILED)):
        await journal.record(entered(job, state), NIGHT, happened("Told", job, entered(job, state), AT))
    assert await journal.known([export(5), export(2, name="wages"), export(1)]) == (
        [None, renamed, entered(done, State.DOWNLOADED)],
        [other],
    )
    assert await journal.known([]) == ([], [renamed, other])


async def test_a_record_with_an_impossible_event_changes_nothing(journal: Journal) -> None:
    (job,) = await made(journal)
    nameless: Any = None
    with pytest.raises(StorageError):
        await journal.record(
            entered(job, State.FAILED), NIGHT, happened(nameless, job, entered(job, State.FAILED), AT)
        )
    assert await unfinished(journal) == [job]
    assert await journal.events(job.id) == []


async def test_a_job_that_is_not_there_cannot_be_recorded(journal: Journal) -> None:
    (job,) = await made(journal)
    stray = replace(job, id=job.id + 1)
    with pytest.raises(StorageError, match=r"no job 2 \(acme/payroll\).*To do:"):
        await journal.record(stray, NIGHT, happened("Happened", stray, stray, AT))
    with pytest.raises(StorageError, match="no job 2"):
        await journal.refresh_spec([job, stray])


# ── looks ────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_look_is_owed_to_late_twins_and_to_exports_that_never_came(journal: Journal) -> None:
    since = AT - timedelta(days=7)
    codes = (ErrorCode.NO_EXPORT, ErrorCode.KEY_REFUSED, ErrorCode.SUPERSEDED)
    no_export, refused, superseded = (JobError(code, "…") for code in codes)
    old = stamp(since - timedelta(microseconds=1))
    outcomes: list[tuple[Spec, State, tuple[Stamp, ...], JobError | None, bool]] = [
        (export(1), State.DOWNLOADED, (stamp(), stamp(since)), None, True),
        (export(2), State.DOWNLOADED, (stamp(), old), None, False),
        (export(3), State.DOWNLOADED, (stamp(),), None, False),
        (export(4), State.FAILED, (old,), no_export, True),
        (export(5), State.FAILED, (stamp(), stamp()), refused, False),
        (export(6), State.POLLING, (stamp(), stamp()), None, False),
        (export(7), State.FAILED, (stamp(since),), superseded, True),
        (export(8), State.FAILED, (old,), superseded, False),
        (export(9), State.FAILED, (), superseded, False),
        (report(), State.DOWNLOADED, (stamp(), stamp()), None, False),
    ]
    jobs = await journal.create([spec for spec, *_ in outcomes], NIGHT)
    for job, (_, state, triggers, error, _) in zip(jobs, outcomes, strict=True):
        await journal.record(
            replace(job, state=state, triggers=triggers, error=error),
            NIGHT,
            happened("Happened", job, replace(job, state=state, triggers=triggers, error=error), AT),
        )
    owing = [job.spec for job in await journal.owing_a_look(since)]
    assert owing == [spec for spec, *_, owed in outcomes if owed]


async def test_what_jobs_are_found_by_may_change_while_their_state_stays(journal: Journal) -> None:
    first, second = await made(journal, export(1), export(2))
    failed = entered(first, State.FAILED, error=JobError(ErrorCode.NOT_FOUND, "gone"))
    await journal.record(failed, NIGHT, happened("Failed", first, failed, AT))
    refused = replace(failed, error=JobError(ErrorCode.FORBIDDEN, "no right"))
    await journal.record(refused, NIGHT, happened("Failed", failed, refused, AT))
    assert await journal.failed_with([ErrorCode.NOT_FOUND]) == []
    assert await journal.failed_with([ErrorCode.FORBIDDEN]) == [refused]
    downloaded = entered(second, State.DOWNLOADED, triggers=(stamp(),))
    await journal.record(downloaded, NIGHT, happened("Placed", second, downloaded, AT))
    again = replace(downloaded, triggers=(stamp(), stamp()))
    await journal.record(again, NIGHT, happened("Triggered", downloaded, again, AT))
    assert await journal.owing_a_look(AT) == [again]


async def test_failed_jobs_are_found_by_their_error(journal: Journal) -> None:
    jobs = await made(journal, export(1), export(2), report(), export(3))
    codes = [ErrorCode.SECRET, ErrorCode.NO_EXPORT, ErrorCode.STORAGE]
    failed = [
        entered(job, State.FAILED, error=JobError(code, "…"))
        for job, code in zip(jobs[:3], codes, strict=True)
    ]
    for job, after in zip(jobs, failed, strict=False):
        await journal.record(after, NIGHT, happened("Failed", job, after, AT))
    assert await journal.failed_with([ErrorCode.STORAGE, ErrorCode.SECRET]) == [failed[0], failed[2]]
    assert await journal.failed_with(frozenset(ErrorCode)) == failed
    assert await journal.failed_with([]) == []


# ── holders ──────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_each_holder_has_a_later_epoch(store: Store) -> None:
    async with store.take() as journal:
        first = journal.epoch
    async with store.take() as journal:
        assert journal.epoch == first + 1


async def test_a_stale_holder_is_refused_and_writes_nothing(store: Store) -> None:
    async with store.take() as journal:
        job, other = await made(journal, export(1), export(2))
        store.overtake(job)
        with pytest.raises(StaleHolderError, match="another runner took the journal") as refusal:
            await journal.record(
                entered(job, State.TRIGGERED),
                NIGHT,
                happened("Triggered", job, entered(job, State.TRIGGERED), AT),
            )
        with pytest.raises(StaleHolderError):
            await journal.refresh_spec([replace(job, spec=export(1, name="wages"))])
        assert issubclass(StaleHolderError, RunnerError)
        assert refusal.value.exit_code == 5
        assert await unfinished(journal) == [job, other]
        assert await journal.events(job.id) == []
        await journal.record(
            entered(other, State.TRIGGERED),
            NIGHT,
            happened("Triggered", other, entered(other, State.TRIGGERED), AT),
        )


async def test_once_the_journal_is_taken_its_old_holder_writes_nothing_at_all(store: Store) -> None:
    async with store.take() as journal:
        (job,) = await made(journal)
        store.overtake()
        with pytest.raises(StaleHolderError):
            await journal.record(
                entered(job, State.TRIGGERED),
                NIGHT,
                happened("Triggered", job, entered(job, State.TRIGGERED), AT),
            )
        with pytest.raises(StaleHolderError):
            await journal.create([export(2)], NIGHT)
        assert await unfinished(journal) == [job]


async def test_a_closed_journal_says_so(store: Store) -> None:
    async with store.take() as journal:
        pass
    with pytest.raises(StorageError, match="closed"):
        await unfinished(journal)


# ── the budget ───────────────────────────────────────────────────────────────────────────────────────────────────


def spent(seconds: float, *, boot: str = "boot", wall: datetime = AT) -> Spend:
    return Spend("acme.ilucca.net", boot, seconds, wall)


async def test_spends_of_this_boot_are_recent_by_its_clock_and_others_by_the_wall(journal: Journal) -> None:
    year = timedelta(days=365)
    recent = [
        spent(1000.001 - RECENT_SECONDS, wall=AT - year),
        spent(1000),
        spent(1, boot="other", wall=AT - timedelta(seconds=RECENT_SECONDS - 1)),
        spent(1, boot="other", wall=AT + year),
        replace(spent(990), domain="globex.ilucca.net"),
    ]
    old = [
        spent(1000 - RECENT_SECONDS, wall=AT + year),
        spent(5000, boot="other", wall=AT - timedelta(seconds=RECENT_SECONDS)),
    ]
    for spend in (*old, *recent):
        await journal.spend(spend)
    assert await journal.recent_spends(Instant(AT, 1000.0, "boot")) == {
        "acme.ilucca.net": [1000.001 - RECENT_SECONDS, 1000, 1001 - RECENT_SECONDS, 1000],
        "globex.ilucca.net": [990],
    }


async def test_old_spends_are_swept_away_now_and_then(journal: Journal) -> None:
    for number in range(1000):
        await journal.spend(spent(number))
    # By a clock that stands before all of them, whatever is left counts.
    (left,) = (await journal.recent_spends(Instant(AT, 0.0, "boot"))).values()
    assert RECENT_SECONDS <= len(left) <= 2 * RECENT_SECONDS
    assert left == list(range(1000 - len(left), 1000))


async def test_a_night_that_is_soon_over_sweeps_away_what_is_old_as_well(store: Store) -> None:
    for begun in (1000.0, 2000.0, 3000.0):
        async with store.take() as journal:
            await journal.recent_spends(Instant(AT, begun, "boot"))
            await journal.spend(spent(begun + 0.5))
            await journal.finish_night(NIGHT, AT, "ok")
    async with store.take() as journal:
        left = await journal.recent_spends(Instant(AT, 0.0, "boot"))
    assert left == {"acme.ilucca.net": [3000.5]}


# ── what was learnt ──────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_template_is_remembered_by_domain_and_content_until_forgotten(journal: Journal) -> None:
    await journal.remember_template("a.ilucca.net", "abc", 1)
    await journal.remember_template("a.ilucca.net", "abc", 2)
    assert await journal.template("a.ilucca.net", "abc") == 2
    assert await journal.template("b.ilucca.net", "abc") is None
    await journal.forget_template("a.ilucca.net", "abc")
    assert await journal.template("a.ilucca.net", "abc") is None


async def test_the_last_word_on_a_trait_is_kept(journal: Journal) -> None:
    assert await journal.traits() == {}
    for value in ("plain", "doubled"):
        await journal.remember_trait("a.ilucca.net", "content_path", value)
    assert await journal.traits() == {("a.ilucca.net", "content_path"): "doubled"}


async def test_a_report_is_known_since_its_first_night(journal: Journal) -> None:
    times, hours = ("a.ilucca.net", "times"), ("a.ilucca.net", "hours")
    before, after = NIGHT - timedelta(days=1), NIGHT + timedelta(days=1)
    assert await journal.first_nights([times], NIGHT) == {times: NIGHT}
    assert await journal.first_nights([times, hours], after) == {times: NIGHT, hours: after}
    assert await journal.first_nights([times], before) == {times: before}
    assert await journal.first_nights([times, hours], after) == {times: before, hours: after}
    assert await journal.first_nights([], NIGHT) == {}


# ── nights ───────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_night_is_open_until_it_is_finished_and_open_again_when_run_again(journal: Journal) -> None:
    morrow = NIGHT + timedelta(days=1)
    await journal.start_night(morrow, AT)
    await journal.start_night(NIGHT, AT)
    assert list(await journal.unclosed_nights()) == [NIGHT, morrow]
    await journal.finish_night(morrow, AT, "ok")
    assert await journal.unclosed_nights() == {NIGHT: AT}
    await journal.start_night(morrow, AT)
    assert list(await journal.unclosed_nights()) == [NIGHT, morrow]
