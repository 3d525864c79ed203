"""The whole fake Lucca without its sockets: its tenants, and the log of what was asked of them.

Owns what a judge of a run may ask, and finds the tenant of a request. Knows no HTTP library, and nothing of the client.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import fields, replace
from datetime import datetime, timedelta
from email.utils import format_datetime
from typing import Any

from runner.clock import Clock
from runner.sandbox.answers import Answer, gateway_page
from runner.sandbox.faults import Fault
from runner.sandbox.records import (
    Book,
    EvictionRecord,
    ExportRecord,
    Outcome,
    RequestRecord,
    TriggerRecord,
)
from runner.sandbox.requests import WireRequest
from runner.sandbox.scenario import Scenario, StaffExport
from runner.sandbox.tenant import WINDOW_SECONDS, WINDOW_SLACK_SECONDS, Tenant


class World:
    """All tenants of a scenario at work, and the log of what was asked of them."""

    def __init__(self, scenario: Scenario, clock: Clock) -> None:
        self.scenario = scenario
        self.clock = clock
        self.on_request: Callable[[RequestRecord], Fault | None] | None = None
        self._book = book = Book()
        self._tenants = {
            tenant.domain: Tenant(scenario, tenant, clock, book, self._bend) for tenant in scenario.tenants
        }

    # --- for whoever judges a run --------------------------------------------------------------------------------

    @property
    def log(self) -> list[RequestRecord]:
        """All requests, in the order in which they came."""
        return self._book.log

    @property
    def triggers(self) -> list[TriggerRecord]:
        """All POSTs that asked for an export, in the order in which they came."""
        self._settle()
        return self._book.triggers

    @property
    def evictions(self) -> list[EvictionRecord]:
        """All reports that another one deleted."""
        self._settle()
        return self._book.evictions

    def exports(self, domain: str) -> list[ExportRecord]:
        """All exports of a tenant that exist by now, by id."""
        self._settle()
        return self._tenants[domain].exports.records

    def entry_ids(self, domain: str, export_id: int) -> list[int]:
        """The ids of the entries in one export."""
        self._settle()
        return self._tenants[domain].exports.entry_ids(export_id)

    def requests(self, domain: str, kind: str = "") -> list[RequestRecord]:
        """The requests that a tenant got, of one kind or of all."""
        return [
            record for record in self.log if record.domain == domain and (not kind or record.kind == kind)
        ]

    def max_requests_in_any_60_seconds(self, domain: str, since_boot_seconds: float = 0.0) -> int:
        """The most requests that a tenant got within any sixty seconds since then, by the server's clock."""
        most = 0
        window: deque[float] = deque()
        for arrived in self._tenants[domain].arrivals:
            if arrived < since_boot_seconds:
                continue
            window.append(arrived)
            while window[0] <= arrived - WINDOW_SECONDS + WINDOW_SLACK_SECONDS:
                window.popleft()
            most = max(most, len(window))
        return most

    def state(self) -> dict[str, Any]:
        """Everything above as plain values, for tests in other processes."""
        domains = [tenant.domain for tenant in self.scenario.tenants]
        return {
            "log": [_plain(record) for record in self.log],
            "triggers": [_plain(record) for record in self.triggers],
            "evictions": [_plain(record) for record in self.evictions],
            "exports": {domain: [_plain(record) for record in self.exports(domain)] for domain in domains},
            "max_requests_in_any_60_seconds": {
                domain: self.max_requests_in_any_60_seconds(domain) for domain in domains
            },
        }

    # --- for whoever plays staff ---------------------------------------------------------------------------------

    def export_by_hand(self, domain: str, staff: StaffExport) -> None:
        """Somebody makes this export in the web page at this moment, whatever moment it names."""
        self._settle()
        self._tenants[domain].exports.make_by_hand(staff, self.clock.now().boot_seconds)

    def put_away(self, domain: str, export_id: int) -> None:
        """Somebody archives this export: from now on neither a list nor its own page shows it."""
        self._settle()
        self._tenants[domain].exports.put_away(export_id)

    # --- for the server ------------------------------------------------------------------------------------------

    async def handle(self, request: WireRequest) -> tuple[Answer, int | None]:
        """Answer a request. The number given back is its place in the log, for `finish`."""
        tenant = self._tenants.get(request.host.partition(":")[0].lower())
        if tenant is None:
            return gateway_page(404), None
        return await tenant.handle(request)

    def finish(self, place: int | None, status: Outcome) -> None:
        """Note how the request at this place of the log ended."""
        if place is not None:
            log = self._book.log
            log[place] = replace(log[place], status=status)

    def date_header(self, host: str) -> str:
        """What the server's clock reads, for the `Date` header."""
        tenant = self._tenants.get(host.partition(":")[0].lower())
        skew = tenant.scenario.clock_skew_seconds if tenant is not None else 0.0
        return format_datetime(self.clock.now().wall + timedelta(seconds=skew), usegmt=True)

    def _settle(self) -> None:
        # What is due happens when somebody looks: there are no tasks behind the scenes.
        now = self.clock.now().boot_seconds
        for tenant in self._tenants.values():
            tenant.settle(now)

    def _bend(self, record: RequestRecord) -> Fault | None:
        return self.on_request(record) if self.on_request is not None else None


def _plain(record: RequestRecord | TriggerRecord | ExportRecord | EvictionRecord) -> dict[str, Any]:
    values = {field.name: getattr(record, field.name) for field in fields(record)}
    return {
        name: value.isoformat() if isinstance(value, datetime) else value for name, value in values.items()
    }
