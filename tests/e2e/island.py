"""A network of its own for one command: names, addresses and certificates as a plan says, and nothing else.

`unshare --net --mount python -m tests.e2e.island PLAN COMMAND…` gives the command a machine that reaches only its own
loopback address, with a name service that answers as planned and, at each planned address, a server with a planned
certificate. Notes what was asked of them. Owns no expectation.
"""

import asyncio
import fcntl
import json
import socket
import ssl
import struct
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack, ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tests.e2e.liars import Liars
from tests.scripted import Say, answer, scripted, then_close

NAME_SERVICE = "127.66.66.66"
STRANGER = "stranger.example"
_RCODES = {"no such name": 3, "in trouble": 2, "refused": 5}
_UP = 0x1


@dataclass(frozen=True, slots=True)
class Host:
    """What a name leads to.

    Attributes:
        name_service: an answer of it other than an address: no such name, no address, in trouble, refused, silent.
        address: where the name leads, in place of that.
        certificate: a file with the server's key and certificates; without one nothing listens, unless it `does` else.
        does: honest, or redirects, says nothing, is full (its connections are never opened), speaks plainly.
    """

    name_service: str = ""
    address: str = ""
    certificate: str = ""
    does: str = "honest"


@dataclass(slots=True)
class Notes:
    """What came: names that were asked for, requests by host, connections by host."""

    names: list[str] = field(default_factory=list)
    requests: dict[str, list[str]] = field(default_factory=dict)
    code: int = 1


class NameService(asyncio.DatagramProtocol):
    """Answers as planned, and that there is no such name to everything else."""

    def __init__(self, hosts: Mapping[str, Host], notes: Notes) -> None:
        self._hosts = hosts
        self._notes = notes

    def connection_made(self, transport: Any) -> None:
        self._transport: asyncio.DatagramTransport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        labels, at = [], 12
        while size := data[at]:
            labels.append(data[at + 1 : at + 1 + size].decode())
            at += 1 + size
        question, (kind,) = data[12 : at + 5], struct.unpack(">H", data[at + 1 : at + 3])
        name = ".".join(labels).lower()
        self._notes.names.append(name)
        host = self._hosts.get(name, Host("no such name"))
        if host.name_service == "silent":
            return
        found = host.address != "" and kind == 1
        header = data[:2] + struct.pack(
            ">HHHHH", 0x8180 | _RCODES.get(host.name_service, 0), 1, int(found), 0, 0
        )
        record = struct.pack(">HHHIH", 0xC00C, 1, 1, 60, 4) + socket.inet_aton(host.address) if found else b""
        self._transport.sendto(header + question + record, addr)


def loopback_up() -> None:
    """A new network has its loopback interface down."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        fcntl.ioctl(sock, 0x8914, struct.pack("16sh14s", b"lo", _UP, b""))


def use_names(folder: Path) -> None:
    """Let the system's resolver ask our name service alone."""
    for name, text in (
        ("resolv.conf", f"nameserver {NAME_SERVICE}\noptions timeout:1 attempts:1\n"),
        ("nsswitch.conf", "hosts: files dns\n"),
    ):
        path = folder / name
        path.write_text(text, encoding="utf-8")
        if Path("/etc", name).exists():
            subprocess.run(["mount", "--bind", str(path), f"/etc/{name}"], check=True)


async def serve_all(hosts: Mapping[str, Host], notes: Notes, opened: AsyncExitStack) -> None:
    """Open the name service and every host."""
    loop = asyncio.get_running_loop()
    await loop.create_datagram_endpoint(lambda: NameService(hosts, notes), local_addr=(NAME_SERVICE, 53))
    liars = Liars({})
    for name, host in hosts.items():
        place = (host.address, 443)
        if host.does == "full":
            opened.enter_context(full(place))
        elif host.certificate or host.does in ("says nothing", "speaks plainly"):
            tls = None
            if host.certificate:
                tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
                tls.load_cert_chain(host.certificate)
            redirect = answer(b"", f"Location: https://{STRANGER}/", status="307 Elsewhere")
            greeting: Say | None = None
            if host.does == "says nothing":
                greeting = silence
            elif host.does == "speaks plainly":
                greeting = then_close(answer(b"", status="400 Bad Request"))

            def by(request: bytes, name: str = name, host: Host = host, redirect: bytes = redirect) -> Say:
                notes.requests.setdefault(name, []).append(request.partition(b"\r\n")[0].decode())
                return redirect if host.does == "redirects" else liars.answer_to(request)

            await opened.enter_async_context(scripted(by=by, tls=tls, greeting=greeting, place=place))


async def silence(_writer: asyncio.StreamWriter) -> None:
    """Say nothing, for ever."""
    await asyncio.Event().wait()


@contextmanager
def full(place: tuple[str, int]) -> Iterator[None]:
    """A host that opens no further connection: nobody is told no, and nobody is let in."""
    with ExitStack() as opened:
        listening = opened.enter_context(socket.socket())
        listening.bind(place)
        listening.listen(0)
        for _ in range(4):
            waiting = opened.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(place)
        yield


async def main(plan: str, *command: str) -> int:
    """Run the command on the island."""
    path = Path(plan)
    planned = json.loads(path.read_text("utf-8"))
    hosts = {name: Host(**host) for name, host in planned["hosts"].items()}
    notes = Notes()
    async with AsyncExitStack() as opened:
        if planned["online"]:
            loopback_up()
            use_names(path.parent)
            await serve_all(hosts, notes, opened)
        process = await asyncio.create_subprocess_exec(*command)
        notes.code = await process.wait()
        path.with_name("notes.json").write_text(json.dumps(asdict(notes)), encoding="utf-8")
    return notes.code


if __name__ == "__main__":
    sys.exit(asyncio.run(main(*sys.argv[1:])))
