"""Threads for blocking work that comes thousands of times: a file's way to disk.

Owns how many are at it, and how the end of a piece is told to the loop. Must not know what the work is.

Python's own pool wakes the event loop for each piece of work. Here what ends together is told together: the first to
end wakes the loop, and whatever ends until the loop has come round is found then.

That pool also has as many threads at work as there are pieces. At each call to the system they give the interpreter
away and queue for it again, so eight of them change forty times for one small file, one alone ten times. So there are
few; only where a piece has waited, since somebody stands at a slow disk or makes a large table, there are more.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, Final, TypeVar

import anyio
from msgspec import Struct

T = TypeVar("T")

PATIENCE_SECONDS: Final = 0.1
"""What has waited for so long is worth another thread."""


class _Work(Struct):
    """One piece of work, on its way there and back."""

    do: Callable[[], Any]
    future: asyncio.Future[Any]
    result: Any = None
    error: BaseException | None = None


class Threads:
    """Threads of one event loop. They keep no program from ending."""

    def __init__(self, name: str, *, usual: int, most: int) -> None:
        """None is started before there is work.

        Args:
            name: theirs.
            usual: so many work as long as all comes to its turn soon. They wait for work as long as the program runs.
            most: so many at the utmost. Those above the usual go when there is nothing to do.
        """
        self._name = name
        self._usual = usual
        self._most = most
        self._started = 0
        self._more: list[Thread] = []
        self._asked: SimpleQueue[_Work] = SimpleQueue()
        self._count = 0  # of what was ever asked
        self._watched = False
        self._ended: deque[_Work] = deque()
        self._told = False  # the loop knows that something ended, and has not looked yet

    async def __call__(self, do: Callable[[], T]) -> T:
        """What `do` returns or raises. It is seen to its end even where the waiting is given up."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        if self._started < self._usual:
            # First: where the system allows no further one, nothing must lie there that nobody comes for.
            self._start(self._started + 1, self._asked.get)
            self._started += 1
        self._asked.put(_Work(do, future))
        self._count += 1
        if not self._watched:
            self._watch(loop)
        with anyio.CancelScope(shield=True):
            result = await future
        return result  # noqa: RET504 - for the type checker, which knows that scopes may swallow

    def _watch(self, loop: asyncio.AbstractEventLoop) -> None:
        self._watched = True
        loop.call_later(PATIENCE_SECONDS, self._look, loop, self._count)

    def _look(self, loop: asyncio.AbstractEventLoop, due: int) -> None:
        """Start another thread if of what was asked then, so many pieces, one still waits."""
        waiting = self._asked.qsize()
        if not waiting:
            self._watched = False
            return
        self._more = [thread for thread in self._more if thread.is_alive()]
        number = self._started + len(self._more) + 1
        if self._count - waiting < due and number <= self._most:
            with suppress(RuntimeError):  # the system allows no further one: it goes on with these
                self._more.append(self._start(number, self._asked.get_nowait))
        self._watch(loop)

    def _start(self, number: int, next_work: Callable[[], _Work]) -> Thread:
        thread = Thread(target=self._work, args=(next_work,), name=f"{self._name}_{number}", daemon=True)
        thread.start()
        return thread

    def _work(self, next_work: Callable[[], _Work]) -> None:
        while True:
            try:
                work = next_work()
            except Empty:
                return
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
