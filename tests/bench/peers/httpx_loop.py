"""The same as `aiohttp_loop`, by httpx.

python httpx_loop.py URL TENANTS EXPORTS FOLDER
"""

import asyncio
import hashlib
import os
import sys
from collections.abc import Iterator

import httpx  # type: ignore[import-not-found] # installed for the benchmark only

HEADERS = {
    "Authorization": "lucca application=0",
    "Accept": "application/json",
    "Accept-Encoding": "identity",
}
EXPORTS = "/api/v3/timmiexports"


def keep(folder: str, name: str, body: bytes) -> str:
    """Write, hash and flush a file."""
    descriptor = os.open(f"{folder}/{name}", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.write(descriptor, body)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return hashlib.sha256(body).hexdigest()


async def export(client: httpx.AsyncClient, tenant: int, configuration: int, folder: str) -> None:
    """One job."""
    headers = {"Host": f"client-{tenant:05d}.ilucca.net"}
    listing = f"{EXPORTS}?configurationId={configuration}&orderBy=createdAt,desc,id,desc&paging=0,1&fields=id,createdat"
    (await client.get(listing, headers=headers)).json()["data"]["items"]
    wanted = {"endsAt": "2026-11-23T00:00:00", "configurationId": configuration}
    id_ = (await client.post(f"{EXPORTS}/run?fields=id", json=wanted, headers=headers)).json()["data"]["id"]
    answer = await client.get(f"{EXPORTS}/{id_}?fields=id,name,entries", headers=headers)
    await asyncio.to_thread(keep, folder, f"{tenant}-{configuration}-{id_}.json", answer.content)


async def main(url: str, tenants: int, exports: int, folder: str) -> None:
    """All jobs."""
    jobs: Iterator[tuple[int, int]] = ((t, c + 1) for c in range(exports) for t in range(tenants))

    async def work() -> None:
        for tenant, configuration in jobs:
            await export(client, tenant, configuration, folder)

    limits = httpx.Limits(max_connections=None, max_keepalive_connections=64)
    async with httpx.AsyncClient(base_url=url, headers=HEADERS, limits=limits, timeout=60) as client:
        await asyncio.gather(*(work() for _ in range(64)))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]))
