"""Turns: in which order, how many at a time, and what a turn costs."""

from base64 import b64encode
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

import pytest

from runner.clock import Instant
from runner.credentials import Secret
from runner.jobs.agenda import Step
from runner.jobs.model import Job
from runner.journal import Happened, Spend
from runner.lucca import Purpose, Request
from runner.pacing import ARRIVES_WITHIN_SECONDS, MARGIN_SECONDS, WINDOW_SECONDS
from runner.transport import Answer, NotSentError, Stream
from runner.turns import FIRST_RANK, LAST_RANK, Client, Limits, Tenant, Turn, Turns

pytestmark = pytest.mark.anyio
URGENT, SOON, POLL = Step.TRIGGER.priority, Step.SURVEY.priority, Step.POLL.priority
ASK = Request("GET", "/x")
KEY = "d8f7a1c2-0b3e-4f5a-9c6d-7e8f90a1b2c3"


class Hand:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.at = 1000.0

    def now(self) -> Instant:
        return Instant(datetime(2026, 11, 24, 1, tzinfo=UTC), self.at, "boot-1")

    def boot_seconds(self) -> float:
        return self.at

    async def wait(self, seconds: float) -> None:
        self.at += seconds


class Host:
    """Both ports of the turns: stores what was spent, and answers as it is told."""

    def __init__(self) -> None:
        self.spent: list[float] = []
        self.status = 200
        self.headers: dict[str, str] = {}
        self.reaches = True
        self.seconds = 0.0
        self.clock: Hand | None = None

    async def record(self, job: Job, night: date, told: Happened) -> None:
        raise AssertionError("turns record nothing")

    async def spend(self, spend: Spend) -> None:
        self.spent.append(spend.boot_seconds)

    async def send(self, domain: str, key: Secret, request: Request, left: Callable[[], None]) -> Answer:
        if self.clock is not None:
            await self.clock.wait(self.seconds)
        if not self.reaches:
            raise NotSentError("refused")
        left()
        return Answer(self.status, self.headers, b"")

    async def download(self, domain: str, key: Secret, request: Request, left: Callable[[], None]) -> Stream:
        raise AssertionError("no download here")


class Desk:
    """Turns with everything around them."""

    def __init__(self, **limits: int) -> None:
        self.clock = Hand()
        self.host = Host()
        self.host.clock = self.clock
        self.changes = 0
        self.turns = Turns(self.clock, self.host, self.host, Limits(**limits), self._changed)

    def _changed(self) -> None:
        self.changes += 1

    def tenant(self, name: str = "acme", domain: str = "", *, proven: bool = True, **client: Any) -> Tenant:
        async def key() -> Secret:
            return Secret("key")

        values: dict[str, Any] = {"requests_per_minute": 25, **client}
        tenant = self.turns.tenant(
            Client(name=name, domain=domain or f"{name}.ilucca.net", key=key, **values)
        )
        tenant.key = Secret(KEY)
        tenant.proven = proven
        return tenant

    def next(self) -> Turn | None:
        return self.turns.next(self.clock.at)

    def all(self) -> list[int]:
        given = []
        while (turn := self.next()) is not None:
            given.append(turn.id)
        return given


def test_triggers_and_downloads_go_before_looks_and_those_before_polls() -> None:
    desk = Desk(in_flight_per_domain=9)
    acme = desk.tenant()
    for id_, priority in ((1, POLL), (2, SOON), (3, URGENT), (4, POLL), (5, URGENT)):
        desk.turns.ask(acme, id_, priority)
    assert desk.all() == [3, 5, 2, 1, 4]
    assert Step.FETCH.priority == Step.CREATE_TEMPLATE.priority == URGENT < SOON < POLL


async def test_where_the_budget_is_short_polls_wait_for_triggers_and_downloads() -> None:
    desk = Desk(in_flight_per_domain=99)
    acme = desk.tenant(requests_per_minute=10)
    for id_ in range(20):
        desk.turns.ask(acme, id_, POLL)
    polls = desk.all()
    assert len(polls) == 8
    for id_ in (100, 101, 102):
        desk.turns.ask(acme, id_, URGENT)
    assert desk.all() == [100, 101]
    assert desk.next() is None


