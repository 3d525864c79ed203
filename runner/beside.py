"""Blocking work that may never return, in a thread that nothing waits for. Must not know what the work is.

The threads of a pool are joined when the event loop closes and again when the program ends: a hung share, a keyring
that asks a sleeping person or a silent name service would keep a stopped night from ending, and others from their turn.
"""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TypeVar

T = TypeVar("T")


async def beside(work: Callable[[], T]) -> T:
    """What `work` returns or raises. Who is cancelled meanwhile leaves it behind."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def settle(deliver: Callable[[], None]) -> None:
        if not done.done():
            deliver()

    def run() -> None:
        deliver: Callable[[], None]
        try:
            deliver = partial(done.set_result, work())
        except Exception as error:  # noqa: BLE001 - whatever it is belongs to whoever asked
            deliver = partial(done.set_exception, error)
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(settle, deliver)

    threading.Thread(target=run, name="beside", daemon=True).start()
    return await done
