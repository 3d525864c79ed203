"""Threads for blocking work that comes thousands of times: a file's way to disk. Owns how its end is told to the loop.

Python's own pool wakes the event loop for each piece of work. Here what ends together is told together: the first to
end wakes the loop, and whatever ends until the loop has come round is found then. Must not know what the work is.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from threading import Thread
from typing import Any, TypeVar

import anyio
from msgspec import Struct

T = TypeVar("T")


class _Work(Struct):
    """One piece of work, on its way there and back."""

    do: Callable[[], Any]
    future: asyncio.Future[Any]
    result: Any = None
    error: BaseException | None = None


class Threads:
    """Threads of one event loop. They wait for work as long as the program runs, and keep none from ending."""

    def __init__(self, name: str, most: int) -> None:
        """None is started before there is work.

        Args:
            name: theirs.
            most: how many.
        """
        self._name = name
        self._most = most
        self._started = 0
        self._asked: SimpleQueue[_Work] = SimpleQueue()
        self._ended: deque[_Work] = deque()
        self._told = False  # the loop knows that something ended, and has not looked yet

    async def __call__(self, do: Callable[[], T]) -> T:
        """What `do` returns or raises. It is seen to its end even where the waiting is given up."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        if self._started < self._most:
            # First: where the system allows no further one, nothing must lie there that nobody comes for.
            Thread(target=self._work, name=f"{self._name}_{self._started + 1}", daemon=True).start()
            self._started += 1
        self._asked.put(_Work(do, future))
        with anyio.CancelScope(shield=True):
            result = await future
        return result  # noqa: RET504 - for the type checker, which knows that scopes may swallow

    def _work(self) -> None:
        while True:
            work = self._asked.get()
            loop = work.future.get_loop()
            try:
                work.result = work.do()
            except BaseException as error:  # noqa: BLE001 - whatever it is belongs to whoever asked
                work.error = error
            self._ended.append(work)
            del work  # a thread that waits holds on to nothing
            if not self._told:
                self._told = True
                with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                    loop.call_soon_threadsafe(self._settle)

    def _settle(self) -> None:
        self._told = False  # first: what ends from here on tells again
        while self._ended:
            work = self._ended.popleft()
            if work.future.done():  # whoever waited was cancelled
                continue
            if work.error is None:
                work.future.set_result(work.result)
            else:
                work.future.set_exception(work.error)
