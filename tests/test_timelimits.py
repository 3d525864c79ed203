"""Time limits: each ends what it bounds at its own time, once, and is told from any other cancelling."""

import asyncio

import pytest

from runner.timelimits import TimeLimits
from tests.virtual import VirtualClock, run_virtual


def test_who_takes_his_time_to_leave_is_cancelled_once() -> None:
    left: list[tuple[str, float]] = []

    async def main(clock: VirtualClock) -> None:
        limits = TimeLimits(asyncio.get_running_loop())
        begun = clock.boot_seconds()

        async def wait(name: str, seconds: float, leaving_seconds: float) -> None:
            with limits.within(seconds) as limit:
                try:
                    await clock.wait(3600)
                finally:
                    await clock.wait(leaving_seconds)
            assert limit.reached
            left.append((name, clock.boot_seconds() - begun))

        await asyncio.gather(wait("slow", 1, 9), wait("quick", 2, 0), wait("later", 20, 0))

    run_virtual(main)
    assert [(name, round(seconds, 3)) for name, seconds in left] == [
        ("quick", 2),
        ("slow", 10),
        ("later", 20),
    ]


def test_of_two_limits_the_one_that_was_reached_says_so() -> None:
    async def main(clock: VirtualClock) -> None:
        limits = TimeLimits(asyncio.get_running_loop())
        for outer_seconds, inner_seconds in ((1, 2), (2, 1)):
            with limits.within(outer_seconds) as outer:
                with limits.within(inner_seconds) as inner:
                    await clock.wait(3600)
                await clock.wait(0)
            assert (outer.reached, inner.reached) == (outer_seconds == 1, inner_seconds == 1)

    run_virtual(main)


def test_whoever_is_cancelled_by_somebody_else_is_not_kept_from_it() -> None:
    async def main(clock: VirtualClock) -> None:
        loop = asyncio.get_running_loop()
        limits = TimeLimits(loop)

        async def wait() -> None:
            with limits.within(5):
                await clock.wait(3600)

        for seconds in (1, 5):
            waiting = loop.create_task(wait())
            loop.call_at(loop.time() + seconds, waiting.cancel)
            with pytest.raises(asyncio.CancelledError):
                await waiting

    run_virtual(main)
