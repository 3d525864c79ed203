"""`runner` on a machine whose wall clock reads something else: ELSEWHEN says what, or by how much it is off (+3600).

The boot clock is the machine's own, as where somebody sets the clock. Run as `python -m tests.e2e.elsewhen run …`.
"""

import os
from datetime import datetime, timedelta

from msgspec.structs import replace

from runner import cli
from runner.clock import Instant, SystemClock

_true_now = SystemClock.now
_began = _true_now(SystemClock())


def _off(text: str) -> timedelta:
    if text[0] in "+-":
        return timedelta(seconds=float(text))
    return datetime.fromisoformat(text) - _began.wall


_OFF = _off(os.environ["ELSEWHEN"])


def now(self: SystemClock) -> Instant:
    """The present, as that machine takes it."""
    true = _true_now(self)
    return replace(true, wall=true.wall + _OFF)


if __name__ == "__main__":
    SystemClock.now = now  # type: ignore[method-assign]
    cli.main()
