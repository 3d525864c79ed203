"""The engine at work: who may be in flight, who waits for whom, and whose trouble touches whom."""

import asyncio
import errno
import gc
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from random import Random
from typing import Any, TypeVar

import pytest
from msgspec.structs import replace

from runner.app import nightly
from runner.app.memory import JournalMemory
from runner.app.nightly import Nightly
from runner.arrivals import Taken
from runner.clock import Instant
from runner.credentials import CredentialError, Secret
from runner.engine import Engine
from runner.errors import StorageError
from runner.jobs import agenda
from runner.jobs import model as m
from runner.jobs.agenda import FRESH_SECONDS, Action, Policy, next_action
from runner.jobs.machine import stamp
from runner.journal import Happened, SqliteJournal
from runner.journal.protocol import StaleHolderError
from runner.keys import HOSTS_AHEAD, KEYS_AT_A_TIME
from runner.lucca import Request
from runner.manifest import Tenant
from runner.output import ANSWERS_AT_THE_DISK, Disk, Output, Spooled
from runner.sandbox import (
    Configuration,
    Fault,
    Hang,
    Outage,
    RawBody,
    Reports,
    RequestRecord,
    Reset,
    Status,
    TenantScenario,
    Trigger,
)
from runner.transport import Answer, LostError, NotSentError, Stream, Timeouts, TransportError
from runner.turns import Client, Limits, SenderPort, Turn
from tests.nights import BODY, DOMAIN, MEMORY, TONIGHT, Setting, export, night, report, tenant
from tests.streams import Followed
from tests.virtual import VirtualClock, VirtualSandbox, run_virtual

T = TypeVar("T")

OTHER = "globex.ilucca.net"


def host(domain: str = DOMAIN, **changes: Any) -> TenantScenario:
    return TenantScenario(**{"domain": domain, "requests_per_minute": 100_000, **changes})


def configurations(count: int, **changes: Any) -> tuple[Configuration, ...]:
    return tuple(Configuration(id=number, **changes) for number in range(1, count + 1))


def exports(count: int) -> list[Any]:
    return [export(f"e{number}", number) for number in range(1, count + 1)]


class Counting:
    """A sender that counts what is in flight and passes everything on; `before` may object."""

    def __init__(self, sender: SenderPort, before: Callable[[str, Request], None] = lambda *_: None) -> None:
        self.sender = sender
        self.before = before
        self.now: Counter[str] = Counter()
        self.most: Counter[str] = Counter()

    def begin(self, domain: str, request: Request) -> None:
        self.before(domain, request)
        for name in ("all", domain):
            self.now[name] += 1
            self.most[name] = max(self.most[name], self.now[name])

    def end(self, domain: str) -> None:
        self.now.subtract(("all", domain))

    async def send(self, domain: str, key: Secret, request: Request, left: Callable[[], None]) -> Answer:
        self.begin(domain, request)
        try:
            return await self.sender.send(domain, key, request, left)
        finally:
            self.end(domain)

    async def download(self, domain: str, key: Secret, request: Request, left: Callable[[], None]) -> Stream:
        self.begin(domain, request)
        try:
            stream = await self.sender.download(domain, key, request, left)
        except BaseException:
            self.end(domain)
            raise
        return Followed(stream, lambda _: self.end(domain))


# ── room ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_no_more_requests_are_in_flight_than_allowed_in_all_and_for_each_host(tmp_path: Path) -> None:
    domains = [f"t{number}.ilucca.net" for number in range(3)]
    hosts = [host(domain, latency_seconds=1.0, configurations=configurations(6)) for domain in domains]
    seen: list[Counting] = []

    def counting(sender: SenderPort) -> Counting:
        seen.append(Counting(sender))
        return seen[0]

    setting = Setting(limits=Limits(in_flight=7, in_flight_per_domain=3), sender=counting)
    told = night(tmp_path, [tenant(domain, exports(6)) for domain in domains], hosts, setting)
    assert told.code == 0
    assert seen[0].most["all"] == 7
    assert max(seen[0].most[domain] for domain in domains) == 3
    assert set(seen[0].now.values()) == {0}


def test_a_waiting_job_holds_no_place(tmp_path: Path) -> None:
    slow = configurations(5, trigger=Trigger(seconds=600.0))
    told = night(
        tmp_path,
        [tenant(exports=exports(5)), tenant(OTHER, [export()])],
        [host(configurations=slow)],
        Setting(limits=Limits(in_flight=1, in_flight_per_domain=1)),
    )
    assert told.code == 0
    assert next(trigger.at_seconds for trigger in told.triggers if trigger.domain == OTHER) < 1050
    assert told.seconds < 900


def turns_held() -> list[Turn]:
    gc.collect()
    return [thing for thing in gc.get_objects() if type(thing) is Turn]


def test_while_all_jobs_wait_no_answer_is_held(tmp_path: Path) -> None:
    """Each may have been of 16 MB, and there are as many as were ever in flight together."""
    before, held = turns_held(), list[Turn]()  # other tests may have left some

    async def look(_nightly: Nightly, sandbox: VirtualSandbox) -> None:
        await sandbox.clock.wait(100.0)
        held.extend(turn for turn in turns_held() if turn not in before)

    slow = configurations(5, trigger=Trigger(seconds=600.0))
    night(tmp_path, [tenant(exports=exports(5))], [host(configurations=slow)], Setting(beside=look))
    assert held == []


