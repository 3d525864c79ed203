"""The only outbound socket, against a server that says any bytes: is an answer whole, and may ours have left?"""

import asyncio
import datetime as dt
import gzip
import socket
import ssl
import threading
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import aiohttp
import pytest
import trustme
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.connector import Connection

from runner.clock import SystemClock
from runner.credentials import Secret
from runner.lucca import Purpose, Request, export_content, latest_exports, report_content, run_export
from runner.transport import (
    ANSWER_CAP_BYTES,
    Answer,
    BrokenAnswerError,
    LostError,
    NotSentError,
    Timeouts,
    Transport,
    TransportError,
    UnreachableError,
)
from tests.scripted import (
    Say,
    Scripted,
    answer,
    chunked,
    for_ever,
    head,
    scripted,
    slowly,
    then_close,
    then_reset,
)
from tests.virtual import VirtualClock, VirtualConnector, run_virtual

pytestmark = pytest.mark.anyio

DOMAIN = "acme.ilucca.net"
KEY = Secret("d8f7a1c2-0b3e-4f5a-9c6d-7e8f90a1b2c3")
ASK = latest_exports(3)
TRIGGER = run_export(3, dt.date(2026, 11, 23))
CSV = report_content(7, "csv")
BODY = b'{"data": {"items": []}}'
LONG = bytes(range(256)) * 400


class Caller:
    """A transport and what became known of it: how often bytes may have left."""

    def __init__(self, transport: Transport, domain: str) -> None:
        self.transport = transport
        self.domain = domain
        self.left = 0

    def mark(self) -> None:
        self.left += 1

    async def send(self, request: Request = ASK) -> Answer:
        return await self.transport.send(self.domain, KEY, request, self.mark)

    async def download(self, cap_bytes: int = 10_000_000, request: Request = CSV) -> bytes:
        async with await self.transport.download(self.domain, KEY, request, self.mark) as stream:
            return await stream.read(cap_bytes)


@asynccontextmanager
async def calling(server: Scripted, seconds: float = 20.0, **options: Any) -> AsyncIterator[Caller]:
    timeouts = Timeouts(request_seconds=seconds, trigger_seconds=seconds)
    async with Transport(SystemClock(), timeouts=timeouts, gateway=server.url, **options) as transport:
        yield Caller(transport, DOMAIN)


async def ask(*says: Say, request: Request = ASK) -> Answer:
    async with scripted(*says) as server, calling(server) as caller:
        return await caller.send(request)


async def download(*says: Say, cap_bytes: int = 10_000_000) -> bytes:
    async with scripted(*says) as server, calling(server) as caller:
        return await caller.download(cap_bytes)


# ── what is sent ─────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_request_carries_the_key_the_tenants_host_and_asks_for_no_encoding() -> None:
    cookies = answer(BODY, "Set-Cookie: session=1; Path=/", "Set-Cookie: \x01=;;")
    async with scripted(cookies) as server, calling(server) as caller:
        told = await caller.send(TRIGGER)
        await caller.send()
    assert (told.status, told.body) == (200, BODY)
    first, second = (request.decode() for request in server.requests)
    assert first.startswith("POST /api/v3/timmiexports/run?fields=id HTTP/1.1\r\n")
    assert first.endswith('\r\n\r\n{"endsAt":"2026-11-23T00:00:00","configurationId":3}')
    for text in (
        f"Host: {DOMAIN}",
        f"Authorization: lucca application={KEY.reveal()}",
        "Accept-Encoding: identity",
        "Accept: application/json",
        "Content-Type: application/json",
    ):
        assert first.count(text + "\r\n") == 1
    assert second.startswith("GET /api/v3/timmiexports?configurationId=3&orderBy=createdAt,desc,id,desc&")
    assert "Cookie" not in second
    assert "Content-Type" not in second
    assert caller.left == 2
    assert server.connections == 1


async def test_the_path_of_a_content_is_sent_as_it_is() -> None:
    async with scripted(answer(BODY)) as server, calling(server) as caller:
        await caller.download(request=export_content(290))
    assert (
        b"entries[id,name,amount,amountUnit,externalCode,endsAt,owner[id,lastName,firstName],"
        in (server.requests[0].split(b"\r\n")[0])
    )
    assert b"Accept: application/json\r\n" in server.requests[0]


async def test_headers_are_read_in_any_case_and_status_lines_without_a_reason() -> None:
    told = await ask(b"HTTP/1.1 429\r\nrETRY-aFTER: 7\r\ncontent-LENGTH: 0\r\n\r\n")
    assert (told.status, told.headers["retry-after"], told.body) == (429, "7", b"")


async def test_early_hints_are_passed_over() -> None:
    hints = head(status="100 Continue") + head("Link: </x>", status="103 Early Hints")
    assert (await ask(hints + answer(BODY))).body == BODY


# ── is the answer whole? ─────────────────────────────────────────────────────────────────────────────────────────

