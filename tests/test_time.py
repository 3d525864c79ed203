"""Clocks that are set, that stop, that begin anew; days of 23 and 25 hours; the 29th of February.

Whole nights in virtual time with a client whose first export is lost, so that the second trigger is due after one hour
of true time: whatever the clocks read, it leaves then, and neither before nor never.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest
from msgspec.structs import replace

from runner.credentials import Secret
from runner.dates import parse_date, parse_date_rule, parse_period
from runner.lucca import Request
from runner.sandbox import FaultRule, Outage, TenantScenario, Trickle, Trigger
from runner.transport import Answer, Stream
from runner.turns import SenderPort
from tests.office import PARIS, TUESDAY, UNHEARD, Client, Office, at_the_office, takes, two_o_clock

HOUR, DAY, YEAR = 3600.0, 86_400.0, 365 * 86_400.0
STEPS = {"an hour forward": HOUR, "an hour back": -HOUR, "a year forward": YEAR, "a year back": -YEAR}
LOST = Trigger(completes=False, answer=UNHEARD, answer_seconds=3.0)


def losing(name: str = "scierie", **more: Any) -> Client:
    """A client whose first export never comes."""
    return Client(
        "Scierie",
        TenantScenario(domain=f"{name}.ilucca.ch", configurations=takes(1, triggers=(LOST,)), **more),
    )


def minutes(office: Office, count: float) -> datetime:
    return two_o_clock(TUESDAY) + timedelta(minutes=count)


@pytest.mark.parametrize("step", STEPS.values(), ids=STEPS)
def test_a_clock_that_is_set_while_a_night_runs_changes_nothing_of_it(tmp_path: Path, step: float) -> None:
    client = losing()

    async def story(office: Office) -> None:
        async with anyio.create_task_group() as tasks:

            async def set_the_clock() -> None:
                await office.clock.wait(600.0)
                office.clock.shift_wall(step)

            tasks.start_soon(set_the_clock)
            begun = office.clock.now().boot_seconds
            code, morning = await office.run()
        assert code == 0
        assert office.triggered(client) == [0, 60]
        assert office.clock.now().boot_seconds - begun < 2 * HOUR
        assert morning.document["outcome"] == "ok"
        assert morning.entries("scierie") == office.made(client)

    at_the_office(tmp_path, (client,), story)


@pytest.mark.parametrize("step", STEPS.values(), ids=STEPS)
def test_a_clock_that_is_set_neither_hastens_nor_delays_the_deadline(tmp_path: Path, step: float) -> None:
    asleep = Client("Scierie", TenantScenario(domain="scierie.ilucca.ch", configurations=takes(600)))

    async def story(office: Office) -> None:
        office.until_text = "50m"
        async with anyio.create_task_group() as tasks:

            async def set_the_clock() -> None:
                await office.clock.wait(600.0)
                office.clock.shift_wall(step)

            tasks.start_soon(set_the_clock)
            begun = office.clock.now().boot_seconds
            code, morning = await office.run()
        assert (code, morning.document["outcome"]) == (4, "incomplete")
        assert office.clock.now().boot_seconds - begun == pytest.approx(3000.0, abs=10)

    at_the_office(tmp_path, (asleep,), story)


@pytest.mark.parametrize("rebooted", [False, True], ids=["of one boot", "rebooted"])
@pytest.mark.parametrize("step", STEPS.values(), ids=STEPS)
def test_a_clock_that_is_set_between_two_runs_does_not_shorten_the_hour(
    tmp_path: Path, step: float, rebooted: bool
) -> None:
    client = losing()

    async def story(office: Office) -> None:
        await office.die_at(minutes(office, 10))
        await office.clock.wait(60.0)
        office.clock.shift_wall(step)
        if rebooted:
            office.clock.reboot("boot-2")
        code, morning = await office.run()
        assert code == 0
        # After a reboot the server's dates tell: they have whole seconds, and a margin.
        first, second = (t.at_seconds for t in office.world.triggers)
        assert HOUR <= second - first < HOUR + 60
        assert morning.entries("scierie") == office.made(client)

    at_the_office(tmp_path, (client,), story)


@dataclass
class Dateless:
    """A sender whose answers carry no `Date`, as behind a proxy that takes it away."""

    sender: SenderPort

    async def send(self, domain: str, key: Secret, request: Request, left: Callable[[], None]) -> Answer:
        answer = await self.sender.send(domain, key, request, left)
        return replace(answer, headers={k: v for k, v in answer.headers.items() if k != "date"})

    async def download(self, domain: str, key: Secret, request: Request, left: Callable[[], None]) -> Stream:
        stream = await self.sender.download(domain, key, request, left)
        stream.headers.pop("date", None)
        return stream


def test_without_any_date_of_the_server_the_wall_clock_tells_after_a_reboot(tmp_path: Path) -> None:
    client = losing()

    async def story(office: Office) -> None:
        office.sender = Dateless
        await office.die_at(minutes(office, 10))
        office.clock.reboot("boot-2", down_seconds=0.0)
        code, _ = await office.run()
        assert code == 0
        first, second = (t.at_seconds for t in office.world.triggers)
        assert HOUR <= second - first < HOUR + 60

    at_the_office(tmp_path, (client,), story)


def test_a_wall_clock_that_reads_earlier_than_the_trigger_is_told_and_waits_for_a_person(
    tmp_path: Path,
) -> None:
    client = losing()

    async def story(office: Office) -> None:
        office.sender = Dateless
        await office.die_at(minutes(office, 10))
        office.clock.shift_wall(-YEAR)
        office.clock.reboot("boot-2")
        code, morning = await office.run()
        assert code == 3
        assert len(office.world.triggers) == 1
        error = morning.jobs["scierie/payroll"]["error"]
        assert error["code"] == "no_export"
        assert "check the clock" in error["message"]

    at_the_office(tmp_path, (client,), story)


# --- suspend ---------------------------------------------------------------------------------------------------------


async def suspend(office: Office, after: float, seconds: float) -> None:
    """The machine sleeps: its clocks go on, and the server's, and no timer does."""
    await office.clock.wait(after)
    office.clock.suspend(seconds)
    office.world.clock.suspend(seconds)  # type: ignore[attr-defined]  # the virtual one