def test_however_many_hosts_wait_for_a_place_a_look_is_followed_by_its_trigger_before_it_is_too_old(
    tmp_path: Path,
) -> None:
    domains = [f"t{number}.ilucca.net" for number in range(120)]
    hosts = [host(domain, latency_seconds=2.0) for domain in domains]
    setting = Setting(limits=Limits(in_flight=2), until_seconds=3600.0)
    told = night(tmp_path, [tenant(domain, [export()]) for domain in domains], hosts, setting)
    assert told.code == 0
    # Looking at all of them takes longer than a look is good for.
    assert len(domains) * 2.0 / 2 > FRESH_SECONDS
    assert Counter(record.kind for record in told.world.log) == {"list": 120, "trigger": 120, "content": 120}


def test_however_many_exports_are_waited_for_the_others_are_begun(tmp_path: Path) -> None:
    domains = [f"t{number}.ilucca.net" for number in range(130)]
    slow = configurations(1, trigger=Trigger(seconds=1200.0))
    hosts = [host(domain, latency_seconds=1.0, configurations=slow) for domain in domains]
    setting = Setting(
        limits=Limits(in_flight=1), timeouts=Timeouts(trigger_seconds=1.0), until_seconds=3600.0
    )
    told = night(
        tmp_path, [tenant(domain, [export(configuration_id=1)]) for domain in domains], hosts, setting
    )
    assert told.code == 0
    # A look and a trigger of each, a second each: polls take what that leaves.
    begun = [trigger.at_seconds - told.world.log[0].at_seconds for trigger in told.triggers]
    assert len(begun) == len(domains)
    assert max(begun) < 1.1 * 2 * len(domains)


def test_downloads_that_fail_all_night_leave_the_healthy_their_places(tmp_path: Path) -> None:
    ill = [host(f"ill{number}.ilucca.net", latency_seconds=4.0) for number in range(20)]
    well = host("well.ilucca.net", configurations=configurations(1, trigger=Trigger(seconds=600.0)))

    def failing(record: RequestRecord) -> Fault | None:
        return Status(503) if record.domain.startswith("ill") and record.kind == "content" else None

    told = night(
        tmp_path,
        [
            *(tenant(one.domain, [export()]) for one in ill),
            tenant(well.domain, [export(configuration_id=1)]),
        ],
        [*ill, well],
        Setting(limits=Limits(in_flight=1), until_seconds=1800.0, bend=failing),
    )
    assert told.code == 4
    # More is asked again in a minute than can be answered in one.
    assert len(ill) * 4.0 > 60.0
    assert told.jobs["well/payroll"].state is m.State.DOWNLOADED


def test_keys_are_fetched_a_little_before_their_requests_can_leave(tmp_path: Path) -> None:
    domains = [f"t{number}.ilucca.net" for number in range(150)]
    keeping = Secret("01234567-89ab-cdef-0123-456789abcdef")
    fetched: list[str] = []
    ahead: list[int] = []

    async def key(tenant: Tenant) -> Secret:
        fetched.append(tenant.name)
        return keeping

    def leaving(*_: object) -> None:
        ahead.append(len(fetched))

    told = night(
        tmp_path,
        [tenant(domain, [export()]) for domain in domains],
        [host(domain, key=keeping.reveal(), latency_seconds=1.0) for domain in domains],
        Setting(limits=Limits(in_flight=1), key=key, sender=lambda sender: Counting(sender, leaving)),
    )
    assert told.code == 0
    assert len(set(fetched)) == len(fetched) == len(domains)
    assert 2 < ahead[1] <= 2 + HOSTS_AHEAD + KEYS_AT_A_TIME < len(domains)


def waiting_jobs(count: int, clock: VirtualClock) -> list[m.Job]:
    now = clock.now()
    return [
        m.Job(
            id=number,
            spec=m.ExportSpec(
                tenant=f"t{number}",
                domain=f"t{number}.ilucca.net",
                name="payroll",
                due=TONIGHT,
                configuration_id=3,
                ends_at=date(2026, 11, 23),
            ),
            state=m.State.POLLING,
            baseline_id=1,
            triggers=(stamp(now),),
            live=m.Live(polled_boot_seconds=now.boot_seconds, polls=9),
        )
        for number in range(1, count + 1)
    ]


def test_ten_thousand_jobs_that_wait_cost_no_task_each(tmp_path: Path) -> None:
    async def main(clock: VirtualClock) -> tuple[int, str | None, set[str]]:
        async def no_key() -> Secret:
            raise AssertionError("nobody sends anything")

        async with SqliteJournal.hold(MEMORY, inline=True) as journal:
            engine = engine_of(clock, journal, tmp_path)
            for job in waiting_jobs(10_000, clock):
                add(engine, no_key, job)
            before = len(asyncio.all_tasks())
            run = asyncio.get_running_loop().create_task(
                engine.run(until_boot_seconds=clock.now().boot_seconds + 20.0)
            )
            await clock.wait(10.0)
            more = len(asyncio.all_tasks()) - before
            now = clock.now()
            shown = {type(next_action(job, now, Policy())).__name__ for job in engine.jobs.values()}
            await run
            return more, engine.reason, shown

    assert run_virtual(main) == (1, "deadline", {"Wait"})


