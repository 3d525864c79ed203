"""The only outbound socket: sends one request of the Lucca wire to its host and gives back the answer.

Owns aiohttp, time-outs, the least rate, and the question that decides about somebody's pay: may the bytes have
left? Must not know jobs, the journal or what an answer means.

Of aiohttp it takes the connections and the reader of answers, and no session: there is nothing that would follow a
redirect (the key must not leave the host), send a request again by itself, keep a cookie or look for a proxy. What
leaves is what `_bytes_of` says.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Self

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from aiohttp.http import HttpProcessingError, RawResponseMessage
from msgspec import Struct
from yarl import URL

from runner.beside import beside
from runner.clock import Clock
from runner.credentials import Secret
from runner.encodings import EncodingError, decoder_of
from runner.lucca import Purpose, Request
from runner.timelimits import TimeLimit, TimeLimits

ANSWER_CAP_BYTES: Final = 16 * 1024 * 1024
CONTENT_CAP_BYTES: Final = 4 * 1024 * 1024 * 1024
LEAST_RATE_BYTES_PER_SECOND: Final = 1000
RATE_SPAN_SECONDS: Final = 10.0
_SOCKET_READ_BYTES: Final = 256 * 1024
_USER_AGENT: Final = "runner (nightly Lucca Timesheet batch)"
_NO_TIMEOUT: Final = aiohttp.ClientTimeout()
_PARTS: Final = (
    (aiohttp.BaseConnector, "connect"),
    (Connection, "protocol"),
    (Connection, "transport"),
    (ResponseHandler, "should_close"),
    (ResponseHandler, "set_response_params"),
    (ResponseHandler, "read"),
)
"""What is used of aiohttp besides its documented ways in."""
_PLACES: Final = 256
"""Whom to connect to is worked out once for so many hosts that are asked at a time."""


class TransportError(Exception):
    """A request without a whole answer. `detail` is safe to show."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class NotSentError(TransportError):
    """No byte left: DNS trouble, refused, no connection in time. Nothing was executed."""


class UnreachableError(TransportError):
    """No byte left and none will: no such host, or its certificate does not verify."""


class LostError(TransportError):
    """The bytes may have left, and no whole answer came back."""


class BrokenAnswerError(TransportError):
    """An answer came but is not whole or not HTTP: cut, over the cap, an encoding whose end is missing.

    `body` is what came of one that was not streamed.
    """

    body = b""


