"""The journal and the output directory that the settings name, and the rules for what is kept in them.

Apart from `setup`: what looks at the manifest alone needs neither.
"""

from contextlib import AbstractAsyncContextManager
from typing import Final

from runner.app.setup import journal_path
from runner.app.threads import Threads
from runner.errors import UsageError
from runner.jobs.agenda import Policy
from runner.jobs.model import Job
from runner.journal import JournalReader, SqliteJournal, hold, refuse_links
from runner.output import Disk, Output
from runner.settings import Settings

_MOST_FILE_THREADS: Final = 8
"""They write and read files. One is enough for a quick disk; a slow one brings several to disk at once."""

_BLOCK_THREADS: Final = 2
"""They read and hash the blocks of large answers, which competes with the event loop for the interpreter: two, since
hashing leaves it to somebody else. They go from one block to the next without waiting for the loop."""


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


def jobs_named(journal: JournalReader, tenant: str, name: str) -> list[Job]:
    """The jobs of this tenant and name that the journal knows, whenever they were due.

    Raises:
        UsageError: there are none.
    """
    jobs = journal.jobs(tenant=tenant, name=name)
    if not jobs:
        raise UsageError(
            f"{tenant}/{name}: the journal knows no such job; `runner status` shows what there is"
        )
    return jobs


def output_of(settings: Settings) -> Output:
    """The output directory."""
    return Output(
        settings.output,
        disk=Disk(),
        offload=Threads("files", usual=1, most=_MOST_FILE_THREADS),
        offload_block=Threads("blocks", usual=_BLOCK_THREADS, most=_BLOCK_THREADS),
        group_id=settings.output_group_id(),
    )
