"""The sandbox on a socket: one handler for everything, the tenant told by the `Host` header.

Owns how an answer, whole or mistreated, becomes bytes (the only place here that knows aiohttp) and the page
`/__sandbox__/state`. It decides nothing: the world does.
"""

import gzip
import socket
import struct
from collections.abc import Callable

import anyio
from aiohttp import web

from runner.sandbox.answers import Answer
from runner.sandbox.requests import WireRequest
from runner.sandbox.world import World

STATE_PATH = "/__sandbox__/state"
_LOOPBACK = ("127.", "::1", "::ffff:127.")
_MAX_BODY_BYTES = 16 * 1024 * 1024
_RESET_AT_ONCE = struct.pack("ii", 1, 0)


def build_app(world: World) -> web.Application:
    """An application that plays `world`."""

    async def handle(request: web.Request) -> web.StreamResponse:
        if request.path == STATE_PATH:
            return _state(request, world)
        return await _play(request, world)

    app = web.Application(client_max_size=_MAX_BODY_BYTES)
    app.router.add_route("*", "/{anything:.*}", handle)
    return app


async def serve(
    world: World, host: str = "127.0.0.1", port: int = 0, ready: Callable[[int], None] | None = None
) -> None:
    """Serve until cancelled; `ready` is told the port."""
    runner = web.AppRunner(build_app(world), access_log=None, handle_signals=False, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        await site.start()
        if ready is not None:
            ready(int(runner.addresses[0][1]))
        await anyio.sleep_forever()
    finally:
        with anyio.CancelScope(shield=True):
            await runner.cleanup()


async def _play(request: web.Request, world: World) -> web.StreamResponse:
    body = await request.read() if request.can_read_body else b""
    path, _, query = request.raw_path.partition("?")
    wire = WireRequest(
        host=request.host,
        method=request.method,
        path=path,
        query=query,
        authorization=request.headers.get("Authorization", ""),
        content_type=request.headers.get("Content-Type", ""),
        body=body,
        is_gone=lambda: _is_gone(request),
    )
    answer, place = await world.handle(wire)
    if _is_gone(request):
        world.finish(place, "aborted")
        return web.Response(status=500)
    if answer.reset:
        world.finish(place, "reset")
        _break_off(request)
        return web.Response(status=500)
    world.finish(place, answer.status)
    headers = {
        "Content-Type": answer.content_type,
        "Date": world.date_header(request.host),
        **dict(answer.headers),
    }
    if answer.gzip is not None:
        headers["Content-Encoding"] = "gzip"
        packed = gzip.compress(answer.body, mtime=0)
        return web.Response(
            status=answer.status, body=packed[: len(packed) - answer.gzip.cut_bytes], headers=headers
        )
    if answer.cut is not None:
        return _send_cut(request, answer, headers)
    if answer.trickle is not None:
        sent = await _send_slowly(request, answer, headers, world)
        if _is_gone(request):
            world.finish(place, "aborted")
        return sent
    return web.Response(status=answer.status, body=answer.body, headers=headers)


def _state(request: web.Request, world: World) -> web.Response:
    if not (request.remote or "").startswith(_LOOPBACK):
        return web.json_response({"Status": 404, "Message": "Not Found"}, status=404)
    return web.json_response(world.state())


def _is_gone(request: web.Request) -> bool:
    return request.transport is None or request.transport.is_closing()


def _break_off(request: web.Request) -> None:
    transport = request.transport
    if transport is None:
        return
    sock = transport.get_extra_info("socket")
    if sock is not None:
        # Without lingering a close is a reset, not a polite end.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_AT_ONCE)
    transport.abort()


def _send_cut(request: web.Request, answer: Answer, headers: dict[str, str]) -> web.StreamResponse:
    transport = request.transport
    if transport is None or answer.cut is None:
        return web.Response(status=500)
    lines = [f"HTTP/1.1 {answer.status} OK", *(f"{name}: {value}" for name, value in headers.items())]
    if answer.cut.announced:
        lines.append(f"Content-Length: {len(answer.body)}")
    lines.append("Connection: close")
    head = "\r\n".join([*lines, "", ""]).encode()
    # Past aiohttp, which would not send a body that contradicts its head.
    transport.write(head + answer.body[: answer.cut.bytes])
    transport.close()
    return web.Response(status=500)


async def _send_slowly(
    request: web.Request, answer: Answer, headers: dict[str, str], world: World
) -> web.StreamResponse:
    response = web.StreamResponse(status=answer.status, headers=headers)
    response.content_length = len(answer.body)
    await response.prepare(request)
    step = max(1, answer.trickle.bytes_per_second if answer.trickle is not None else 1)
    for start in range(0, len(answer.body), step):
        if _is_gone(request):
            break
        await response.write(answer.body[start : start + step])
        await world.clock.wait(1.0)
    return response