def test_what_needs_no_request_is_done_at_once_however_many_wait_for_their_keys(tmp_path: Path) -> None:
    async def main(clock: VirtualClock) -> tuple[m.State, int]:
        asked: list[str] = []

        async def silent() -> Secret:
            asked.append("")
            await clock.wait(1_000_000.0)
            raise AssertionError("nobody waits for it that long")

        async with SqliteJournal.hold(MEMORY, inline=True) as journal:
            engine = engine_of(clock, journal, tmp_path)
            *others, last = await journal.create([job.spec for job in waiting_jobs(200, clock)], TONIGHT)
            # It was killed while its POST was on its way.
            last = replace(last, state=m.State.TRIGGERED, baseline_id=1, triggers=(stamp(clock.now()),))
            for job in (*others, last):
                add(engine, silent, job)
            await engine.run(until_boot_seconds=clock.now().boot_seconds + 20.0)
            return engine.jobs[last.id].state, len(asked)

    assert run_virtual(main) == (m.State.POLLING, KEYS_AT_A_TIME)


def test_only_hosts_whose_turn_it_is_cost_anything_however_many_there_are(tmp_path: Path) -> None:
    async def main(clock: VirtualClock) -> list[str]:
        told: list[str] = []

        def client(known: Client) -> Client:
            told.append(known.domain)
            return known

        async def silent() -> Secret:
            await clock.wait(1_000_000.0)
            raise AssertionError("nobody waits for it that long")

        async with SqliteJournal.hold(MEMORY, inline=True) as journal:
            engine = engine_of(clock, journal, tmp_path, client=client)
            jobs = await journal.create([job.spec for job in waiting_jobs(1000, clock)], TONIGHT)
            for job in jobs:
                add(engine, silent, job)
            await engine.run(until_boot_seconds=clock.now().boot_seconds + 20.0)
        assert told == [job.spec.domain for job in jobs[: len(told)]]
        return told

    assert HOSTS_AHEAD <= len(run_virtual(main)) <= HOSTS_AHEAD + KEYS_AT_A_TIME


def engine_of(clock: VirtualClock, journal: SqliteJournal, root: Path, **changes: Any) -> Engine:
    async def inline(work: Callable[[], Any]) -> Any:
        return work()

    ports: dict[str, Any] = {
        "clock": clock,
        "journal": journal,
        "sender": None,
        "output": Output(root, disk=Disk(), offload=inline),
        "memory": JournalMemory(journal, {}),
        "client": lambda client: client,
        "policy": Policy(),
        "limits": Limits(),
        "night": TONIGHT,
        "random": Random(1),
    }
    return Engine(**{**ports, **changes})


# ── what a host asks for ─────────────────────────────────────────────────────────────────────────────────────────


def first(
    count: int, kind: str, fault: Fault, domain: str = DOMAIN
) -> Callable[[RequestRecord], Fault | None]:
    def bend(record: RequestRecord) -> Fault | None:
        hit = record.domain == domain and record.kind == kind and record.nth_of_kind <= count
        return fault if hit else None

    return bend


@pytest.mark.parametrize("status", [429, 503, 408])
@pytest.mark.parametrize(
    "kind", ["list", "trigger", "content", "report.create", "report.poll", "report.download"]
)
def test_a_host_that_asks_for_patience_is_left_alone_for_so_long_and_the_others_are_not(
    status: int, kind: str, tmp_path: Path
) -> None:
    busy = Status(status, retry_after="120")
    told = night(
        tmp_path,
        [tenant(exports=exports(3), reports=[report()]), tenant(OTHER, [export()])],
        [host(configurations=configurations(3), latency_seconds=0.2)],
        Setting(bend=first(1, kind, busy), limits=Limits(in_flight_per_domain=1)),
    )
    assert told.code == 0
    asked = told.asked()
    (place,) = [place for place, record in enumerate(asked) if record.status == status]
    assert asked[place + 1].at_seconds - asked[place].at_seconds >= 120.0
    assert told.asked(domain=OTHER)[-1].at_seconds < 1060.0
    assert len(told.asked("trigger")) == (4 if kind == "trigger" else 3)


def test_an_outage_is_waited_out_with_growing_pauses(tmp_path: Path) -> None:
    away = host(outages=(Outage(from_seconds=0.0, to_seconds=3 * 3600.0),))
    told = night(tmp_path, [tenant(exports=[export()]), tenant(OTHER, [export()])], [away])
    assert told.code == 0
    asked = [record.at_seconds for record in told.asked("list")]
    assert 150 < len(asked) < 250
    assert asked[-1] - asked[-2] >= 60.0
    assert told.asked(domain=OTHER)[-1].at_seconds < 1060.0


