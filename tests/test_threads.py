"""Blocking work beside the event loop: each piece comes back to whoever asked, whatever becomes of the others."""

import asyncio
import threading
from collections.abc import Callable
from functools import partial

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

from runner.app.threads import Threads

pytestmark = pytest.mark.anyio


@pytest.fixture
def threads() -> Threads:
    return Threads("test", usual=1, most=3)


async def test_each_gets_its_own_result_or_error(threads: Threads) -> None:
    def work(number: int) -> int:
        if number % 3 == 0:
            raise LookupError(number)
        return number

    told: list[int] = []

    async def ask(number: int) -> None:
        try:
            told.append(await threads(partial(work, number)))
        except LookupError as error:
            told.append(-error.args[0])

    async with anyio.create_task_group() as group:
        for number in range(2000):
            group.start_soon(ask, number)
    assert sorted(map(abs, told)) == list(range(2000))
    assert sorted(told)[:667] == [-number for number in range(1998, -1, -3)]


async def test_no_more_work_at_a_time_than_there_are_threads(threads: Threads) -> None:
    together = threading.Barrier(3)
    names: set[str] = set()

    def work() -> None:
        names.add(threading.current_thread().name)
        together.wait(20)

    async with anyio.create_task_group() as group:
        for _ in range(9):
            group.start_soon(threads, work)
    assert names == {"test_1", "test_2", "test_3"}


async def test_what_is_quick_is_done_by_one_thread(threads: Threads) -> None:
    names = {await threads(lambda: threading.current_thread().name) for _ in range(500)}
    assert names == {"test_1"}


async def test_work_that_stands_holds_up_nobody_else_for_long(threads: Threads) -> None:
    done = threading.Event()
    stands = asyncio.ensure_future(threads(lambda: done.wait(20)))
    await anyio.lowlevel.checkpoint()
    # Nothing more is asked: that this one has to wait is to be noticed all the same.
    await threads(done.set)
    assert await stands


async def test_a_thread_that_was_started_for_the_rush_goes_after_it(threads: Threads) -> None:
    met = threading.Barrier(2)
    more: list[threading.Thread] = []

    def work() -> None:
        if threading.current_thread().name != "test_1":
            more.append(threading.current_thread())
        met.wait(20)

    async with anyio.create_task_group() as group:
        group.start_soon(threads, work)
        group.start_soon(threads, work)
    await anyio.to_thread.run_sync(more[0].join, 20)
    assert not more[0].is_alive()


async def test_who_is_cancelled_waits_for_the_end_of_his_work(threads: Threads) -> None:
    begun, go, ended = threading.Event(), threading.Event(), threading.Event()

    def work() -> str:
        begun.set()
        go.wait(20)
        ended.set()
        return "done"

    told = ""
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as group:

            async def ask() -> None:
                nonlocal told
                told = await threads(work)
                assert ended.is_set()

            group.start_soon(ask)
            await threads(lambda: begun.wait(20))
            scope.cancel()
            go.set()
    assert told == "done"


async def test_a_task_that_is_torn_from_its_work_costs_nobody_else_theirs(threads: Threads) -> None:
    """As at a second Ctrl-C: asyncio itself cancels, and no shield holds."""
    begun, go = threading.Event(), threading.Event()

    def held(value: str, wait: Callable[[float], object]) -> str:
        begun.set()
        wait(20)
        return value

    torn = asyncio.ensure_future(threads(partial(held, "torn", go.wait)))
    other = asyncio.ensure_future(threads(partial(held, "other", go.wait)))
    await threads(lambda: begun.wait(20))
    torn.cancel()
    with pytest.raises(asyncio.CancelledError):
        await torn
    go.set()
    assert await other == "other"


async def test_where_the_system_allows_no_thread_work_is_refused_and_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    threads = Threads("test", usual=1, most=1)

    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as full:
        full.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError):
            await threads(lambda: "lost")
    assert await asyncio.wait_for(threads(lambda: "done"), 20) == "done"


async def test_where_the_system_allows_no_further_thread_the_one_does_it_all(
    threads: Threads, monkeypatch: pytest.MonkeyPatch
) -> None:
    await threads(lambda: None)
    refused, go = asyncio.Event(), threading.Event()
    troubles: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: troubles.append(context))

    def refuse(_thread: threading.Thread) -> None:
        refused.set()
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    pieces = [asyncio.ensure_future(threads(lambda: go.wait(20))) for _ in range(3)]
    await asyncio.wait_for(refused.wait(), 20)
    go.set()
    assert await asyncio.gather(*pieces) == [True, True, True]
    assert troubles == []


def test_work_that_outlives_the_loop_troubles_nobody() -> None:
    threads = Threads("test", usual=1, most=1)
    go, ended = threading.Event(), threading.Event()

    def work() -> None:
        go.wait(20)
        ended.set()

    async def leave() -> None:
        left = asyncio.ensure_future(threads(work))
        await anyio.lowlevel.checkpoint()
        left.cancel()

    asyncio.run(leave())
    go.set()
    assert ended.wait(20)
