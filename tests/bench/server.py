"""A Lucca that answers at once, from bytes prepared beforehand: a process of its own that leaves the cores to others.

Owns the wire of the measured requests and their counting. It keeps no ledger: export 1000 + N is the one of
configuration N. As `python -m tests.bench.server` it prints its port and serves until it is ended.
"""

import argparse
import asyncio
import json
import re
import sys
import time
from collections import Counter
from functools import partial

from tests.bench.worlds import ENDS_AT, content_of

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_CONFIGURATION = re.compile(rb'"configurationId": *(\d+)')
_FIRST_ID = 1000
_PIECE_BYTES = 256 * 1024
_EMPTY = b'{"data":{"items":[]}}'


class Told:
    """What came in since the last reset."""

    def __init__(self) -> None:
        self.requests: Counter[str] = Counter()
        self.connections = 0
        self.first_at: float | None = None
        self.last_at: float | None = None


class Lucca(asyncio.Protocol):
    """One connection."""

    def __init__(self, told: Told, rest: bytes, *, lets_go: bool) -> None:
        self._told = told
        self._rest = rest
        self._lets_go = lets_go
        self._buffer = b""
        self._room = asyncio.Event()
        self._room.set()
        self._sending: asyncio.Task[None] | None = None
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._told.connections += 1

    def pause_writing(self) -> None:
        self._room.clear()

    def resume_writing(self) -> None:
        self._room.set()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._sending is not None:
            self._sending.cancel()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:end]
            found = _LENGTH.search(head)
            size = end + 4 + (int(found[1]) if found else 0)
            if len(self._buffer) < size:
                return
            body, self._buffer = self._buffer[end + 4 : size], self._buffer[size:]
            self._answer(head[: head.find(b"\r\n")], body)

    def _answer(self, line: bytes, body: bytes) -> None:
        method, target, _ = line.split(b" ")
        if target.startswith(b"/__"):
            self._tell(target)
            return
        now = time.monotonic()
        self._told.first_at = self._told.first_at or now
        self._told.last_at = now
        path, _, query = target.partition(b"?")
        name = path.rsplit(b"/", 1)[1]
        if method == b"POST":
            self._told.requests["trigger"] += 1
            found = _CONFIGURATION.search(body)
            if self._lets_go or found is None:
                self._say(b"", b"408 Request Timeout")
            else:
                self._say(b'{"data":{"id":%d}}' % (_FIRST_ID + int(found[1])))
        elif name.isdigit():
            # `status` is asked by those that know no other way of waiting.
            if b"status" in query:
                self._told.requests["poll"] += 1
                self._say(b'{"data":{"id":%s,"status":"done"}}' % name)
            else:
                self._told.requests["content"] += 1
                self._say_content(int(name))
        else:
            after = b"greaterthan" in query
            self._told.requests["poll" if after else "baseline"] += 1
            self._say(_EMPTY)

    def _say(self, body: bytes, status: bytes = b"200 OK") -> None:
        self._transport.write(_head(len(body), status) + body)

    def _say_content(self, id_: int) -> None:
        start = b'{"data":{"id":%d,"configurationId":%d,' % (id_, id_ - _FIRST_ID)
        middle, size = self._rest, len(start) + len(self._rest)
        if size <= _PIECE_BYTES * 4:
            self._transport.write(b"".join((_head(size), start, middle)))
            return
        self._transport.write(_head(size) + start)
        self._sending = asyncio.get_running_loop().create_task(self._send(middle))

    async def _send(self, body: bytes) -> None:
        whole = memoryview(body)
        for at in range(0, len(whole), _PIECE_BYTES):
            await self._room.wait()
            self._transport.write(whole[at : at + _PIECE_BYTES])

    def _tell(self, target: bytes) -> None:
        told = self._told
        document = {
            "requests": told.requests,
            "connections": told.connections,
            "first_at": told.first_at,
            "last_at": told.last_at,
        }
        if target.startswith(b"/__reset__"):
            told.requests, told.connections, told.first_at, told.last_at = Counter(), 0, None, None
        self._say(json.dumps(document).encode())


def _head(size: int, status: bytes = b"200 OK") -> bytes:
    return (
        b"HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n"
        b"Date: Tue, 24 Nov 2026 01:00:00 GMT\r\n\r\n"
    ) % (status, size)


async def _serve(content_bytes: int, *, lets_go: bool) -> None:
    told = Told()
    make = partial(Lucca, told, content_of(content_bytes, ENDS_AT), lets_go=lets_go)
    server = await asyncio.get_running_loop().create_server(make, "127.0.0.1", 0, backlog=2048)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


def main() -> None:
    """Serve."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--content", type=int, default=100_000, help="bytes of an export")
    parser.add_argument("--lets-go", action="store_true", help="answer every trigger with 408")
    given = parser.parse_args()
    asyncio.run(_serve(given.content, lets_go=given.lets_go))


if __name__ == "__main__":
    main()
