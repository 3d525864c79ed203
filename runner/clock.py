"""Time: the only place that reads a clock or spends time. Knows nothing of jobs or requests.

Two clocks matter. The wall clock says which day it is and what people read; it can be set. The boot clock
(`CLOCK_BOOTTIME`) counts seconds since the machine started, suspend included; it cannot be set, so every
duration within one boot is measured by it. `boot_id` tells one boot from another.
"""

import asyncio
import time
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from msgspec import Struct

LEAST_WAIT_SECONDS = 0.001
"""A shorter wait may be less than what floating point can add to the time: it would be asked for again for ever."""

_BOOT_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
_BOOT_ID_FILE = Path("/proc/sys/kernel/random/boot_id")


class Instant(Struct, frozen=True, gc=False):
    """One moment by both clocks.

    Attributes:
        wall: the wall clock, aware, in UTC.
        boot_seconds: seconds since this boot, suspend included.
        boot_id: which boot `boot_seconds` belongs to.
    """

    wall: datetime
    boot_seconds: float
    boot_id: str


class Clock(Protocol):
    """What the rest of the program may ask of time."""

    def now(self) -> Instant:
        """The present moment."""

    def boot_seconds(self) -> float:
        """The same by the boot clock alone, for whoever only measures."""

    async def wait(self, seconds: float) -> None:
        """Return after `seconds` (at once if it is not positive)."""


class SystemClock:
    """The machine's own clocks."""

    def __init__(self) -> None:
        try:
            self._boot_id = _BOOT_ID_FILE.read_text(encoding="ascii").strip()
        except OSError:
            # Without a boot id no two processes can share a boot clock: the others' marks are read by wall clock.
            self._boot_id = f"process-{uuid.uuid4()}"

    def now(self) -> Instant:
        """The present moment."""
        return Instant(datetime.now(UTC), time.clock_gettime(_BOOT_CLOCK), self._boot_id)

    def boot_seconds(self) -> float:
        """Seconds since this boot, suspend included."""
        return time.clock_gettime(_BOOT_CLOCK)

    async def wait(self, seconds: float) -> None:
        """Return after `seconds`."""
        await asyncio.sleep(max(0.0, seconds))


async def wait_for(event: asyncio.Event, seconds: float) -> None:
    """Return when `event` is set, which it is after `seconds` at the latest."""
    timer = asyncio.get_running_loop().call_later(max(seconds, LEAST_WAIT_SECONDS), event.set)
    try:
        await event.wait()
    finally:
        timer.cancel()