GZIPPED = gzip.compress(LONG, mtime=0)
ENCODED = "Content-Encoding: gzip"

WHOLE = {
    "by its length": answer(LONG),
    "in chunks": chunked(LONG[:5], LONG[5:]),
    "in chunks with a trailer": chunked(LONG, end=b"0\r\nX-Sum: 1\r\n\r\n"),
    "closed behind its length": then_close(answer(LONG)),
    "closed at its end": then_close(head("Connection: close") + LONG),
    "in HTTP/1.0": then_close(b"HTTP/1.0 200 OK\r\n\r\n" + LONG),
    "gzip": answer(GZIPPED, ENCODED),
    "x-gzip in any case": answer(GZIPPED, "Content-Encoding: X-GZip "),
    "gzip in two goes": slowly(
        head(ENCODED, f"Content-Length: {len(GZIPPED)}") + GZIPPED[:99], (0.01, GZIPPED[99:])
    ),
    "gzip in chunks": chunked(*(GZIPPED[i : i + 7] for i in range(0, len(GZIPPED), 7)), headers=(ENCODED,)),
    "gzip closed at its end": then_close(head(ENCODED) + GZIPPED),
    "gzip in two members": answer(
        gzip.compress(LONG[:9], mtime=0) + gzip.compress(LONG[9:], mtime=0), ENCODED
    ),
    "deflate": answer(zlib.compress(LONG), "Content-Encoding: deflate"),
    "deflate without its frame": answer(
        zlib.compress(LONG, wbits=-zlib.MAX_WBITS), "Content-Encoding: deflate"
    ),
    "identity said aloud": answer(LONG, "Content-Encoding: identity"),
    "chunks in any case": head("Transfer-Encoding: Chunked") + chunked(LONG).partition(b"\r\n\r\n")[2],
    "other lines twice": answer(LONG, "Set-Cookie: a=1", "Set-Cookie: b=2"),
}


@pytest.mark.parametrize("say", WHOLE.values(), ids=WHOLE)
async def test_a_whole_answer_is_taken(say: Say) -> None:
    assert await download(say) == LONG
    assert (await ask(say)).body == LONG


DAMAGED = {
    "shorter than its length": then_close(answer(LONG, length=len(LONG) + 1)),
    "cut at nothing": then_close(answer(b"", length=5)),
    "a chunk cut": then_close(chunked(LONG, end=b"")[:-9]),
    "chunks without an end": then_close(chunked(LONG, end=b"")),
    "chunks with half an end": then_close(chunked(LONG, end=b"0\r\n")),
    "chunks of no size": then_close(head("Transfer-Encoding: chunked") + b"zzz\r\nabc"),
    "chunks longer than they say": then_close(
        head("Transfer-Encoding: chunked") + b"2\r\nabcdef\r\n0\r\n\r\n"
    ),
    "gzip cut, closed at its end": then_close(head(ENCODED) + GZIPPED[:-1]),
    "gzip cut, its length right": answer(GZIPPED[:-9], ENCODED),
    "gzip cut in its head": answer(GZIPPED[:5], ENCODED),
    "gzip cut, in whole chunks": chunked(GZIPPED[:-8], headers=(ENCODED,)),
    "gzip with a wrong sum": answer(GZIPPED[:-8] + b"12345678", ENCODED),
    "gzip that is none": answer(LONG, ENCODED),
    "gzip with bytes behind": answer(GZIPPED + b"more", ENCODED),
    "gzip with half a second member": answer(GZIPPED + GZIPPED[:-3], ENCODED),
    "bare deflate cut": answer(zlib.compress(LONG, wbits=-15)[:-2], "Content-Encoding: deflate"),
    "deflate cut": answer(zlib.compress(LONG)[:-2], "Content-Encoding: deflate"),
    "deflate with bytes behind": answer(zlib.compress(LONG) + b"more", "Content-Encoding: deflate"),
    "deflate that is none": answer(b"\x78\xff" + LONG, "Content-Encoding: deflate"),
    "brotli": answer(b"\x0b\x02\x80abc\x03", "Content-Encoding: br"),
    "gzip twice": answer(gzip.compress(GZIPPED), "Content-Encoding: gzip, gzip"),
    "gzip for the way": head("Transfer-Encoding: gzip, chunked")
    + b"%x\r\n%s\r\n0\r\n\r\n" % (len(GZIPPED), GZIPPED),
    "gzip twice, told in two lines": answer(gzip.compress(GZIPPED), ENCODED, ENCODED),
    "gzip that another line denies": answer(GZIPPED, ENCODED, "Content-Encoding: identity"),
    "two lengths": then_close(head("Content-Length: 3", "Content-Length: 4") + b"abcd"),
    "a length below zero": then_close(head("Content-Length: -1") + b"abcd"),
    "a length that is a word": then_close(head("Content-Length: many") + b"abcd"),
    "not HTTP": then_close(b"220 mail.example.com ESMTP\r\n"),
    "HTTP/2 in the clear": then_close(b"\x00\x00\x12\x04\x00\x00\x00\x00\x00" + bytes(18)),
    "a status of letters": then_close(b"HTTP/1.1 ABC OK\r\n\r\n"),
    "bytes that are nothing": then_close(bytes(range(255, 0, -1)) + b"\r\n\r\n"),
    "a header without a colon": then_close(b"HTTP/1.1 200 OK\r\nnonsense\r\n\r\n"),
    "headers without end": for_ever(head()[:-2], b"X-More: of this\r\n"),
    "one header without end": for_ever(head()[:-2] + b"X-More: ", b"x" * 1000),
    "a status line without end": for_ever(b"HTTP/1.1 200 ", b"O" * 1000),
}


