"""What the simulation found, each by itself and for ever: a seed tells another story once the dice are changed."""

import asyncio
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest
from msgspec.structs import replace

from runner.app.nightly import Nightly
from runner.app.selection import Selection
from runner.clock import wait_for
from runner.dates import parse_period
from runner.errors import StorageError
from runner.jobs import model as m
from runner.jobs.agenda import free_at
from runner.jobs.machine import stamp
from runner.journal import Happened, SqliteJournal
from runner.output import Disk, Output
from runner.sandbox import Configuration, Fault, RequestRecord, StaffExport, Status, TenantScenario, Trigger
from tests.nights import DOMAIN, TONIGHT, Setting, export, night, report, tenant
from tests.virtual import NIGHT, VirtualClock, VirtualSandbox, run_virtual

MONDAY = date(2026, 11, 23)


class Around:
    """A journal that does some things in another way."""

    def __init__(self, journal: SqliteJournal) -> None:
        self._journal = journal

    def __getattr__(self, name: str) -> Any:
        return getattr(self._journal, name)


def test_a_wait_too_short_for_floating_point_ends() -> None:
    async def waits(clock: VirtualClock) -> None:
        await clock.wait(50_000)
        before = clock.now().boot_seconds
        await wait_for(asyncio.Event(), 1e-13)
        assert clock.now().boot_seconds > before

    run_virtual(waits)


@pytest.mark.parametrize("count", [2, 4])
def test_two_jobs_that_learn_the_path_at_once_both_find_what_exists_already(
    tmp_path: Path, count: int
) -> None:
    numbers = range(1, count + 1)
    host = TenantScenario(
        domain=DOMAIN,
        requests_per_minute=100_000,
        latency_seconds=1.0,
        bare_lists=True,
        content_path="doubled",
        configurations=tuple(Configuration(id=number) for number in numbers),
        staff_exports=tuple(
            StaffExport(at_seconds=-60.0, ends_at=MONDAY, configuration_id=n) for n in numbers
        ),
    )
    told = night(tmp_path, [tenant(exports=[export(f"e{number}", number) for number in numbers])], [host])
    assert told.triggers == []
    assert [job.flags for job in told.jobs.values()] == [{m.Flag.ADOPTED}] * count


def test_a_file_that_a_crash_left_unsaid_is_told_even_by_a_run_that_is_stopped_at_once(
    tmp_path: Path,
) -> None:
    class DiesBeforeSayingIt(Around):
        async def record(self, job: m.Job, night: date, told: Happened) -> None:
            if told.event == "Placed":
                raise StorageError("it died here")
            await self._journal.record(job, night, told)

    class TakesItsTime(Around):
        async def start_night(self, *told: Any) -> None:
            await anyio.sleep(1)
            await self._journal.start_night(*told)

    async def stopped(nightly: Nightly, _sandbox: VirtualSandbox) -> None:
        nightly.stop("SIGTERM")

    tenants = [tenant(exports=[export(), export("other", 2)])]
    died = night(tmp_path, tenants, setting=Setting(kept=True, journal=DiesBeforeSayingIt))
    assert isinstance(died.error, StorageError)
    there = {name for name in died.files() if name.endswith(".json") and "/" in name}
    assert there
    again = night(tmp_path, tenants, setting=Setting(kept=True, journal=TakesItsTime, beside=stopped))
    assert (again.code, again.asked()) == (143, [])
    sums = (tmp_path / TONIGHT.isoformat() / "SHA256SUMS").read_text()
    assert {line.split("  ")[1] for line in sums.splitlines()} == there


@pytest.mark.parametrize("how", ["a link", "a file"])
def test_a_night_that_died_and_was_put_away_by_hand_is_no_trouble_of_the_next(
    how: str, tmp_path: Path
) -> None:
    class DiesAtTheEnd(Around):
        async def finish_night(self, *_: Any) -> None:
            raise StorageError("it died here")

    tenants = [tenant(exports=[export()])]
    died = night(tmp_path / "output", tenants, setting=Setting(kept=True, journal=DiesAtTheEnd))
    assert isinstance(died.error, StorageError)
    put_away = died.folder.rename(tmp_path / "put away")
    if how == "a link":
        died.folder.symlink_to(put_away)
    else:
        died.folder.write_bytes(b"all of it, packed")
    told = night(tmp_path / "output", tenants, setting=Setting(kept=True, date=TONIGHT + timedelta(days=1)))
    assert (told.error, told.code) == (None, 0)


def test_a_poll_that_tells_nothing_new_is_not_recorded(tmp_path: Path) -> None:
    recorded: list[str] = []

    class Noting(Around):
        async def record(self, job: m.Job, night: date, told: Happened) -> None:
            recorded.append(told.event)
            await self._journal.record(job, night, told)

    slow = Configuration(triggers=(Trigger(seconds=1800.0),))
    host = TenantScenario(domain=DOMAIN, requests_per_minute=100_000, configurations=(slow,))
    told = night(tmp_path, [tenant(exports=[export()])], [host], Setting(journal=Noting))
    assert told.code == 0
    assert len(told.asked("poll")) > 50
    assert recorded.count("Listed") <= 2


