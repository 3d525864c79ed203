"""What all peers do alike, so that they differ only in who does it: the jobs, the requests, the keeping of a file."""

import asyncio
import hashlib
import os
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Any, Final, TypeVar

HEADERS: Final = {
    "Authorization": "lucca application=0",
    "Accept": "application/json",
    "Accept-Encoding": "identity",
}
_EXPORTS: Final = "/api/v3/timmiexports"
RUN: Final = f"{_EXPORTS}/run?fields=id"
_AT_A_TIME: Final = 64

Job = TypeVar("Job")


def jobs_of(tenants: int, exports: int) -> Iterator[tuple[int, int]]:
    """Tenant and configuration of each: the first of every tenant, then the second."""
    return ((tenant, export + 1) for export in range(exports) for tenant in range(tenants))


async def do_all(jobs: Iterable[Job], do: Callable[[Job], Awaitable[object]]) -> None:
    """Sixty-four at a time."""
    waiting = iter(jobs)

    async def work() -> None:
        for job in waiting:
            await do(job)

    await asyncio.gather(*(work() for _ in range(_AT_A_TIME)))


def domain_of(tenant: int) -> str:
    """Whose request it is."""
    return f"client-{tenant:05d}.ilucca.net"


def latest(configuration: int) -> str:
    """Asks for the latest export so far."""
    return f"{_EXPORTS}?configurationId={configuration}&orderBy=createdAt,desc,id,desc&paging=0,1&fields=id,createdat"


def wanted(configuration: int) -> dict[str, Any]:
    """What `RUN` is told."""
    return {"endsAt": "2026-11-23T00:00:00", "configurationId": configuration}


def content(id_: int) -> str:
    """Asks for an export's entries."""
    return f"{_EXPORTS}/{id_}?fields=id,name,entries"


def keep(folder: str, name: str, body: bytes) -> str:
    """Write, hash and flush a file."""
    descriptor = os.open(f"{folder}/{name}", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.write(descriptor, body)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return hashlib.sha256(body).hexdigest()
