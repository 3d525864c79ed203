"""Virtual time for tests: a night of eight hours in a blink, through the real client and the real server.

Owns a clock for `runner` that reads the time of the virtual loop, a connector with which aiohttp's client reaches a
server inside the same loop, and the sandbox served there. It knows nothing of jobs. What is meant for a worker thread
is run in place, so that a run is the same each time:

    def test_a_slow_export_is_polled_to_its_end() -> None:
        async def night(sandbox: VirtualSandbox) -> None:
            async with sandbox.session() as session:
                ...
            await sandbox.clock.wait(3600)

        run_with_sandbox(scenario, night)
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar
from unittest.mock import patch

import aiohttp
import anyio
from aiohttp import web
from aiohttp.abc import ResolveResult
from anyio._backends._asyncio import AsyncIOBackend

from runner.clock import Instant
from tests.virtual_loop import VirtualEventLoop

if TYPE_CHECKING:
    from runner.sandbox import Scenario, World

T = TypeVar("T")

NIGHT = datetime(2026, 11, 24, 1, 0, tzinfo=UTC)
"""Where a virtual night starts unless a test says otherwise: one o'clock on Tuesday 24 November 2026."""

HOST = "127.0.0.1"


class VirtualClock:
    """A `runner.clock.Clock` over the running loop's time. Its wall can be set and its machine rebooted."""

    def __init__(
        self, start: datetime = NIGHT, *, boot_id: str = "boot-1", boot_seconds: float = 1000.0
    ) -> None:
        self._wall_offset = start - timedelta(seconds=_loop_seconds())
        self._boot_offset = boot_seconds - _loop_seconds()
        self.boot_id = boot_id
        self._read: tuple[float, Instant] | None = None  # it is asked far more often than time goes by

    def now(self) -> Instant:
        """The present virtual moment."""
        seconds = _loop_seconds()
        if self._read is not None and self._read[0] == seconds:
            return self._read[1]
        wall = self._wall_offset + timedelta(seconds=seconds)
        self._read = seconds, Instant(wall, seconds + self._boot_offset, self.boot_id)
        return self._read[1]

    def boot_seconds(self) -> float:
        """Since this virtual boot."""
        return _loop_seconds() + self._boot_offset

    async def wait(self, seconds: float) -> None:
        """Return after `seconds` of virtual time, which is at once in real time."""
        await anyio.sleep(max(0.0, seconds))

    def set_wall(self, wall: datetime) -> None:
        """Set the wall clock, as a person or NTP would: the boot clock does not notice."""
        self._read = None
        self._wall_offset = wall - timedelta(seconds=_loop_seconds())

    def shift_wall(self, seconds: float) -> None:
        """Set the wall clock forward, or back where `seconds` is negative."""
        self._read = None
        self._wall_offset += timedelta(seconds=seconds)

    def suspend(self, seconds: float) -> None:
        """Sleep as a laptop does: both clocks went on meanwhile, and no timer of the loop did."""
        self._read = None
        self._boot_offset += seconds
        self._wall_offset += timedelta(seconds=seconds)

    def reboot(self, boot_id: str, *, down_seconds: float = 0.0, boot_seconds: float = 10.0) -> None:
        """Start a new boot: the boot clock begins again. `down_seconds` of wall time went by meanwhile."""
        self._read = None
        self.boot_id = boot_id
        self._boot_offset = boot_seconds - _loop_seconds()
        self._wall_offset += timedelta(seconds=down_seconds)


def _loop_seconds() -> float:
    return asyncio.get_running_loop().time()


class VirtualConnector(aiohttp.TCPConnector):
    """A TCPConnector whose connections are made by `loop.create_connection`, in the loop's own memory."""

    async def _resolve_host(self, host: str, port: int, traces: Any = None) -> list[ResolveResult]:
        address = HOST if host == "localhost" else host
        return [{"hostname": host, "host": address, "port": port, "family": 0, "proto": 0, "flags": 0}]

    async def _wrap_create_connection(  # type: ignore[override]
        self,
        *args: Callable[[], asyncio.Protocol],
        addr_infos: list[Any],
        req: aiohttp.ClientRequest,
        timeout: aiohttp.ClientTimeout,
        client_error: type[aiohttp.ClientConnectorError] = aiohttp.ClientConnectorError,
        **_kwargs: Any,
    ) -> Any:
        host, port = addr_infos[0][4][:2]
        try:
            return await asyncio.get_running_loop().create_connection(args[0], host, port)
        except OSError as error:
            raise client_error(req.connection_key, error) from error


@dataclass(frozen=True, slots=True)
class VirtualSandbox:
    """The sandbox in a virtual night: its state, its address, and how a client gets there."""

    clock: VirtualClock
    world: "World"
    gateway: str
    connector: type[VirtualConnector] = VirtualConnector

    def session(self, **options: Any) -> aiohttp.ClientSession:
        """A client session whose relative URLs go to the sandbox: set `Host` per request."""
        return aiohttp.ClientSession(self.gateway, connector=VirtualConnector(), **options)


def run_virtual(main: Callable[[VirtualClock], Awaitable[T]], *, start: datetime = NIGHT) -> T:
    """Run `main(clock)` to its end in virtual time and give back its result."""

    async def body() -> T:
        return await main(VirtualClock(start))

    with _threads_in_place(), asyncio.Runner(loop_factory=VirtualEventLoop) as runner:
        return runner.run(body())


def run_with_sandbox(
    scenario: "Scenario",
    main: Callable[[VirtualSandbox], Awaitable[T]],
    *,
    start: datetime = NIGHT,
    prepare: "Callable[[World], None] | None" = None,
) -> T:
    """Run `main(sandbox)` in virtual time with a sandbox of `scenario` served in the same loop.

    `prepare(world)` may set hooks before the first request.
    """

    async def body(clock: VirtualClock) -> T:
        from runner.sandbox import World, build_app  # noqa: PLC0415 - only who needs it loads it

        # The server has its own clock: setting or rebooting the client's must not touch it.
        world = World(scenario, VirtualClock(start))
        if prepare is not None:
            prepare(world)
        async with serve_virtual(build_app(world)) as gateway:
            return await main(VirtualSandbox(clock, world, gateway))

    return run_virtual(body, start=start)


class serve_virtual:  # noqa: N801 - reads as the verb it is: `async with serve_virtual(app) as gateway`
    """Serve an aiohttp application in the running virtual loop; gives its base URL."""

    def __init__(self, app: web.Application) -> None:
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=0.01)

    async def __aenter__(self) -> str:
        await self._runner.setup()
        site = web.TCPSite(self._runner, HOST, 0)
        await site.start()
        port = self._runner.addresses[0][1]
        return f"http://{HOST}:{port}"

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()


@contextmanager
def _threads_in_place() -> Iterator[None]:
    """Run what is meant for a worker thread in place: the virtual clock would not wait for a thread."""

    async def in_place(
        cls: type[AsyncIOBackend], func: Callable[..., T], args: tuple[Any, ...], *_: Any, **__: Any
    ) -> T:
        await cls.checkpoint()
        return func(*args)

    with patch.object(AsyncIOBackend, "run_sync_in_worker_thread", classmethod(in_place)):
        yield
