"""How long a night takes in virtual time, beside the least that its latencies and budgets allow.

Owns the chance of such a night and the arithmetic of its bound. The engine, the client, the journal and the sandbox are
the real ones; only the hours are not.
"""

import os
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from random import Random
from zoneinfo import ZoneInfo

import anyio.to_thread

from runner.app.nightly import Nightly, Order, Ports
from runner.app.selection import Selection
from runner.credentials import Secret, resolve
from runner.jobs.agenda import Policy
from runner.journal import hold
from runner.manifest import load_manifest
from runner.manifest.model import Tenant
from runner.output import Disk, Output
from runner.plan import plan
from runner.sandbox import Scenario
from runner.sandbox.scenario import Configuration, Reports, TenantScenario, Trigger
from runner.transport import Timeouts, Transport
from runner.turns import Limits
from tests.bench.worlds import ENDS_AT
from tests.virtual import VirtualSandbox, run_with_sandbox

TRIGGER_SECONDS = 15.0
IN_FLIGHT = 64


@dataclass(frozen=True, slots=True)
class Made:
    """A night that was played."""

    seconds: float
    bound_seconds: float
    jobs: int
    code: int


@dataclass(frozen=True, slots=True)
class Chance:
    """What one tenant's host is like."""

    latency_seconds: float
    export_seconds: tuple[float, float]
    report_seconds: float
    requests_per_minute: int

    def requests(self) -> int:
        """The fewest requests of its three jobs: a list, a POST and a content each; a status in the list's place."""
        return 9 + sum(self.outlives_post(seconds) for seconds in self.export_seconds)

    def outlives_post(self, seconds: float) -> bool:
        """Whether the POST is let go before its export is there, so that somebody must look."""
        return self.latency_seconds + seconds > TRIGGER_SECONDS

    def least_seconds(self) -> float:
        """No order of requests is quicker: neither the slowest job nor the budget allows it."""
        exports = [
            3 * self.latency_seconds + seconds + self.outlives_post(seconds) * self.latency_seconds
            for seconds in self.export_seconds
        ]
        budget = (self.requests() - 1) // self.requests_per_minute * 60.0 + self.latency_seconds
        return max(*exports, 4 * self.latency_seconds + self.report_seconds, budget)


def chances(tenants: int, seed: int) -> list[Chance]:
    """So many hosts: most exports take seconds to minutes, a few the better part of an hour."""
    random = Random(f"makespan/{seed}")

    def generation() -> float:
        return min(3000.0, random.lognormvariate(3.5, 1.4))

    return [
        Chance(
            latency_seconds=random.uniform(0.05, 0.8),
            export_seconds=(generation(), generation()),
            report_seconds=random.uniform(2.0, 240.0),
            requests_per_minute=random.choice((5, 12, 25, 25, 25)),
        )
        for _ in range(tenants)
    ]


def bound_seconds(hosts: list[Chance]) -> float:
    """The least makespan: of the slowest tenant, or of all requests on all the places there are."""
    together = sum(host.requests() * host.latency_seconds for host in hosts) / IN_FLIGHT
    return max(together, *(host.least_seconds() for host in hosts))


def play(tenants: int, seed: int, folder: Path, night: date) -> Made:
    """Play such a night."""
    hosts = chances(tenants, seed)
    scenario = Scenario(
        tenants=tuple(_tenant(number, host) for number, host in enumerate(hosts)), seed=seed, date=night
    )
    path = folder / "tenants.yaml"
    path.write_text(_manifest(hosts), encoding="utf-8")
    for tenant in scenario.tenants:
        os.environ[_variable(tenant.domain)] = tenant.key
    made: list[Made] = []

    async def perform(sandbox: VirtualSandbox) -> None:
        made.append(await _perform(sandbox, path, night, hosts))

    run_with_sandbox(scenario, perform)
    return made[0]


async def _perform(sandbox: VirtualSandbox, path: Path, night: date, hosts: list[Chance]) -> Made:
    clock, manifest = sandbox.clock, load_manifest(path)
    timeouts = Timeouts(trigger_seconds=TRIGGER_SECONDS)
    output = path.parent / "output"

    async def key(tenant: Tenant) -> Secret:
        return await resolve(tenant.api_key, base_dir=tenant.base_dir)

    async with (
        hold(output / ".runner" / "journal.db", inline=True) as journal,
        Transport(
            clock, timeouts=timeouts, gateway=sandbox.gateway, connector=sandbox.connector()
        ) as transport,
    ):
        ports = Ports(
            clock=clock,
            journal=journal,
            sender=transport,
            output=Output(output, disk=Disk(), offload=anyio.to_thread.run_sync),
            random=Random("jitter"),
            key=key,
        )
        planned = plan(manifest, night)
        order = Order(
            manifest=manifest,
            planned=planned,
            selection=Selection(),
            date=night,
            policy=Policy(),
            limits=Limits(in_flight=IN_FLIGHT),
            requests_per_minute=25,
            deadline=clock.now().wall + timedelta(hours=8),
            timezone=ZoneInfo("Europe/Paris"),
        )
        began = clock.now().boot_seconds
        code = await Nightly(ports, order).run()
        return Made(clock.now().boot_seconds - began, bound_seconds(hosts), len(planned), code)


def _tenant(number: int, host: Chance) -> TenantScenario:
    return TenantScenario(
        domain=f"client-{number:05d}.ilucca.net",
        latency_seconds=host.latency_seconds,
        employees=2,
        configurations=tuple(
            Configuration(id=3 + place, name=name, trigger=Trigger(seconds=seconds))
            for place, (name, seconds) in enumerate(
                zip(("payroll", "meals"), host.export_seconds, strict=True)
            )
        ),
        reports=Reports(pending_seconds=host.report_seconds),
    )


def _variable(domain: str) -> str:
    return f"BENCH_{domain.partition('.')[0].replace('-', '_').upper()}"


def _manifest(hosts: list[Chance]) -> str:
    lines = ["version: 1", "defaults:", "  since: 2026-11-01", "tenants:"]
    for number, host in enumerate(hosts):
        domain = f"client-{number:05d}.ilucca.net"
        lines += [
            f"  - name: client-{number:05d}",
            f"    domain: {domain}",
            f"    api_key: {{env: {_variable(domain)}}}",
            f"    requests_per_minute: {host.requests_per_minute}",
            "    exports:",
            f"      - {{name: payroll, configuration_id: 3, ends_at: {ENDS_AT}, empty: ok}}",
            f"      - {{name: meals, configuration_id: 4, ends_at: {ENDS_AT}, empty: ok}}",
            "    reports:",
            "      - {name: times, template_id: 12, period: previous-month}",
        ]
    return "\n".join(lines) + "\n"
