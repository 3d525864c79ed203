"""The floor with the promises: what it costs never to ask twice and never to lose a file, with nothing else around it.

As `aiohttp_loop`, and besides, each the plainest way: every request stands in an SQLite journal before it leaves; what
was asked for, what is about to be placed and what was placed are flushed there, in groups, before anything follows from
them; an answer is UTF-8 and read to its end as JSON by its id before its file counts; the file is written beside its
place, flushed, linked without overwriting, and its folder flushed.

No states, budgets, retries, keys, time limits, log or page: nothing that only trouble needs.

    python keeping_loop.py URL TENANTS EXPORTS FOLDER
"""

import asyncio
import hashlib
import os
import sqlite3
import sys
import time
from queue import SimpleQueue
from threading import Thread
from typing import Any

import aiohttp
import msgspec

from tests.bench.peers.work import HEADERS, RUN, content, do_all, domain_of, jobs_of, latest, wanted

SCHEMA = """
    CREATE TABLE jobs (id INTEGER PRIMARY KEY, state TEXT, snapshot TEXT) STRICT;
    CREATE TABLE events (job_id INTEGER, at REAL, name TEXT) STRICT;
    CREATE TABLE spends (domain TEXT, at REAL) STRICT;
"""
CHANGE = "UPDATE jobs SET state = ?, snapshot = ? WHERE id = ?"
EVENT = "INSERT INTO events VALUES (?, ?, ?)"
SPEND = "INSERT INTO spends VALUES (?, ?)"

Row = tuple[str, tuple[Any, ...]]


class Data(msgspec.Struct):
    """What is read of an export; its entries are passed over."""

    id: int
    entries: list[msgspec.Raw]


class Content(msgspec.Struct):
    """An export's answer."""

    data: Data


read_content = msgspec.json.Decoder(Content).decode


class Journal:
    """A thread that stores rows, all that came together in one transaction."""

    def __init__(self, path: str, jobs: int) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = FULL")
        self._connection.executescript(SCHEMA)
        self._connection.execute("BEGIN")
        self._connection.executemany(
            "INSERT INTO jobs VALUES (?, 'pending', '{}')", ((i,) for i in range(jobs))
        )
        self._connection.execute("COMMIT")
        self._loop = asyncio.get_running_loop()
        self._rows: list[Row] = []
        self._waiting: list[asyncio.Future[None]] = []
        self._busy = False
        self._batches: SimpleQueue[tuple[list[Row], list[asyncio.Future[None]]]] = SimpleQueue()
        Thread(target=self._store, daemon=True).start()

    def spend(self, domain: str) -> None:
        """Store that a request leaves."""
        self._rows.append((SPEND, (domain, time.time())))

    async def record(self, id_: int, state: str, **known: Any) -> None:
        """Store a change of a job, flushed when this returns."""
        self._rows.append((CHANGE, (state, msgspec.json.encode(known).decode(), id_)))
        self._rows.append((EVENT, (id_, time.time(), state)))
        kept: asyncio.Future[None] = self._loop.create_future()
        self._waiting.append(kept)
        if not self._busy:
            self._busy = True
            self._loop.call_soon(self._hand_over)
        await kept

    def _hand_over(self) -> None:
        self._busy = bool(self._rows)
        if self._rows:
            self._batches.put((self._rows, self._waiting))
            self._rows, self._waiting = [], []

    def _store(self) -> None:
        while True:
            rows, waiting = self._batches.get()
            self._connection.execute("BEGIN IMMEDIATE")
            for statement, values in rows:
                self._connection.execute(statement, values)
            self._connection.execute("COMMIT")
            self._loop.call_soon_threadsafe(self._settle, waiting)

    def _settle(self, waiting: list[asyncio.Future[None]]) -> None:
        for kept in waiting:
            kept.set_result(None)
        self._loop.call_later(0.02, self._hand_over)


def keep(folder: str, name: str, body: bytes) -> str:
    """Read an answer to its end, write it beside its place, hash and flush it."""
    body.decode()
    assert read_content(body).data.id == int(name.partition(".")[0].rpartition("-")[2])
    digest = hashlib.sha256(body).hexdigest()
    os.makedirs(folder, mode=0o700, exist_ok=True)
    descriptor = os.open(f"{folder}/.{name}.part", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.write(descriptor, body)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return digest


def place(folder: str, name: str) -> None:
    """Give it its name, where nothing may stand yet, and flush the name."""
    os.link(f"{folder}/.{name}.part", f"{folder}/{name}")
    os.unlink(f"{folder}/.{name}.part")
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


async def export(
    session: aiohttp.ClientSession, journal: Journal, job: int, tenant: int, configuration: int, root: str
) -> None:
    """One job."""
    domain = domain_of(tenant)
    headers = {"Host": domain}
    folder = f"{root}/{tenant}"
    journal.spend(domain)
    async with session.get(latest(configuration), headers=headers) as answer:
        (await answer.json())["data"]["items"]
    journal.spend(domain)
    await journal.record(job, "triggered", at=time.time())
    async with session.post(RUN, json=wanted(configuration), headers=headers) as answer:
        id_ = (await answer.json())["data"]["id"]
    journal.spend(domain)
    async with session.get(content(id_), headers=headers) as answer:
        body = await answer.read()
    name = f"{configuration}-{id_}.json"
    digest = await asyncio.to_thread(keep, folder, name, body)
    await journal.record(job, "named", id=id_, file=name, sha256=digest, size=len(body))
    await asyncio.to_thread(place, folder, name)
    await journal.record(job, "downloaded", id=id_, file=name, sha256=digest, size=len(body))


async def main(url: str, tenants: int, exports: int, folder: str) -> None:
    """All jobs."""
    journal = Journal(f"{folder}/journal.db", tenants * exports)

    async def work(numbered: tuple[int, tuple[int, int]]) -> None:
        number, (tenant, configuration) = numbered
        await export(session, journal, number, tenant, configuration, folder)

    async with aiohttp.ClientSession(
        url, headers=HEADERS, connector=aiohttp.TCPConnector(limit=0), cookie_jar=aiohttp.DummyCookieJar()
    ) as session:
        await do_all(enumerate(jobs_of(tenants, exports)), work)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]))
