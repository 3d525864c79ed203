"""What one client's Lucca does to the others' night: nothing that could be measured.

Three hundred clients in virtual time, thirty of them in trouble of one kind, against the same night with everybody
well. Virtual time gives the same figures on every machine, so they may be asserted.
"""

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

import pytest

from runner.credentials import Secret
from runner.jobs.agenda import Policy
from runner.jobs.model import State
from runner.lucca import Request
from runner.manifest.model import ExportEntry
from runner.sandbox import (
    Configuration,
    Cut,
    Fault,
    FaultRule,
    Hang,
    Html,
    RawBody,
    Redirect,
    Reset,
    Status,
    TenantScenario,
    Trickle,
    Trigger,
)
from runner.transport import Answer, NotSentError, Stream
from runner.turns import SenderPort
from tests.figures import note
from tests.nights import Setting, export, night, tenant

CLIENTS, ILL_EVERY = 300, 10
FOR_EVER = 1_000_000
MOST_LONGER = 1.1
DEADLINE_SECONDS = 600.0
CONFIGURATIONS = (3, 4)
REFUSE = "refuse connections"


def always(fault: Fault, kind: str = "") -> tuple[FaultRule, ...]:
    return (FaultRule(kind=kind, last=FOR_EVER, fault=fault),)


def well(number: int, **more: object) -> TenantScenario:
    """A client whose two exports take one to five minutes each, longer than anybody listens."""
    trigger = Trigger(seconds=60.0 + number * 37 % 240, answer=Status(504), answer_seconds=3.0)
    configurations = tuple(Configuration(id=id_, trigger=trigger) for id_ in CONFIGURATIONS)
    values = {"latency_seconds": 0.2, "employees": 2, "configurations": configurations} | more
    return TenantScenario(domain=f"t{number}.ilucca.net", **values)  # type: ignore[arg-type]


ILLNESSES: dict[str, Callable[[int], TenantScenario]] = {
    REFUSE: well,  # see `Refusing`
    "hang": lambda n: well(n, faults=always(Hang(600.0))),
    "are slow": lambda n: well(n, latency_seconds=50.0),
    "answer 5xx": lambda n: well(n, faults=always(Status(503))),
    "throttle": lambda n: well(n, faults=always(Status(429, retry_after="0"))),
    "break connections": lambda n: well(n, faults=always(Reset())),
    "trickle": lambda n: well(n, faults=always(Trickle(50), "content")),
    "send nonsense": lambda n: well(n, faults=always(RawBody("{" * 100_000))),
    "cut their answers": lambda n: well(n, faults=always(Cut(300))),
    "show a login page": lambda n: well(n, faults=always(Html())),
    "redirect": lambda n: well(n, faults=always(Redirect())),
    "refuse the key": lambda n: well(n, client_key="00000000-0000-0000-0000-00000000dead"),
    "ask for patience": lambda n: well(n, faults=always(Status(503, retry_after="3600"))),
}
ALONE = ("hang", "are slow")
"""These hold places longest; the others are tried in a night of all kinds, so that all this takes half a minute."""
MIXED = "are ill in every way"


@dataclass
class Refusing:
    """A sender to which the ill hosts refuse connections."""

    sender: SenderPort
    ill: frozenset[str]

    async def send(self, domain: str, key: Secret, request: Request, left: Callable[[], None]) -> Answer:
        if domain in self.ill:
            raise NotSentError("no connection (ConnectionRefusedError)")
        return await self.sender.send(domain, key, request, left)

    async def download(self, domain: str, key: Secret, request: Request, left: Callable[[], None]) -> Stream:
        return await self.sender.download(domain, key, request, left)


@dataclass(frozen=True)
class Course:
    """When each healthy client had its last file, in seconds from the beginning."""

    done: dict[str, float]

    @property
    def makespan(self) -> float:
        return max(self.done.values())

    @property
    def median(self) -> float:
        return statistics.median(self.done.values())


def course(folder: Path, illness: str = "") -> Course:
    """A night in which every tenth has this illness; of those who are well everything arrived."""
    names = list(ILLNESSES) if illness == MIXED else [illness]
    ills = {n: names[n // ILL_EVERY % len(names)] for n in range(0, CLIENTS, ILL_EVERY)} if illness else {}
    hosts = [ILLNESSES[ills[n]](n) if n in ills else well(n) for n in range(CLIENTS)]
    refusing = frozenset(hosts[n].domain for n, name in ills.items() if name == REFUSE)
    setting = Setting(
        requests_per_minute=25,
        policy=Policy(export_poll_interval_seconds=120.0),
        until_seconds=DEADLINE_SECONDS,
        sender=lambda sender: Refusing(sender, refusing),
    )
    told = night(folder, [tenant(host.domain, exports()) for host in hosts], hosts, setting)
    assert told.error is None
    healthy = {host.name for n, host in enumerate(hosts) if n % ILL_EVERY}
    jobs = [job for job in told.jobs.values() if job.spec.tenant in healthy]
    assert {job.state for job in jobs} == {State.DOWNLOADED}
    assert len(jobs) == len(healthy) * len(CONFIGURATIONS)
    begun = told.world.log[0].at_seconds
    done = {
        record.domain.partition(".")[0]: record.at_seconds - begun
        for record in told.world.log
        if record.kind == "content" and record.status == HTTPStatus.OK
    }
    return Course({name: done[name] for name in healthy})


def exports() -> list[ExportEntry]:
    return [export(f"payroll-{id_}", id_) for id_ in CONFIGURATIONS]


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory) -> Course:
    """The night in which everybody is well."""
    return course(tmp_path_factory.mktemp("usual"))


@pytest.mark.no_cover  # it would double the cost, and other tests meet every line of this
@pytest.mark.parametrize("illness", [*ALONE, MIXED])
def test_where_a_tenth_of_the_hosts_is_ill_the_healthy_end_as_soon_as_ever(
    tmp_path: Path, usual: Course, illness: str
) -> None:
    told = course(tmp_path, illness)
    note(
        "isolation", illnesses=1, longer=[told.makespan / usual.makespan - 1], usual_seconds=[usual.makespan]
    )
    assert told.makespan <= usual.makespan * MOST_LONGER
    assert told.median <= usual.median * MOST_LONGER