def test_the_budget_of_a_host_is_kept_however_many_tenants_share_it(tmp_path: Path) -> None:
    shared = [
        tenant(exports=exports(6), name="acme", requests_per_minute=30),
        tenant(reports=[report(), report("more")], name="acme-bis", requests_per_minute=12),
    ]
    told = night(tmp_path, shared, [host(configurations=configurations(6))])
    assert told.code == 0
    assert told.world.max_requests_in_any_60_seconds(DOMAIN) == 12


# ── keys ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("per_domain", [2, 10])
@pytest.mark.parametrize("troubles", [0, 2], ids=["at once", "behind a gateway in trouble"])
def test_a_refused_key_parks_its_tenant_after_two_requests_and_the_others_go_on(
    per_domain: int, troubles: int, tmp_path: Path
) -> None:
    refusing = host(client_key="wrong", configurations=configurations(12), latency_seconds=0.5)
    told = night(
        tmp_path,
        [tenant(exports=exports(12), reports=[report()]), tenant(OTHER, exports(2))],
        [refusing, host(OTHER, configurations=configurations(2))],
        Setting(limits=Limits(in_flight_per_domain=per_domain), bend=first(troubles, "list", Status(503))),
    )
    assert told.code == 3
    assert 1 <= sum(record.status == 401 for record in told.asked()) <= 2
    mine = [job for job in told.jobs.values() if job.spec.domain == DOMAIN]
    assert len(mine) == 13
    assert {job.error.code for job in mine if job.error} == {m.ErrorCode.KEY_REFUSED}
    assert all(job.state is m.State.FAILED and "acme" in job.error.message for job in mine if job.error)
    assert {job.state for job in told.jobs.values() if job.spec.domain == OTHER} == {m.State.DOWNLOADED}


def test_a_key_refused_in_the_middle_of_the_night_fails_what_is_not_done(tmp_path: Path) -> None:
    told = night(
        tmp_path,
        [tenant(exports=exports(3))],
        [host(key_refused_from=5, configurations=configurations(3, trigger=Trigger(seconds=100.0)))],
    )
    assert told.code == 3
    assert {job.error.code for job in told.jobs.values() if job.error} == {m.ErrorCode.KEY_REFUSED}
    assert len(told.asked()) <= 6


@pytest.mark.parametrize(
    "trouble", [CredentialError("the environment variable ACME is not set"), ValueError("of the key ring")]
)
def test_a_key_that_cannot_be_had_is_its_tenants_trouble_alone(trouble: Exception, tmp_path: Path) -> None:
    async def key(one: Tenant) -> Secret:
        if one.domain == DOMAIN:
            raise trouble
        return Secret(host(OTHER).key)

    told = night(tmp_path, [tenant(exports=exports(3)), tenant(OTHER, [export()])], setting=Setting(key=key))
    assert (told.code, told.asked()) == (3, [])
    failed = [job for job in told.jobs.values() if job.spec.domain == DOMAIN]
    assert [job.error.code for job in failed if job.error] == [m.ErrorCode.SECRET] * 3
    assert told.jobs["globex/payroll"].state is m.State.DOWNLOADED
    assert "of the key ring" not in (told.folder / "run.json").read_text()


# ── lanes ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_older_dates_of_a_configuration_go_first_and_one_at_a_time(tmp_path: Path) -> None:
    entries = [
        export("new", ends_at="2026-11-23"),
        export("old", ends_at="2026-11-09"),
        export("middle", ends_at="2026-11-16"),
    ]
    slow = (Configuration(trigger=Trigger(seconds=90.0)),)
    told = night(tmp_path, [tenant(exports=entries)], [host(configurations=slow)])
    assert told.code == 0
    assert [str(trigger.ends_at)[:10] for trigger in told.triggers] == [
        "2026-11-09",
        "2026-11-16",
        "2026-11-23",
    ]
    kinds = [record.kind for record in told.asked() if record.kind in ("trigger", "content")]
    assert kinds == ["trigger", "content"] * 3
    assert list(told.files()) == ["acme/middle-342.json", "acme/new-343.json", "acme/old-341.json"]


@pytest.mark.parametrize("error", [LostError("no answer in 60 s"), NotSentError("no connection")])
def test_a_report_that_is_in_trouble_for_ever_keeps_no_other_of_its_host_waiting(
    error: TransportError, tmp_path: Path
) -> None:
    posts: list[int] = []

    def lost(_domain: str, request: Request) -> None:
        if request.body is not None and b'"templateId":12' in request.body:
            posts.append(1)
            raise error

    mine = [report("first"), report("second", m.TemplateId(13)), report("third", m.TemplateId(13))]
    tenants = [tenant(reports=mine), tenant(reports=[report("theirs", m.TemplateId(13))], name="zeta")]
    kind = host(reports=Reports(templates=(12, 13)))
    setting = Setting(sender=lambda sender: Counting(sender, lost), until_seconds=1800.0)
    told = night(tmp_path, tenants, [kind], setting)
    states = {label: job.state for label, job in told.jobs.items()}
    assert states.pop("acme/first") is m.State.PENDING
    assert set(states.values()) == {m.State.DOWNLOADED}
    assert told.code == 4
    assert len(posts) <= 7 + 1800 / 60, "it is asked for no more often for that"
    assert not told.evictions or not any(record.unfinished for record in told.evictions)


