"""What happens in one schedule, told from its seed before anything runs.

Owns the dice: the tenants and their moods, the manifest, the settings, and for each run when it starts, what its clocks
do and how it ends. Plain values; must not know how they are played. The same seed gives the same story for ever on
one version of this file.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from random import Random
from typing import Final, Literal, TypeVar

from runner.credentials import EnvSecret
from runner.dates import parse_date_rule, parse_period
from runner.jobs.agenda import Policy
from runner.jobs.model import TemplateBody, TemplateId
from runner.manifest.model import ExportEntry, Manifest, ReportEntry, Tenant
from runner.sandbox import (
    Configuration,
    Hang,
    Html,
    Redirect,
    Reports,
    Reset,
    Scenario,
    StaffExport,
    Status,
    TenantScenario,
    Trigger,
)
from runner.transport import Timeouts
from runner.turns import Limits
from tests.simulation.weather import Weather, weather

T = TypeVar("T")

FIRST_NIGHT: Final = date(2026, 11, 24)
"""A Tuesday."""
DAY_SECONDS: Final = 86_400.0

Where = Literal["effect", "record", "trigger", "received", "download", "disk", "time"]
HowEnded = Literal["crash", "stop"]
JournalFate = Literal["kept", "lost", "restored"]
Size = Literal["small", "whole"]
WHOLE_ONE_IN: Final = 10
"""So often a story is a whole one, unless its size is asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How much of everything there is. The troubles are the same in either size: in small stories they meet sooner."""

    hosts: tuple[int, ...]
    jobs: tuple[int, ...]
    nights: tuple[int, ...]
    starts: tuple[int, ...]
    calm_runs: tuple[int, ...]
    polls: tuple[int, ...]
    report_polls: tuple[float, ...]
    report_patience: tuple[float, ...]
    pending: tuple[float, ...]
    outages: tuple[float, ...]
    weathers: tuple[int, ...]
    outage_chance: float
    staff_chance: float
    bent_triggers: tuple[int, ...]
    undisturbed_chance: float


WHOLE: Final = Scale(
    hosts=(1, 1, 1, 1, 1, 2, 2, 3),
    jobs=(1, 1, 2, 3),
    nights=(1, 1, 1, 1, 2, 2, 3, 4),
    starts=(1, 1, 2, 2, 3),
    calm_runs=(2,),
    polls=(2, 3, 6),
    report_polls=(10.0, 30.0, 60.0),
    report_patience=(100.0, 300.0),
    pending=(0.5, 0.5, 2.0, 2.0, 20.0, 70.0, 150.0, 400.0),
    outages=(20.0, 300.0, 4000.0),
    weathers=(0, 0, 1, 2, 4),
    outage_chance=0.15,
    staff_chance=0.25,
    bent_triggers=(0, 0, 1, 1, 2, 3),
    undisturbed_chance=0.35,
)
SMALL: Final = Scale(
    hosts=(1, 1, 1, 1, 1, 1, 1, 2),
    jobs=(1, 1, 1, 2, 2),
    nights=(1, 1, 1, 1, 2),
    starts=(1, 2, 2, 3),
    calm_runs=(1, 1, 2),
    polls=(1, 2),
    report_polls=(30.0, 60.0),
    report_patience=(100.0,),
    pending=(0.5, 0.5, 2.0, 2.0, 20.0, 70.0, 110.0),
    outages=(20.0, 300.0, 900.0),
    weathers=(0, 1, 1, 2, 4),
    outage_chance=0.2,
    staff_chance=0.4,
    bent_triggers=(0, 1, 1, 2, 3),
    undisturbed_chance=0.2,
)


@dataclass(frozen=True, slots=True)
class Ending:
    """How a run is ended from outside: at the `number`th thing of the kind `where`, before or after it.

    Attributes:
        how: a crash, or SIGTERM.
        where: any effect; a record of the journal; an export's or report's POST by the client; the same when the server
            has received it; a download; an effect on the disk; or a moment (`number` is in seconds).
        number: which one, from 1.
        after: after the effect instead of before it.
    """

    how: HowEnded
    where: Where
    number: float
    after: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One start of the runner.

    Attributes:
        night: its batch date.
        pause_seconds: how long after the end of the run before.
        reboot: whether the machine was started anew in that pause.
        wall_step_seconds: by how much somebody set the wall clock in that pause.
        deadline_seconds: how long it may run.
        ending: what ends it, if anything does.
        journal: what became of the journal in that pause.
        keyless: tenants whose key cannot be had in this run.
        retry: whether a person asks for all failed jobs again before it.
        robbed: whether all data files of its night's folder were lost in that pause.
        put_away_chance: of each export at Lucca, that staff archived it in that pause.
        calm: nothing is amiss any more.
    """

    night: date
    pause_seconds: float = 0.0
    reboot: bool = False
    wall_step_seconds: float = 0.0
    deadline_seconds: float = DAY_SECONDS
    ending: Ending | None = None
    journal: JournalFate = "kept"
    keyless: frozenset[str] = frozenset()
    retry: bool = False
    robbed: bool = False
    put_away_chance: float = 0.0
    calm: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """One schedule.

    `crossed`: whether staff make the export that we ask for first just before our POST arrives.
    """

    seed: int
    scenario: Scenario
    weather: dict[str, tuple[Weather, ...]]
    manifest: Manifest
    policy: Policy
    timeouts: Timeouts
    limits: Limits
    requests_per_minute: int
    runs: tuple[Run, ...]
    crossed: bool = False

    @property
    def journal_forgot(self) -> bool:
        """Whether the journal was lost or restored: then some promises cannot hold."""
        return any(run.journal != "kept" for run in self.runs)


