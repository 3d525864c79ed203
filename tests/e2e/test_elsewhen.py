"""The command on machines whose clocks were set: which date a night has, and that no hour is shortened."""

import sys
from datetime import date
from pathlib import Path

import pytest

from runner.sandbox import Configuration, Scenario, TenantScenario, Trigger
from tests.e2e.bureau import HOUR_SECONDS, NIGHT, Bureau, Result, executed_too_soon, lucca, quick

REPOSITORY = Path(__file__).parents[2]
YEAR = 365 * 86_400


def elsewhen(bureau: Bureau, moment: str, *arguments: str, **changes: str) -> Result:
    """A command at `moment`, or so many seconds off."""
    bureau.environ |= {"ELSEWHEN": moment, "PYTHONPATH": str(REPOSITORY)}
    with bureau.start("-m", "tests.e2e.elsewhen", *arguments, program=sys.executable, **changes) as started:
        return started.end()


@pytest.mark.parametrize(
    "moment, expected",
    [
        # Paris skips 02:00 to 03:00 on 29 March 2026 and 28 March 2027, and has it twice on 25 October 2026.
        ("2026-03-28T22:59:00+00:00", "2026-03-28"),
        ("2026-03-28T23:01:00+00:00", "2026-03-29"),
        ("2026-03-29T21:59:00+00:00", "2026-03-29"),
        ("2026-03-29T22:01:00+00:00", "2026-03-30"),
        ("2026-10-24T22:01:00+00:00", "2026-10-25"),
        ("2026-10-25T22:59:00+00:00", "2026-10-25"),
        ("2026-10-25T23:01:00+00:00", "2026-10-26"),
        ("2027-03-27T23:01:00+00:00", "2027-03-28"),
        ("2027-03-28T22:01:00+00:00", "2027-03-29"),
        ("2028-02-28T23:01:00+00:00", "2028-02-29"),
        ("2028-02-29T23:01:00+00:00", "2028-03-01"),
    ],
)
def test_the_batch_date_is_the_day_in_paris(tmp_path: Path, moment: str, expected: str) -> None:
    bureau = Bureau(tmp_path)
    bureau.take(Scenario(tenants=(quick("acme.ilucca.net"),)))
    assert elsewhen(bureau, moment, "plan", "--json").json()["date"] == expected


def test_a_night_in_the_hour_that_comes_twice_stands_in_the_folder_of_its_date(tmp_path: Path) -> None:
    scenario = Scenario(tenants=(quick("acme.ilucca.net"),), date=date(2026, 10, 25))
    with lucca(scenario) as served:
        bureau = Bureau(tmp_path, served.gateway)
        bureau.take(scenario)
        # 02:30 for the second time; the deadline, 02:32, is two minutes away and not 24 hours and two minutes.
        told = elsewhen(bureau, "2026-10-25T01:30:00+00:00", "run", "--json", until="02:32")
        assert (told.code, told.json()["date"]) == (0, "2026-10-25")
        assert bureau.data_files("2026-10-25") != []
        assert bureau.leftovers() == []


@pytest.mark.parametrize("off", [3600, -3600, YEAR, -YEAR])
def test_a_clock_that_was_set_between_two_runs_shortens_no_hour(tmp_path: Path, off: int) -> None:
    lost = Configuration(triggers=(Trigger(completes=False),), trigger=Trigger(seconds=0.1))
    scenario = Scenario(tenants=(TenantScenario(domain="acme.ilucca.net", configurations=(lost,)),))
    with lucca(scenario) as served:
        bureau = Bureau(tmp_path, served.gateway)
        bureau.take(scenario)
        assert bureau.run("--until", "1.8s").code == 4
        told = elsewhen(bureau, f"{off:+}", "run", "--date", NIGHT)
        assert told.code == 0, told.err
        assert len(served.triggers()) == 2
        assert executed_too_soon(served.triggers(), HOUR_SECONDS) == []
