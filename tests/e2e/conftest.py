"""What every command that is started here inherits: whether it is measured for coverage, and how it takes signals."""

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.e2e.forks import Forks
from tests.e2e.forks import forks as forks_waiting

MEASURED: Final = {"test_commands", "test_demo", "test_five_nights"}
"""It doubles what a command costs. Those of these modules meet nearly every line, and a killed one could not tell."""
HERE: Final = Path(__file__).parent
ASKED_TO_MEASURE: Final = ("COVERAGE_PROCESS_START", "COVERAGE_PROCESS_CONFIG")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Nor is the local Lucca measured where the commands are not."""
    for item in items:
        if item.path.parent == HERE and item.path.stem not in MEASURED:
            item.add_marker("no_cover")


@pytest.fixture(autouse=True, scope="module")
def measured_or_not(request: pytest.FixtureRequest) -> Iterator[None]:
    """What the commands of this module are told."""
    with pytest.MonkeyPatch.context() as environment:
        if request.path.stem not in MEASURED:
            for name in ASKED_TO_MEASURE:
                environment.delenv(name, raising=False)
        yield


@pytest.fixture(scope="module")
def forks() -> Iterator[Forks]:
    """For modules that start the command again and again."""
    with forks_waiting() as waiting:
        yield waiting


@pytest.fixture(autouse=True, scope="session")
def interruptible() -> Iterator[None]:
    """A shell that starts the tests in the background lets them, and whatever they start, ignore Ctrl-C."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
