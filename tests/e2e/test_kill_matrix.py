"""A real process against a real server, killed with SIGKILL before, in the midst of and after every kind of effect.

The table of nights stands in `tests.killing.cases`: some are killed once, others again while they recover. Whatever
happened, the next ordinary run ends the night as promised.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import pytest

from tests.figures import note
from tests.killing.cases import FURTHER, MATRIX, STORIES
from tests.killing.nights import TOGETHER, House, bureau_in, house_of, play, run_mortally

GROUPS: Final = 12
WEIGHTLESS: Final = frozenset(
    {"journal recent_spends", "disk flush root", "disk flush page", "disk rename index.html"}
)
"""Not killed at by the matrix: nothing is lost here that is not lost at a place beside. The soak does it by chance."""


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    tenants = {str(number): case.story for number, case in enumerate(MATRIX)}
    with house_of(tenants | {story: story for story in STORIES}) as house:
        yield house


@pytest.mark.parametrize("group", range(GROUPS))
def test_a_night_killed_anywhere_is_ended_by_the_next_run(
    house: House, tmp_path: Path, group: int, subtests: pytest.Subtests
) -> None:
    numbers = range(group, len(MATRIX), GROUPS)
    with ThreadPoolExecutor(TOGETHER) as together:
        nights = [
            together.submit(play, tmp_path / str(number), house, str(number), MATRIX[number].deaths)
            for number in numbers
        ]
        for number, night in zip(numbers, nights, strict=True):
            with subtests.test(str(MATRIX[number])):
                told = night.result()
                resumed = [] if told.resumed_seconds is None else [told.resumed_seconds]
                note("kills", nights=1, again=int(told.kills > 1), resumed_seconds=resumed)


@pytest.mark.parametrize("story", STORIES)
def test_every_place_of_a_night_is_one_to_die_at(house: House, tmp_path: Path, story: str) -> None:
    trace = tmp_path / "trace"
    bureau = bureau_in(tmp_path / "night", house.served, house.tenants[story])
    assert run_mortally(house, bureau, None, trace).code == 0
    met = {line.partition(" ")[2] for line in trace.read_text("utf-8").splitlines()}
    tried = {death.place for case in (*MATRIX, *FURTHER) for death in case.deaths}
    assert met - tried == (met & WEIGHTLESS) - tried
