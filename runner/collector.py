"""Python's collector of garbage: when it looks for some, and when that is not worth it. Knows nothing of the garbage.

What the program reads forms no cycles and stays, but each time enough of it has been made the collector looks through
all of it.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """No looking for garbage in here, where much is made that stays: it would take a fifth to half of the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def collect_seldom() -> None:
    """Look for garbage seldom from now on, and never among what is there by now: it stays to the end."""
    gc.freeze()
    gc.set_threshold(200_000, 10, 50)
