"""The bureau's machine in virtual time: the true application with its manifest, journal and files on disk.

Owns the putting together and what there is to read in the morning; only the hours pass at once. When a story ends, no
host has counted more requests than its budget in any minute, and no key or name stands where it must not.
"""

import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from random import Random
from typing import Any, Self, TypeVar
from zoneinfo import ZoneInfo

import anyio

from runner import credentials
from runner.app.nightly import Nightly, Order, Ports
from runner.app.selection import Selection
from runner.jobs.agenda import Policy
from runner.journal import SqliteJournal
from runner.manifest import load_manifest
from runner.output import Disk, Output
from runner.plan import plan
from runner.sandbox import Configuration, Scenario, Status, TenantScenario, Trigger
from runner.settings import parse_until
from runner.transport import Timeouts, Transport
from runner.turns import Limits, SenderPort
from tests.canaries import NAMES, files_below, leaks
from tests.e2e.bureau import read_page
from tests.figures import note
from tests.virtual import VirtualSandbox, run_with_sandbox

T = TypeVar("T")

PARIS = ZoneInfo("Europe/Paris")
TUESDAY = date(2026, 11, 24)
MONDAY = date(2026, 11, 23)
UNHEARD = Status(504)
REQUESTS_PER_MINUTE = 25


def two_o_clock(day: date) -> datetime:
    """When a night begins."""
    return datetime(day.year, day.month, day.day, 2, 0, tzinfo=PARIS).astimezone(UTC)


def takes(minutes: float, **more: Any) -> tuple[Configuration, ...]:
    """One configuration whose exports take so long that nobody listens to their end."""
    trigger = Trigger(seconds=minutes * 60.0, answer=UNHEARD, answer_seconds=3.0)
    return (Configuration(**{"trigger": trigger} | more),)


@dataclass(frozen=True)
class Client:
    """A client of the bureau: what people call it, and how its Lucca behaves."""

    label: str
    lucca: TenantScenario
    report: bool = False


