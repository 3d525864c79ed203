"""One virtual night of the whole program: the real engine, client, journal and files against the sandbox.

Owns the putting together, as `runner run` does it, and what is left to look at afterwards. Knows no troubles: who
tests brings them, as scenarios of tenants, as a bending of single requests, or as a port that misbehaves. At the end of
every night, whatever it was for, the server's count of requests and all that was written are looked through: no host
got more than its budget in any minute, and no key or name stands where it must not.
"""

import io
import json
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from random import Random
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

import anyio
import structlog

from runner.app.logs import log_to_stderr
from runner.app.nightly import Nightly, Order, Ports
from runner.app.selection import Selection
from runner.credentials import EnvSecret, Secret
from runner.dates import parse_date_rule, parse_period
from runner.jobs import model as m
from runner.jobs.agenda import Policy
from runner.journal import SqliteJournal
from runner.manifest import Manifest, Tenant
from runner.manifest.model import ExportEntry, ReportEntry
from runner.output import Disk, Output
from runner.plan import plan
from runner.sandbox import (
    EvictionRecord,
    Fault,
    RequestRecord,
    Scenario,
    TenantScenario,
    TriggerRecord,
    World,
)
from runner.transport import Timeouts, Transport
from runner.turns import Limits, SenderPort
from tests.canaries import files_below, leaks
from tests.figures import note
from tests.virtual import VirtualSandbox, run_with_sandbox

T = TypeVar("T")

MEMORY = Path(":memory:")
TONIGHT = date(2026, 11, 24)
DOMAIN = "acme.ilucca.net"
BODY = m.TemplateBody(b'{"id":0,"name":"Temps"}', "5" * 64)


def export(
    name: str = "payroll", configuration_id: int = 3, ends_at: str = "monday", **changes: Any
) -> ExportEntry:
    """An export that is due daily."""
    values: dict[str, Any] = {
        "name": name,
        "configuration_id": configuration_id,
        "ends_at": parse_date_rule(ends_at),
        "due": parse_date_rule("daily"),
        "empty_ok": False,
        "formats": ("json",),
        "place": f"tenants.yaml: {name}",
    }
    return ExportEntry(**{**values, **changes})


def report(
    name: str = "times", template: m.TemplateId | m.TemplateBody | None = None, **changes: Any
) -> ReportEntry:
    """A report that is due daily, of last month."""
    values: dict[str, Any] = {
        "name": name,
        "template": template or m.TemplateId(12),
        "period": parse_period("previous-month"),
        "due": parse_date_rule("daily"),
        "formats": ("csv",),
        "place": f"tenants.yaml: {name}",
    }
    return ReportEntry(**{**values, **changes})


def tenant(
    domain: str = DOMAIN,
    exports: Sequence[ExportEntry] = (),
    reports: Sequence[ReportEntry] = (),
    *,
    name: str = "",
    requests_per_minute: int | None = None,
) -> Tenant:
    """A client of the manifest."""
    return Tenant(
        name=name or domain.partition(".")[0],
        label=None,
        dossier=None,
        owner=None,
        domain=domain,
        api_key=EnvSecret("KEY"),
        tags=(),
        since=date(2026, 1, 1),
        requests_per_minute=requests_per_minute,
        exports=tuple(exports),
        reports=tuple(reports),
        base_dir=Path(),
        place="tenants.yaml:1:1: tenants[0]",
    )


@dataclass
class Told:
    """What there is to look at after a night."""

    world: World
    folder: Path
    seconds: float
    log: str = ""
    """What was logged, at debug level."""
    code: int | None = None
    error: BaseException | None = None
    jobs: dict[str, m.Job] = field(default_factory=dict)
    journaled: dict[str, m.Job] = field(default_factory=dict)
    triggers: list[TriggerRecord] = field(default_factory=list)
    evictions: list[EvictionRecord] = field(default_factory=list)
    entries: dict[tuple[str, int], list[int]] = field(default_factory=dict)
    """The ids of the entries of each export, by domain and number."""

    @property
    def document(self) -> dict[str, Any]:
        """run.json."""
        told: dict[str, Any] = json.loads((self.folder / "run.json").read_text(encoding="utf-8"))
        return told

    def files(self) -> dict[str, bytes]:
        """Every data file, hidden ones too."""
        return {
            str(path.relative_to(self.folder)): path.read_bytes()
            for path in sorted(self.folder.rglob("*"))
            if path.is_file() and path.parent != self.folder
        }

    def asked(self, kind: str = "", domain: str = DOMAIN) -> list[RequestRecord]:
        """The requests of this kind."""
        return self.world.requests(domain, kind)


@dataclass(kw_only=True)
class Setting:
    """How a night is to be, where it differs from the usual."""

    policy: Policy = field(default_factory=Policy)
    limits: Limits = field(default_factory=Limits)
    timeouts: Timeouts = field(default_factory=Timeouts)
    requests_per_minute: int = 1000
    until_seconds: float = 8 * 3600.0
    date: date = TONIGHT
    selection: Selection = field(default_factory=Selection)
    kept: bool = False
    """Whether the journal is a file, for another night to go on with."""
    bend: Callable[[RequestRecord], Fault | None] | None = None
    key: Callable[[Tenant], Awaitable[Secret]] | None = None
    journal: Callable[[SqliteJournal], Any] = lambda journal: journal
    sender: Callable[[SenderPort], Any] = lambda sender: sender
    output: Callable[[Output], Any] = lambda output: output
    beside: Callable[[Nightly, VirtualSandbox], Coroutine[Any, Any, None]] | None = None
    """Runs while the night does, and is cancelled at its end."""


