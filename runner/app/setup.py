"""What every verb needs first: settings, manifest, date, journal. Owns what is said when they are not to be had."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager
from datetime import date, datetime
from pathlib import Path
from typing import TypeVar

import anyio

from runner.app.tell import say
from runner.clock import SystemClock
from runner.errors import UsageError
from runner.jobs.agenda import Policy
from runner.journal import JournalReader, SqliteJournal, hold
from runner.manifest import Manifest, load_manifest
from runner.output import Disk, Output
from runner.settings import Settings, load_settings, unknown_settings

T = TypeVar("T")

_THREADS = ThreadPoolExecutor(16, thread_name_prefix="files")
"""Where files are written and read: more would only queue at the disk and at the interpreter."""


def settings_of(flags: dict[str, str]) -> Settings:
    """The settings, with warnings of those that mean nothing."""
    for warning in unknown_settings():
        say(f"runner: {warning}")
    return load_settings(flags)


def manifest_of(settings: Settings) -> Manifest:
    """The manifest, read and checked."""
    return load_manifest(settings.manifest, allowed_hosts=settings.allowed_hosts)


def batch_date(text: str | None, settings: Settings) -> date:
    """The batch date: `--date`, or today where the settings live.

    Raises:
        UsageError: not a date.
    """
    if text is None:
        return SystemClock().now().wall.astimezone(settings.timezone).date()
    try:
        return datetime.strptime(text, "%Y-%m-%d").date()  # noqa: DTZ007 - a date has no zone
    except ValueError:
        raise UsageError(f"--date {text[:40]}: expected a date as YYYY-MM-DD") from None


def policy_of(settings: Settings) -> Policy:
    """The waiting rules among the settings."""
    return Policy(
        export_poll_interval_seconds=settings.export_poll_interval,
        report_poll_interval_seconds=settings.report_poll_interval,
        report_timeout_seconds=settings.report_timeout,
        retrigger_after_seconds=settings.retrigger_after,
        max_triggers=settings.max_triggers,
    )


def journal_path(settings: Settings) -> Path:
    """Where the journal is.

    Raises:
        UsageError: it is not a file.
    """
    if "://" in settings.state:
        raise UsageError("RUNNER_STATE: a journal on a server is not built yet; give a path on a local disk")
    return Path(settings.state).expanduser()


def hold_journal(settings: Settings) -> AbstractAsyncContextManager[SqliteJournal]:
    """The journal, held: nobody else may run."""
    return hold(journal_path(settings))


def read_journal(settings: Settings) -> JournalReader:
    """The journal, for looking only; a runner may be at work on it."""
    return JournalReader(journal_path(settings))


def output_of(settings: Settings) -> Output:
    """The output directory."""
    return Output(settings.output, disk=Disk(), offload=in_thread, group_id=settings.output_group_id())


async def in_thread(work: Callable[[], T]) -> T:
    """Do blocking work beside the event loop. It is seen to its end even where the waiting is given up."""
    doing: asyncio.Future[T] = asyncio.get_running_loop().run_in_executor(_THREADS, work)
    with anyio.CancelScope(shield=True):
        await asyncio.wait((doing,))
    return doing.result()