class Morning:
    """What there is to read of one date."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.words = read_page((folder / "index.html").read_text(encoding="utf-8"))
        self.document: Any = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        self.jobs: dict[str, Any] = {f"{j['tenant']}/{j['name']}": j for j in self.document["jobs"]}

    def states(self, label: str) -> list[str]:
        return [step["state"] for step in self.jobs[label]["transitions"]]

    def files(self, tenant: str) -> list[str]:
        return sorted(path.name for path in self.folder.glob(f"{tenant}/*"))

    def entries(self, tenant: str) -> Counter[int]:
        paths = self.folder.glob(f"{tenant}/payroll-*.json")
        return Counter(
            entry["id"] for path in paths for entry in json.loads(path.read_bytes())["data"]["entries"]
        )


class Office:
    """The bureau's machine: a folder with manifest, keys and output, and a virtual clock."""

    def __init__(self, folder: Path, sandbox: VirtualSandbox) -> None:
        self.folder = folder
        self.sandbox = sandbox
        self.clock = sandbox.clock
        self.world = sandbox.world
        self.keys: dict[str, str] = {}
        self.labels: list[str] = []
        self.until_text = "8h"
        self.sender: Callable[[SenderPort], Any] = lambda sender: sender

    def sign(self, *clients: Client) -> Self:
        """Write the manifest for these clients."""
        lines = ["version: 1", "defaults: {since: 2026-11-01}", "tenants:"]
        for client in clients:
            name = client.lucca.name
            self.keys[f"KEY_{name.upper()}"] = client.lucca.key
            self.labels.append(client.label)
            lines += [
                f"  - name: {name}",
                f"    label: {client.label}",
                f"    domain: {client.lucca.domain}",
                f"    api_key: {{env: KEY_{name.upper()}}}",
                "    exports:",
                "      - {name: payroll, configuration_id: 3, ends_at: monday, due: tuesday, formats: [csv]}",
            ]
            if client.report:
                lines += [
                    "    reports:",
                    "      - name: times",
                    "        template: {id: 0, blueprintId: times, name: Temps}",
                    "        period: yesterday",
                    "        formats: [csv, excel]",
                ]
        (self.folder / "tenants.yaml").write_text("\n".join(lines) + "\n", encoding="utf-8")
        return self

    @asynccontextmanager
    async def night(self, day: date, **policy: Any) -> AsyncIterator[Nightly]:
        """Everything a run needs, taken and put back."""
        clock = self.clock
        manifest = load_manifest(self.folder / "tenants.yaml")
        assert manifest.problems == ()
        order = Order(
            manifest=manifest,
            planned=plan(manifest, day),
            selection=Selection(),
            date=day,
            policy=Policy(**policy),
            limits=Limits(),
            requests_per_minute=REQUESTS_PER_MINUTE,
            deadline=parse_until(self.until_text).deadline(clock.now().wall.astimezone(PARIS)),
            timezone=PARIS,
            language="fr",
        )
        output = Output(self.folder / "output", disk=_Unflushed(), offload=_in_place)
        journal_path = self.folder / "output/.runner/journal.db"
        async with (
            SqliteJournal.hold(journal_path, inline=True) as journal,
            Transport(
                clock, timeouts=Timeouts(), gateway=self.sandbox.gateway, connector=self.sandbox.connector()
            ) as transport,
        ):
            ports = Ports(
                clock=clock,
                journal=journal,
                sender=self.sender(transport),
                output=output,
                random=Random(11),
                key=lambda tenant: credentials.resolve(
                    tenant.api_key, base_dir=tenant.base_dir, environ=self.keys
                ),
            )
            self._journal = journal
            yield Nightly(ports, order)
            self.search()

    async def run(self, day: date = TUESDAY, **policy: Any) -> tuple[int, Morning]:
        """A night to its end, and what there is to read afterwards."""
        async with self.night(day, **policy) as nightly:
            code = await nightly.run()
        return code, self.morning(day)

    async def die_at(self, moment: datetime, day: date = TUESDAY) -> None:
        """A night that is cut off at this moment, as by pulling the plug."""
        async with self.night(day) as nightly, anyio.create_task_group() as tasks:
            tasks.start_soon(nightly.run)
            await self.until(moment)
            self._journal.abandon()
            tasks.cancel_scope.cancel()

    async def until(self, moment: datetime) -> None:
        await self.clock.wait((moment - self.clock.now().wall).total_seconds())

    def search(self) -> None:
        """Find no key and no name in what was written so far, but for names in payloads and of clients."""
        names = [name for name in NAMES if not any(name in label for label in self.labels)]
        assert leaks(self.keys.values(), files_below(self.folder), names) == []

    def check_budgets(self) -> None:
        """No host got more than its budget in any minute."""
        for tenant in self.world.scenario.tenants:
            assert self.world.max_requests_in_any_60_seconds(tenant.domain) <= REQUESTS_PER_MINUTE
        note("budget", hosts=len(self.world.scenario.tenants))

    def morning(self, day: date = TUESDAY) -> Morning:
        return Morning(self.folder / "output" / day.isoformat())

    def made(self, client: Client) -> Counter[int]:
        """The entries of all exports that our triggers made."""
        domain = client.lucca.domain
        return Counter(
            id_
            for export in self.world.exports(domain)
            if export.origin == "trigger"
            for id_ in self.world.entry_ids(domain, export.id)
        )

    def triggered(self, client: Client) -> list[float]:
        """The minutes of the night at which exports were asked for."""
        start = self.world.log[0].at_seconds
        return [
            round((t.at_seconds - start) / 60.0)
            for t in self.world.triggers
            if t.domain == client.lucca.domain and t.executed
        ]


class _Unflushed(Disk):
    """A disk that is never pulled out: flushing takes real time, and nights rewrite their page every minute."""

    def flush(self, fd: int) -> None:
        pass

    def flush_folder(self, fd: int) -> None:
        pass


async def _in_place(work: Callable[[], T]) -> T:
    return work()


def at_the_office(
    folder: Path,
    clients: tuple[Client, ...],
    story: Callable[[Office], Awaitable[None]],
    day: date = TUESDAY,
    start: datetime | None = None,
) -> None:
    """Play a story in virtual time, from two o'clock in the night on unless another moment is named."""

    async def main(sandbox: VirtualSandbox) -> None:
        office = Office(folder, sandbox).sign(*clients)
        await story(office)
        office.search()
        office.check_budgets()

    scenario = Scenario(tenants=tuple(client.lucca for client in clients), date=day)
    run_with_sandbox(scenario, main, start=start or two_o_clock(day))
