"""What every test shares: asyncio as the backend of anyio, how Hypothesis searches, and the count of what passed."""

import os
from collections import Counter

import pytest
from hypothesis import settings

from tests.figures import note

# No deadline: a slow machine is no failure. In CI the same commit must give the same answer twice, so there the
# search follows from the test alone; at a desk each run looks somewhere new.
settings.register_profile("desk", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, database=None, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "desk")


@pytest.fixture
def anyio_backend() -> str:
    """Run `@pytest.mark.anyio` tests on asyncio, which is what the program runs on."""
    return "asyncio"


_passed: Counter[str] = Counter()


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Count what passed in each file, for the table of promises."""
    if report.when == "call" and report.passed:
        _passed[report.nodeid.partition("::")[0]] += 1


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Note it, once: the processes that help with the tests report to the one that was started."""
    if not hasattr(session.config, "workerinput"):
        note("passed", **_passed)
