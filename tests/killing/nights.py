"""A small night that is killed, perhaps more than once, and then run to its end as by the next cron; and its judge.

Owns the stories, the promises to hold afterwards and the time that a resuming run takes to its first request. Many
nights share one sandbox, each with a tenant and a folder of its own. What is killed forks itself; the run that goes on
is the command as it is started by cron.
"""

import signal
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from runner.sandbox import (
    Configuration,
    Delay,
    FaultRule,
    Reports,
    RequestRecord,
    Scenario,
    Status,
    TenantScenario,
    Trigger,
)
from tests.e2e.bureau import (
    NIGHT,
    Bureau,
    Lucca,
    Result,
    check_files,
    entries_made,
    entries_on_disk,
    executed_too_soon,
    lucca,
)
from tests.e2e.forks import LONGEST_SECONDS, ROOT, Forks, forks
from tests.killing.ports import Death

TOGETHER: Final = 4
"""Most of a night is waiting, so a few of them are awaited together."""
HOUR_SECONDS: Final = 2.5
SETTINGS: Final = {
    "retrigger_after": f"{HOUR_SECONDS}s",
    "trigger_timeout": "1s",
    "export_poll_interval": "300ms",
    "report_poll_interval": "200ms",
    "report_timeout": "10s",
    "until": "150s",
    # A stored intent counts as a trigger though its POST never left, and each death may come right behind one.
    "max_triggers": "6",
    "log_level": "warning",
}
JOURNEY_SECONDS: Final = 0.25
"""The hour counts from the stored intent where the end of the POST is not known; so much later it may have arrived."""

_LATE: Final = tuple(
    FaultRule(kind=kind, fault=Delay(0.15), last=3)
    for kind in (
        "list",
        "poll",
        "content",
        "report.create",
        "template.create",
        "report.poll",
        "report.download",
    )
)
"""So that there is a midst of a request in which to die: the server goes on with it, and nobody listens."""


def tenant_of(story: str, domain: str) -> TenantScenario:
    """The client that a story plays at."""
    if story == "report":
        reports = Reports(in_manifest=True, templates=(), pending_seconds=0.3)
        return TenantScenario(
            domain=domain, configurations=(), reports=reports, faults=_LATE, requests_per_minute=100_000
        )
    answer = Status(504) if story == "polled" else None
    trigger = Trigger(seconds=0.25, answer=answer, answer_seconds=0.15)
    return TenantScenario(
        domain=domain,
        configurations=(Configuration(trigger=trigger),),
        content_path="doubled" if story == "doubled" else "plain",
        faults=_LATE,
        requests_per_minute=100_000,
    )


class Watch:
    """When each host heard its first request since it was asked."""

    def __init__(self) -> None:
        self._heard: dict[str, float] = {}

    def forget(self, domain: str) -> None:
        self._heard.pop(domain, None)

    def heard(self, record: RequestRecord) -> None:
        self._heard.setdefault(record.domain, time.monotonic())

    def since(self, domain: str, began: float) -> float | None:
        at = self._heard.get(domain)
        return None if at is None else at - began


@dataclass(frozen=True, slots=True)
class Told:
    """How often a night was killed, and how long its last run took from its start to its first request."""

    kills: int
    resumed_seconds: float | None


@dataclass(frozen=True, slots=True)
class House:
    """One sandbox for many nights, each with a tenant of its own, and the processes that may be killed in them."""

    served: Lucca
    watch: Watch
    tenants: Mapping[str, TenantScenario]
    forks: Forks


@contextmanager
def house_of(stories: Mapping[str, str]) -> Iterator[House]:
    """Serve a tenant for each name, with the story that it plays."""
    tenants = {name: tenant_of(story, f"night-{name}.ilucca.net") for name, story in stories.items()}
    with forks() as waiting, lucca(Scenario(tenants=tuple(tenants.values()))) as served:
        watch = Watch()
        served.on_request = watch.heard
        yield House(served, watch, tenants, waiting)


