"""What every test shares: asyncio as the backend of anyio, and how Hypothesis searches."""

import os

import pytest
from hypothesis import settings

# No deadline: a slow machine is no failure. In CI the same commit must give the same answer twice, so there the
# search follows from the test alone; at a desk each run looks somewhere new.
settings.register_profile("desk", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, database=None, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "desk")


@pytest.fixture
def anyio_backend() -> str:
    """Run `@pytest.mark.anyio` tests on asyncio, which is what the program runs on."""
    return "asyncio"