def test_the_least_budget_of_a_host_counts_whoever_has_a_job_tonight(tmp_path: Path) -> None:
    idle = tenant(exports=[export(due=_never())], name="idle", requests_per_minute=4)
    busy = tenant(exports=[export(f"e{n}", n) for n in range(3, 7)], reports=[report()], name="busy")
    host = TenantScenario(
        domain=DOMAIN,
        requests_per_minute=100_000,
        configurations=tuple(Configuration(id=n) for n in range(3, 7)),
    )
    told = night(tmp_path, [idle, busy], [host])
    assert told.code == 0
    assert told.world.max_requests_in_any_60_seconds(DOMAIN) <= 4


def _never() -> Any:
    return export(ends_at="2026-12-31").ends_at


class Death(BaseException):
    pass


def test_what_a_crash_leaves_before_the_night_has_begun_is_cleaned_by_the_next_night(tmp_path: Path) -> None:
    class Dying(Disk):
        def flush(self, fd: int) -> None:
            raise Death

        def unlink(self, name: str, *, folder: int) -> None:
            raise Death

    def dies(_output: Output) -> Output:
        async def inline(work: Any) -> Any:
            return work()

        return Output(tmp_path, disk=Dying(), offload=inline)

    tenants = [tenant(exports=[export()])]
    with pytest.raises((Death, BaseExceptionGroup)) as caught:
        night(tmp_path, tenants, setting=Setting(kept=True, output=dies))
    assert _is_death(caught.value)
    folder = tmp_path / TONIGHT.isoformat()
    assert [path.suffix for path in folder.iterdir()] == [".part"]
    night(tmp_path, tenants, setting=Setting(kept=True, date=TONIGHT + timedelta(days=1)))
    assert list(folder.iterdir()) == []