@pytest.mark.parametrize("say", DAMAGED.values(), ids=DAMAGED)
async def test_an_answer_that_is_not_whole_is_refused(say: Say) -> None:
    async with scripted(say) as server, calling(server) as caller:
        with pytest.raises(BrokenAnswerError) as caught:
            await caller.download()
        with pytest.raises(BrokenAnswerError):
            await caller.send(TRIGGER)
    assert caught.value.__cause__ is None
    assert KEY.reveal() not in caught.value.detail
    assert caller.left == 2


@pytest.mark.parametrize("cut", range(1, 40, 3))
async def test_a_gzip_cut_anywhere_is_noticed(cut: int) -> None:
    packed = gzip.compress(b"matricule;heures\r\n00123;151.67\r\n" * 3, mtime=0)
    with pytest.raises(BrokenAnswerError, match="cut short"):
        await download(then_close(head(ENCODED) + packed[:-cut]))


async def test_an_empty_body_needs_no_end_of_an_encoding() -> None:
    told = await ask(answer(b"", ENCODED, status="401 Unauthorized"))
    assert (told.status, told.body) == (401, b"")


async def test_whether_a_cut_would_be_noticed_is_told() -> None:
    async with (
        scripted(answer(b"a"), chunked(b"a"), then_close(head() + b"a")) as server,
        calling(server) as caller,
    ):
        known = []
        for _ in range(3):
            async with await caller.transport.download(DOMAIN, KEY, CSV, caller.mark) as stream:
                known.append(stream.length_known)
                assert await stream.read(10) == b"a"
    assert known == [True, True, False]


BOMBS = {
    "gzip": answer(gzip.compress(bytes(50_000_000), mtime=0), ENCODED),
    "deflate": answer(zlib.compress(bytes(50_000_000)), "Content-Encoding: deflate"),
    "gzip in many members": answer(gzip.compress(bytes(100_000), mtime=0) * 100, ENCODED),
    "a length": answer(LONG * 20),
    "a length that is a dream": answer(LONG, length=10**15),
    "chunks for ever": for_ever(head("Transfer-Encoding: chunked"), b"400\r\n" + bytes(1024) + b"\r\n"),
    "bytes for ever": for_ever(head(), bytes(4096)),
}


@pytest.mark.parametrize("say", BOMBS.values(), ids=BOMBS)
async def test_an_answer_over_the_cap_is_dropped_there(say: Say) -> None:
    async with scripted(say) as server, calling(server) as caller:
        with pytest.raises(BrokenAnswerError, match="larger than 65536 bytes"):
            await caller.download(cap_bytes=65_536)


@pytest.mark.parametrize(
    "size_bytes", [30_000_000, 3 * 1024 * 1024], ids=["some slices", "slices without a rest"]
)
@pytest.mark.parametrize("window_bits", [31, 15, -15], ids=["gzip", "deflate", "bare deflate"])
async def test_a_bomb_never_yields_more_than_a_slice_at_a_time(window_bits: int, size_bytes: int) -> None:
    bomb = zlib.compress(bytes(size_bytes), wbits=window_bits)
    name = f"Content-Encoding: {'gzip' if window_bits > 16 else 'deflate'}"
    async with (
        scripted(answer(bomb, name)) as server,
        calling(server) as caller,
        await caller.transport.download(DOMAIN, KEY, CSV, caller.mark) as stream,
    ):
        sizes = [len(chunk) async for chunk in stream.chunks(size_bytes)]
    assert sum(sizes) == size_bytes
    assert max(sizes) <= 1024 * 1024


async def test_an_answer_that_moves_no_data_has_its_own_cap() -> None:
    with pytest.raises(BrokenAnswerError, match="larger than 16777216 bytes"):
        await ask(for_ever(head(), bytes(1024 * 1024)))


# ── may the bytes have left? ─────────────────────────────────────────────────────────────────────────────────────

LOST = {
    "closed at once": then_close(),
    "reset at once": then_reset(),
    "closed in the status line": then_close(b"HTTP/1."),
    "closed in the headers": then_close(b"HTTP/1.1 200 OK\r\nContent-Len"),
    "reset in the headers": then_reset(b"HTTP/1.1 200 OK\r\nContent-Len"),
}


