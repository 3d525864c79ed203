"""The floor: the three requests of an export and its file, by aiohttp and nothing else.

Sixty-four requests in flight; each file is written, hashed and flushed by one call in a thread, as any program must
that does not want to stop its loop for the disk.

    python aiohttp_loop.py URL TENANTS EXPORTS FOLDER
"""

import asyncio
import sys

import aiohttp

from tests.bench.peers.work import HEADERS, RUN, content, do_all, domain_of, jobs_of, keep, latest, wanted


async def export(session: aiohttp.ClientSession, tenant: int, configuration: int, folder: str) -> None:
    """One job."""
    headers = {"Host": domain_of(tenant)}
    async with session.get(latest(configuration), headers=headers) as answer:
        (await answer.json())["data"]["items"]
    async with session.post(RUN, json=wanted(configuration), headers=headers) as answer:
        id_ = (await answer.json())["data"]["id"]
    async with session.get(content(id_), headers=headers) as answer:
        body = await answer.read()
    await asyncio.to_thread(keep, folder, f"{tenant}-{configuration}-{id_}.json", body)


async def main(url: str, tenants: int, exports: int, folder: str) -> None:
    """All jobs."""
    async with aiohttp.ClientSession(
        url, headers=HEADERS, connector=aiohttp.TCPConnector(limit=0), cookie_jar=aiohttp.DummyCookieJar()
    ) as session:
        await do_all(jobs_of(tenants, exports), lambda job: export(session, *job, folder))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]))
