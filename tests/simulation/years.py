"""What happens in a year of a bureau, told from its seed: its clients, their Lucca, and every night's troubles.

Owns the dice of the year: which client wants what by which rule, what becomes of each POST, when staff export by hand,
what the manifest and the settings of a new version change, and how each night goes. Must not know how it is played.
"""

from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from random import Random
from typing import Final

from msgspec.structs import replace

from runner.credentials import EnvSecret
from runner.dates import parse_date_rule, parse_period
from runner.jobs.agenda import Policy
from runner.jobs.model import TemplateBody, TemplateId
from runner.manifest.model import ExportEntry, Manifest, ReportEntry, Tenant
from runner.sandbox import (
    Configuration,
    Hang,
    Html,
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
from tests.simulation.story import Ending
from tests.simulation.weather import Weather, weather

DAY_SECONDS: Final = 86_400.0
HOUR_SECONDS: Final = 3600.0
CALM_EVERY: Final = 10
"""After so many nights comes one in which nothing is amiss, and everything must end."""

_AT_ONCE: Final = Trigger(seconds=(0.3, 3.0))
_SLOW: Final = Trigger(seconds=(8.0, 400.0))
_ODD: Final = (
    Trigger(completes=False, answer=Status(504)),
    Trigger(completes=False, answer=Reset()),
    Trigger(seconds=HOUR_SECONDS * 0.98),
    Trigger(seconds=HOUR_SECONDS * 1.05),
    Trigger(seconds=HOUR_SECONDS * 2.2, answer=Status(408), answer_seconds=5.0),
    Trigger(answer=Status(400, body="")),
    Trigger(answer=Html(), answer_seconds=0.5),
    Trigger(answer=Hang()),
    Trigger(seconds=30.0, stops_with_client=True),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """What a new version of the program, its settings or its manifest brings."""

    manifest: Manifest
    policy: Policy
    timeouts: Timeouts
    limits: Limits


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """One start of the runner in a night. `pause_seconds` is since the end of the start before."""

    pause_seconds: float = 0.0
    wall_step_seconds: float = 0.0
    reboot: bool = False
    ending: Ending | None = None
    keyless: frozenset[str] = frozenset()
    retry: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class YearNight:
    """One night: the starts are as many as are needed, the next one when the one before died."""

    day: date
    calm: bool
    wall_step_seconds: float
    weather: dict[str, tuple[Weather, ...]]
    starts: tuple[Start, ...]
    by_hand: bool
    """Whether somebody starts it once more in the morning."""


class Year:
    """The story: `scenario` of Lucca, `version(number)` of ours, `night(number)`."""

    def __init__(self, seed: int, nights: int, tenants: int, first: date) -> None:
        self.seed = seed
        self.nights = nights
        self.first = first
        self.tenants = tenants
        self.version_every = max(3, nights // 12)
        dice = Random(f"year/{seed}")
        hosts = max(1, tenants - tenants // 20)  # some clients are two entries of the manifest on one host
        self.domains = [f"t{number}.ilucca.net" for number in range(hosts)]
        self.scenario = Scenario(
            tenants=tuple(self._host(dice, domain) for domain in self.domains), seed=seed, date=first
        )
        self._steps = 0.0

    # ── Lucca ────────────────────────────────────────────────────────────────────────────────────────────────────

    def _host(self, dice: Random, domain: str) -> TenantScenario:
        length = self.nights * DAY_SECONDS
        return TenantScenario(
            domain=domain,
            requests_per_minute=50,
            retry_after=dice.choice(("seconds", "date", "zero", "none")),
            latency_seconds=dice.choice((0.0, 0.05, 0.2)),
            employees=2,
            configurations=tuple(self._configuration(dice, number) for number in (3, 4)),
            staff_exports=tuple(
                self._staff(dice, length) for _ in range(dice.randint(0, 1 + self.nights // 40))
            ),
            post_timeout_seconds=dice.choice((None, 5.0)),
            post_timeout_loses=dice.random() < 0.05,
            content_path=dice.choice(("plain", "plain", "doubled", "both")),
            bare_lists=dice.random() < 0.1,
            zoneless=dice.random() < 0.3,
            clock_skew_seconds=dice.choice((0.0, 0.0, 0.0, -7200.0, 90.0)),
            reports=Reports(
                pending_seconds=(0.5, 150.0),
                error_first=dice.choice((0, 0, 1)),
                evicted_while_pending=dice.choice((0, 0, 2)),
                evicted_before_download=dice.choice((0, 0, 2)),
                vanishing_templates=dice.choice((0, 0, 1)),
                foreign_at_seconds=tuple(
                    DAY_SECONDS * dice.randrange(self.nights) + dice.uniform(0, 4000)
                    for _ in range(self.nights // 20)
                ),
            ),
        )

    def _configuration(self, dice: Random, number: int) -> Configuration:
        return Configuration(
            id=number,
            entry_weekdays=(0, 1, 2, 3, 4),
            late_corrections=dice.choice((0, 1)),
            # Not "silent": four hours a date, and a night has six, so that dates would pile up for ever.
            nothing_new=dice.choice(("made", "made", "made", "rejected")),
            triggers=tuple(
                dice.choice(_ODD) if dice.random() < 0.06 else _SLOW if dice.random() < 0.2 else _AT_ONCE
                for _ in range(2 * self.nights)
            ),
            trigger=_AT_ONCE,
        )

    def _staff(self, dice: Random, length: float) -> StaffExport:
        at = dice.uniform(0, length)
        today = self.first + timedelta(seconds=at)
        monday = today - timedelta(days=today.weekday())
        return StaffExport(
            at_seconds=at,
            ends_at=dice.choice(
                (monday, monday, today, today - timedelta(days=9), today + timedelta(days=5))
            ),
            configuration_id=dice.choice((3, 3, 4)),
            archived=dice.random() < 0.1,
        )

    # ── ours ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def version(self, number: int) -> Version:
        """The program as it is from the version of this number on."""
        dice = Random(f"year/{self.seed}/version/{number}")
        tenants = [self._tenant(place, number) for place in range(self.tenants)]
        return Version(
            manifest=Manifest(Path("tenants.yaml"), tuple(t for t in tenants if t is not None), ()),
            policy=Policy(
                export_poll_interval_seconds=dice.choice((300.0, 900.0)),
                report_poll_interval_seconds=dice.choice((30.0, 60.0)),
                report_timeout_seconds=dice.choice((200.0, 600.0)),
                retrigger_after_seconds=HOUR_SECONDS,
                max_triggers=3,
            ),
            timeouts=Timeouts(request_seconds=60.0, trigger_seconds=dice.choice((3.0, 15.0))),
            limits=Limits(in_flight=dice.choice((8, 64)), in_flight_per_domain=dice.choice((1, 2))),
        )

    def _tenant(self, place: int, version: int) -> Tenant | None:
        """What this client's entry says in this version; None before the client has come."""
        dice = Random(f"year/{self.seed}/tenant/{place}")
        joins = dice.choice((0, 0, 0, 0, 1, 2, 3, 5))
        domain = self.domains[place % len(self.domains)]
        shared = place >= len(self.domains)
        exports = [] if shared else [self._export(dice, "payroll", 3, place)]
        if not shared and dice.random() < 0.2:
            exports.append(self._export(dice, "extra", 4, place))
        reports = (
            [self._report(dice, "shared" if shared else "times", place)]
            if shared or dice.random() < 0.6
            else []
        )
        for number in range(1, version + 1):
            change = Random(f"year/{self.seed}/tenant/{place}/{number}")
            exports = [self._changed(change, entry, number) for entry in exports]
            reports = [self._changed_report(change, entry, number) for entry in reports]
        if joins > version:
            return None
        return Tenant(
            name=f"client{place}",
            label=f"Client {place} SA" if dice.random() < 0.5 else None,
            dossier=None,
            owner=None,
            domain=domain,
            api_key=EnvSecret("KEY"),
            tags=(),
            since=self.first - timedelta(days=60),
            requests_per_minute=dice.choice((None, None, None, 12)),
            exports=tuple(exports),
            reports=tuple(reports),
            base_dir=Path(),
            place=f"client{place}",
        )

    def _export(self, dice: Random, name: str, configuration_id: int, place: int) -> ExportEntry:
        due, ends_at = dice.choice(
            (
                ("day-24", "monday"),
                ("day-24", "monday"),
                ("monday", "monday"),
                ("monday", "monday"),
                ("daily", "daily"),
            )
        )
        return ExportEntry(
            name=name,
            configuration_id=configuration_id,
            ends_at=parse_date_rule(ends_at),
            due=parse_date_rule(due),
            empty_ok=dice.random() < 0.7,
            formats=("json", "csv") if dice.random() < 0.2 else ("json",),
            place=f"tenants[{place}]",
        )

    def _report(self, dice: Random, name: str, place: int) -> ReportEntry:
        due, period = dice.choice(
            (
                ("daily", "yesterday"),
                ("monday", "previous-week"),
                ("month-start", "previous-month"),
                ("monday", "this-month"),
            )
        )
        return ReportEntry(
            name=name,
            template=_template(0) if dice.random() < 0.3 else TemplateId(12),
            period=parse_period(period),
            due=parse_date_rule(due),
            formats=dice.choice((("csv",), ("csv",), ("csv", "excel"))),
            place=f"tenants[{place}]",
        )

    def _changed(self, dice: Random, entry: ExportEntry, version: int) -> ExportEntry:
        """An entry that somebody edited, or not: renamed, in other formats, by another rule."""
        chance = dice.random()
        if chance < 0.08:
            return replace(entry, name=f"{entry.name.partition('-')[0]}-v{version}")
        if chance < 0.14:
            return replace(entry, formats=("json", "csv"))
        if chance < 0.18:
            return replace(entry, due=parse_date_rule("daily"), ends_at=parse_date_rule("monday"))
        return entry

    def _changed_report(self, dice: Random, entry: ReportEntry, version: int) -> ReportEntry:
        chance = dice.random()
        if chance < 0.08:
            return replace(entry, name=f"{entry.name.partition('-')[0]}-v{version}")
        if chance < 0.16:
            return replace(entry, template=_template(version))
        if chance < 0.22:
            return replace(entry, formats=("csv", "excel"))
        return entry

    # ── nights ───────────────────────────────────────────────────────────────────────────────────────────────────

    def night(self, number: int) -> YearNight:
        """The night of this number, from 0. To be asked for in order: a clock that was set is set right one day."""
        dice = Random(f"year/{self.seed}/night/{number}")
        calm = number % CALM_EVERY == CALM_EVERY - 1 or number >= self.nights - 2
        return YearNight(
            day=self.first + timedelta(days=number),
            calm=calm,
            wall_step_seconds=self._step(dice),
            weather={} if calm else self._weather(dice),
            starts=(Start(),) if calm else self._starts(dice),
            by_hand=dice.random() < 0.1,
        )

    def _step(self, dice: Random) -> float:
        if self._steps and dice.random() < 0.3:
            step, self._steps = -self._steps, 0.0
            return step
        if dice.random() > 0.08:
            return 0.0
        step = dice.choice((5.0, -5.0, 90.0, -90.0, 1800.0, -1800.0, 3700.0, -3700.0))
        self._steps += step
        return step

    def _weather(self, dice: Random) -> dict[str, tuple[Weather, ...]]:
        """Some hosts are odd, one or two are out for hours, and now and then a whole region is."""
        troubles: dict[str, tuple[Weather, ...]] = {}
        for domain in self.domains:
            if dice.random() < 0.08:
                troubles[domain] = weather(dice, (1, 1, 2, 3), 0.1, (20.0, 300.0))
        out = dice.sample(self.domains, min(len(self.domains), dice.choice((0, 1, 2))))
        if dice.random() < 0.02:
            out = dice.sample(self.domains, max(1, len(self.domains) // 4))
        for domain in out:
            start = dice.choice((0.0, 0.0, 20.0, 1800.0))
            fault = dice.choice((Status(503), Reset()))
            length = dice.uniform(1, 3) * HOUR_SECONDS
            outage = Weather(kind="", fault=fault, chance=1.0, from_seconds=start, to_seconds=start + length)
            troubles[domain] = (*troubles.get(domain, ()), outage)
        return troubles

    def _starts(self, dice: Random) -> tuple[Start, ...]:
        starts: list[Start] = []
        for number in range(5):
            ending = self._ending(dice) if number < 4 and dice.random() < 0.3 + 0.2 * bool(number) else None
            keyless = dice.random() < 0.05
            # Of another boot only the wall clock tells, and that may have been set: so a minute goes by.
            pause = dice.choice((61.0, 61.0, 300.0, 3000.0)) if number else 0.0
            starts.append(
                Start(
                    pause_seconds=pause,
                    wall_step_seconds=self._step(dice) if number else 0.0,
                    reboot=dice.random() < (0.3 if number else 0.1),
                    ending=ending,
                    keyless=frozenset({f"client{dice.randrange(self.tenants)}"}) if keyless else frozenset(),
                    retry=dice.random() < 0.05,
                )
            )
        return tuple(starts)

    def _ending(self, dice: Random) -> Ending:
        where, number = dice.choice(
            (
                ("effect", int(2 ** dice.uniform(0, 12))),
                ("record", dice.randint(1, 40 + 2 * self.tenants)),
                ("trigger", dice.randint(1, 1 + self.tenants // 3)),
                ("received", dice.randint(1, 1 + self.tenants // 3)),
                ("download", dice.randint(1, 1 + self.tenants // 2)),
                ("disk", dice.randint(1, 60 + 20 * self.tenants)),
                ("time", 2 ** dice.uniform(-6, 14)),
            )
        )
        return Ending("crash" if dice.random() < 0.85 else "stop", where, number, dice.random() < 0.5)  # type: ignore[arg-type]


def _template(version: int) -> TemplateBody:
    return TemplateBody(b'{"id":0,"name":"hours %d"}' % version, f"{version:064x}")
