"""The same job as a DBOS workflow of three steps, with its own SQLite beside.

python dbos_flow.py URL TENANTS EXPORTS FOLDER
"""

import asyncio
import os
import sys
from typing import Any

import aiohttp
from dbos import DBOS  # type: ignore[import-not-found] # installed for the benchmark only

from tests.bench.peers.work import HEADERS, RUN, content, do_all, domain_of, jobs_of, keep, latest, wanted

session: aiohttp.ClientSession


@DBOS.step()  # type: ignore[untyped-decorator]
async def baseline(tenant: int, configuration: int) -> int:
    """The latest export so far."""
    async with session.get(latest(configuration), headers={"Host": domain_of(tenant)}) as answer:
        items: list[dict[str, Any]] = (await answer.json())["data"]["items"]
    return items[0]["id"] if items else 0


@DBOS.step()  # type: ignore[untyped-decorator]
async def trigger(tenant: int, configuration: int) -> int:
    """Have it made."""
    headers = {"Host": domain_of(tenant)}
    async with session.post(RUN, json=wanted(configuration), headers=headers) as answer:
        return int((await answer.json())["data"]["id"])


@DBOS.step()  # type: ignore[untyped-decorator]
async def download(tenant: int, configuration: int, id_: int, folder: str) -> str:
    """Fetch it to disk."""
    async with session.get(content(id_), headers={"Host": domain_of(tenant)}) as answer:
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

    async def flow(job: tuple[int, int]) -> None:
        handle = await DBOS.start_workflow_async(export, *job, folder)
        await handle.get_result(polling_interval_sec=0.05)

    async with aiohttp.ClientSession(
        url, headers=HEADERS, connector=aiohttp.TCPConnector(limit=0), cookie_jar=aiohttp.DummyCookieJar()
    ) as session:
        await do_all(jobs_of(tenants, exports), flow)


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