@pytest.mark.parametrize("say", LOST.values(), ids=LOST)
async def test_once_a_post_was_written_it_may_have_been_executed(say: Say) -> None:
    async with scripted(say) as server, calling(server) as caller:
        with pytest.raises((LostError, BrokenAnswerError)):
            await caller.send(TRIGGER)
    assert (caller.left, len(server.requests)) == (1, 1)


@pytest.mark.parametrize("say", LOST.values(), ids=LOST)
async def test_a_post_to_a_host_that_hangs_up_on_whoever_comes_is_not_written(say: Say) -> None:
    """It would count as sent, and cost an hour."""
    async with scripted(greeting=say) as server, calling(server) as caller:
        with pytest.raises(NotSentError):
            await caller.send(TRIGGER)
    assert (caller.left, server.requests) == (0, [])


DAMAGED_PAGES: dict[str, Callable[[str], Say]] = {
    "shorter than its length": lambda status: then_close(answer(b"<html>", status=status, length=999)),
    "gzip cut": lambda status: answer(GZIPPED[:-9], ENCODED, status=status),
    "brotli": lambda status: answer(b"\x0b\x02\x80abc\x03", "Content-Encoding: br", status=status),
    "too large": lambda status: answer(bytes(ANSWER_CAP_BYTES + 1), status=status),
}


@pytest.mark.parametrize("status", ["401 Unauthorized", "429 Too Many Requests", "503 Service Unavailable"])
@pytest.mark.parametrize("page", DAMAGED_PAGES.values(), ids=DAMAGED_PAGES)
async def test_an_error_is_known_by_its_status_however_damaged_its_page_comes(
    page: Callable[[str], Say], status: str
) -> None:
    for request in (ASK, TRIGGER):
        assert (await ask(page(status), request=request)).status == int(status[:3])
    async with scripted(page(status)) as server, calling(server) as caller:
        await caller.download(ANSWER_CAP_BYTES)


@pytest.mark.parametrize("header", ["Content-Length: 1000000", "Transfer-Encoding: chunked"])
async def test_a_reset_in_the_body_is_no_whole_answer(header: str) -> None:
    with pytest.raises((LostError, BrokenAnswerError)):
        await download(then_reset(head(header) + b"64\r\n" + bytes(100)))


async def test_a_refused_connection_leaves_nothing() -> None:
    async with scripted() as server:
        pass
    async with calling(server) as caller:
        with pytest.raises(NotSentError, match="no connection"):
            await caller.send(TRIGGER)
        with pytest.raises(NotSentError):
            await caller.download()
    assert caller.left == 0


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_stale_connection_gets_no_second_request_by_itself(method: str) -> None:
    request = ASK if method == "GET" else TRIGGER
    async with scripted(answer(BODY), then_close(), answer(BODY)) as server, calling(server) as caller:
        await caller.send()
        with pytest.raises(LostError):
            await caller.send(request)
        assert (len(server.requests), server.connections, caller.left) == (2, 1, 2)
        assert (await caller.send()).body == BODY
    assert (len(server.requests), server.connections, caller.left) == (3, 2, 3)


async def test_a_connection_that_the_server_closed_politely_is_replaced() -> None:
    async with scripted(then_close(answer(BODY)), answer(BODY)) as server, calling(server) as caller:
        await caller.send()
        await asyncio.sleep(0.02)  # the goodbye comes by itself
        assert (await caller.send(TRIGGER)).body == BODY
    assert server.connections == 2


async def test_a_trigger_is_not_written_where_a_goodbye_was_not_read() -> None:
    """It would count as sent, and cost an hour. Some hosts hang up after each answer without having said so."""
    hung_up = threading.Semaphore(0)

    def serve(listener: socket.socket) -> None:
        for _ in range(2):
            connection, _ = listener.accept()
            with connection:
                if connection.recv(65536):
                    connection.sendall(answer(BODY))
            hung_up.release()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        host = threading.Thread(target=serve, args=(listener,), daemon=True)
        host.start()
        async with calling(Scripted(listener.getsockname()[1])) as caller:
            await caller.send()
            assert hung_up.acquire(timeout=10)  # the loop stands still meanwhile, as a busy one does
            assert (await caller.send(TRIGGER)).body == BODY
            host.join(10)
    assert caller.left == 2


async def test_a_connection_with_an_unread_rest_is_not_used_again() -> None:
    async with scripted(answer(LONG * 50), answer(BODY)) as server, calling(server) as caller:
        with pytest.raises(BrokenAnswerError):
            await caller.download(cap_bytes=10)
        assert (await caller.send()).body == BODY
    assert server.connections == 2


STRAY = answer(b'{"data": {"items": [{"id": 666}]}}')
UNASKED = {
    "with the answer": answer(BODY) + STRAY,
    "with the answer's end": slowly(answer(BODY)[:-3], (0.01, BODY[-3:] + STRAY)),
    "afterwards": slowly(answer(BODY), (0.01, STRAY)),
    "early hints afterwards": slowly(answer(BODY), (0.01, head(status="103 Early Hints"))),
}


