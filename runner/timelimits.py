"""Time limits for whoever waits, many at a time. Must not know what is waited for.

Owns the cancelling of what lasts too long, and the telling of it from any other cancelling.
"""

import asyncio
from typing import Self


class TimeLimits:
    """Ends what lasts too long. All share a timer: nearly everything ends early, and a timer each costs more."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.open: set[TimeLimit] = set()
        self._timer: asyncio.TimerHandle | None = None

    def within(self, seconds: float) -> "TimeLimit":
        """What is done inside, in `with`, is cancelled and left after so many seconds."""
        limit = TimeLimit(self, self.loop.time() + seconds)
        if self._timer is None or limit.at < self._timer.when():
            self._look_again_at(limit.at)
        return limit

    def close(self) -> None:
        """Nothing is bounded any more."""
        if self._timer is not None:
            self._timer.cancel()

    def _look_again_at(self, at: float) -> None:
        self.close()
        self._timer = self.loop.call_at(at, self._look, at)

    def _look(self, now: float) -> None:
        self._timer = None
        for limit in self.open:
            if limit.at <= now and not limit.reached:  # whoever takes his time to leave is cancelled once
                limit.reach()
        if later := [limit.at for limit in self.open if limit.at > now]:
            self._look_again_at(min(later))


class TimeLimit:
    """One of them; of those that are within each other each tells for itself whether it was `reached`."""

    __slots__ = ("_cancelling", "_limits", "_task", "at", "reached")

    def __init__(self, limits: TimeLimits, at: float) -> None:
        self.at = at
        self.reached = False
        self._limits = limits

    def __enter__(self) -> Self:
        task = asyncio.current_task(self._limits.loop)
        assert task is not None  # noqa: S101 - coroutines run in tasks
        self._task, self._cancelling = task, task.cancelling()
        self._limits.open.add(self)
        return self

    def reach(self) -> None:
        """The time is over."""
        self.reached = True
        self._task.cancel()

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: object) -> bool:
        self._limits.open.discard(self)
        # As `asyncio.timeout` has it: whoever else cancelled the task meanwhile is not kept from it.
        alone = self.reached and self._task.uncancel() <= self._cancelling
        return alone and kind is asyncio.CancelledError