def bureau_in(folder: Path, served: Lucca, tenant: TenantScenario) -> Bureau:
    """A folder from which the mortal command can be run."""
    folder.mkdir(parents=True)
    bureau = Bureau(folder, served.gateway)
    bureau.take(Scenario(tenants=(tenant,)))
    bureau.environ |= {"PYTHONPATH": str(ROOT)}
    return bureau


def run_mortally(house: House, bureau: Bureau, death: Death | None, trace: Path | None = None) -> Result:
    """`runner run` with mortal ports, to its end or its death."""
    options: list[str] = []
    if death is not None:
        options += ["--at", death.place, "--when", death.when, "--nth", str(death.nth)]
    if trace is not None:
        options += ["--trace", str(trace)]
    return bureau.forked(house.forks, "tests.killing", *options, "--", "run", "--date", NIGHT, **SETTINGS)


def play(folder: Path, house: House, name: str, deaths: Sequence[Death], *, must: bool = True) -> Told:
    """Kill a night so often, run it to its end, and judge it.

    Args:
        folder: a new one.
        house: where the night's tenant lives.
        name: of that tenant in the house.
        deaths: of the first run, of the one that follows, …
        must: whether every run has to reach its death.
    """
    served, tenant = house.served, house.tenants[name]
    bureau = bureau_in(folder, served, tenant)
    kills = 0
    for death in deaths:
        result = run_mortally(house, bureau, death)
        killed = result.code == -signal.SIGKILL
        assert killed or (result.code == 0 and not must), f"{death} was not reached: {result}"
        kills += killed
        check_torn(bureau)
    house.watch.forget(tenant.domain)
    began = time.monotonic()
    with bureau.start("run", "--date", NIGHT, **SETTINGS) as started:
        ended = started.end(LONGEST_SECONDS)
    assert ended.code == 0, ended
    judge(bureau, served, tenant, kills)
    return Told(kills, house.watch.since(tenant.domain, began))


def check_torn(bureau: Bureau) -> None:
    """After a kill or a failure: what is visible is whole, whether or not the journal knows of it already."""
    for path in bureau.data_files():
        if path.rpartition("/")[2].startswith("."):
            continue
        if path.endswith(".json"):
            bureau.content(path)
        assert (bureau.night() / path).stat().st_size, path
    if (bureau.night() / "run.json").exists():
        assert bureau.document()["outcome"] in ("running", "incomplete", "ok")


def judge(bureau: Bureau, served: Lucca, tenant: TenantScenario, kills: int) -> None:
    """All promises of a night that has come to its end."""
    triggers = served.triggers(tenant.domain)
    assert executed_too_soon(triggers, HOUR_SECONDS - JOURNEY_SECONDS - served.late_seconds) == []
    document = bureau.document()
    wanted = len(tenant.configurations) + tenant.reports.in_manifest
    assert (document["outcome"], document["counts"]) == (
        "ok",
        {"downloaded": wanted, "failed": 0, "unfinished": 0},
    )
    for job in document["jobs"]:
        check_files(bureau, job)
        assert (job["flags"], job["error"]) == ([], None)
        assert [step["state"] for step in job["transitions"]][-2:] == ["downloading", "downloaded"]
        if job["kind"] == "export":
            configuration = job["configuration_id"]
            made = served.tell(lambda world, id_=configuration: entries_made(world, tenant.domain, id_))  # type: ignore[misc]
            assert entries_on_disk(bureau, job["tenant"], job["name"]) == made
        else:
            assert len(job["files"]) == 2
            assert len(job["remote_ids"]) == 1
    asked = Counter(record.kind for record in served.tell(lambda world: world.requests(tenant.domain)))
    # Of these there is no trace to find: one more for each death is unavoidable.
    assert asked["report.create"] <= 1 + kills
    assert asked["template.create"] <= 1 + kills
    assert all(path.stat().st_nlink == 1 for path in bureau.output.rglob("*") if path.is_file())
    bureau.check_sums()
    assert bureau.leftovers() == []