@pytest.mark.parametrize("say", UNASKED.values(), ids=UNASKED)
async def test_what_nobody_asked_for_is_no_answer_to_whoever_asks_next(say: Say) -> None:
    """Behind one gateway whoever asks next may be another tenant."""
    async with scripted(say, answer(BODY)) as server, calling(server) as caller:
        assert (await caller.send()).body == BODY
        await asyncio.sleep(0.05)  # what comes unasked comes by itself
        with suppress(NotSentError):
            assert (await caller.send(TRIGGER)).body == BODY
        assert (await caller.send()).body == BODY
    assert server.connections == 2
    assert caller.left == len(server.requests)


async def test_a_transport_is_used_inside_its_context() -> None:
    transport = Transport(SystemClock(), timeouts=Timeouts())
    with pytest.raises(AssertionError):
        await transport.send(DOMAIN, KEY, ASK, lambda: None)
    await transport.__aexit__(None, None, None)


class Breaking:
    """What writes, and then breaks."""

    def __init__(self, connection: Connection) -> None:
        assert connection.protocol is not None
        assert connection.protocol.transport is not None
        self._transport = connection.protocol.transport

    def is_closing(self) -> bool:
        return False

    def write(self, data: bytes) -> None:
        self._transport.write(data)
        raise ConnectionResetError


class Dying(aiohttp.TCPConnector):
    """Its connections are closed by the time they are given out, as by a host that hangs up at once."""

    def __init__(self, turns: int) -> None:
        super().__init__()
        self._turns = turns

    async def connect(self, *given: Any) -> Connection:
        connection = await super().connect(*given)
        assert connection.transport is not None
        connection.transport.close()
        for _ in range(self._turns):  # of the loop, in which it learns of it
            await asyncio.sleep(0)
        return connection


@pytest.mark.parametrize("turns", [0, 3])
async def test_nothing_left_by_a_connection_that_was_closed_before_it_was_used(turns: int) -> None:
    async with scripted(answer(b"{}")) as server, calling(server, connector=Dying(turns)) as caller:
        with pytest.raises(NotSentError, match="closed at once"):
            await caller.send(TRIGGER)
        assert caller.left == 0
    assert server.requests == []


async def test_what_goes_wrong_in_the_midst_of_writing_may_have_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Connection, "transport", property(Breaking))
    async with scripted(answer(b"{}")) as server, calling(server) as caller:
        with pytest.raises(LostError):
            await caller.send(TRIGGER)
    assert caller.left == 1


@pytest.mark.parametrize("target", ["/x\r\nX-More:1", "/x\ny", "/x\ry", "/x y", "/é"])
async def test_nothing_leaves_that_would_break_the_lines_of_a_request(target: str) -> None:
    async with scripted(answer(b"{}")) as server, calling(server) as caller:
        with pytest.raises(ValueError, match="would break its lines"):
            await caller.send(Request("GET", target))
        assert (server.connections, caller.left) == (0, 0)


async def test_a_server_is_told_that_a_connection_is_not_kept() -> None:
    async with scripted(answer(BODY)) as server, calling(server, keep_open=False) as caller:
        await caller.send()
        await caller.send()
    assert [request.count(b"\r\nConnection: close\r\n") for request in server.requests] == [1, 1]
    assert server.connections == 2