def test_hosts_take_turns() -> None:
    desk = Desk(in_flight=4)
    acme, globex = desk.tenant("acme"), desk.tenant("globex")
    for id_ in range(10):
        desk.turns.ask(acme, id_, URGENT)
    for id_ in range(10, 20):
        desk.turns.ask(globex, id_, URGENT)
    assert desk.all() == [0, 10, 1, 11]


@pytest.mark.parametrize("patient", [SOON, POLL])
async def test_what_one_host_has_begun_goes_before_what_others_begin_and_leaves_them_their_order(
    patient: int,
) -> None:
    desk = Desk(in_flight=1)
    hosts = [desk.tenant(f"t{number}") for number in range(4)]
    for id_, host in enumerate(hosts):
        desk.turns.ask(host, id_, patient)
    order = []
    while (turn := desk.next()) is not None:
        order.append(turn.id)
        turn.end()
        if turn.id in (1, 101):
            desk.turns.ask(hosts[1], turn.id + 100, URGENT)
        if turn.id == 0:  # one that waits already, for something else
            desk.turns.ask(hosts[3], 103, URGENT)
    assert order == [0, 103, 1, 101, 201, 2, 3]


def test_all_is_begun_before_anybody_polls_and_what_is_asked_again_has_no_precedence() -> None:
    desk = Desk(in_flight=6)
    hosts = [desk.tenant(f"t{number}") for number in range(6)]
    desk.turns.ask(hosts[0], 0, POLL)
    desk.turns.ask(hosts[1], 1, URGENT, LAST_RANK)
    desk.turns.ask(hosts[2], 2, POLL)
    desk.turns.ask(hosts[3], 3, POLL, FIRST_RANK)
    desk.turns.ask(hosts[4], 4, SOON)
    desk.turns.ask(hosts[5], 5, URGENT)
    assert desk.turns.backlog == 3
    assert desk.all() == [5, 3, 4, 0, 1, 2]


def test_who_asks_twice_is_heard_once() -> None:
    desk = Desk(in_flight_per_domain=9)
    acme = desk.tenant()
    desk.turns.ask(acme, 1, POLL)
    desk.turns.ask(acme, 1, URGENT)
    assert desk.all() == [1]
    desk.turns.ask(acme, 1, POLL)
    assert desk.all() == [1]


async def test_a_place_comes_free_with_the_end_of_a_turn_and_only_once() -> None:
    desk = Desk(in_flight=2, in_flight_per_domain=1)
    acme, globex, third = desk.tenant("acme"), desk.tenant("globex"), desk.tenant("third")
    for id_, tenant in ((1, acme), (2, acme), (3, globex), (4, third)):
        desk.turns.ask(tenant, id_, POLL)
    first, second = desk.next(), desk.next()
    assert first is not None
    assert second is not None
    assert (first.id, second.id, desk.next()) == (1, 3, None)
    before = desk.changes
    first.end()
    first.end()
    assert desk.changes > before
    assert desk.all() == [4]
    second.end()
    assert desk.all() == [2]


async def test_an_unproven_key_is_shown_to_one_request_at_a_time_until_it_worked() -> None:
    desk = Desk(in_flight_per_domain=10)
    acme = desk.tenant(proven=False)
    for id_ in range(10):
        desk.turns.ask(acme, id_, URGENT)
    for status in (503, 200):
        turn = desk.next()
        assert turn is not None
        assert desk.next() is None
        desk.host.status = status
        await turn.send(ASK)
        turn.end()
    assert len(desk.all()) == 8


async def test_a_key_is_proven_by_the_head_of_an_answer_however_long_its_body_takes() -> None:
    desk = Desk(in_flight_per_domain=2)
    acme = desk.tenant(proven=False)
    desk.turns.ask(acme, 1, URGENT)
    desk.turns.ask(acme, 2, URGENT)
    first = desk.next()
    assert first is not None
    assert desk.next() is None
    before = desk.changes
    await first.send(ASK)
    assert desk.changes > before
    assert desk.all() == [2]


