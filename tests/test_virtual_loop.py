"""The loop that all tests in virtual time run on: its connections must behave as TCP's do where a client can tell."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from tests.virtual import VirtualClock, run_virtual
from tests.virtual_loop import SleepsForEverError

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def connect(serve: Serve) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    return await asyncio.open_connection(host, port)


def test_time_passes_only_by_waiting_and_to_the_very_moment() -> None:
    async def main(clock: VirtualClock) -> None:
        before = clock.now().boot_seconds
        await clock.wait(31_536_000.1)
        assert clock.now().boot_seconds == before + 31_536_000.1

    run_virtual(main)


def test_what_was_written_arrives_in_order_and_before_the_end() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for number in range(50):
            writer.write(b"%d," % number)
        writer.close()

    async def main(_clock: VirtualClock) -> None:
        reader, writer = await connect(serve)
        assert await reader.read() == b"".join(b"%d," % number for number in range(50))
        writer.close()

    run_virtual(main)


def test_a_reset_takes_along_what_was_not_read() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(1)
        writer.transport.abort()

    async def main(_clock: VirtualClock) -> None:
        reader, writer = await connect(serve)
        writer.write(b"?")
        with pytest.raises(ConnectionResetError):
            await reader.read()
        with pytest.raises(ConnectionResetError):
            await writer.drain()

    run_virtual(main)


def test_a_writer_is_held_back_until_the_other_end_has_read() -> None:
    written: list[int] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(100):
            writer.write(bytes(10_000))
            await writer.drain()
            written.append(10_000)
        writer.close()

    async def main(clock: VirtualClock) -> None:
        reader, writer = await connect(serve)
        await clock.wait(60)
        assert 64_000 < sum(written) < 300_000
        assert len(await reader.read()) == 1_000_000
        writer.close()

    run_virtual(main)


def test_nobody_listens_where_nobody_was_put() -> None:
    async def main(_clock: VirtualClock) -> None:
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", 1)

    run_virtual(main)


def test_a_wait_that_nothing_can_end_is_told_instead_of_hanging() -> None:
    async def main(_clock: VirtualClock) -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(SleepsForEverError):
        run_virtual(main)
