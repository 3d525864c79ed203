"""The journal and the output directory that the settings name, and the rules for what is kept in them.

Apart from `setup`: what looks at the manifest alone needs neither.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager
from typing import TypeVar

import anyio

from runner.app.setup import journal_path
from runner.jobs.agenda import Policy
from runner.journal import JournalReader, SqliteJournal, hold, refuse_links
from runner.output import Disk, Output
from runner.settings import Settings

T = TypeVar("T")

_THREADS = ThreadPoolExecutor(8, thread_name_prefix="files")
"""Where files are written and read: more would only queue at the disk and at the interpreter."""

_BLOCK_THREADS = ThreadPoolExecutor(2, thread_name_prefix="blocks")
"""Where the blocks of large answers are read and hashed, which competes with the event loop for the interpreter: two,
since hashing leaves it to somebody else. They go from one block to the next without waiting for the loop."""


def policy_of(settings: Settings) -> Policy:
    """The waiting rules among the settings."""
    return Policy(
        export_poll_interval_seconds=settings.export_poll_interval,
        report_poll_interval_seconds=settings.report_poll_interval,
        report_timeout_seconds=settings.report_timeout,
        retrigger_after_seconds=settings.retrigger_after,
        max_triggers=settings.max_triggers,
    )


def hold_journal(settings: Settings) -> AbstractAsyncContextManager[SqliteJournal]:
    """The journal, held: nobody else may run.

    Raises:
        StorageError: it is the output directory's own, and a link stands in its place.
    """
    path = journal_path(settings)
    if path == settings.output / ".runner" / "journal.db":
        refuse_links(path)
    return hold(path)


def read_journal(settings: Settings) -> JournalReader:
    """The journal, for looking only; a runner may be at work on it."""
    return JournalReader(journal_path(settings))


def output_of(settings: Settings) -> Output:
    """The output directory."""
    return Output(
        settings.output,
        disk=Disk(),
        offload=in_thread,
        offload_block=in_block_thread,
        group_id=settings.output_group_id(),
    )


async def in_thread(work: Callable[[], T]) -> T:
    """Do blocking work beside the event loop. It is seen to its end even where the waiting is given up."""
    return await _in(_THREADS, work)


async def in_block_thread(work: Callable[[], T]) -> T:
    """The same, for a block of a large answer."""
    return await _in(_BLOCK_THREADS, work)


async def _in(threads: ThreadPoolExecutor, work: Callable[[], T]) -> T:
    doing: asyncio.Future[T] = asyncio.get_running_loop().run_in_executor(threads, work)
    with anyio.CancelScope(shield=True):
        result = await doing
    return result  # noqa: RET504 - for the type checker, which knows that scopes may swallow
