"""Which commands are measured for coverage.

It doubles what a command costs. Those of two modules meet nearly every line, and a killed one could not tell.
"""

from collections.abc import Iterator
from typing import Final

import pytest

MEASURED: Final = {"test_commands", "test_demo"}
ASKED_TO_MEASURE: Final = ("COVERAGE_PROCESS_START", "COVERAGE_PROCESS_CONFIG")


@pytest.fixture(autouse=True, scope="module")
def measured_or_not(request: pytest.FixtureRequest) -> Iterator[None]:
    """What the commands of this module are told."""
    with pytest.MonkeyPatch.context() as environment:
        if request.module.__name__.rpartition(".")[2] not in MEASURED:
            for name in ASKED_TO_MEASURE:
                environment.delenv(name, raising=False)
        yield
