"""The journal: what is known of every job, and survives. `protocol` says what it does, `sqlite` keeps it in one file.

Owns all SQL. Must not know how anything is sent, nor decide what a job does next.
"""

from runner.journal.place import refuse_links
from runner.journal.protocol import (
    EventRow,
    Happened,
    Journal,
    Spend,
    StaleHolderError,
    happened,
)
from runner.journal.reader import JournalReader
from runner.journal.reads import NightRow
from runner.journal.sqlite import SqliteJournal

hold = SqliteJournal.hold

__all__ = [
    "EventRow",
    "Happened",
    "Journal",
    "JournalReader",
    "NightRow",
    "Spend",
    "SqliteJournal",
    "StaleHolderError",
    "happened",
    "hold",
    "refuse_links",
]