@pytest.mark.parametrize(
    "part",
    [
        "connector.BaseConnector.connect",
        "connector.Connection.protocol",
        "connector.Connection.transport",
        "client_proto.ResponseHandler.set_response_params",
    ],
)
async def test_with_an_aiohttp_that_is_put_together_otherwise_nothing_is_sent(
    part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(f"aiohttp.{part}")
    async with scripted(answer(b"{}")) as server:
        with pytest.raises(RuntimeError, match="install one that the lock names"):
            async with calling(server):
                pass
        assert server.connections == 0


# ── names ────────────────────────────────────────────────────────────────────────────────────────────────────────


class Names(AbstractResolver):
    """A name service: the loopback for every name, a failure, or silence."""

    def __init__(self, failure: int | None = None, *, silent: bool = False) -> None:
        self.failure = failure
        self.silent = silent

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        if self.silent:
            await asyncio.Event().wait()
        if self.failure is not None:
            raise socket.gaierror(self.failure, "as told by the name service")
        return [
            ResolveResult(hostname=host, host="127.0.0.1", port=port, family=socket.AF_INET, proto=0, flags=0)
        ]

    async def close(self) -> None:
        pass


async def sent_by(connector: aiohttp.BaseConnector, domain: str, seconds: float = 20.0) -> TransportError:
    timeouts = Timeouts(request_seconds=seconds, trigger_seconds=seconds)
    async with Transport(SystemClock(), timeouts=timeouts, connector=connector) as transport:
        caller = Caller(transport, domain)
        with pytest.raises(TransportError) as caught:
            await caller.send(TRIGGER)
        with pytest.raises(type(caught.value)):
            await caller.download()
    assert caller.left == 0
    assert caught.value.__cause__ is None
    return caught.value


@pytest.mark.parametrize(
    "failure, error, detail",
    [
        (socket.EAI_NONAME, UnreachableError, "there is no such host"),
        (socket.EAI_NODATA, UnreachableError, "there is no such host"),
        (socket.EAI_AGAIN, NotSentError, "the name service does not answer"),
        (socket.EAI_FAIL, NotSentError, "the name service does not answer"),
        (socket.EAI_SYSTEM, NotSentError, "the name service does not answer"),
    ],
)
async def test_a_name_that_does_not_exist_is_told_from_a_name_service_in_trouble(
    failure: int, error: type[TransportError], detail: str
) -> None:
    told = await sent_by(aiohttp.TCPConnector(resolver=Names(failure)), DOMAIN)
    assert (type(told), told.detail) == (error, detail)


async def test_a_silent_name_service_leaves_nothing() -> None:
    told = await sent_by(aiohttp.TCPConnector(resolver=Names(silent=True)), DOMAIN, seconds=0.05)
    assert (type(told), told.detail) == (NotSentError, "no answer in 0.05 s")


# ── certificates ─────────────────────────────────────────────────────────────────────────────────────────────────

OURS = trustme.CA()
PAST = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
CERTIFICATES = {
    "expired": OURS.issue_cert(DOMAIN, not_before=PAST, not_after=PAST + dt.timedelta(days=90)),
    "of another host": OURS.issue_cert("globex.ilucca.net"),
    "of a wider name": OURS.issue_cert("*.net"),
    "of an unknown authority": trustme.CA().issue_cert(DOMAIN),
}


def secured(certificate: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    certificate.configure_cert(context)
    return context


def trusting(authority: trustme.CA = OURS, **names: Any) -> aiohttp.TCPConnector:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return aiohttp.TCPConnector(resolver=Names(**names), ssl=context)


async def test_a_tenants_own_host_is_asked_over_tls() -> None:
    certificate = OURS.issue_cert(DOMAIN)
    async with (
        scripted(answer(BODY), tls=secured(certificate)) as server,
        Transport(SystemClock(), timeouts=Timeouts(), connector=trusting()) as transport,
    ):
        caller = Caller(transport, f"{DOMAIN}:{server.port}")
        assert (await caller.send(TRIGGER)).body == BODY
    assert f"Host: {DOMAIN}:{server.port}\r\n".encode() in server.requests[0]
    assert caller.left == 1


@pytest.mark.parametrize("certificate", CERTIFICATES.values(), ids=CERTIFICATES)
async def test_a_certificate_that_does_not_verify_gets_nothing(certificate: trustme.LeafCert) -> None:
    async with scripted(answer(BODY), tls=secured(certificate)) as server:
        told = await sent_by(trusting(), f"{DOMAIN}:{server.port}")
    assert (type(told), told.detail) == (UnreachableError, "its certificate does not verify")
    assert server.requests == []


async def test_by_itself_a_transport_trusts_only_the_systems_authorities() -> None:
    async with (
        scripted(answer(BODY), tls=secured(OURS.issue_cert("localhost"))) as server,
        Transport(SystemClock(), timeouts=Timeouts()) as transport,
    ):
        with pytest.raises(UnreachableError):
            await transport.send(f"localhost:{server.port}", KEY, TRIGGER, lambda: None)
    assert server.requests == []


NO_TLS = {
    "a server without TLS": answer(BODY, status="400 Bad Request"),
    "a goodbye": then_close(),
    "a reset": then_reset(),
    "noise": then_close(bytes(range(200))),
}


@pytest.mark.parametrize("say", NO_TLS.values(), ids=NO_TLS)
async def test_a_handshake_that_fails_leaves_nothing(say: Say) -> None:
    async with scripted(greeting=say) as server:
        told = await sent_by(trusting(), f"{DOMAIN}:{server.port}")
    assert type(told) is NotSentError


async def test_a_handshake_that_never_ends_leaves_nothing() -> None:
    async def silence(_writer: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    async with scripted(greeting=silence) as server:
        told = await sent_by(trusting(), f"{DOMAIN}:{server.port}", seconds=0.1)
    assert (type(told), told.detail) == (NotSentError, "no answer in 0.1 s")


# ── redirects ────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("status", [300, 301, 302, 303, 305, 307, 308])
@pytest.mark.parametrize("request_", [ASK, TRIGGER, CSV], ids=["ask", "trigger", "download"])
async def test_no_redirect_takes_the_key_to_another_host(status: int, request_: Request) -> None:
    async with scripted(answer(BODY)) as other:
        places = (
            f"http://127.0.0.1:{other.port}/x",
            f"//127.0.0.1:{other.port}/",
            f"http://a:b@127.0.0.1:{other.port}",
        )
        says = [
            answer(b"", f"Location: {place}", f"Refresh: 0; url={place}", status=f"{status} Elsewhere")
            for place in places
        ]
        async with scripted(*says) as server, calling(server) as caller:
            for _ in places:
                if request_.purpose is Purpose.DOWNLOAD:
                    async with await caller.transport.download(DOMAIN, KEY, request_, caller.mark) as stream:
                        assert stream.status == status
                else:
                    assert (await caller.send(request_)).status == status
    assert (other.connections, len(server.requests)) == (0, 3)


async def test_no_proxy_that_the_environment_names_sees_a_request(monkeypatch: pytest.MonkeyPatch) -> None:
    async with (
        scripted(answer(BODY)) as proxy,
        scripted(answer(BODY)) as server,
        scripted(answer(BODY), tls=secured(OURS.issue_cert(DOMAIN))) as host,
    ):
        for name in ("http_proxy", "https_proxy", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
            monkeypatch.setenv(name.upper(), proxy.url)
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        async with calling(server) as caller:
            assert (await caller.send()).body == BODY
        async with Transport(
            SystemClock(), timeouts=Timeouts(request_seconds=5.0), connector=trusting()
        ) as transport:
            with suppress(TransportError):
                await Caller(transport, f"{DOMAIN}:{host.port}").send()
    assert (proxy.connections, len(server.requests), len(host.requests)) == (0, 1, 1)


async def test_a_cookie_is_never_sent_back() -> None:
    """Two tenants of one host have a key each: a session made for the one must not speak for the other."""
    cookie = "Set-Cookie: session=of-another-key; Path=/"
    async with (
        scripted(answer(BODY, cookie), tls=secured(OURS.issue_cert(DOMAIN))) as server,
        Transport(SystemClock(), timeouts=Timeouts(), connector=trusting()) as transport,
    ):
        caller = Caller(transport, f"{DOMAIN}:{server.port}")
        for _ in range(2):
            await caller.send()
    assert [b"cookie:" in request.lower() for request in server.requests] == [False, False]


# ── time ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def in_virtual_time(say: Say, request: Request, *, pause: float = 0.0) -> tuple[float, Any, int]:
    """Seconds that passed, the answer or the error, and how often bytes may have left; with the usual time-outs."""

    async def main(clock: VirtualClock) -> tuple[float, Any, int]:
        async with (
            scripted(say) as server,
            Transport(
                clock, timeouts=Timeouts(), gateway=server.url, connector=VirtualConnector()
            ) as transport,
        ):
            caller = Caller(transport, DOMAIN)
            start = clock.now().boot_seconds
            result: Any
            try:
                if request.purpose is Purpose.DOWNLOAD:
                    async with await transport.download(DOMAIN, KEY, request, caller.mark) as stream:
                        result = b""
                        async for chunk in stream.chunks(10**9):
                            result += chunk
                            await clock.wait(pause)
                else:
                    result = (await caller.send(request)).body
            except TransportError as error:
                result = error
            return clock.now().boot_seconds - start, result, caller.left

    return run_virtual(main)


def test_a_trigger_is_let_go_after_its_time() -> None:
    seconds, error, left = in_virtual_time(slowly(b"", (3600, answer(BODY))), TRIGGER)
    assert (round(seconds), type(error), error.detail, left) == (15, LostError, "no answer in 15 s", 1)


@pytest.mark.parametrize("request_", [ASK, CSV], ids=["ask", "download"])
def test_a_host_that_says_nothing_is_given_a_minute(request_: Request) -> None:
    seconds, error, left = in_virtual_time(slowly(b"", (3600, answer(BODY))), request_)
    assert (round(seconds), type(error), error.detail, left) == (60, LostError, "no answer in 60 s", 1)


@pytest.mark.parametrize("request_", [ASK, CSV], ids=["ask", "download"])
def test_a_trickle_of_headers_is_given_a_minute(request_: Request) -> None:
    drops = [(1.0, b"x")] * 3600
    seconds, error, _ = in_virtual_time(slowly(b"HTTP/1.1 200 OK\r\nX-Slow: ", *drops), request_)
    assert (round(seconds), type(error)) == (60, LostError)


@pytest.mark.parametrize(
    "pieces",
    [
        [(1.0, b"x")] * 100,
        [(9.0, b"x" * 500)] * 100,
        [(0.0, b"x" * 900_000)],
        [(1.0, b"x" * 50_000), *[(1.0, b"x" * 900)] * 100],
    ],
    ids=["drops", "gulps", "a rush, then nothing", "a rush, then drops"],
)
@pytest.mark.parametrize("request_", [ASK, CSV], ids=["ask", "download"])
def test_a_body_that_comes_too_slowly_is_dropped(
    pieces: list[tuple[float, bytes]], request_: Request
) -> None:
    seconds, error, left = in_virtual_time(slowly(answer(b"", length=1_000_000), *pieces), request_)
    assert (type(error), error.detail, left) == (LostError, "the answer came too slowly", 1)
    assert 10 <= seconds <= 25


@pytest.mark.parametrize("pause", [0.0, 60.0], ids=["awaited", "met later"])
@pytest.mark.parametrize("request_", [ASK, CSV], ids=["ask", "download"])
def test_an_answer_whose_chunks_cannot_be_read_any_more_is_no_answer(request_: Request, pause: float) -> None:
    says = slowly(chunked(b"a;b\r\n", end=b""), (1.0, b"no length\r\n1;2\r\n"))
    seconds, error, left = in_virtual_time(says, request_, pause=pause)
    assert (type(error), error.detail, left) == (BrokenAnswerError, "the answer is not HTTP", 1)
    assert seconds <= 60


@pytest.mark.parametrize("turns", range(8))
def test_an_answer_that_ends_with_its_connection_is_whole_whenever_its_reader_comes_back(turns: int) -> None:
    async def main(clock: VirtualClock) -> bytes:
        result = b""
        async with (
            scripted(then_close(head() + b"a;b\r\n")) as server,
            Transport(
                clock, timeouts=Timeouts(), gateway=server.url, connector=VirtualConnector()
            ) as transport,
            await transport.download(DOMAIN, KEY, CSV, lambda: None) as stream,
        ):
            async for chunk in stream.chunks(10**9):
                result += chunk
                for _ in range(turns):  # of the loop, which sees a connection end bit by bit
                    await asyncio.sleep(0)
        return result

    assert run_virtual(main) == b"a;b\r\n"


def test_a_slow_download_above_the_least_rate_is_seen_to_its_end() -> None:
    pieces = [(1.0, b"x" * 1100)] * 600
    seconds, body, _ = in_virtual_time(slowly(answer(b"", length=660_000), *pieces), CSV)
    assert (len(body), round(seconds)) == (660_000, 600)


def test_a_slow_disk_is_not_held_against_the_host() -> None:
    pieces = [(0.0, b"x" * 1000)] * 10
    _, body, _ = in_virtual_time(slowly(answer(b"", length=10_000), *pieces), CSV, pause=60.0)
    assert len(body) == 10_000


def in_a_silent_world(main: Callable[[VirtualClock, Caller], Awaitable[None]]) -> None:
    async def body(clock: VirtualClock) -> None:
        async with (
            scripted(slowly(b"", (3600, answer(BODY)))) as server,
            Transport(
                clock, timeouts=Timeouts(), gateway=server.url, connector=VirtualConnector()
            ) as transport,
        ):
            await main(clock, Caller(transport, DOMAIN))

    run_virtual(body)


def test_of_requests_in_flight_together_each_is_given_its_own_time() -> None:
    ended: list[tuple[float, float]] = []

    async def main(clock: VirtualClock, caller: Caller) -> None:
        start = clock.now().boot_seconds

        async def send(at: float, request: Request) -> None:
            await clock.wait(at)
            with pytest.raises(LostError, match="no answer in"):
                await caller.send(request)
            ended.append((at, clock.now().boot_seconds - start - at))

        plan = [(0.0, ASK), (1.0, TRIGGER), (10.0, TRIGGER), (20.0, ASK), (70.0, TRIGGER), (71.0, ASK)]
        await asyncio.gather(*(send(at, request) for at, request in plan))

    in_a_silent_world(main)
    assert [(at, round(seconds, 3)) for at, seconds in ended] == [
        (1.0, 15.0),
        (10.0, 15.0),
        (0.0, 60.0),
        (20.0, 60.0),
        (70.0, 15.0),
        (71.0, 60.0),
    ]


@pytest.mark.parametrize("seconds", [14.0, 15.0])
def test_who_is_stopped_while_a_request_is_in_flight_does_not_take_it_for_a_late_answer(
    seconds: float,
) -> None:
    async def main(clock: VirtualClock, caller: Caller) -> None:
        loop = asyncio.get_running_loop()
        sending = loop.create_task(caller.send(TRIGGER))
        loop.call_at(loop.time() + seconds, sending.cancel)
        with pytest.raises(asyncio.CancelledError):
            await sending
        assert caller.left == 1

    in_a_silent_world(main)


async def test_a_flood_of_early_answers_ends_with_the_time_out() -> None:
    flood = for_ever(b"", head(status="100 Continue") * 100)
    async with scripted(flood) as server, calling(server, seconds=0.2) as caller:
        with pytest.raises(LostError, match=r"no answer in 0\.2 s"):
            await caller.send(TRIGGER)


async def test_a_host_that_wants_to_talk_otherwise_is_no_answer() -> None:
    switch = head("Upgrade: websocket", "Connection: Upgrade", status="101 Switching Protocols")
    async with scripted(then_close(switch)) as server, calling(server) as caller:
        assert (await caller.send()).status == 101