def tell(seed: int, size: Size | None = None) -> Story:
    """The story of this seed, in this size or in the one that is its own."""
    whole = size == "whole" if size else seed % WHOLE_ONE_IN == 0
    scale = WHOLE if whole else SMALL
    dice = Random(f"simulation/{seed}" if whole else f"small/{seed}")
    hour = dice.choice((600.0, 1200.0, 3600.0))
    # Polls are most of the cost and bring the least, so they are few.
    policy = Policy(
        export_poll_interval_seconds=hour / dice.choice(scale.polls),
        report_poll_interval_seconds=dice.choice(scale.report_polls),
        report_timeout_seconds=dice.choice(scale.report_patience),
        retrigger_after_seconds=hour,
        max_triggers=dice.choice((1, 2, 3, 3)),
    )
    hosts = [
        _Host(dice, f"t{number}.ilucca.net", policy, scale) for number in range(dice.choice(scale.hosts))
    ]
    tenants = [host.tenant for host in hosts]
    if dice.random() < 0.1:
        tenants.append(_second_tenant(dice, hosts[0]))
    return Story(
        seed=seed,
        scenario=Scenario(tenants=tuple(host.scenario for host in hosts), seed=seed, date=FIRST_NIGHT),
        weather={host.scenario.domain: host.weather for host in hosts},
        manifest=Manifest(Path("tenants.yaml"), tuple(tenants), ()),
        policy=policy,
        timeouts=Timeouts(
            request_seconds=dice.choice((20.0, 60.0)), trigger_seconds=dice.choice((3.0, 15.0, 15.0))
        ),
        limits=Limits(in_flight=dice.choice((1, 2, 64)), in_flight_per_domain=dice.choice((1, 2, 2))),
        requests_per_minute=dice.choice((4, 6, 10, 25, 25)),
        runs=_runs(dice, [tenant.name for tenant in tenants], scale),
    )


# ── hosts and their tenants ──────────────────────────────────────────────────────────────────────────────────────


class _Host:
    """One host of Lucca with one client's manifest entry."""

    def __init__(self, dice: Random, domain: str, policy: Policy, scale: Scale) -> None:
        hour = policy.retrigger_after_seconds
        name = domain.partition(".")[0]
        exports, reports = _wishes(dice, name, scale)
        self.tenant = _tenant(dice, name, domain, exports, reports)
        self.weather = weather(dice, scale.weathers, scale.outage_chance, scale.outages)
        numbers = sorted({entry.configuration_id for entry in exports} | {3, 4, 5})
        self.scenario = TenantScenario(
            domain=domain,
            requests_per_minute=dice.choice((50, 50, 50, 50, 8)),
            retry_after=dice.choice(("seconds", "date", "zero", "none")),
            latency_seconds=dice.choice((0.0, 0.0, 0.05, 0.7)),
            employees=2,
            configurations=tuple(_configuration(dice, number, hour, scale) for number in numbers),
            staff_exports=_staff(dice, numbers, hour) if dice.random() < scale.staff_chance else (),
            post_timeout_seconds=dice.choice((None, None, None, 1.0, 5.0)),
            post_timeout_status=dice.choice((408, 502, 504)),
            post_timeout_loses=dice.random() < 0.2,
            content_path=dice.choice(("plain", "plain", "plain", "doubled", "both")),
            bare_lists=dice.random() < 0.15,
            zoneless=dice.random() < 0.3,
            clock_skew_seconds=dice.choice((0.0, 0.0, 0.0, -7200.0, 90.0)),
            reports=_reports(dice, scale),
        )