def test_after_a_suspend_the_night_goes_on_within_half_a_minute(tmp_path: Path) -> None:
    lost = losing()
    slow = Client("Garage", TenantScenario(domain="garage.ilucca.ch", configurations=takes(30)))

    async def story(office: Office) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(suspend, office, 600.0, 3 * HOUR)
            code, morning = await office.run()
        assert code == 0
        # It slept through the end of the hour; what was ready meanwhile is fetched, what was lost is asked for again.
        assert office.triggered(slow) == [0]
        assert office.triggered(lost) == [0, 190]
        log = [r.at_seconds - office.world.log[0].at_seconds for r in office.world.log]
        assert min(at for at in log if at > 650) < 600 + 3 * HOUR + 31
        for client in (lost, slow):
            assert morning.entries(client.lucca.name) == office.made(client)

    at_the_office(tmp_path, (lost, slow), story)


def test_a_night_that_slept_past_its_deadline_ends_and_sends_nothing_more(tmp_path: Path) -> None:
    lost = losing()

    async def story(office: Office) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(suspend, office, 600.0, 9 * HOUR)
            begun = office.clock.now().boot_seconds
            code, _ = await office.run()
        assert code == 4
        assert office.clock.now().boot_seconds - begun < 600 + 9 * HOUR + 31
        assert office.triggered(lost) == [0]
        assert max(r.at_seconds for r in office.world.log) < office.world.log[0].at_seconds + 650

    at_the_office(tmp_path, (lost,), story)


@pytest.mark.parametrize("after", [1.0, 3.5, 8.0, 14.0])
def test_a_suspend_in_the_middle_of_a_request_loses_nothing(tmp_path: Path, after: float) -> None:
    spoonful = TenantScenario(
        domain="garage.ilucca.ch",
        configurations=takes(0.05),
        latency_seconds=0.7,
        faults=(FaultRule(kind="content", fault=Trickle(1500)),),
        employees=60,
    )
    client = Client("Garage", spoonful)

    async def story(office: Office) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(suspend, office, after, HOUR / 2)
            code, morning = await office.run()
        assert code == 0
        assert office.triggered(client) == [0]
        assert morning.entries("garage") == office.made(client)

    at_the_office(tmp_path, (client,), story)


# --- days of 23 and 25 hours -----------------------------------------------------------------------------------------

CHANGES = {
    "2026-03-29": ("2026-03-29T01:30+01:00", 2.0),
    "2026-10-25": ("2026-10-25T01:30+02:00", 4.0),
    "2027-03-28": ("2027-03-28T01:30+01:00", 2.0),
}
"""When a night begins on a day of changing clocks in Paris, and the true hours from then until half past four."""


@pytest.mark.parametrize("day", CHANGES)
def test_the_hour_and_the_deadline_are_true_hours_when_the_clocks_change(tmp_path: Path, day: str) -> None:
    night, (start, true_hours) = date.fromisoformat(day), CHANGES[day]
    lost = losing()
    down = Client(
        "Garage",
        TenantScenario(domain="garage.ilucca.ch", outages=(Outage(from_seconds=0.0, to_seconds=10 * HOUR),)),
    )

    async def story(office: Office) -> None:
        path = office.folder / "tenants.yaml"
        path.write_text(path.read_text("utf-8").replace("2026-11-01", "2026-01-01"), "utf-8")
        office.until_text = "04:30"
        begun = office.clock.now().boot_seconds
        code, morning = await office.run(night)
        assert code == 4
        assert office.clock.now().boot_seconds - begun == pytest.approx(true_hours * HOUR, abs=10)
        assert office.triggered(lost) == [0, 60]
        assert morning.folder.name == day
        assert morning.jobs["scierie/payroll"]["files"][0]["path"].startswith("scierie/payroll-")
        assert morning.entries("scierie") == office.made(lost)

    at_the_office(tmp_path, (lost, down), story, night, datetime.fromisoformat(start).astimezone(UTC))