def test_an_export_that_cannot_be_downloaded_for_ever_keeps_no_later_date_waiting(tmp_path: Path) -> None:
    """It was made before theirs, whenever it comes."""
    broken: list[int] = []

    def bend(record: RequestRecord) -> Fault | None:
        if record.kind == "content" and not broken:
            broken.append(int(record.path.rpartition("/")[2]))
        return Status(500) if broken and record.path.endswith(f"/{broken[0]}") else None

    dates = [export("older", ends_at="monday"), export("later", ends_at="daily")]
    told = night(tmp_path, [tenant(exports=dates)], setting=Setting(bend=bend, until_seconds=1800.0))
    assert {label: job.state.value for label, job in told.jobs.items()} == {
        "acme/older": "downloading",
        "acme/later": "downloaded",
    }
    assert [trigger.ends_at for trigger in told.triggers] == ["2026-11-23T00:00:00", "2026-11-24T00:00:00"]


@pytest.mark.parametrize("kind", ["report.poll", "report.download"])
def test_a_report_that_cannot_be_had_in_its_time_makes_room_for_the_others_and_is_made_anew(
    kind: str, tmp_path: Path
) -> None:
    """A host may make a report and never manage to send it: no other report of that host came, in any night."""
    ill: list[str] = []

    def bend(record: RequestRecord) -> Fault | None:
        number = record.path.split("/")[4] if record.kind == kind else ""
        if number and not ill:
            ill.append(number)
        return Status(504) if number and number in ill else None

    reports = [report("first"), report("second"), report("third")]
    told = night(tmp_path, [tenant(reports=reports)], setting=Setting(bend=bend))
    assert {job.state for job in told.jobs.values()} == {m.State.DOWNLOADED}
    assert (told.code, len(told.asked("report.create"))) == (0, 4)
    created = [record.at_seconds for record in told.asked("report.create")]
    assert 3600 <= created[1] - created[0] < 3600 + 120


def test_an_export_that_later_dates_overtook_is_downloaded_while_they_wait(tmp_path: Path) -> None:
    """A moment's trouble does not cost it the hour that Lucca takes for theirs."""
    failed: list[str] = []

    def bend(record: RequestRecord) -> Fault | None:
        if record.kind == "content" and not failed:
            failed.append(record.path)
            return Status(500)
        return None

    slow = Configuration(triggers=(Trigger(),), trigger=Trigger(seconds=1800.0))
    dates = [export("older", ends_at="monday"), export("later", ends_at="daily")]
    setting = Setting(bend=bend, until_seconds=300.0)
    told = night(tmp_path, [tenant(exports=dates)], [host(configurations=(slow,))], setting)
    assert told.jobs["acme/older"].state is m.State.DOWNLOADED
    assert (told.jobs["acme/later"].finished, len(told.triggers)) == (False, 2)


def test_an_export_that_was_overtaken_and_is_another_s_is_not_asked_for_beside_those_that_overtook_it(
    tmp_path: Path,
) -> None:
    paths: list[str] = []

    def bend(record: RequestRecord) -> Fault | None:
        if record.kind == "content" and not paths:
            paths.append(record.path)
            return Status(500)
        if record.path not in paths:
            return None
        number = record.path.rpartition("/")[2]
        other = f'"id": {number}, "configurationId": 3, "endsAt": "2026-11-20T00:00:00", "entries": []'
        return RawBody(f'{{"data": {{{other}}}}}')

    slow = Configuration(triggers=(Trigger(),), trigger=Trigger(seconds=5400.0))
    dates = [export("older", ends_at="monday"), export("later", ends_at="daily")]
    shown = host(configurations=(slow,), bare_lists=True)
    told = night(tmp_path, [tenant(exports=dates)], [shown], Setting(bend=bend))
    assert told.jobs["acme/later"].state is m.State.DOWNLOADED
    assert told.jobs["acme/older"].error is not None
    assert [trigger.ends_at for trigger in told.triggers].count("2026-11-23T00:00:00") == 1


def test_in_an_outage_several_reports_of_a_host_ask_hardly_more_often_than_one(
    tmp_path: Path,
) -> None:
    posts: list[int] = []

    def lost(_domain: str, _request: Request) -> None:
        posts.append(1)
        raise LostError("no answer in 60 s")

    reports = [report(f"r{number}") for number in range(5)]
    setting = Setting(sender=lambda sender: Counting(sender, lost), until_seconds=7200.0)
    told = night(tmp_path, [tenant(reports=reports)], setting=setting)
    assert {job.state for job in told.jobs.values()} == {m.State.PENDING}
    assert len(posts) <= 5 * 7 + 7200 / 60


def test_reports_of_a_host_go_one_at_a_time_from_the_post_to_the_last_byte(tmp_path: Path) -> None:
    many = [
        report(f"r{number}", BODY if number % 2 else None, formats=("csv", "excel")) for number in range(4)
    ]
    told = night(
        tmp_path,
        [tenant(reports=many[:2]), tenant(reports=many[2:], name="second"), tenant(OTHER, [export()])],
        [host(reports=Reports(pending_seconds=40.0), latency_seconds=0.3)],
        Setting(limits=Limits(in_flight_per_domain=10)),
    )
    assert told.code == 0
    assert [eviction for eviction in told.evictions if eviction.unfinished] == []
    kinds = [r.kind for r in told.asked() if r.kind in ("report.create", "report.download")]
    assert kinds == ["report.create", "report.download", "report.download"] * 4
    assert len(told.asked("template.create")) == 1