def _is_death(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return any(_is_death(inner) for inner in error.exceptions)
    return isinstance(error, Death)


class Prepared:
    """A journal in which these jobs stand as they are given, when the night begins."""

    def __init__(self, journal: SqliteJournal, jobs: list[m.Job]) -> None:
        self._journal = journal
        self._jobs = jobs

    def __getattr__(self, name: str) -> Any:
        return getattr(self._journal, name)

    async def unclosed_nights(self) -> dict[date, datetime]:
        for wanted in self._jobs:
            (job,) = await self._journal.create([wanted.spec], TONIGHT)
            await self._journal.record(replace(wanted, id=job.id), TONIGHT, Happened("Prepared", NIGHT))
        return await self._journal.unclosed_nights()


def triggered(spec: m.Spec, seconds_ago: float, **values: Any) -> m.Job:
    at = NIGHT - timedelta(seconds=seconds_ago)
    return m.Job(
        id=0,
        spec=spec,
        state=m.State.POLLING,
        triggers=(m.Stamp(at, "boot-1", 1000.0 - seconds_ago),),
        **values,
    )


def test_an_answer_that_a_crash_left_in_its_place_is_not_put_in_the_next_nights_folder_too(
    tmp_path: Path,
) -> None:
    """Whoever takes over the night's folder would pay its hours twice."""

    class Dying(Disk):
        def link(self, source: str, target: str, *, folder: int) -> None:
            if target.endswith(".csv"):
                raise Death
            super().link(source, target, folder=folder)

    def dies(_output: Output) -> Output:
        async def inline(work: Any) -> Any:
            return work()

        return Output(tmp_path, disk=Dying(), offload=inline)

    tenants = [tenant(exports=[export(formats=("json", "csv"))])]
    with pytest.raises((Death, BaseExceptionGroup)) as caught:
        night(tmp_path, tenants, setting=Setting(kept=True, output=dies))
    assert _is_death(caught.value)
    assert [path.suffix for path in tmp_path.glob("*/acme/[!.]*")] == [".json"]
    told = night(tmp_path, tenants, setting=Setting(kept=True, date=TONIGHT + timedelta(days=1)))
    assert told.code == 0
    assert sorted(path.suffix for path in tmp_path.glob("*/acme/[!.]*")) == [".csv", ".json"]
    assert list(tmp_path.glob("*/acme/.*")) == []


def test_what_lucca_may_be_working_on_keeps_its_lane(tmp_path: Path) -> None:
    """An older date that a person asked for again waits until the hour of the newer one's trigger is over."""
    silent = Configuration(trigger=Trigger(completes=False))
    host = TenantScenario(domain=DOMAIN, requests_per_minute=100_000, configurations=(silent,))
    jobs = [
        triggered(_until(MONDAY), 7200.0, baseline_id=9999),
        triggered(_until(TONIGHT), 60.0, baseline_id=9999),
    ]
    setting = Setting(journal=lambda journal: Prepared(journal, jobs))
    told = night(tmp_path, [tenant(exports=[export(ends_at="daily")])], [host], setting)
    first = told.triggers[0]
    assert first.ends_at == "2026-11-24T00:00:00"
    assert first.at_seconds >= 1000.0 - 60.0 + 3600.0


def test_a_job_that_fails_keeps_its_lane_while_lucca_may_be_working_on_it(tmp_path: Path) -> None:
    """A later date asked for meanwhile might be made first, and take the hours that belong to the older one."""

    def bend(record: RequestRecord) -> Fault | None:
        return Status(403) if record.kind == "poll" and record.at_seconds < 1000.0 + 600.0 else None

    jobs = [triggered(_until(MONDAY), 60.0, baseline_id=9999)]
    host = TenantScenario(domain=DOMAIN, requests_per_minute=100_000)
    setting = Setting(journal=lambda journal: Prepared(journal, jobs), bend=bend)
    told = night(tmp_path, [tenant(exports=[export(ends_at="daily")])], [host], setting)
    assert told.code == 3
    (trigger,) = told.triggers
    assert trigger.ends_at == "2026-11-24T00:00:00"
    assert trigger.at_seconds >= 1000.0 - 60.0 + 3600.0


TWICE = [export("monthly", ends_at="month-start"), export("weekly")]
"""Two entries of one configuration: what the first asks for comes first in the ledger."""


@pytest.mark.parametrize("left", ["due today", "of an earlier night"])
def test_an_export_that_is_not_selected_keeps_its_lane_while_lucca_may_be_working_on_it(
    tmp_path: Path, left: str
) -> None:
    """Whoever selects the later date would be given the hours of the older one too."""
    end = date(2026, 11, 1) if left == "due today" else date(2026, 10, 1)
    older = replace(_until(end), name="monthly", due=TONIGHT if left == "due today" else end)
    setting = Setting(
        journal=lambda journal: Prepared(journal, [triggered(older, 60.0, baseline_id=0)]),
        selection=Selection(only=("acme/weekly",)),
    )
    told = night(tmp_path, [tenant(exports=TWICE)], setting=setting)
    (trigger,) = told.triggers
    assert trigger.ends_at == "2026-11-23T00:00:00"
    assert trigger.at_seconds >= 1000.0 - 60.0 + 3600.0


def test_what_a_selection_takes_up_again_waits_for_nobody(tmp_path: Path) -> None:
    """It was asked for itself, and its export is there to be found."""
    jobs = [
        triggered(replace(_until(date(2026, 11, 1)), name="monthly"), 60.0, baseline_id=0),
        triggered(replace(_until(MONDAY), name="weekly"), 30.0, baseline_id=0),
    ]
    setting = Setting(
        journal=lambda journal: Prepared(journal, jobs),
        selection=Selection(only=("acme/weekly",)),
        until_seconds=600.0,
    )
    told = night(tmp_path, [tenant(exports=TWICE)], setting=setting)
    assert told.asked("poll")


def test_of_several_reports_the_one_that_may_still_be_there_goes_first(tmp_path: Path) -> None:
    """Each POST deletes the report before it: an older date's would have cost the newer one what was made for it."""
    entry = report(period=parse_period("yesterday"))
    jobs = [triggered(_of(MONDAY), 7200.0, remote_ids=(40,)), triggered(_of(TONIGHT), 60.0, remote_ids=(41,))]
    setting = Setting(journal=lambda journal: Prepared(journal, jobs))
    told = night(tmp_path, [tenant(reports=[entry])], setting=setting)
    assert told.code == 0
    assert told.asked("report.poll")[0].path.endswith("/41")


def _of(due: date) -> m.ReportSpec:
    return m.ReportSpec(tenant="acme", domain=DOMAIN, name="times", due=due, template=m.TemplateId(12))


def _until(day: date) -> m.ExportSpec:
    return m.ExportSpec(
        tenant="acme", domain=DOMAIN, name="payroll", due=day, configuration_id=3, ends_at=day
    )


def test_whether_an_export_may_be_on_its_way_is_told_by_its_hour() -> None:
    async def tells(clock: VirtualClock) -> None:
        now = clock.now()
        job = m.Job(id=1, spec=_until(TONIGHT), state=m.State.POLLING, triggers=(stamp(now),))
        policy = Setting().policy
        assert free_at(job, now, policy) == now.boot_seconds + 3600
        for last, free in ((m.State.POLLING, False), (m.State.TRIGGERED, True)):
            history = (m.Transition(last, now.wall), m.Transition(m.State.FAILED, now.wall))
            failed = replace(job, state=m.State.FAILED, history=history)
            assert (free_at(failed, now, policy) == 0) is free, "a POST answered with a no makes nothing"
        await clock.wait(3599)
        assert free_at(job, clock.now(), policy) == now.boot_seconds + 3600
        await clock.wait(1)
        assert free_at(job, clock.now(), policy) == 0
        told = replace(job, triggers=(stamp(now, now.wall),))
        clock.reboot("boot-2")
        assert free_at(job, clock.now(), policy) == 0
        assert free_at(told, clock.now(), policy) > 0, (
            "the host has not told its time yet, and this clock may be set"
        )
        clock.shift_wall(-86_400)
        assert free_at(job, clock.now(), policy) == clock.now().boot_seconds + 3600, "no clock can tell"

    run_virtual(tells)
