"""When the documents of a night say that it runs: before anything leaves, so that one that dies at once is seen.

And how often they are written: every minute where that costs little, and as often as the page says.
"""

import json
from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import anyio
import pytest

from runner.credentials import Secret
from runner.lucca import Request
from runner.output import Output
from runner.sandbox import TenantScenario
from runner.transport import Answer, Stream
from runner.turns import SenderPort
from tests.nights import DOMAIN, Setting, export, night, tenant
from tests.office import TUESDAY, Client, Office, at_the_office, takes, two_o_clock

T = TypeVar("T")
CLIENT = Client("Scierie", TenantScenario(domain="scierie.ilucca.ch", configurations=takes(10)))


class Watched:
    """The sender, with what run.json says at the moment of each request."""

    def __init__(self, office: Office) -> None:
        self.said: list[str] = []
        self._folder = office.folder / "output" / TUESDAY.isoformat()
        office.sender = self._around

    def _around(self, sender: SenderPort) -> "Watched":
        self._sender = sender
        return self

    async def send(self, domain: str, key: Secret, request: Request, left: Callable[[], None]) -> Answer:
        self._look()
        return await self._sender.send(domain, key, request, left)

    def download(
        self, domain: str, key: Secret, request: Request, left: Callable[[], None]
    ) -> AbstractAsyncContextManager[Stream]:
        self._look()
        return self._sender.download(domain, key, request, left)

    def _look(self) -> None:
        for name in ("index.html", "SHA256SUMS"):
            assert (self._folder / name).exists()
        self.said.append(json.loads((self._folder / "run.json").read_bytes())["outcome"])


async def slowly(work: Callable[[], T]) -> T:
    """Files on a disk that takes its time; requests go on meanwhile."""
    await anyio.sleep(0.1)
    return work()


def test_nothing_leaves_before_the_documents_say_that_the_night_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.office._in_place", slowly)

    async def story(office: Office) -> None:
        watched = Watched(office)
        office.until_text = "60"
        assert (await office.run())[0] == 4  # its export takes ten minutes; the documents say that it is over
        requests = len(watched.said)
        assert requests
        office.until_text = "8h"
        await office.die_at(office.clock.now().wall + timedelta(minutes=2))
        assert len(watched.said) > requests
        died = office.morning().document
        code, morning = await office.run()
        assert (code, morning.document["outcome"], died["outcome"]) == (0, "ok", "running")
        assert set(watched.said) == {"running"}

    at_the_office(tmp_path, (CLIENT,), story)


def test_a_night_taken_up_again_is_told_anew_at_once(tmp_path: Path) -> None:
    async def story(office: Office) -> None:
        await office.die_at(two_o_clock(TUESDAY) + timedelta(minutes=2))
        died = office.morning().document["started_at"]
        await office.die_at(office.clock.now().wall + timedelta(seconds=5))
        assert office.morning().document["started_at"] > died

    at_the_office(tmp_path, (CLIENT,), story)


def words_of(page: bytes) -> str:
    return page.decode().replace("\u00a0", " ").replace("\u202f", " ")


class Slow:
    """Documents that take `seconds` to write, with the moments at which a page was there and what it said."""

    def __init__(self, output: Output, seconds: float) -> None:
        self._output = output
        self._seconds = seconds
        self.written: list[tuple[float, bytes]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._output, name)

    async def publish(self, night: date, name: str, content: bytes | Iterable[bytes]) -> None:
        if name == "index.html":
            await anyio.sleep(self._seconds)
            content = b"".join(content) if not isinstance(content, bytes) else content
            self.written.append((anyio.current_time(), content))
        await self._output.publish(night, name, content)


@pytest.mark.parametrize(
    "seconds, minutes, said",
    [
        pytest.param(0.0, 1, "more than two minutes", id="a usual night"),
        pytest.param(1.0, 1, "more than two minutes", id="ten thousand clients"),
        pytest.param(3.0, 3, "every 3 minutes", id="a hundred thousand jobs"),
        pytest.param(60.0, 5, "every 5 minutes", id="a disk that hardly works"),
    ],
)
def test_documents_that_take_long_to_write_are_written_less_often_and_the_page_says_how_often(
    tmp_path: Path, seconds: float, minutes: int, said: str
) -> None:
    slow: list[Slow] = []

    def slowed(output: Output) -> Slow:
        slow.append(Slow(output, seconds))
        return slow[0]

    host = TenantScenario(domain=DOMAIN, configurations=takes(50))
    setting = Setting(output=slowed)
    assert night(tmp_path, [tenant(exports=[export()])], [host], setting).code == 0
    first, *running, last = slow[0].written
    assert "two minutes" in words_of(first[1])
    assert len(running) >= 4
    # Nobody knows before the second what the first one took.
    pauses = [after[0] - before[0] - seconds for before, after in pairwise((first, *running))]
    assert pauses == pytest.approx([60.0, *[60.0 * minutes] * (len(pauses) - 1)])
    assert all(said in words_of(page) for _, page in running)
    assert "written again" not in words_of(last[1])