def night(
    root: Path,
    tenants: Sequence[Tenant],
    hosts: Sequence[TenantScenario] = (),
    setting: Setting | None = None,
) -> Told:
    """Play one night below `root` and give what there is to see. Hosts that are not named are of the kindest sort."""
    wanted = setting or Setting()
    known = {host.domain: host for host in hosts}
    for one in tenants:
        known.setdefault(one.domain, TenantScenario(domain=one.domain, requests_per_minute=100_000))
    keys = {host.domain: Secret(host.client_key or host.key) for host in known.values()}

    async def key_of(one: Tenant) -> Secret:
        return keys[one.domain]

    artefacts: list[tuple[str, bytes]] = []

    def prepare(world: World) -> None:
        world.on_request = wanted.bend

    async def main(sandbox: VirtualSandbox) -> Told:
        manifest = Manifest(path=Path("tenants.yaml"), tenants=tuple(tenants), problems=())
        output = Output(root, disk=_Unflushed(), offload=_inline)
        told = Told(sandbox.world, root / wanted.date.isoformat(), 0.0)
        clock = sandbox.clock
        start = clock.now()
        order = Order(
            manifest=manifest,
            planned=plan(manifest, wanted.date),
            selection=wanted.selection,
            date=wanted.date,
            policy=wanted.policy,
            limits=wanted.limits,
            requests_per_minute=wanted.requests_per_minute,
            deadline=start.wall + timedelta(seconds=wanted.until_seconds),
            timezone=ZoneInfo("Europe/Paris"),
            language="en",
        )
        async with (
            SqliteJournal.hold(
                root / ".runner" / "journal.db" if wanted.kept else MEMORY, inline=True
            ) as journal,
            Transport(
                clock, timeouts=wanted.timeouts, gateway=sandbox.gateway, connector=sandbox.connector()
            ) as transport,
        ):
            ports = Ports(
                clock=clock,
                journal=wanted.journal(journal),
                sender=wanted.sender(transport),
                output=wanted.output(output),
                random=Random(7),
                key=wanted.key or key_of,
            )
            nightly = Nightly(ports, order)
            await _run(nightly, wanted, sandbox, told)
            told.seconds = clock.now().boot_seconds - start.boot_seconds
            told.jobs = {job.label: job for job in nightly.jobs()}
            stored = await journal.find([planned.spec.identity for planned in order.planned])
            told.journaled = {job.label: job for job in stored.values()}
            artefacts.append(("the journal", journal._connection.serialize()))  # noqa: SLF001 - it may be in memory
            artefacts.extend(files_below(root))  # with its write-ahead log, which is gone when it is closed
        world = sandbox.world
        told.triggers, told.evictions = list(world.triggers), list(world.evictions)
        for domain in known:
            for made in world.exports(domain):
                told.entries[domain, made.id] = world.entry_ids(domain, made.id)
        return told

    scenario = Scenario(tenants=tuple(known.values()), date=wanted.date)
    with _logged() as log:
        told = run_with_sandbox(scenario, main, prepare=prepare)
    told.log = log.getvalue()
    artefacts.append(("the log", told.log.encode()))
    if told.error is not None:
        artefacts.append(("the error", repr(told.error).encode()))
    assert (
        leaks({key for host in known.values() for key in (host.key, host.client_key) if key}, artefacts) == []
    )
    _check_budgets(told.world, tenants, wanted)
    return told


def _check_budgets(world: World, tenants: Sequence[Tenant], wanted: Setting) -> None:
    for domain in {one.domain for one in tenants}:
        budget = min(
            one.requests_per_minute or wanted.requests_per_minute for one in tenants if one.domain == domain
        )
        assert world.max_requests_in_any_60_seconds(domain) <= budget, f"{domain} got more than its budget"
    note("budget", hosts=len({one.domain for one in tenants}))


@contextmanager
def _logged() -> Iterator[io.StringIO]:
    """What the program logs, as it does under cron but to the last detail; libraries' warnings too."""
    before, stream, root = structlog.get_config(), io.StringIO(), logging.getLogger()
    handler = logging.StreamHandler(stream)
    handler.setLevel(logging.WARNING)
    log_to_stderr("json", "debug", stream)
    root.addHandler(handler)
    try:
        yield stream
    finally:
        root.removeHandler(handler)
        structlog.configure(**before)


async def _run(nightly: Nightly, wanted: Setting, sandbox: VirtualSandbox, told: Told) -> None:
    async with anyio.create_task_group() as tasks:
        if wanted.beside is not None:
            tasks.start_soon(wanted.beside, nightly, sandbox)
        try:
            told.code = await nightly.run()
        except Exception as error:  # noqa: BLE001 - the test looks at it
            told.error = error
        tasks.cancel_scope.cancel()


class _Unflushed(Disk):
    """A disk that is never pulled out: flushing takes real time, and the tests of crashes are elsewhere."""

    def flush(self, fd: int) -> None:
        pass

    def flush_folder(self, fd: int) -> None:
        pass


async def _inline(work: Callable[[], T]) -> T:
    return work()
