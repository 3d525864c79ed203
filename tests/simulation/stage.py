"""Where simulations are performed: a folder in memory, a virtual loop, a silent log, and no work that nobody looks at.

Owns what is set up and put back around a performance. Must not know what is played.
"""

import asyncio
import gc
import shutil
import tempfile
import traceback
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager, nullcontext
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar
from unittest.mock import patch

import structlog

import runner.app.nightly
import runner.engine
from runner.sandbox import Scenario
from tests.virtual import NIGHT, VirtualSandbox, run_with_sandbox

SHARED_MEMORY: Final = Path("/dev/shm")


class Performing(Protocol):
    """What can be performed."""

    async def perform(self) -> None:
        """From beginning to end, verdict included."""

    def close(self) -> None:
        """Let go of what is still open."""


A = TypeVar("A", bound=Performing)


def perform(
    make: Callable[[VirtualSandbox, Path], A], scenario: Scenario, *, pages: bool, start: datetime = NIGHT
) -> tuple[A, list[str]]:
    """Make a theatre, let it perform to its end, and give it back with what the program's log said of faults."""
    base = SHARED_MEMORY if SHARED_MEMORY.is_dir() else None
    folder = Path(tempfile.mkdtemp(prefix="simulation-", dir=base))
    made: list[A] = []

    async def body(sandbox: VirtualSandbox) -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(f"loop: {context}"))
        made.append(make(sandbox, folder))
        await made[0].perform()

    try:
        with _quiet() as faults, _collecting_seldom(), _cheaply(pages=pages):
            try:
                run_with_sandbox(scenario, body, start=start)
            except Exception:  # noqa: BLE001 - a seed whose play breaks down is a find like any other
                faults.append(traceback.format_exc())
        return made[0], faults
    finally:
        for theatre in made:
            theatre.close()
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _cheaply(*, pages: bool) -> Iterator[None]:
    """Leave out what costs CPU in virtual time and brings nothing: looks while nothing happens, pages nobody reads."""
    with (
        patch.object(runner.engine, "LONGEST_SLEEP_SECONDS", 3600.0),
        patch.object(runner.app.nightly, "REWRITTEN_SECONDS", 1800.0),
        nullcontext()
        if pages
        else patch.object(runner.app.nightly, "page_pieces", lambda *_: (b"<html></html>",)),
    ):
        yield


@contextmanager
def _collecting_seldom() -> Iterator[None]:
    """Short-lived loops make much garbage of no great size."""
    before = gc.get_threshold()
    gc.set_threshold(100_000, 10, 10)
    try:
        yield
    finally:
        gc.set_threshold(*before)


@contextmanager
def _quiet() -> Iterator[list[str]]:
    """Keep the log silent; what it says of faults in this program is handed out."""
    faults: list[str] = []

    def listen(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> str:
        told = f"log: {event}"
        if event.get("exc_info"):
            told += "\n" + traceback.format_exc()
        faults.append(told)
        raise structlog.DropEvent

    before = structlog.get_config()
    structlog.configure(
        processors=[listen],
        wrapper_class=structlog.make_filtering_bound_logger(40),
        cache_logger_on_first_use=False,
    )
    try:
        yield faults
    finally:
        structlog.configure(**before)
