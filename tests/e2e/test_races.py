"""A hundred times two runners begin in one millisecond: one works, the other leaves at once, having sent nothing."""

import json
import os
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from runner.sandbox import Configuration, Scenario, TenantScenario, Trigger
from tests.e2e.bureau import Bureau, lucca
from tests.figures import note

RACES = 100
LANES = 3
"""So many pairs at a time: most of a short night is waiting."""
REPOSITORY = Path(__file__).parents[2]


def test_of_two_that_begin_in_the_same_millisecond_one_leaves_with_5_having_sent_nothing(
    tmp_path: Path,
) -> None:
    # The winner's night takes long enough that the other meets it, even where a core is busy elsewhere.
    at_once = (Configuration(trigger=Trigger(seconds=0.0)),)
    tenants = [
        TenantScenario(domain=f"race{n}.ilucca.net", latency_seconds=0.15, configurations=at_once)
        for n in range(RACES)
    ]
    scenario = Scenario(tenants=tuple(tenants))
    with lucca(scenario) as served:
        bureaus = []
        for one in tenants:
            (tmp_path / one.name).mkdir()
            bureaus.append(Bureau(tmp_path / one.name, served.gateway))
            bureaus[-1].take(Scenario(tenants=(one,)))
        with ThreadPoolExecutor(LANES) as lanes:
            told = [
                race for lane in lanes.map(_race, (bureaus[n::LANES] for n in range(LANES))) for race in lane
            ]
        asked = served.tell(lambda world: Counter(record.domain for record in world.log))
        posts = served.posts()
    codes = Counter(tuple(sorted(runner["code"] for runner in race)) for race in told)
    assert codes == {(0, 5): RACES}
    # A list, a POST and the content: what one runner asks for. The other asked for nothing.
    assert set(asked.values()) == {3}
    assert (len(asked), posts) == (RACES, RACES)
    for bureau in bureaus:
        assert bureau.jobs()[f"{bureau.folder.name}/payroll"]["state"] == "downloaded"
        assert bureau.leftovers() == []
    losers = [runner for race in told for runner in race if runner["code"] == 5]
    apart = [abs(one["late"] - other["late"]) for one, other in told]
    taken = sorted(loser["seconds"] for loser in losers)
    note("races", pairs=RACES, apart_seconds=apart, leaves_seconds=taken)


def _race(bureaus: list[Bureau]) -> list[list[dict[str, float]]]:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("RUNNER_")}
    environ |= bureaus[0].environ
    lines = "".join(f"{bureau.folder}\n" for bureau in bureaus)
    ended = subprocess.run(
        [sys.executable, "-m", "tests.e2e.racing"],
        cwd=REPOSITORY,
        env=environ,
        input=lines,
        capture_output=True,
        text=True,
        check=True,
    )
    for bureau in bureaus:
        said = "".join(path.read_text("utf-8") for path in bureau.folder.glob("*.out"))
        assert "another runner holds the journal" in said
    return [json.loads(line) for line in ended.stdout.splitlines()]
