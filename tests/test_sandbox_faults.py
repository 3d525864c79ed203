"""The sandbox's faults over real sockets: what a client sees when a server misbehaves."""

import gzip

import aiohttp
import pytest

from runner.sandbox import (
    Cut,
    Delay,
    Fault,
    FaultRule,
    Gzip,
    Hang,
    Html,
    RawBody,
    Redirect,
    RequestRecord,
    Reset,
    Status,
    TenantScenario,
    Trickle,
)
from tests.test_sandbox import ACME, DOMAIN, LIST, MONDAY, Client, sandbox

pytestmark = pytest.mark.anyio

HISTORY = f"{LIST}?configurationId=3&fields=id"


async def whole(client: Client, path: str) -> bytes:
    """The whole answer, asked for once: aiohttp would ask again by itself on an old connection."""
    async with client.session.get(path, headers=client.headers, allow_redirects=False) as response:
        return await response.read()


def with_fault(fault: Fault, **rule: object) -> TenantScenario:
    return TenantScenario(
        domain=DOMAIN,
        configurations=ACME.configurations,
        reports=ACME.reports,
        faults=(FaultRule(fault=fault, **rule),),  # type: ignore[arg-type]
    )


async def test_a_reset_breaks_the_connection_and_is_in_the_log() -> None:
    async with sandbox(with_fault(Reset(), last=9)) as client:
        with pytest.raises(aiohttp.ClientConnectionError):
            await whole(client, HISTORY)
        assert client.world.log[0].status == "reset"


async def test_a_hang_ends_in_a_broken_connection() -> None:
    async with sandbox(with_fault(Hang(0.01), last=9)) as client:
        with pytest.raises(aiohttp.ClientConnectionError):
            await whole(client, HISTORY)


async def test_a_cut_answer_is_shorter_than_announced() -> None:
    async with sandbox(with_fault(Cut(10))) as client:
        with pytest.raises(aiohttp.ClientPayloadError):
            await whole(client, HISTORY)


async def test_a_cut_answer_without_a_length_looks_whole() -> None:
    async with sandbox(with_fault(Cut(10, announced=False))) as client:
        assert await whole(client, HISTORY) == b'{"data":{"'


async def test_a_compressed_answer_comes_unasked() -> None:
    async with sandbox(with_fault(Gzip())) as client:
        client.session._auto_decompress = False  # noqa: SLF001 - the bytes as they came
        body = await whole(client, HISTORY)
        assert gzip.decompress(body).startswith(b'{"data"')


async def test_a_trickle_comes_whole_in_the_end() -> None:
    async with sandbox(with_fault(Trickle(1000))) as client:
        assert (await whole(client, HISTORY)).endswith(b"}]}}")


async def test_a_delay_changes_nothing_but_the_time() -> None:
    async with sandbox(with_fault(Delay(0.01))) as client:
        assert (await client.get(HISTORY))[0] == 200


@pytest.mark.parametrize(
    "fault, status, kind",
    [
        (Status(502), 502, "text/html"),
        (Status(403), 403, "application/json"),
        (Status(400, body=""), 400, "application/json"),
        (Html(), 200, "text/html"),
        (Redirect(), 302, "text/html"),
        (RawBody("{nonsense"), 200, "application/json"),
    ],
)
async def test_a_fault_takes_the_place_of_the_answer(fault: Fault, status: int, kind: str) -> None:
    async with sandbox(with_fault(fault)) as client:
        async with client.session.get(HISTORY, headers=client.headers, allow_redirects=False) as response:
            assert (response.status, response.content_type) == (status, kind)
        assert (await client.get(HISTORY))[0] == 200


async def test_a_rule_counts_the_requests_of_its_kind() -> None:
    async with sandbox(with_fault(Status(500), kind="poll", first=2, last=3)) as client:
        poll = f"{LIST}?configurationId=3&id=greaterthan,0&fields=id"
        statuses = [(await client.get(path))[0] for path in (HISTORY, poll, poll, HISTORY, poll, poll)]
        assert statuses == [200, 200, 500, 200, 500, 200]


async def test_a_fault_that_executes_loses_only_the_answer() -> None:
    async with sandbox(with_fault(Status(504, executes=True), kind="trigger")) as client:
        async with client.session.post(
            f"{LIST}/run?fields=id", json={"endsAt": MONDAY, "configurationId": 3}, headers=client.headers
        ) as response:
            assert response.status == 504
        made = client.world.exports(DOMAIN)[-1]
        (trigger,) = client.world.triggers
        assert (trigger.executed, trigger.status, trigger.export_id) == (True, 504, made.id)


@pytest.mark.parametrize(
    "fault, unknown",
    [
        (Status(408), True),
        (Status(503), True),
        (Status(400, body=""), True),
        (Redirect(status=307), True),
        (Html(), True),
        (Reset(), True),
        (Status(429), False),
        (Status(400), False),
        (Status(403), False),
    ],
)
async def test_a_trigger_counts_as_executed_where_its_client_cannot_know(fault: Fault, unknown: bool) -> None:
    async with sandbox(with_fault(fault, kind="trigger", last=9)) as client:
        body = {"endsAt": MONDAY, "configurationId": 3}
        try:
            async with client.session.post(
                f"{LIST}/run?fields=id", json=body, headers=client.headers, allow_redirects=False
            ):
                pass
        except aiohttp.ClientConnectionError:
            assert isinstance(fault, Reset)
        (trigger,) = client.world.triggers
        assert trigger.executed is unknown
        assert len(client.world.exports(DOMAIN)) == 1


async def test_a_hook_in_plain_python_bends_any_request() -> None:
    seen: list[RequestRecord] = []

    def bend(record: RequestRecord) -> Fault | None:
        seen.append(record)
        return Status(418) if record.nth == 2 else None

    async with sandbox() as client:
        client.world.on_request = bend
        assert [(await client.get(HISTORY))[0] for _ in range(3)] == [200, 418, 200]
        assert [record.status for record in seen] == ["pending"] * 3
        assert [record.status for record in client.world.log] == [200, 418, 200]