def _wishes(
    dice: Random, tenant: str, scale: Scale
) -> tuple[tuple[ExportEntry, ...], tuple[ReportEntry, ...]]:
    kinds = [dice.choice(("export", "export", "report")) for _ in range(dice.choice(scale.jobs))]
    exports: list[ExportEntry] = []
    reports: list[ReportEntry] = []
    for number, kind in enumerate(kinds):
        place = f"{tenant}[{number}]"
        if kind == "export":
            # Two entries of one configuration share its lane; their ends must differ, or they are the same job.
            shared = len(exports) == 1 and dice.random() < 0.2
            rule = "2026-11-16" if shared else dice.choice(("monday", "monday", "daily", "2026-11-23"))
            exports.append(
                ExportEntry(
                    name=f"export{number}",
                    configuration_id=exports[0].configuration_id if shared else 3 + len(exports),
                    ends_at=parse_date_rule(rule),
                    due=parse_date_rule("daily"),
                    empty_ok=dice.random() < 0.5,
                    formats=("json", "csv") if dice.random() < 0.2 else ("json",),
                    place=place,
                )
            )
        else:
            body = TemplateBody(b'{"id":0,"name":"hours"}', "5" * 64)
            reports.append(
                ReportEntry(
                    name=f"report{number}",
                    template=body if dice.random() < 0.3 else TemplateId(12),
                    period=parse_period(dice.choice(("yesterday", "previous-month", "this-month"))),
                    due=parse_date_rule(dice.choice(("daily", "daily", "monday"))),
                    formats=dice.choice((("csv",), ("excel",), ("csv", "excel"))),
                    place=place,
                )
            )
    return tuple(exports), tuple(reports)


def _tenant(
    dice: Random,
    name: str,
    domain: str,
    exports: tuple[ExportEntry, ...],
    reports: tuple[ReportEntry, ...],
) -> Tenant:
    return Tenant(
        name=name,
        label=None,
        dossier=None,
        owner=None,
        domain=domain,
        api_key=EnvSecret("KEY"),
        tags=(),
        since=date(2026, 11, 1),
        requests_per_minute=dice.choice((None, None, 5, 12)),
        exports=exports,
        reports=reports,
        base_dir=Path(),
        place=name,
    )


def _second_tenant(dice: Random, host: _Host) -> Tenant:
    """Another client of the manifest on the same host: they share its budget and its turn for reports."""
    report = ReportEntry(
        name="shared",
        template=TemplateId(12),
        period=parse_period("yesterday"),
        due=parse_date_rule("daily"),
        formats=("csv",),
        place="second",
    )
    return _tenant(dice, "second", host.scenario.domain, (), (report,))


def _seconds(dice: Random, hour: float) -> float:
    return dice.choice((0.5, 2.0, 2.0, 8.0, 40.0, hour * 0.3, hour * 0.98, hour * 1.05, hour * 2.5))


def _trigger(dice: Random, hour: float) -> Trigger:
    answer = None
    if dice.random() < 0.35:
        answer = dice.choice(
            (Status(502), Status(504), Status(408), Status(400, body=""), Reset(), Hang(), Html(), Redirect())
        )
    return Trigger(
        completes=dice.random() < 0.75,
        seconds=_seconds(dice, hour),
        answer=answer,
        answer_seconds=dice.choice((0.0, 0.5, 4.0)),
        stops_with_client=dice.random() < 0.1,
    )


def _configuration(dice: Random, number: int, hour: float, scale: Scale) -> Configuration:
    never = dice.random() < 0.04
    return Configuration(
        id=number,
        ledger_from=None,
        entry_weekdays=(0, 1, 2, 3, 4),
        late_corrections=dice.choice((0, 0, 1)),
        nothing_new=dice.choice(("made", "made", "made", "rejected", "silent")),
        triggers=tuple(_trigger(dice, hour) for _ in range(dice.choice(scale.bent_triggers))),
        trigger=Trigger(completes=False) if never else Trigger(seconds=dice.choice((0.5, 2.0, 8.0))),
        history=dice.choice((0, 1, 1, 2)),
    )