# ── trouble of our own ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("kind", ["timmiexports?", "/run", "entries"])
def test_a_fault_of_ours_in_one_job_leaves_the_others_alone(kind: str, tmp_path: Path) -> None:
    def fault(domain: str, request: Request) -> None:
        if domain == DOMAIN and kind in request.target:
            raise RuntimeError("a fault of this program")

    told = night(
        tmp_path,
        [tenant(exports=[export(), export("later", ends_at="2026-11-24")]), tenant(OTHER, [export()])],
        setting=Setting(sender=lambda sender: Counting(sender, fault)),
    )
    assert told.code == 1
    assert told.jobs["globex/payroll"].state is m.State.DOWNLOADED
    assert not told.jobs["acme/payroll"].finished
    assert told.jobs["acme/later"].state is m.State.PENDING
    assert len(told.asked("trigger")) <= 1


@pytest.mark.parametrize("looks", [0, 1, 2, 5])
def test_a_fault_of_ours_in_what_one_job_does_next_leaves_the_others_alone(
    looks: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[m.State] = []

    def faulty(job: m.Job, now: Instant, policy: Policy) -> Action:
        if job.label == "acme/payroll":
            seen.append(job.state)
            if len(seen) > looks:
                raise LookupError("a fault of this program")
        return next_action(job, now, policy)

    monkeypatch.setattr(agenda, "next_action", faulty)
    tenants = [tenant(exports=[export(), export("other", 4)]), tenant(OTHER, [export()])]
    told = night(tmp_path, tenants, [host(configurations=configurations(4))])
    assert told.code == 1
    assert told.jobs["globex/payroll"].state is m.State.DOWNLOADED
    assert told.jobs["acme/other"].state is m.State.DOWNLOADED
    assert not told.jobs["acme/payroll"].finished
    assert looks < len(seen) <= looks + 2


def test_a_fault_of_ours_in_the_order_of_one_lane_leaves_the_others_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or a row of the journal that nobody wrote."""
    free_at = agenda.free_at

    def faulty(job: m.Job, now: Instant, policy: Policy) -> float:
        if job.spec.name == "torn":
            raise IndexError("a fault of this program")
        return free_at(job, now, policy)

    monkeypatch.setattr(agenda, "free_at", faulty)
    torn = [export("torn"), export("beside", ends_at="daily")]
    others = [export("whole", 4), export("whole-too", 4, ends_at="daily")]
    tenants = [tenant(exports=[*torn, *others]), tenant(OTHER, [export()])]
    told = night(tmp_path, tenants, [host(configurations=configurations(4))])
    states = {label: job.state for label, job in told.jobs.items()}
    assert states.pop("acme/torn") == states.pop("acme/beside") == m.State.PENDING
    assert set(states.values()) == {m.State.DOWNLOADED}
    assert (told.code, told.seconds < 60) == (1, True)


@pytest.mark.parametrize("document", ["page_pieces", "document_pieces", "sha256sums"])
def test_a_fault_of_ours_in_how_the_night_is_told_costs_no_job(
    document: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def faulty(*_: object) -> Iterator[bytes]:
        yield b"half of it"
        raise LookupError("a fault of this program")

    monkeypatch.setattr(nightly, document, faulty)
    told = night(tmp_path, [tenant(exports=[export()]), tenant(OTHER, [export()])])
    assert told.code == 1
    assert {job.state for job in told.jobs.values()} == {m.State.DOWNLOADED}
    names = {"page_pieces": "index.html", "document_pieces": "run.json", "sha256sums": "SHA256SUMS"}
    published = {path.name for path in told.folder.iterdir() if path.is_file()}
    assert published == set(names.values()) - {names[document]}
    if document != "document_pieces":
        assert (told.document["outcome"], told.document["reason"]) == ("failed", "internal")


class FailingJournal:
    """A journal whose disk is full from one kind of event on."""

    def __init__(self, journal: SqliteJournal, event: str, error: Exception) -> None:
        self._journal = journal
        self._event = event
        self._error = error
        self.epoch = journal.epoch

    def __getattr__(self, name: str) -> Any:
        return getattr(self._journal, name)

    async def record(self, job: m.Job, night: date, told: Happened) -> None:
        if told.event == self._event:
            raise self._error
        await self._journal.record(job, night, told)


FULL = StorageError("journal.db: the disk is full")
STALE = StaleHolderError("another runner took the journal meanwhile")


@pytest.mark.parametrize("error, code", [(FULL, 6), (STALE, 5)], ids=["full", "taken by another"])
def test_no_trigger_leaves_whose_intent_could_not_be_stored(
    error: Exception, code: int, tmp_path: Path
) -> None:
    setting = Setting(journal=lambda journal: FailingJournal(journal, "Triggered", error))
    told = night(
        tmp_path,
        [tenant(exports=exports(3), reports=[report()]), tenant(OTHER, [export()])],
        [host(configurations=configurations(3))],
        setting,
    )
    assert told.error is error
    assert getattr(told.error, "exit_code", None) == code
    assert told.triggers == []
    assert told.asked("report.create") == []


@pytest.mark.parametrize("event", ["Listed", "TriggerAnswered", "Named", "Placed"])
def test_a_journal_that_fails_stops_the_run_and_what_is_stored_goes_on_next_time(
    event: str, tmp_path: Path
) -> None:
    broken = Setting(journal=lambda journal: FailingJournal(journal, event, FULL), kept=True)
    told = night(tmp_path, [tenant(exports=[export()])], setting=broken)
    assert told.error is FULL
    assert told.seconds < 10
    again = night(tmp_path, [tenant(exports=[export()])], setting=Setting(kept=True))
    assert again.error is None
    assert [name for name in again.files() if "/." in name] == []
    assert (len(told.triggers), len(again.triggers)) in {(0, 1), (1, 1), (1, 0)}


def test_an_output_that_fails_stops_the_run(tmp_path: Path) -> None:
    class FullOutput:
        def __init__(self, output: Output) -> None:
            self._output = output

        def __getattr__(self, name: str) -> Any:
            return getattr(self._output, name)

        async def place(self, *_: Any) -> Any:
            raise StorageError(f"payroll-341.json: {errno.errorcode[errno.ENOSPC]}")

    told = night(tmp_path, [tenant(exports=[export()])], setting=Setting(output=FullOutput))
    assert isinstance(told.error, StorageError)
    assert told.files() == {}


def test_a_file_in_the_way_fails_its_job_alone(tmp_path: Path) -> None:
    place = tmp_path / TONIGHT.isoformat() / "acme" / "payroll-341.json"
    place.parent.mkdir(parents=True)
    place.write_bytes(b"somebody else's")
    told = night(tmp_path, [tenant(exports=[export()]), tenant(OTHER, [export()])])
    error = told.jobs["acme/payroll"].error
    assert error is not None
    assert (told.code, error.code) == (3, m.ErrorCode.STORAGE)
    assert place.read_bytes() == b"somebody else's"
    assert told.jobs["globex/payroll"].state is m.State.DOWNLOADED


# ── ends before the end ──────────────────────────────────────────────────────────────────────────────────────────


def stopping(at_seconds: float, reason: str = "SIGTERM") -> Callable[[Nightly, VirtualSandbox], Any]:
    async def stop(nightly: Nightly, sandbox: VirtualSandbox) -> None:
        await sandbox.clock.wait(at_seconds)
        nightly.stop(reason)
        nightly.stop("SIGINT")  # a second one changes nothing

    return stop


HANGING = host(configurations=(Configuration(trigger=Trigger(seconds=7200.0)),))


@pytest.mark.parametrize("reason, code", [("SIGTERM", 143), ("SIGINT", 130)])
def test_a_stop_ends_the_night_within_seconds_and_the_next_run_sends_nothing_twice(
    reason: str, code: int, tmp_path: Path
) -> None:
    setting = Setting(beside=stopping(3.0, reason), kept=True)
    told = night(tmp_path, [tenant(exports=[export()])], [HANGING], setting)
    assert (told.code, len(told.triggers)) == (code, 1)
    assert told.seconds <= 10.0
    assert told.journaled["acme/payroll"].state is m.State.TRIGGERED
    assert told.document["outcome"] == "incomplete"
    again = night(tmp_path, [tenant(exports=[export()])], [HANGING], Setting(kept=True, until_seconds=3500.0))
    assert (again.code, again.triggers) == (4, [])


def test_a_stop_before_the_first_request_sends_none(tmp_path: Path) -> None:
    told = night(tmp_path, [tenant(exports=[export()])], setting=Setting(beside=stopping(0.0)))
    assert told.code == 143
    assert len(told.asked()) <= 1


def test_a_stop_after_the_first_look_stores_what_it_told(tmp_path: Path) -> None:
    setting = Setting(requests_per_minute=1, beside=stopping(3.0))
    told = night(tmp_path, [tenant(exports=[export()])], setting=setting)
    assert (told.code, [record.kind for record in told.asked()]) == (143, ["list"])
    assert told.journaled["acme/payroll"].baseline_id == 340


def test_a_stop_that_cannot_store_what_the_first_look_told_ends_as_trouble_with_the_journal(
    tmp_path: Path,
) -> None:
    setting = Setting(
        requests_per_minute=1,
        beside=stopping(3.0),
        journal=lambda journal: FailingJournal(journal, "Listed", FULL),
    )
    assert night(tmp_path, [tenant(exports=[export()])], setting=setting).error is FULL


def test_a_stop_leaves_nothing_beside_its_place(tmp_path: Path) -> None:
    both = report(formats=("csv", "excel"))
    waits = Setting(bend=first(9, "report.download", Status(503)), beside=stopping(30.0))
    second = Setting(
        bend=lambda r: Status(503) if r.kind == "report.download" and r.nth_of_kind > 1 else None,
        beside=stopping(30.0),
    )
    for number, setting in enumerate((waits, second)):
        told = night(tmp_path / str(number), [tenant(reports=[both])], setting=setting)
        assert (told.code, told.files()) == (143, {})


def test_at_the_deadline_what_is_unfinished_is_left_to_the_next_run(tmp_path: Path) -> None:
    told = night(
        tmp_path,
        [tenant(exports=[export()]), tenant(OTHER, [export()])],
        [HANGING],
        Setting(until_seconds=300.0),
    )
    assert (told.code, told.document["outcome"]) == (4, "incomplete")
    assert 300.0 <= told.seconds <= 306.0
    assert told.jobs["acme/payroll"].state is m.State.POLLING
    assert told.jobs["globex/payroll"].state is m.State.DOWNLOADED


# ── looks at what is done ────────────────────────────────────────────────────────────────────────────────────────


LATE = host(configurations=(Configuration(triggers=(Trigger(completes=False, answer=Reset()),)),))


@pytest.mark.parametrize("fault", [Status(503), Status(401), Hang(5.0), Status(404)], ids=str)
def test_a_look_that_fails_takes_nothing_from_a_job_that_is_done(fault: Fault, tmp_path: Path) -> None:
    before = night(tmp_path, [tenant(exports=[export()])], [LATE], Setting(kept=True))
    assert (before.code, before.jobs["acme/payroll"].state) == (0, m.State.DOWNLOADED)
    assert len(before.triggers) == 2
    looked = Setting(kept=True, bend=first(10**9, "poll", fault))
    told = night(tmp_path, [tenant(exports=[export()])], [LATE], looked)
    assert told.code == 0
    assert told.journaled["acme/payroll"] == replace(before.journaled["acme/payroll"])
    assert 1 <= len(told.asked("poll")) <= 4
    assert told.asked("trigger") == []


def test_a_deadline_that_has_passed_sends_nothing(tmp_path: Path) -> None:
    told = night(tmp_path, [tenant(exports=[export()])], setting=Setting(until_seconds=0.0))
    assert (told.code, told.asked()) == (4, [])


def test_a_request_that_ends_in_the_grace_of_the_deadline_is_taken(tmp_path: Path) -> None:
    slow = host(configurations=(Configuration(trigger=Trigger(seconds=4.0)),))
    told = night(tmp_path, [tenant(exports=[export()])], [slow], Setting(until_seconds=2.0))
    assert told.code == 4
    assert told.journaled["acme/payroll"].remote_ids == (341,)


def test_jobs_that_wait_wake_up_in_their_order_though_nobody_sends(tmp_path: Path) -> None:
    async def main(clock: VirtualClock) -> tuple[list[str], str | None]:
        asked: list[str] = []

        def keeper(name: str) -> Callable[[], Any]:
            async def key() -> Secret:
                asked.append(name)
                raise CredentialError("none")

            return key

        def onlooker(*_: object) -> None:
            raise RuntimeError("who only looks on")

        async with SqliteJournal.hold(MEMORY, inline=True) as journal:
            engine = engine_of(clock, journal, tmp_path, observers=(onlooker,))
            (first, second, done) = await journal.create(
                [job.spec for job in waiting_jobs(3, clock)], TONIGHT
            )
            now = clock.now().boot_seconds
            for job, polled in ((first, now), (second, now - 20.0)):
                waiting = waiting_jobs(1, clock)[0]
                live = replace(waiting.live, polled_boot_seconds=polled)
                add(engine, keeper(job.spec.tenant), replace(waiting, id=job.id, spec=job.spec, live=live))
            add(engine, keeper("done"), replace(done, state=m.State.SKIPPED))
            await engine.run()
        return asked, engine.reason

    assert run_virtual(main) == (["t2", "t1"], None)


def test_a_slow_disk_costs_time_and_no_memory(tmp_path: Path) -> None:
    """Answers are asked for no quicker than the disk takes them: those that wait for it lie in memory."""
    made = configurations(1)
    hosts = [host(f"client{number}.ilucca.net", configurations=made) for number in range(400)]
    asked, arrived = 0, 0
    most = 0

    def count(record: RequestRecord) -> None:
        nonlocal asked, most
        if record.kind == "content":
            asked += 1
            most = max(most, asked - arrived)

    def slow(root: Path) -> Output:
        disk_is_free = asyncio.Lock()

        async def offload(work: Callable[[], T]) -> T:
            nonlocal arrived
            async with disk_is_free:
                await asyncio.sleep(0.5)
                done = work()
            arrived += isinstance(done, Spooled)
            return done

        return Output(root, disk=Disk(), offload=offload)

    told = night(
        tmp_path,
        [tenant(one.domain, exports(1)) for one in hosts],
        hosts,
        Setting(bend=count, output=lambda _: slow(tmp_path)),
    )
    assert {job.state for job in told.jobs.values()} == {m.State.DOWNLOADED}
    assert len(told.jobs) == len(hosts)
    assert most <= Limits().in_flight + ANSWERS_AT_THE_DISK


def add(engine: Engine, key: Callable[[], Any], job: m.Job) -> None:
    client = Client(name=job.spec.tenant, domain=job.spec.domain, requests_per_minute=25, key=key)
    engine.add([Taken(client, job)])
