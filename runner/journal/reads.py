"""What can be read on any connection: by the holder between its writes, by a reader beside it.

Owns the choices of jobs. Every function is to be called within a transaction, since some ask twice.
"""

import json
import sqlite3
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from runner.jobs.model import Identity, Job, Spec
from runner.journal import rows
from runner.journal.protocol import EventRow
from runner.journal.queries import QUERIES, choosing

UNFINISHED = choosing("jobs_chosen", "choose_unfinished")
IDS = choosing("jobs_chosen", "choose_ids")
OWING_A_LOOK = choosing("jobs_chosen", "choose_owing_a_look")
FAILED_WITH = choosing("jobs_chosen", "choose_failed_with")
NAMED = choosing("jobs_chosen", "choose_named")
NIGHT_NAMED = choosing("jobs_chosen", "choose_night_named")


@dataclass(frozen=True, slots=True)
class NightRow:
    """A night that was run; without an end it is running, or died."""

    night: date
    started_at: datetime
    finished_at: datetime | None
    outcome: str | None


def jobs(connection: sqlite3.Connection, choice: str, values: Mapping[str, Any]) -> list[Job]:
    """The chosen jobs in the order they were made. One query, however many they are.

    Args:
        connection: where.
        choice: which: the query of one of the choices above.
        values: of the choice.
    """
    return rows.jobs_from(connection.execute(choice, values))


def known(connection: sqlite3.Connection, wanted: Sequence[Spec]) -> tuple[list[Job | None], list[Job]]:
    """The job of each wish, at its place; and all others that are unfinished."""
    found, others = rows.matched(connection.execute(UNFINISHED), wanted)
    places = [place for place, job in enumerate(found) if job is None]
    if places:  # of what is finished, or wants something else by now, or is new
        identities = [wanted[place].identity for place in places]
        by_identity = jobs_found(connection, identities)
        for place, identity in zip(places, identities, strict=True):
            found[place] = by_identity.get(identity)
        here = {job.id for job in by_identity.values()}
        others = [job for job in others if job.id not in here]
    return found, others


def jobs_of(connection: sqlite3.Connection, ids: Collection[int]) -> list[Job]:
    """The jobs of these numbers in the order they were made."""
    return jobs(connection, IDS, {"ids": json.dumps(list(ids))}) if ids else []


def of_night(
    connection: sqlite3.Connection, night: date, known: frozenset[int]
) -> tuple[frozenset[int], list[Job]]:
    """The numbers of a night's jobs, and those of them that are not in `known`."""
    (found,) = connection.execute(QUERIES["numbers_of_night"], {"night": night.isoformat()}).fetchone()
    numbers = rows.numbers_from(found)
    return numbers, jobs_of(connection, numbers - known)


def jobs_found(connection: sqlite3.Connection, identities: Sequence[Identity]) -> dict[Identity, Job]:
    """Those of these jobs that there are."""
    wanted = {"wanted": rows.identities_text(identities)}
    places = dict(connection.execute(QUERIES["find"], wanted).fetchall())
    return {identities[places[job.id]]: job for job in jobs_of(connection, places)}


def events(connection: sqlite3.Connection, job_id: int) -> list[EventRow]:
    """All that happened to one job, in order."""
    return rows.events_from(connection.execute(QUERIES["events_of_job"], {"job_id": job_id}))


@rows.reading()
def last_night(connection: sqlite3.Connection) -> date | None:
    """The latest batch date that was started."""
    (night,) = connection.execute(QUERIES["last_night"]).fetchone()
    return None if night is None else date.fromisoformat(night)


@rows.reading()
def unclosed_nights(connection: sqlite3.Connection) -> dict[date, datetime]:
    """Nights that were started and not finished, oldest first, each with its latest start."""
    found = connection.execute(QUERIES["unclosed_nights"])
    return {date.fromisoformat(night): datetime.fromisoformat(started) for night, started in found}


@rows.reading()
def first_nights(connection: sqlite3.Connection) -> dict[tuple[str, str], date]:
    """The first night of each (domain, report name)."""
    found = connection.execute(QUERIES["first_nights"])
    return {(domain, name): date.fromisoformat(first) for domain, name, first in found}


@rows.reading()
def nights(connection: sqlite3.Connection) -> list[NightRow]:
    """Every night that was started, oldest first."""
    return [
        NightRow(
            date.fromisoformat(night),
            datetime.fromisoformat(started),
            None if finished is None else datetime.fromisoformat(finished),
            outcome,
        )
        for night, started, finished, outcome in connection.execute(QUERIES["nights"])
    ]