def test_each_night_of_a_week_in_which_the_clocks_change_has_its_date_and_its_folder(tmp_path: Path) -> None:
    client = Client("Clinique", TenantScenario(domain="clinique.ilucca.net"), report=True)
    first = date(2026, 3, 27)

    async def story(office: Office) -> None:
        path = office.folder / "tenants.yaml"
        path.write_text(path.read_text("utf-8").replace("2026-11-01", "2026-01-01"), "utf-8")
        for number in range(5):
            # Half past midnight, a moment of the day before in UTC.
            moment = datetime.combine(first + timedelta(days=number), datetime.min.time(), PARIS) + timedelta(
                minutes=30
            )
            await office.until(moment.astimezone(UTC))
            today = office.clock.now().wall.astimezone(PARIS).date()
            assert today == first + timedelta(days=number)
            code, morning = await office.run(today)
            assert code == 0
            times = morning.jobs["clinique/times"]
            assert times["starts_on"] == times["ends_on"] == (today - timedelta(days=1)).isoformat()
        folders = sorted(p.name for p in (office.folder / "output").iterdir() if p.name != ".runner")
        assert folders == [(first + timedelta(days=n)).isoformat() for n in range(5)]

    at_the_office(tmp_path, (client,), story, first, datetime(2026, 3, 26, 22, tzinfo=UTC))


# --- the 29th of February --------------------------------------------------------------------------------------------

LEAP_DAY = date(2028, 2, 29)


@pytest.mark.parametrize(
    "rule, day, expected",
    [
        ("daily", "2028-02-29", "2028-02-29"),
        ("tuesday", "2028-02-29", "2028-02-29"),
        ("monday", "2028-02-29", "2028-02-28"),
        ("last-monday", "2028-02-29", "2028-02-28"),
        ("last-monday", "2028-02-27", "2028-01-31"),
        ("day-28", "2028-02-29", "2028-02-28"),
        ("month-start", "2028-02-29", "2028-02-01"),
        ("monday-after-day-28", "2028-02-29", "2028-02-28"),
        ("2028-02-29", "2028-02-29", "2028-02-29"),
        ("2028-02-29", "2028-03-01", "2028-02-29"),
        ("2028-02-29", "2029-02-28", "2028-02-29"),
    ],
)
def test_date_rules_know_the_leap_day(rule: str, day: str, expected: str) -> None:
    assert parse_date_rule(rule).latest(date.fromisoformat(day)) == date.fromisoformat(expected)


def test_a_leap_day_that_does_not_exist_is_refused() -> None:
    assert parse_date("2028-02-29") == LEAP_DAY
    for year in (2026, 2027, 2100, 2900):
        with pytest.raises(ValueError, match="does not exist"):
            parse_date(f"{year}-02-29")


@pytest.mark.parametrize(
    "period, day, first, last",
    [
        ("yesterday", "2028-03-01", "2028-02-29", "2028-02-29"),
        ("previous-month", "2028-03-01", "2028-02-01", "2028-02-29"),
        ("this-month", "2028-02-29", "2028-02-01", "2028-02-29"),
        ("this-month", "2027-02-28", "2027-02-01", "2027-02-28"),
        ("previous-week", "2028-03-06", "2028-02-28", "2028-03-05"),
    ],
)
def test_periods_know_the_leap_day(period: str, day: str, first: str, last: str) -> None:
    days = parse_period(period).resolve(date.fromisoformat(day))
    assert days == (date.fromisoformat(first), date.fromisoformat(last))


def test_nights_around_the_leap_day_miss_no_report(tmp_path: Path) -> None:
    client = Client("Clinique", TenantScenario(domain="clinique.ilucca.net"), report=True)

    async def story(office: Office) -> None:
        code, _ = await office.run(LEAP_DAY - timedelta(days=1))
        assert code == 0
        # The nights of the 29th of February and the 1st of March are missed, and made up for on the 2nd.
        await office.until(two_o_clock(date(2028, 3, 2)))
        code, morning = await office.run(date(2028, 3, 2))
        assert code == 0
        asked = [job["starts_on"] for job in morning.document["jobs"] if job["kind"] == "report"]
        assert sorted(asked) == ["2028-02-28", "2028-02-29", "2028-03-01"]

    at_the_office(tmp_path, (client,), story, LEAP_DAY - timedelta(days=1))