def _staff(dice: Random, numbers: Sequence[int], hour: float) -> tuple[StaffExport, ...]:
    return tuple(
        StaffExport(
            at_seconds=dice.choice((-5000.0, 1.0, 7.0, 30.0, hour * 0.5, hour * 1.01, hour * 2, DAY_SECONDS)),
            ends_at=FIRST_NIGHT - timedelta(days=dice.choice((1, 1, 1, 8, 0, -6))),
            configuration_id=numbers[0] if dice.random() < 0.7 else dice.choice(numbers),
            archived=dice.random() < 0.1,
        )
        for _ in range(dice.choice((1, 1, 2)))
    )


def _reports(dice: Random, scale: Scale) -> Reports:
    return Reports(
        pending_seconds=dice.choice(scale.pending),
        error_first=dice.choice((0, 0, 0, 1, 2)),
        evicted_while_pending=dice.choice((0, 0, 0, 0, 1)),
        evicted_before_download=dice.choice((0, 0, 0, 0, 1, 4)),
        vanishing_templates=dice.choice((0, 0, 1)),
        vanished_status=dice.choice((403, 404)),
        foreign_at_seconds=(dice.uniform(0, 4000),) if dice.random() < 0.15 else (),
        created_status=dice.choice((200, 201)),
        template_id_as_text=dice.random() < 0.3,
    )


# ── runs ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _runs(dice: Random, tenants: Sequence[str], scale: Scale) -> tuple[Run, ...]:
    runs: list[Run] = []
    night = FIRST_NIGHT
    for number in range(dice.choice(scale.nights)):
        if number:
            night += timedelta(days=dice.choice((0, 1, 1, 1, 3)))
        for _ in range(dice.choice(scale.starts)):
            runs.append(_run(dice, night, tenants, runs, scale))
    for number in range(scale.calm_runs[0] if len(scale.calm_runs) == 1 else dice.choice(scale.calm_runs)):
        night += timedelta(days=1 if number == 0 else 0)
        pause = dice.choice((0.0, 5.0, 100.0, 4000.0)) if number == 0 else 20_000.0
        runs.append(Run(night=night, pause_seconds=pause, calm=True))
    return tuple(runs)


def _run(dice: Random, night: date, tenants: Sequence[str], earlier: Sequence[Run], scale: Scale) -> Run:
    deadline = dice.choice((8 * 3600.0, 8 * 3600.0, 8 * 3600.0, 40.0, 700.0, 4000.0))
    ending = _ending(dice, scale)
    keyless = frozenset({dice.choice(tenants)}) if dice.random() < 0.03 else frozenset()
    if not earlier:
        return Run(night=night, deadline_seconds=deadline, ending=ending, keyless=keyless)
    pause = dice.choice((0.0, 0.0, 0.3, 2.0, 30.0, 61.0, 700.0, 3700.0, 20_000.0))
    journal: JournalFate = "kept"
    if dice.random() < 0.04:
        journal = dice.choice(("lost", "restored"))
        pause = max(pause, 61.0)
    reboot = dice.random() < 0.15
    step = dice.choice((5.0, -5.0, 90.0, -90.0, 3700.0, -3700.0, -40_000.0)) if dice.random() < 0.15 else 0.0
    rebooted = reboot or any(run.reboot for run in earlier)
    if rebooted and (step or any(run.wall_step_seconds for run in earlier)):
        # Of another boot only the wall clock tells: none could say that the minute is not over yet.
        pause = max(pause, 61.0)
    return Run(
        night=night,
        pause_seconds=pause,
        reboot=reboot,
        wall_step_seconds=step,
        deadline_seconds=deadline,
        ending=ending,
        journal=journal,
        keyless=keyless,
        retry=dice.random() < 0.08,
    )


def _ending(dice: Random, scale: Scale) -> Ending | None:
    if dice.random() < scale.undisturbed_chance:
        return None
    how: HowEnded = "crash" if dice.random() < 0.85 else "stop"
    after = dice.random() < 0.5
    numbers: dict[Where, Callable[[], float]] = {
        "effect": lambda: int(2 ** dice.uniform(0, 9)),
        "record": lambda: dice.randint(1, 12),
        "trigger": lambda: dice.randint(1, 3),
        "received": lambda: dice.randint(1, 3),
        "download": lambda: dice.randint(1, 3),
        "disk": lambda: dice.randint(1, 150),
        "time": lambda: 2 ** dice.uniform(-6, 14),
    }
    where = dice.choice(tuple(numbers))
    return Ending(how, where, numbers[where](), after)
