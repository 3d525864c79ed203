"""The floor: the three requests of an export and its file, by aiohttp and nothing else.

Sixty-four requests in flight; each file is written, hashed and flushed by one call in a thread, as any program must
that does not want to stop its loop for the disk.

    python aiohttp_loop.py URL TENANTS EXPORTS FOLDER
"""

import asyncio
import hashlib
import os
import sys
from collections.abc import Iterator

import aiohttp

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


async def export(session: aiohttp.ClientSession, tenant: int, configuration: int, folder: str) -> None:
    """One job."""
    headers = {"Host": f"client-{tenant:05d}.ilucca.net"}
    listing = f"{EXPORTS}?configurationId={configuration}&orderBy=createdAt,desc,id,desc&paging=0,1&fields=id,createdat"
    async with session.get(listing, headers=headers) as answer:
        (await answer.json())["data"]["items"]
    wanted = {"endsAt": "2026-11-23T00:00:00", "configurationId": configuration}
    async with session.post(f"{EXPORTS}/run?fields=id", json=wanted, headers=headers) as answer:
        id_ = (await answer.json())["data"]["id"]
    async with session.get(f"{EXPORTS}/{id_}?fields=id,name,entries", headers=headers) as answer:
        body = await answer.read()
    await asyncio.to_thread(keep, folder, f"{tenant}-{configuration}-{id_}.json", body)


async def main(url: str, tenants: int, exports: int, folder: str) -> None:
    """All jobs."""
    jobs: Iterator[tuple[int, int]] = ((t, c + 1) for c in range(exports) for t in range(tenants))

    async def work() -> None:
        for tenant, configuration in jobs:
            await export(session, tenant, configuration, folder)

    async with aiohttp.ClientSession(
        url, headers=HEADERS, connector=aiohttp.TCPConnector(limit=0), cookie_jar=aiohttp.DummyCookieJar()
    ) as session:
        await asyncio.gather(*(work() for _ in range(64)))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]))
