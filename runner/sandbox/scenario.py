"""What a sandbox is asked to play: tenants, their ledgers, their staff and their troubles.

Owns the values only. They are built in plain Python by tests and the demo, and from YAML by `loading`. Times are
seconds since the sandbox started; what lies before it has a time of zero or less.
"""

import hashlib
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Literal

from runner.errors import UsageError
from runner.sandbox.faults import FaultRule, Replacing

DEFAULT_DATE = date(2026, 11, 24)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trigger:
    """What becomes of one POST that asks for an export.

    Attributes:
        completes: whether an export ever appears.
        seconds: how long its generation takes (drawn between the two where there are two).
        answer: what the client sees in place of the export's id.
        answer_seconds: when it sees that.
        stops_with_client: whether a client that leaves takes the generation with it.
        numbered_early: whether it gets its number when it begins, so that one that ends sooner may have a higher one.
        unread_seconds: how long its own page answers 404 although the list shows it.
    """

    completes: bool = True
    seconds: float | tuple[float, float] = 2.0
    answer: Replacing | None = None
    answer_seconds: float = 0.0
    stops_with_client: bool = False
    numbered_early: bool = False
    unread_seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """One export configuration and its ledger.

    Attributes:
        exists: whether the server knows it; the demo's manifest asks for it in any case.
        ledger_from: the first day of the ledger; by default four weeks before the scenario's date.
        entry_weekdays: the days (Monday is 0) on which each employee has entries, `entries_per_day` of them.
        late_corrections: how many corrections staff enter after each export, for the next one to carry.
        nothing_new: what happens when there is nothing to export: an export without entries, a refusal, or nothing.
        triggers: the fate of the first, second, … trigger; those after the last meet `trigger`.
        history: how many exports of earlier months there are.
    """

    id: int = 3
    name: str = "payroll"
    exists: bool = True
    ledger_from: date | None = None
    entry_weekdays: tuple[int, ...] = (4,)
    entries_per_day: int = 1
    late_corrections: int = 0
    nothing_new: Literal["made", "rejected", "silent"] = "made"
    triggers: tuple[Trigger, ...] = ()
    trigger: Trigger = field(default_factory=Trigger)
    history: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class StaffExport:
    """An export that a person makes in the web page."""

    at_seconds: float
    ends_at: date
    configuration_id: int = 3
    archived: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Outage:
    """From when to when nothing answers properly. A closed port cannot be played: 503 or a broken connection is."""

    from_seconds: float
    to_seconds: float
    form: Literal["503", "reset"] = "503"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reports:
    """How a tenant's reports behave.

    Attributes:
        templates: ids of the templates that exist from the start.
        error_first: how many reports end as `error` before the first good one.
        evicted_while_pending: how many of our reports a colleague's report deletes before they are done.
        evicted_before_download: how many it deletes between `done` and the download.
        vanishing_templates: how many templates that we created are gone when first used.
        in_manifest: whether the demo's manifest asks for one, by the first of `templates` or by an inline one.
        unknown_template: whether that manifest asks for a template that does not exist.
    """

    templates: tuple[int, ...] = (12,)
    pending_seconds: float | tuple[float, float] = 2.0
    error_first: int = 0
    pending_forever: bool = False
    evicted_while_pending: int = 0
    evicted_before_download: int = 0
    vanishing_templates: int = 0
    vanished_status: Literal[403, 404] = 404
    foreign_at_seconds: tuple[float, ...] = ()
    created_status: Literal[200, 201] = 200
    template_id_as_text: bool = False
    expires_seconds: float = 86_400.0
    rows: int | None = None
    french: bool = True
    in_manifest: bool = False
    unknown_template: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantScenario:
    """One tenant: its keys, its limits, its ledgers, its troubles.

    Attributes:
        key: the right key; by default one made of the domain.
        client_key: the key that the demo's client is given, where that is another one.
        key_refused_from: the nth request from which even the right key is refused.
        other_requests_per_minute: the part of the budget that the client's other integrations use up.
        post_timeout_seconds: after so long the server gives up a synchronous POST, with `post_timeout_status`.
        content_path: which path of the content answers: the plain one, the doubled one of the guide, or both.
        bare_lists: whether lists leave out `endsAt` though asked for it.
        longest_page: how many items a list shows at most, whatever page is asked for.
        zoneless: whether `createdAt` comes in local time without a zone.
        unknown_configuration_status: how a POST for a configuration that does not exist is refused.
        clock_skew_seconds: how far the server's clock is ahead.
    """

    domain: str
    name: str = ""
    label: str = ""
    mood: str = ""
    key: str = ""
    client_key: str = ""
    read_only_keys: tuple[str, ...] = ()
    key_refused_from: int | None = None
    requests_per_minute: int = 50
    other_requests_per_minute: int = 0
    retry_after: Literal["seconds", "date", "zero", "none"] = "seconds"
    latency_seconds: float = 0.0
    outages: tuple[Outage, ...] = ()
    faults: tuple[FaultRule, ...] = ()
    employees: int = 12
    configurations: tuple[Configuration, ...] = (Configuration(),)
    staff_exports: tuple[StaffExport, ...] = ()
    post_timeout_seconds: float | None = None
    post_timeout_status: int = 408
    post_timeout_loses: bool = False
    content_path: Literal["plain", "doubled", "both"] = "plain"
    bare_lists: bool = False
    longest_page: int = 1000
    zoneless: bool = False
    unknown_configuration_status: Literal[400, 404] = 404
    clock_skew_seconds: float = 0.0
    reports: Reports = field(default_factory=Reports)

    def __post_init__(self) -> None:
        if self.domain != self.domain.strip().lower() or not self.domain:
            msg = (
                f"sandbox: {self.domain!r} is not a host name in small letters; write it as the manifest does"
            )
            raise UsageError(msg)
        if not self.key:
            object.__setattr__(self, "key", made_up_key(self.domain))
        if not self.name:
            object.__setattr__(self, "name", self.domain.partition(".")[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """All the tenants of a sandbox, the seed of its chance, and the day on which it plays."""

    tenants: tuple[TenantScenario, ...]
    seed: int = 1
    date: date = DEFAULT_DATE

    def __post_init__(self) -> None:
        seen: set[str] = set()
        for tenant in self.tenants:
            if tenant.domain in seen:
                msg = f"sandbox: two tenants of the scenario share the domain {tenant.domain}; give each its own"
                raise UsageError(msg)
            seen.add(tenant.domain)


def made_up_key(text: str) -> str:
    """A key that looks like Lucca's (a GUID) and opens nothing but the sandbox."""
    digits = hashlib.sha256(f"sandbox key of {text}".encode()).hexdigest()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:32]}"


def latest_monday(day: date) -> date:
    """The latest Monday that is not after `day`: where the demo's exports end."""
    return day - timedelta(days=day.weekday())
