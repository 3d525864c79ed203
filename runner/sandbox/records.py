"""What the sandbox remembers for whoever judges a run afterwards: frozen records in plain lists."""

from dataclasses import dataclass, field
from datetime import datetime

Outcome = int | str
"""A status code, or `pending`, `reset`, `aborted` (the client had left)."""


@dataclass(frozen=True, slots=True)
class RequestRecord:
    """One request as it arrived, and how it ended.

    `at_seconds` is the sandbox's boot clock, `nth` its place among the tenant's requests, `nth_of_kind` among those of
    its kind. `kind` is one of list, poll, item, content, trigger, report.create, report.poll, report.download,
    template.create, users, other.
    """

    at_seconds: float
    wall: datetime
    domain: str
    method: str
    path: str
    query: str
    kind: str
    key_ok: bool
    nth: int
    nth_of_kind: int
    status: Outcome = "pending"


@dataclass(frozen=True, slots=True)
class TriggerRecord:
    """One POST that asked for an export.

    `executed` is true where the server began its work **or** the client could not know that it had not: such a POST
    counts for the hour. `export_id` is what it produced in the end.
    """

    at_seconds: float
    wall: datetime
    domain: str
    configuration_id: int | None
    ends_at: str | None
    executed: bool = False
    status: Outcome = "pending"
    export_id: int | None = None


@dataclass(frozen=True, slots=True)
class ExportRecord:
    """One export that exists. `origin` is history, staff or trigger."""

    id: int
    domain: str
    configuration_id: int
    starts_at: datetime
    ends_at: datetime
    created_at: datetime
    at_seconds: float
    origin: str
    entry_count: int
    archived: bool


@dataclass(frozen=True, slots=True)
class EvictionRecord:
    """One report that another one deleted. `by` is client or colleague.

    `unfinished`: it was still pending, or done and not downloaded yet, so that somebody lost something. `downloaded`
    names the forms that were.
    """

    at_seconds: float
    domain: str
    report_id: int
    by: str
    unfinished: bool
    downloaded: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Book:
    """The lists into which all tenants write, in the order in which things began."""

    log: list[RequestRecord] = field(default_factory=list)
    triggers: list[TriggerRecord] = field(default_factory=list)
    evictions: list[EvictionRecord] = field(default_factory=list)