async def send_for(desk: Desk, tenant: Tenant, seconds: float, request: Request = ASK) -> None:
    """One request of the tenant that waits so long for its answer."""
    desk.turns.ask(tenant, 1_000_000, URGENT)
    turn = desk.next()
    assert turn is not None
    desk.host.seconds = seconds
    try:
        await turn.send(request)
    finally:
        turn.end()
        desk.host.seconds = 0.0


async def test_slow_hosts_together_hold_half_of_the_places_and_the_others_the_rest() -> None:
    desk = Desk(in_flight=6, in_flight_per_domain=2)
    slow = [desk.tenant(f"slow{n}") for n in range(4)]
    quick = [desk.tenant(f"quick{n}") for n in range(4)]
    for tenant in slow:
        await send_for(desk, tenant, 6.0)
    turns = []
    for id_ in range(8):
        desk.turns.ask(slow[id_ % 4], id_, URGENT)
    while (turn := desk.next()) is not None:
        turns.append(turn)
    assert len(turns) == 3
    for id_ in range(8):
        desk.turns.ask(quick[id_ % 4], 100 + id_, URGENT)
    assert desk.all() == [100, 101, 102]
    # One of the slow ones ends: its place is for whoever is next, quick ones first in turn.
    turns[0].end()
    assert desk.all() == [103]


async def test_a_place_of_the_slow_goes_to_the_next_of_them() -> None:
    desk = Desk(in_flight=2, in_flight_per_domain=2)
    slow = [desk.tenant(f"slow{n}") for n in range(3)]
    for tenant in slow:
        await send_for(desk, tenant, 60.0)
    for id_, tenant in enumerate(slow):
        desk.turns.ask(tenant, id_, URGENT)
    order = []
    while (turn := desk.next()) is not None:
        assert desk.next() is None
        order.append(turn.id)
        turn.end()
    assert order == [0, 1, 2]


async def test_a_host_that_answers_soon_again_is_slow_no_more_and_one_that_never_answers_is() -> None:
    desk = Desk(in_flight=2, in_flight_per_domain=2)
    acme = desk.tenant()
    await send_for(desk, acme, 6.0)
    desk.turns.ask(acme, 1, URGENT)
    desk.turns.ask(acme, 2, URGENT)
    first = desk.next()
    assert first is not None
    assert desk.next() is None
    await first.send(ASK)
    # Its answer came at once: the other may go while this one is still being read.
    desk.turns.ask(acme, 3, URGENT)
    first.end()
    assert desk.all() == [2, 3]


async def test_the_post_that_generates_an_export_makes_no_host_slow() -> None:
    desk = Desk(in_flight=2, in_flight_per_domain=2)
    acme = desk.tenant()
    await send_for(desk, acme, 15.0, Request("POST", "/x", purpose=Purpose.TRIGGER))
    desk.turns.ask(acme, 1, URGENT)
    desk.turns.ask(acme, 2, URGENT)
    assert desk.all() == [1, 2]


async def test_a_host_whose_request_ends_without_an_answer_is_slow_as_well() -> None:
    desk = Desk(in_flight=2, in_flight_per_domain=2)
    acme = desk.tenant()
    desk.host.reaches = False
    with pytest.raises(NotSentError):
        await send_for(desk, acme, 60.0)
    desk.turns.ask(acme, 1, URGENT)
    desk.turns.ask(acme, 2, URGENT)
    assert desk.all() == [1]


async def test_a_request_that_never_left_costs_nothing_of_the_budget() -> None:
    desk = Desk(in_flight_per_domain=9)
    acme = desk.tenant(requests_per_minute=1)
    desk.turns.ask(acme, 1, URGENT)
    desk.host.reaches = False
    turn = desk.next()
    assert turn is not None
    with pytest.raises(NotSentError):
        await turn.send(ASK)
    turn.end()
    desk.turns.ask(acme, 2, URGENT)
    desk.host.reaches = True
    turn = desk.next()
    assert turn is not None
    await turn.send(ASK)
    turn.end()
    desk.turns.ask(acme, 3, URGENT)
    assert desk.next() is None
    assert 60.0 <= desk.turns.next_moment() - desk.clock.at < 61.0
    await desk.clock.wait(61.0)
    assert desk.all() == [3]
    assert desk.turns.next_moment() == float("inf")
    assert len(desk.host.spent) == 2


