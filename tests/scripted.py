"""A server that says exactly the bytes it is told, on a plain socket: for answers that no HTTP library would send.

Owns the listening, the reading of requests (as raw bytes, counted) and a few ways to end a connection. It works on
real sockets and in the virtual loop alike, because it only asks asyncio for a server.
"""

import asyncio
import re
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

Say = bytes | Callable[[asyncio.StreamWriter], Awaitable[None]]
"""What answers one request: bytes, after which the connection stays open, or a function that does as it likes."""

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


@dataclass
class Scripted:
    """The server: what came in, and how to reach it.

    Attributes:
        requests: each request as it came, head and body.
        connections: how many were opened (whole handshakes, where there is TLS).
    """

    port: int = 0
    requests: list[bytes] = field(default_factory=list)
    connections: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


def answer(body: bytes = b"", *headers: str, status: str = "200 OK", length: int | None = None) -> bytes:
    """An answer with a length; `length` may lie."""
    size = len(body) if length is None else length
    return head(f"Content-Length: {size}", *headers, status=status) + body


def chunked(*chunks: bytes, end: bytes = b"0\r\n\r\n", headers: tuple[str, ...] = ()) -> bytes:
    """An answer in chunks; without `end` it is not whole."""
    body = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)
    return head("Transfer-Encoding: chunked", *headers) + body + end


def head(*headers: str, status: str = "200 OK") -> bytes:
    """A status line and headers."""
    return "".join(f"{line}\r\n" for line in (f"HTTP/1.1 {status}", *headers, "")).encode()


def then_close(data: bytes = b"") -> Say:
    """Say this and close politely."""

    async def say(writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        with suppress(OSError):
            await writer.drain()
        writer.close()

    return say


def then_reset(data: bytes = b"") -> Say:
    """Say this and break the connection off."""

    async def say(writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        with suppress(OSError):
            await writer.drain()
        sock = writer.get_extra_info("socket")
        if isinstance(sock, socket.socket) or hasattr(sock, "setsockopt"):
            with suppress(OSError, NotImplementedError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    return say


def slowly(data: bytes, *pieces: tuple[float, bytes]) -> Say:
    """Say `data`, then each piece after its pause, and keep the connection."""

    async def say(writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        for pause, piece in pieces:
            await asyncio.sleep(pause)
            if writer.transport.is_closing():
                return
            writer.write(piece)

    return say


def for_ever(start: bytes, again: bytes) -> Say:
    """Say `start`, then `again` for as long as somebody listens."""

    async def say(writer: asyncio.StreamWriter) -> None:
        writer.write(start)
        with suppress(OSError):
            while not writer.transport.is_closing():
                writer.write(again)
                await writer.drain()
                await asyncio.sleep(0)

    return say


@asynccontextmanager
async def scripted(
    *says: Say,
    by: Callable[[bytes], Say] | None = None,
    tls: ssl.SSLContext | None = None,
    greeting: Say | None = None,
    place: tuple[str, int] = ("127.0.0.1", 0),
) -> AsyncIterator[Scripted]:
    """Serve: the first request gets the first answer, and so on; the last one answers all that follow.

    With `by` each request gets the answer that this gives for it. With a `greeting` nothing is read: that is said as
    soon as somebody connects.
    """
    server = Scripted()
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server.connections += 1
        if greeting is not None:
            await _say(greeting, writer)
            return
        while (request := await _read(reader)) is not None:
            server.requests.append(request)
            if by is not None:
                await _say(by(request), writer)
            elif says:
                await _say(says[min(len(server.requests), len(says)) - 1], writer)

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async def guarded() -> None:
            with suppress(OSError, asyncio.CancelledError):
                await serve(reader, writer)
            writer.transport.abort()

        task = asyncio.get_running_loop().create_task(guarded())
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    listening = await asyncio.start_server(connected, *place, ssl=tls)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listening.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _say(say: Say, writer: asyncio.StreamWriter) -> None:
    if isinstance(say, bytes):
        writer.write(say)
        await writer.drain()
    else:
        await say(writer)


async def _read(reader: asyncio.StreamReader) -> bytes | None:
    try:
        start = await reader.readuntil(b"\r\n\r\n")
        length = _LENGTH.search(start)
        return start + (await reader.readexactly(int(length[1])) if length else b"")
    except (asyncio.IncompleteReadError, OSError):
        return None
