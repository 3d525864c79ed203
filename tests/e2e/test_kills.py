"""Twenty-five nights, each killed with SIGKILL at a moment of its own and run again to its end."""

import signal
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from random import Random

import pytest

from runner.sandbox import Configuration, Reports, Scenario, Status, TenantScenario, Trigger
from tests.e2e.bureau import (
    Bureau,
    Lucca,
    Moment,
    check_files,
    entries_made,
    entries_on_disk,
    executed_too_soon,
    lucca,
)
from tests.figures import note

HOUR_SECONDS = 1.5
SETTINGS = {
    "retrigger_after": f"{HOUR_SECONDS}s",
    "trigger_timeout": "700ms",
    "export_poll_interval": "300ms",
}
MOST_REQUESTS = 60
"""A night that nobody disturbs takes a few more."""


def tenants() -> tuple[TenantScenario, ...]:
    unheard = Trigger(seconds=HOUR_SECONDS * 0.4, answer=Status(504), answer_seconds=0.1)
    lost = Trigger(completes=False, answer=Status(504), answer_seconds=0.1)
    quick = (
        Configuration(trigger=Trigger(seconds=0.2)),
        Configuration(id=5, name="meal-vouchers", trigger=unheard),
    )
    return (
        TenantScenario(domain="two.ilucca.net", configurations=quick),
        TenantScenario(
            domain="slow.ilucca.net",
            configurations=(Configuration(trigger=Trigger(seconds=HOUR_SECONDS * 0.6)),),
        ),
        TenantScenario(
            domain="silent.ilucca.net", configurations=(Configuration(triggers=(lost,), trigger=unheard),)
        ),
        TenantScenario(
            domain="bare.ilucca.net", bare_lists=True, configurations=(Configuration(trigger=unheard),)
        ),
        TenantScenario(
            domain="doubled.ilucca.net",
            content_path="doubled",
            configurations=(Configuration(trigger=unheard),),
        ),
        TenantScenario(
            domain="large.ilucca.net",
            employees=150,
            configurations=(Configuration(entry_weekdays=(0, 1, 2, 3, 4), trigger=Trigger(seconds=0.9)),),
        ),
        TenantScenario(
            domain="reports.ilucca.net",
            configurations=(Configuration(trigger=unheard),),
            reports=Reports(in_manifest=True, pending_seconds=0.6),
        ),
    )


@pytest.mark.parametrize("five", range(5))
def test_a_night_killed_at_any_moment_is_finished_by_the_next_run(tmp_path: Path, five: int) -> None:
    seeds = range(five * 5, five * 5 + 5)
    # Most of a night is waiting, so a few of them are awaited together.
    with ThreadPoolExecutor(max_workers=3) as together:
        nights = [together.submit(_kill_and_run, tmp_path / str(seed), seed) for seed in seeds]
    for night in nights:
        night.result()
        note("random kills", nights=1)


def _kill_and_run(folder: Path, seed: int) -> None:
    folder.mkdir()
    chance = Random(f"kill/{seed}")
    scenario = Scenario(tenants=tenants(), seed=seed)
    with lucca(scenario) as served:
        bureau = Bureau(folder, served.gateway)
        bureau.take(scenario)
        moment = Moment(chance.randint(1, MOST_REQUESTS))
        served.on_request = moment.seen
        with bureau.start("run", "--date", "2026-11-24", **SETTINGS) as night:
            assert moment.wait(30.0)
            # Not in the very middle of a request each time: a file may be on its way to its place, too.
            time.sleep(chance.choice((0.0, chance.uniform(0.0, 0.03), chance.uniform(0.0, 0.3))))
            night.signal(signal.SIGKILL)
            killed = night.end()
        assert killed.code == -signal.SIGKILL
        assert bureau.document()["outcome"] == "running"
        # The journal's files are as the kill left them, with all that it had not tidied up yet.
        journal = b"".join(path.read_bytes() for path in (bureau.output / ".runner").iterdir())
        assert [tenant.name for tenant in scenario.tenants if tenant.key.encode() in journal] == []
        ended = bureau.run(**SETTINGS)
        assert ended.code == 0, ended.err
        _check(bureau, served)


def _check(bureau: Bureau, served: Lucca) -> None:
    assert executed_too_soon(served.triggers(), HOUR_SECONDS - served.late_seconds) == []
    document = bureau.document()
    assert (document["outcome"], document["counts"]["downloaded"]) == ("ok", 9)
    for job in document["jobs"]:
        check_files(bureau, job)
        if job["kind"] == "export":
            made = served.tell(
                partial(entries_made, domain=job["domain"], configuration_id=job["configuration_id"])
            )
            assert entries_on_disk(bureau, job["tenant"], job["name"]) == made
    bureau.check_sums()
    assert bureau.leftovers() == []