class Answer(Struct, frozen=True, gc=False):
    """A whole answer. Header names are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Stream:
    """An answer whose body is still to be read, in `async with`: what is not read to its end costs a connection."""

    def __init__(
        self,
        message: RawResponseMessage,
        content: aiohttp.StreamReader,
        connection: Connection,
        clock: Clock,
        limits: TimeLimits,
    ) -> None:
        self.status = message.code
        self.headers = {name.lower(): value for name, value in message.headers.items()}
        if len(self.headers) < len(
            message.headers
        ):  # of encodings told line by line, each was put upon the one before
            encodings = message.headers.getall("Content-Encoding", ["identity"])
            self.headers["content-encoding"] = ", ".join(encodings)
        self._content = content
        self._connection = connection
        self._clock = clock
        self._limits = limits
        self._waited, self._size = 0.0, 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exc: object) -> None:
        if not self._content.is_eof():
            self._connection.close()

    @property
    def length_known(self) -> bool:
        """Whether a cut body would be noticed: it has a length, chunks, or an encoding with an end."""
        return self._chunked or "content-length" in self.headers or self._encoding() != "identity"

    @property
    def _chunked(self) -> bool:
        return "chunked" in self.headers.get("transfer-encoding", "").casefold()

    async def read(self, cap_bytes: int) -> bytes:
        """The whole body.

        Raises:
            BrokenAnswerError: cut, or over `cap_bytes`.
            LostError: the connection broke or was too slow.
        """
        body = bytearray()
        try:
            async for chunk in self.chunks(cap_bytes):
                body += chunk
        except BrokenAnswerError as error:
            error.body = bytes(body)
            raise
        return bytes(body)

    async def chunks(self, cap_bytes: int) -> AsyncIterator[bytes]:
        """The body as it comes, decoded where an encoding was sent unasked.

        Raises:
            BrokenAnswerError: cut, over `cap_bytes`, or an encoding we cannot end.
            LostError: the connection broke, or gave less than 1 kB/s over 10 s.
        """
        total = 0
        try:
            decoder = decoder_of(self._encoding())
            while chunk := await self._next():
                for part in decoder.feed(chunk):
                    total += len(part)
                    if total > cap_bytes:
                        raise BrokenAnswerError(f"the answer is larger than {cap_bytes} bytes")
                    yield part
            decoder.check_end()
        except EncodingError as error:
            raise BrokenAnswerError(error.reason) from None
        except aiohttp.ClientPayloadError:
            raise BrokenAnswerError("the answer was cut short") from None
        except (aiohttp.ClientError, OSError) as error:
            raise LostError(f"the connection broke ({type(error).__name__})") from None

    async def _next(self) -> bytes:
        """What came next; nothing at the end."""
        content = self._content
        if content.at_eof():
            return b""
        # What is here already needs no waiting, nor a limit to it. No more of it than one read of the socket gave:
        # several would have to be copied together.
        chunk = content.read_nowait(_SOCKET_READ_BYTES)
        if not chunk:
            self._refuse_if_broken_off()
            before = self._clock.boot_seconds()
            with self._limits.within(RATE_SPAN_SECONDS) as limit:
                chunk = await content.readany()
            if limit.reached:
                self._refuse_if_broken_off()
                raise LostError("the answer came too slowly")
            # Only the waiting counts: a slow disk is not the host's fault.
            self._waited += self._clock.boot_seconds() - before
        self._size += len(chunk)
        if chunk and self._waited >= RATE_SPAN_SECONDS:
            if self._size < LEAST_RATE_BYTES_PER_SECOND * self._waited:
                raise LostError("the answer came too slowly")
            self._waited, self._size = 0.0, 0
        return chunk

    def _refuse_if_broken_off(self) -> None:
        """Of chunks that cannot be read aiohttp tells nobody who waits for a body: it closes the connection.

        What is not in chunks may well end with its connection, and is told to have ended a moment after that closes.
        """
        if self._chunked and self._connection.closed:
            raise BrokenAnswerError("the answer is not HTTP")

    def _encoding(self) -> str:
        """Of the body. What it was packed in for the way, chunks apart, nobody asked for either; none is decoded."""
        encoding = self.headers.get("content-encoding", "identity").strip().casefold() or "identity"
        way = self.headers.get("transfer-encoding", "chunked").casefold()
        return encoding if way in ("chunked", "identity") else f"{encoding}, {way}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """Seconds. A download is bounded by its least rate instead of a total."""

    request_seconds: float = 60.0
    trigger_seconds: float = 15.0


class Transport:
    """All connections of a run. Limits are not its business: whoever sends has been given a turn."""

    def __init__(
        self,
        clock: Clock,
        *,
        timeouts: Timeouts,
        gateway: str | None = None,
        connector: aiohttp.BaseConnector | None = None,
        keep_open: bool = True,
    ) -> None:
        """Nothing is opened yet.

        Args:
            clock: for the least rate.
            timeouts: see there.
            gateway: send everything here, keeping the `Host`.
            connector: another way to open connections (tests in virtual time).
            keep_open: keep connections for the next request. Each is an open file, and of idle ones there is no most.
        """
        self._clock = clock
        self._timeouts = timeouts
        self._gateway = gateway.rstrip("/") if gateway else None
        self._connector = connector
        self._keep_open = keep_open
        self._limits: TimeLimits | None = None

    async def __aenter__(self) -> Self:
        if not all(hasattr(kind, name) for kind, name in _PARTS):
            raise RuntimeError("this aiohttp is put together otherwise: install one that the lock names")
        if self._connector is None:
            self._connector = _connector(keep_open=self._keep_open)
        loop = asyncio.get_running_loop()
        self._limits = TimeLimits(loop)
        # aiohttp reads off a request whom to connect to.
        self._place = lru_cache(_PLACES)(lambda url: aiohttp.ClientRequest("GET", URL(url), loop=loop))
        return self

    async def __aexit__(self, *_exc: object) -> None:
        if self._connector is not None and self._limits is not None:
            self._limits.close()
            await self._connector.close()

    async def send(self, domain: str, key: Secret, request: Request, left: Callable[[], None]) -> Answer:
        """Send a request that moves no data and read its answer.

        Args:
            domain: the tenant's host.
            key: its API key.
            request: what to send.
            left: called once the bytes may have left.

        Raises:
            NotSentError: nothing left.
            UnreachableError: nothing left, nor will it.
            LostError: it may have left; no answer in time, or the connection broke.
            BrokenAnswerError: an answer that is not whole.
        """
        seconds = self._timeouts.request_seconds
        if request.purpose is Purpose.TRIGGER:
            seconds = self._timeouts.trigger_seconds
        sent = _Sent(left)
        with self._within(seconds):
            async with await self._open(domain, key, request, sent) as stream:
                return Answer(stream.status, stream.headers, await stream.read(ANSWER_CAP_BYTES))
        raise _no_answer(sent, f"no answer in {seconds:g} s")

    async def download(self, domain: str, key: Secret, request: Request, left: Callable[[], None]) -> Stream:
        """Send a request and hand out its answer for streaming. Raises as `send` does, and so does the stream."""
        sent = _Sent(left)
        seconds = self._timeouts.request_seconds
        with self._within(seconds):
            return await self._open(domain, key, request, sent)
        raise _no_answer(sent, f"no answer in {seconds:g} s")

    def _within(self, seconds: float) -> TimeLimit:
        assert self._limits is not None, "the transport is used inside its context"  # noqa: S101
        return self._limits.within(seconds)

    async def _open(self, domain: str, key: Secret, request: Request, sent: "_Sent") -> Stream:
        """Send, and read the answer's head."""
        assert self._connector is not None  # noqa: S101 - opened with the context
        assert self._limits is not None  # noqa: S101 - the same
        leaving = _bytes_of(request, domain, key, keep_open=self._keep_open)
        try:
            connection = await self._connector.connect(
                self._place(self._gateway or f"https://{domain}"), [], _NO_TIMEOUT
            )
            try:
                protocol, transport = connection.protocol, connection.transport
                if protocol is None or transport is None or transport.is_closing():
                    raise NotSentError("the connection was closed at once")
                if protocol.should_close:  # it would be taken for the answer, to whichever tenant asks now
                    raise NotSentError("the host said something before it was asked")
                protocol.set_response_params(
                    auto_decompress=False, read_until_eof=True, read_bufsize=_SOCKET_READ_BYTES
                )
                sent.mark()
                transport.write(leaving)
                while True:
                    message, content = await protocol.read()
                    if message.code >= 200 or message.code == 101:
                        break
                content.on_eof(connection.release)
            except BaseException:
                connection.close()
                raise
        except aiohttp.ClientConnectorCertificateError:
            raise UnreachableError("its certificate does not verify") from None
        except aiohttp.ClientConnectorDNSError as error:
            raise _dns(error) from None
        except aiohttp.ClientSSLError:
            raise NotSentError("no secure connection") from None
        except aiohttp.ClientConnectorError as error:
            raise NotSentError(f"no connection ({_os_reason(error)})") from None
        except HttpProcessingError:
            raise BrokenAnswerError("the answer is not HTTP") from None
        except (aiohttp.ClientError, OSError) as error:
            raise _no_answer(sent, f"the connection broke ({type(error).__name__})") from None
        return Stream(message, content, connection, self._clock, self._limits)


