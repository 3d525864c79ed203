"""The same job as a DBOS workflow of three steps, with its own SQLite beside.

python dbos_flow.py URL TENANTS EXPORTS FOLDER
"""

import asyncio
import hashlib
import os
import sys
from collections.abc import Iterator
from typing import Any

import aiohttp
from dbos import DBOS  # type: ignore[import-not-found] # installed for the benchmark only

HEADERS = {
    "Authorization": "lucca application=0",
    "Accept": "application/json",
    "Accept-Encoding": "identity",
}
EXPORTS = "/api/v3/timmiexports"
session: aiohttp.ClientSession


def keep(folder: str, name: str, body: bytes) -> str:
    """Write, hash and flush a file."""
    descriptor = os.open(f"{folder}/{name}", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.write(descriptor, body)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return hashlib.sha256(body).hexdigest()


def host(tenant: int) -> dict[str, str]:
    """Whose request it is."""
    return {"Host": f"client-{tenant:05d}.ilucca.net"}


@DBOS.step()  # type: ignore[untyped-decorator]
async def baseline(tenant: int, configuration: int) -> int:
    """The latest export so far."""
    target = f"{EXPORTS}?configurationId={configuration}&orderBy=createdAt,desc,id,desc&paging=0,1&fields=id,createdat"
    async with session.get(target, headers=host(tenant)) as answer:
        items: list[dict[str, Any]] = (await answer.json())["data"]["items"]
    return items[0]["id"] if items else 0


@DBOS.step()  # type: ignore[untyped-decorator]
async def trigger(tenant: int, configuration: int) -> int:
    """Have it made."""
    wanted = {"endsAt": "2026-11-23T00:00:00", "configurationId": configuration}
    async with session.post(f"{EXPORTS}/run?fields=id", json=wanted, headers=host(tenant)) as answer:
        return int((await answer.json())["data"]["id"])


@DBOS.step()  # type: ignore[untyped-decorator]
async def download(tenant: int, configuration: int, id_: int, folder: str) -> str:
    """Fetch it to disk."""
    async with session.get(f"{EXPORTS}/{id_}?fields=id,name,entries", headers=host(tenant)) as answer:
        body = await answer.read()
    return await asyncio.to_thread(keep, folder, f"{tenant}-{configuration}-{id_}.json", body)


@DBOS.workflow()  # type: ignore[untyped-decorator]
async def export(tenant: int, configuration: int, folder: str) -> str:
    """One job."""
    await baseline(tenant, configuration)
    id_ = await trigger(tenant, configuration)
    digest: str = await download(tenant, configuration, id_, folder)
    return digest


async def main(url: str, tenants: int, exports: int, folder: str) -> None:
    """All jobs."""
    global session
    jobs: Iterator[tuple[int, int]] = ((t, c + 1) for c in range(exports) for t in range(tenants))

    async def work() -> None:
        for tenant, configuration in jobs:
            handle = await DBOS.start_workflow_async(export, tenant, configuration, folder)
            await handle.get_result(polling_interval_sec=0.05)

    async with aiohttp.ClientSession(
        url, headers=HEADERS, connector=aiohttp.TCPConnector(limit=0), cookie_jar=aiohttp.DummyCookieJar()
    ) as session:
        await asyncio.gather(*(work() for _ in range(64)))


if __name__ == "__main__":
    os.environ.setdefault("OTEL_SDK_DISABLED", "true")
    DBOS(
        config={
            "name": "bench",
            "system_database_url": f"sqlite:///{sys.argv[4]}/dbos.sqlite",
            "run_admin_server": False,
            "log_level": "ERROR",
        }
    )
    DBOS.launch()
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]))
    DBOS.destroy()
