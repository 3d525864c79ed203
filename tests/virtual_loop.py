"""An event loop alone in the world: its clock jumps to the next timer, and its connections are made of memory.

Owns how virtual time passes and how bytes get from one end of a connection to the other: in the order in which they
were written, one turn of the loop later, and no faster than the other end reads. What would go to a thread is run in
place. Must not know HTTP, nor the program.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Final, TypeVar

T = TypeVar("T")

_MUCH_BYTES: Final = 64 * 1024
"""As much may be under way before the writer is asked to pause."""


class SleepsForEverError(RuntimeError):
    """Nothing is ready and no timer is set: on a real loop this would hang."""


class VirtualEventLoop(asyncio.BaseEventLoop):
    """The loop. What a subclass of `BaseEventLoop` must bring is a selector and the handling of its events.

    Signal handlers are accepted and never called: no signal reaches a virtual night.
    """

    def __init__(self) -> None:
        super().__init__()
        self._seconds = 0.0
        self._clock_resolution = (
            1e-6  # a timer is due within it; a nanosecond is lost in a year's floating point
        )
        self._selector = self  # `BaseEventLoop` asks it when nothing is ready
        self._listeners: dict[tuple[str, int], Callable[[], asyncio.BaseProtocol]] = {}

    def time(self) -> float:
        """The virtual time in seconds."""
        return self._seconds

    def select(self, timeout: float | None) -> None:
        """Let the time pass until the next timer, unless something is ready."""
        if timeout is None:
            raise SleepsForEverError
        if timeout > 0:
            # To the timer's own moment: a sum of differences might end a breath before it, and be asked for again.
            self._seconds = max(self._seconds, self._scheduled[0].when())  # type: ignore[attr-defined]

    def _process_events(self, _events: None) -> None:
        """There are none: whoever writes tells the other end."""

    def _write_to_self(self) -> None:
        """Nobody else can wake this loop."""

    async def run_in_executor(self, _executor: Any, func: Callable[..., T], *args: Any) -> T:  # type: ignore[override]
        """Call `func` in place: the virtual clock would not wait for a thread."""
        return func(*args)

    def add_signal_handler(self, sig: int, callback: Callable[..., Any], *args: Any) -> None:  # type: ignore[override]
        """Accept a handler."""

    def remove_signal_handler(self, sig: int) -> bool:
        """Accept that too."""
        return True

    async def create_server(  # type: ignore[override]
        self, protocol_factory: Callable[[], asyncio.BaseProtocol], host: str, port: int = 0, **_options: Any
    ) -> "_Server":
        """Listen there; port 0 means any that is free."""
        port = port or next(free for free in range(60_000, 65_536) if (host, free) not in self._listeners)
        self._listeners[host, port] = protocol_factory
        return _Server(self._listeners, (host, port))

    async def create_connection(  # type: ignore[override]
        self, protocol_factory: Callable[[], asyncio.BaseProtocol], host: str, port: int
    ) -> tuple[asyncio.Transport, asyncio.BaseProtocol]:
        """Connect to whoever listens there.

        Raises:
            ConnectionRefusedError: nobody does.
        """
        await asyncio.sleep(0)
        listener = self._listeners.get((host, port))
        if listener is None:
            raise ConnectionRefusedError(f"nobody listens at {host}:{port}")
        near, far = _End(self, protocol_factory(), (host, port)), _End(self, listener(), (host, 1))
        near.peer, far.peer = far, near
        far.protocol.connection_made(far)
        near.protocol.connection_made(near)
        return near, near.protocol


class _Server:
    """Whoever listens at one place."""

    def __init__(self, listeners: dict[tuple[str, int], Any], place: tuple[str, int]) -> None:
        self._listeners = listeners
        self._place = place

    @property
    def sockets(self) -> "tuple[_Server, ...]":
        """Itself: all that anybody asks of it is its name."""
        return (self,)

    def getsockname(self) -> tuple[str, int]:
        return self._place

    def close(self) -> None:
        self._listeners.pop(self._place, None)

    async def wait_closed(self) -> None:
        """Nothing is left of it."""


class _End(asyncio.Transport):
    """One end of a connection."""

    peer: "_End"

    def __init__(self, loop: VirtualEventLoop, protocol: Any, peername: tuple[str, int]) -> None:
        super().__init__({"peername": peername})
        self.protocol = protocol
        self._loop = loop
        self._closing = False
        self._lost = False
        self._paused = False
        self._waiting: list[bytes | None] = []  # what came while reading was paused; None for the end
        self._under_way = 0  # bytes written that the other end has not taken
        self._held_back = False

    # ── writing ──────────────────────────────────────────────────────────────────────────────────────────────────

    def write(self, data: bytes | bytearray | memoryview) -> None:  # type: ignore[override,unused-ignore]
        if self._closing or not data:
            return
        self._under_way += len(data)
        self._loop.call_soon(self.peer._arrives, bytes(data))  # noqa: SLF001
        if self._under_way > _MUCH_BYTES and not self._held_back:
            self._held_back = True
            self.protocol.pause_writing()

    def _taken(self, size: int) -> None:
        self._under_way -= size
        if self._held_back and self._under_way <= _MUCH_BYTES // 4:
            self._held_back = False
            if not self._lost:
                self.protocol.resume_writing()

    def can_write_eof(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return self._under_way

    # ── reading ──────────────────────────────────────────────────────────────────────────────────────────────────

    def pause_reading(self) -> None:
        self._paused = True

    def resume_reading(self) -> None:
        if self._paused:
            self._paused = False
            self._loop.call_soon(self._catch_up)

    def is_reading(self) -> bool:
        return not self._paused and not self._closing

    def _catch_up(self) -> None:
        while self._waiting and not self._paused:
            self._take(self._waiting.pop(0))

    def _arrives(self, data: bytes | None) -> None:
        """Bytes, or the end of them."""
        if self._paused or self._waiting:
            self._waiting.append(data)
        else:
            self._take(data)

    def _take(self, data: bytes | None) -> None:
        if self._closing:
            return
        if data is not None:
            self.peer._taken(len(data))  # noqa: SLF001
            self.protocol.data_received(data)
        elif not self.protocol.eof_received():
            self.close()

    # ── the end ──────────────────────────────────────────────────────────────────────────────────────────────────

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        """End it politely: what was written arrives first."""
        if not self._closing:
            self._closing = True
            self._loop.call_soon(self.peer._arrives, None)  # noqa: SLF001
            self._loop.call_soon(self._lose, None)

    def abort(self) -> None:
        """End it at once, as a reset does: what the other end has not read is gone."""
        self._closing = True
        self._loop.call_soon(self._lose, None)
        self._loop.call_soon(self.peer._lose, ConnectionResetError("reset by the other end"))  # noqa: SLF001

    def _lose(self, error: Exception | None) -> None:
        self._closing = True
        self._waiting.clear()
        if not self._lost:
            self._lost = True
            self.protocol.connection_lost(error)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self.protocol  # type: ignore[no-any-return]