def test_what_an_earlier_run_sent_counts_and_of_several_budgets_the_least() -> None:
    desk = Desk(in_flight_per_domain=9)
    shared = "acme.ilucca.net"
    acme = desk.tenant("acme", shared, requests_per_minute=25, spent=(990.0, 995.0))
    again = desk.tenant("acme", shared)
    bis = desk.tenant("bis", shared, requests_per_minute=3)
    assert again is acme
    assert bis.domain is acme.domain
    for id_ in range(3):
        desk.turns.ask(bis, id_, URGENT)
    assert desk.all() == [0]
    assert desk.turns.next_moment() == pytest.approx(
        990.0 + ARRIVES_WITHIN_SECONDS + WINDOW_SECONDS + MARGIN_SECONDS
    )


async def test_a_pause_holds_one_host_and_a_shorter_one_does_not_end_it() -> None:
    desk = Desk()
    acme, globex = desk.tenant("acme"), desk.tenant("globex")
    acme.domain.pause(1120.0)
    acme.domain.pause(1060.0)
    desk.turns.ask(acme, 1, URGENT)
    desk.turns.ask(globex, 2, POLL)
    assert desk.all() == [2]
    assert desk.turns.next_moment() == 1120.0
    await desk.clock.wait(119.9)
    assert desk.all() == []
    await desk.clock.wait(0.2)
    assert desk.all() == [1]


async def test_a_host_that_announces_a_change_is_told_once_and_without_the_key() -> None:
    desk = Desk(in_flight_per_domain=9)
    acme = desk.tenant()
    desk.host.headers = {"sunset": "Sat, 01 May 2027 00:00:00 GMT d8f7a1c20b3e4f5a9c6d7e8f90a1b2c3"}
    for id_ in (1, 2):
        desk.turns.ask(acme, id_, URGENT)
        turn = desk.next()
        assert turn is not None
        await turn.send(ASK)
    assert desk.turns.announced == {
        "acme.ilucca.net": "acme.ilucca.net announces a change of its interface: "
        "Sunset: Sat, 01 May 2027 00:00:00 GMT …"
    }


@pytest.mark.parametrize(
    "said, told",
    [
        ("nothing of it", "nothing of it"),
        ("key d8f7a1c2-0b3e-4f5a-9c6d-7e8f90a1b2c3!", "key …!"),
        ("key D8F7A1C20B3E4F5A9C6D7E8F90A1B2C3!", "key …!"),
        ("cut d8f7a1c2-0b3e-4f5a-9c6d-7e8f90a1b2c…", "cut …"),
        ("cut D8F7a1…", "cut …"),
        ("cut d8f7a1c20b3e4…", "cut …"),
        ("d8f7a1 in the midst", "d8f7a1 in the midst"),
        ("d8f7a1c2-0b3e in the midst", "…"),
        ("key %64%38%66%37%61%31%63%32%2d%30%62%33%65!", "…"),
        ("key %2564%2538%2566%2537%2561%2531%2563%2532%252d0b3e!", "…"),
        ("key &#100;&#x38;&#102;7a1c2&#45;0b3e!", "…"),
        ("key \\u0064\\u0038f7a1c2\\u002d0b3e!", "…"),
        ("key d 8 f 7 a 1 c 2 - 0 b 3 e!", "…"),
        ("key " + b64encode(f"lucca application={KEY}".encode()).decode(), "…"),
        ("cut " + b64encode(KEY.encode()).decode()[:30] + "…", "…"),
        ("key " + b"d8f7a1c2-0b3e-4f5a".hex(), "…"),
    ],
)
def test_no_echo_of_the_key_is_told(said: str, told: str) -> None:
    assert Desk().tenant().scrub(said) == told


def test_a_key_of_a_few_signs_takes_no_words_away_that_only_look_like_it() -> None:
    tenant = Desk().tenant()
    tenant.key = Secret("key-a")
    assert tenant.scrub("the key acme of key-a is wrong") == "the key acme of … is wrong"


def test_without_a_key_there_is_nothing_to_hide() -> None:
    tenant = Desk().tenant()
    tenant.key = None
    assert tenant.scrub("d8f7a1c2") == "d8f7a1c2"
