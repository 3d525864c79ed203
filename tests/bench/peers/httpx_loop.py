"""The same as `aiohttp_loop`, by httpx.

python httpx_loop.py URL TENANTS EXPORTS FOLDER
"""

import asyncio
import sys

import httpx  # type: ignore[import-not-found] # installed for the benchmark only

from tests.bench.peers.work import HEADERS, RUN, content, do_all, domain_of, jobs_of, keep, latest, wanted


async def export(client: httpx.AsyncClient, tenant: int, configuration: int, folder: str) -> None:
    """One job."""
    headers = {"Host": domain_of(tenant)}
    (await client.get(latest(configuration), headers=headers)).json()["data"]["items"]
    id_ = (await client.post(RUN, json=wanted(configuration), headers=headers)).json()["data"]["id"]
    answer = await client.get(content(id_), headers=headers)
    await asyncio.to_thread(keep, folder, f"{tenant}-{configuration}-{id_}.json", answer.content)


async def main(url: str, tenants: int, exports: int, folder: str) -> None:
    """All jobs."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=64)
    async with httpx.AsyncClient(base_url=url, headers=HEADERS, limits=limits, timeout=60) as client:
        await do_all(jobs_of(tenants, exports), lambda job: export(client, *job, folder))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]))