def _bytes_of(request: Request, domain: str, key: Secret, *, keep_open: bool) -> bytes:
    """All that leaves for a request."""
    given = f"{request.method}{request.target}{domain}{key.reveal()}"
    if not given.isascii() or " " in given or "\r" in given or "\n" in given:
        raise ValueError("a request with something in it that would break its lines")
    accepted = "*/*" if "/download-" in request.target else "application/json"
    described, body = "", request.body
    if body is not None:
        described = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    ended = "" if keep_open else "Connection: close\r\n"
    head = (
        f"{request.method} {request.target} HTTP/1.1\r\n"
        f"Host: {domain}\r\n"
        f"Authorization: lucca application={key.reveal()}\r\n"
        f"User-Agent: {_USER_AGENT}\r\n"
        f"Accept: {accepted}\r\n"
        "Accept-Encoding: identity\r\n"
        f"{described}{ended}\r\n"
    )
    return head.encode() + (body or b"")


def _connector(*, keep_open: bool) -> aiohttp.BaseConnector:
    # The system's resolver tells "no such host" from "ask again later"; the other one that aiohttp knows does not.
    return aiohttp.TCPConnector(
        limit=0,
        ttl_dns_cache=300,
        force_close=not keep_open,
        keepalive_timeout=30 if keep_open else None,
        resolver=_SystemResolver(),
    )


class _SystemResolver(AbstractResolver):
    """The system's own resolver. A name that it is silent about holds up neither others nor the end of the run."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The addresses of `host`."""
        found = await beside(
            lambda: socket.getaddrinfo(
                host, port, family=family, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG
            )
        )
        return [
            ResolveResult(
                hostname=host,
                host=str(address[0]),
                port=port,
                family=kind,
                proto=protocol,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for kind, _, protocol, _, address in found
        ]

    async def close(self) -> None:
        """Nothing is open."""


class _Sent:
    """Whether a connection was ready, from which moment on the bytes may have left."""

    __slots__ = ("_left", "maybe")

    def __init__(self, left: Callable[[], None]) -> None:
        self._left = left
        self.maybe = False

    def mark(self) -> None:
        self.maybe = True
        self._left()


def _no_answer(sent: _Sent, detail: str) -> TransportError:
    return LostError(detail) if sent.maybe else NotSentError(detail)


def _dns(error: aiohttp.ClientConnectorDNSError) -> TransportError:
    if error.os_error.errno in (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)):
        return UnreachableError("there is no such host")
    return NotSentError("the name service does not answer")


def _os_reason(error: aiohttp.ClientConnectorError) -> str:
    return type(error.os_error).__name__
