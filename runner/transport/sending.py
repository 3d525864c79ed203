"""Sending: a connection is taken, counted as used, written to, and its reader asked for the answer.

Owns the moment from which on a request's bytes may have left, and the time-outs of its answer. Must not know how a body
is read.

Of aiohttp it takes the connections and the reader of answers, and no session: there is nothing that would follow a
redirect (the key must not leave the host), send a request again by itself, keep a cookie or look for a proxy. What
leaves is what `_bytes_of` says.
"""

import asyncio
import socket
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Self

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from aiohttp.http import HttpProcessingError
from yarl import URL

from runner.beside import beside
from runner.clock import Clock
from runner.credentials import Secret
from runner.lucca import Purpose, Request
from runner.timelimits import TimeLimit, TimeLimits
from runner.transport.answers import (
    ANSWER_CAP_BYTES,
    SOCKET_READ_BYTES,
    Answer,
    BrokenAnswerError,
    LostError,
    NotSentError,
    Stream,
    TransportError,
    UnreachableError,
)

_USER_AGENT: Final = "runner (nightly Lucca Timesheet batch)"
_NO_TIMEOUT: Final = aiohttp.ClientTimeout()
_PARTS: Final = (
    (aiohttp.BaseConnector, "connect"),
    (Connection, "protocol"),
    (Connection, "transport"),
    (ResponseHandler, "is_connected"),
    (ResponseHandler, "should_close"),
    (ResponseHandler, "set_response_params"),
    (ResponseHandler, "read"),
)
"""What is used of aiohttp besides its documented ways in."""
_PLACES: Final = 256
"""Whom to connect to is worked out once for so many hosts that are asked at a time."""


_TURNS_TO_READ: Final = 3
"""Of the loop, in which it reads what is here: to look, to read, and what TLS makes of it."""
_CONNECTIONS_TRIED: Final = 3
"""For a trigger. In the turns of the first all others are read as well."""


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
            connection, protocol = await self._connection(domain, request)
            try:
                protocol.set_response_params(
                    auto_decompress=False, read_until_eof=True, read_bufsize=SOCKET_READ_BYTES
                )
                assert connection.transport is not None  # noqa: S101 - said just now
                sent.mark()
                connection.transport.write(leaving)
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

    async def _connection(self, domain: str, request: Request) -> tuple[Connection, ResponseHandler]:
        """A connection that the host has not closed.

        A trigger that is written to one whose goodbye is here and was not read yet would count as sent, and cost an
        hour. So the loop reads first, and another one is taken.
        """
        assert self._connector is not None  # noqa: S101 - opened with the context
        place = self._place(self._gateway or f"https://{domain}")
        triggers = request.purpose is Purpose.TRIGGER
        why = ""
        for _ in range(_CONNECTIONS_TRIED if triggers else 1):
            connection = await self._connector.connect(place, [], _NO_TIMEOUT)
            try:
                for _ in range(_TURNS_TO_READ if triggers else 0):
                    await asyncio.sleep(0)
            except BaseException:
                connection.close()
                raise
            protocol = connection.protocol
            if protocol is None or not protocol.is_connected():
                why = "the connection was closed at once"
            elif protocol.should_close:  # it would be taken for the answer, to whichever tenant asks now
                why = "the host said something before it was asked"
            else:
                return connection, protocol
            connection.close()
        raise NotSentError(why)


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
