"""When the documents of a night say that it runs: before anything leaves, so that one that dies at once is seen."""

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import anyio
import pytest

from runner.credentials import Secret
from runner.lucca import Request
from runner.sandbox import TenantScenario
from runner.transport import Answer, Stream
from runner.turns import SenderPort
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

    async def download(self, domain: str, key: Secret, request: Request, left: Callable[[], None]) -> Stream:
        self._look()
        return await self._sender.download(domain, key, request, left)

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


def test_what_a_night_finished_just_before_it_died_is_told_although_the_next_run_is_of_another_date(
    tmp_path: Path,
) -> None:
    quick = Client("Fonderie", TenantScenario(domain="fonderie.ilucca.ch", configurations=takes(2.4)))

    async def story(office: Office) -> None:
        await office.die_at(two_o_clock(TUESDAY) + timedelta(seconds=170))
        died = office.morning()
        assert died.files("fonderie")
        assert died.jobs["fonderie/payroll"]["files"] == []
        code, morning = await office.run(TUESDAY + timedelta(days=1))
        assert (code, list(morning.jobs)) == (0, ["scierie/payroll"])
        told = office.morning()
        assert (told.document["outcome"], told.document["reason"]) == ("incomplete", "died")
        assert told.document["started_at"] == died.document["started_at"]
        assert [file["path"] for file in told.jobs["fonderie/payroll"]["files"]] == [
            f"fonderie/{name}" for name in died.files("fonderie")
        ]
        assert told.jobs["scierie/payroll"]["state"] == "polling"
        assert "fonderie/payroll-" in (told.folder / "SHA256SUMS").read_text(encoding="utf-8")

    at_the_office(tmp_path, (CLIENT, quick), story)


def test_a_night_that_died_and_was_put_away_stays_away(tmp_path: Path) -> None:
    async def story(office: Office) -> None:
        await office.die_at(two_o_clock(TUESDAY) + timedelta(minutes=2))
        folder = office.morning().folder
        folder.rename(tmp_path / "archived")
        assert (await office.run(TUESDAY + timedelta(days=1)))[0] == 0
        assert not folder.exists()

    at_the_office(tmp_path, (CLIENT,), story)
