"""Nights in virtual time against a server that is not our sandbox, and writes its answers in its own way."""

import asyncio
import json
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

import pytest
from aiohttp import web

from runner.app.nightly import Nightly, Order, Ports
from runner.app.selection import Selection
from runner.credentials import Secret
from runner.jobs.agenda import Policy
from runner.journal import SqliteJournal
from runner.manifest import load_manifest
from runner.output import Disk, Output
from runner.plan import plan
from runner.transport import Timeouts, Transport
from runner.turns import Limits
from tests.virtual import VirtualClock, VirtualConnector, run_virtual, serve_virtual

T = TypeVar("T")

MANIFEST = """\
version: 1
defaults: {since: 2026-01-01}
tenants:
  - name: acme
    domain: acme.ilucca.net
    api_key: {env: ACME_API_KEY}
    exports:
      - {name: payroll, configuration_id: 3, ends_at: monday}
"""
KEY = "0f6e1c4a-7d0b-4c57-9f0e-2d9d1b6a3c55"


@dataclass
class OtherLucca:
    """A small server of another make: one ledger per host, its own habits of writing an answer.

    Attributes:
        ends_at: how it writes the end of an export that was asked for as `2026-11-23T00:00:00`.
        answers_post: whether the POST is answered with the id, or the connection just closed.
        refusal: answer every POST with this status and body instead.
        revoked_after: after so many requests the key is refused.
        busy_for: a proxy answers so many requests with 503 before anybody looks at the key.
    """

    ends_at: Callable[[str], str] = str
    answers_post: bool = True
    mark: bytes = b""
    refusal: tuple[int, str] | None = None
    revoked_after: int | None = None
    busy_for: int = 0
    exports: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: defaultdict(list))
    asked: list[tuple[float, str, str]] = field(default_factory=list)

    @property
    def posts(self) -> int:
        """How many exports were asked for."""
        return sum(method == "POST" for _, method, _ in self.asked)

    def app(self) -> web.Application:
        """It as an application."""
        app = web.Application()
        app.router.add_get("/api/v3/timmiexports", self._list)
        app.router.add_post("/api/v3/timmiexports/run", self._run)
        app.router.add_get("/api/v3/timmiexports/{id}", self._one)
        return app

    async def _note(self, request: web.Request) -> None:
        self.asked.append((asyncio.get_running_loop().time(), request.method, request.host))
        if len(self.asked) <= self.busy_for:
            raise web.HTTPServiceUnavailable
        await asyncio.sleep(0.1)
        if self.revoked_after is not None and len(self.asked) > self.revoked_after:
            raise web.HTTPUnauthorized

    def _said(self, document: object) -> web.Response:
        return web.Response(body=self.mark + json.dumps(document).encode(), content_type="application/json")

    async def _list(self, request: web.Request) -> web.Response:
        await self._note(request)
        configuration = int(request.query["configurationId"])
        above = int(request.query.get("id", "greaterthan,0").partition(",")[2])
        found = [e for e in self.exports[request.host] if e["c"] == configuration and e["id"] > above]
        items = [{"ID": str(e["id"]), "ENDSAT": self.ends_at(e["endsAt"])} for e in found]
        return self._said({"data": {"items": items}})

    async def _run(self, request: web.Request) -> web.Response:
        await self._note(request)
        if self.refusal is not None:
            return web.Response(
                status=self.refusal[0], text=self.refusal[1].replace("KEY", request.headers["Authorization"])
            )
        wish = await request.json()
        made = {"id": 300 + self.posts, "endsAt": wish["endsAt"], "c": wish["configurationId"]}
        self.exports[request.host].append(made)
        if not self.answers_post:
            assert request.transport is not None
            request.transport.close()
        return self._said({"data": {"id": made["id"]}})

    async def _one(self, request: web.Request) -> web.Response:
        await self._note(request)
        id_ = int(request.match_info["id"])
        found = next((e for e in self.exports[request.host] if e["id"] == id_), None)
        if found is None:
            raise web.HTTPNotFound
        entries = [{"id": 1, "amount": 7.5}]
        ends_at = self.ends_at(found["endsAt"])
        return self._said({"Data": {"Id": found["id"], "EndsAt": ends_at, "Entries": entries}})


@dataclass
class Told:
    """What came of a night."""

    code: int
    run: dict[str, Any]
    hours: float

    def job(self, name: str) -> dict[str, Any]:
        """One job of run.json."""
        return next(job for job in self.run["jobs"] if job["name"] == name)


def a_night(
    tmp_path: Path,
    lucca: OtherLucca,
    manifest_text: str = MANIFEST,
    *,
    selection: Selection | None = None,
    requests_per_minute: int = 25,
    limits: Limits | None = None,
    journal: Path | None = None,
    until_hours: float = 8,
) -> Told:
    """One whole night against `lucca`, in virtual time."""
    tmp_path.mkdir(exist_ok=True)
    (tmp_path / "tenants.yaml").write_text(manifest_text, encoding="utf-8")

    async def offload(work: Callable[[], T]) -> T:
        return work()

    async def key(_tenant: object) -> Secret:
        return Secret(KEY)

    async def body(clock: VirtualClock) -> Told:
        manifest = load_manifest(tmp_path / "tenants.yaml")
        output = Output(tmp_path / "output", disk=Disk(), offload=offload)
        async with (
            serve_virtual(lucca.app()) as gateway,
            SqliteJournal.hold(journal or Path(":memory:"), inline=True) as held,
            Transport(clock, timeouts=Timeouts(), gateway=gateway, connector=VirtualConnector()) as transport,
        ):
            ports = Ports(
                clock=clock,
                journal=held,
                sender=transport,
                output=output,
                random=Random(1),
                key=key,
            )
            night = clock.now().wall.date()
            order = Order(
                manifest=manifest,
                planned=plan(manifest, night),
                selection=selection or Selection(),
                date=night,
                policy=Policy(),
                limits=limits or Limits(),
                requests_per_minute=requests_per_minute,
                deadline=clock.now().wall + timedelta(hours=until_hours),
                timezone=ZoneInfo("Europe/Paris"),
            )
            began = clock.now()
            code = await Nightly(ports, order).run()
            hours = (clock.now().boot_seconds - began.boot_seconds) / 3600
        run = json.loads((tmp_path / "output" / night.isoformat() / "run.json").read_text(encoding="utf-8"))
        return Told(code, run, hours)

    return run_virtual(body)


@pytest.mark.parametrize(
    "write",
    [
        pytest.param(lambda text: text, id="as_asked"),
        pytest.param(lambda text: text[:10], id="a_bare_date"),
        pytest.param(lambda text: text[:16], id="without_seconds"),
        pytest.param(lambda text: text.replace("T", " "), id="with_a_space"),
        pytest.param(lambda text: f"{text}.0000000", id="with_ticks"),
        pytest.param(lambda text: f"{text}Z", id="with_a_z"),
    ],
)
@pytest.mark.parametrize("answers_post", [True, False])
def test_an_end_is_the_same_end_however_the_server_writes_it(
    tmp_path: Path, write: Callable[[str], str], *, answers_post: bool
) -> None:
    lucca = OtherLucca(ends_at=write, answers_post=answers_post)
    told = a_night(tmp_path, lucca)
    assert (told.code, lucca.posts, told.job("payroll")["flags"]) == (0, 1, [])


@pytest.mark.parametrize("requests_per_minute", [1, 2, 3])
def test_the_smallest_budget_still_triggers_every_export(tmp_path: Path, requests_per_minute: int) -> None:
    """A look must not be stale by the time the budget lets the trigger go: it would be looked at for ever."""
    exports = "".join(
        f"      - {{name: e{n}, configuration_id: {n}, ends_at: monday}}\n" for n in range(1, 4)
    )
    manifest = MANIFEST.partition("      - ")[0] + exports
    lucca = OtherLucca()
    told = a_night(tmp_path, lucca, manifest, requests_per_minute=requests_per_minute)
    assert (told.code, lucca.posts) == (0, 3)
    assert told.hours < 0.5


def test_a_byte_order_mark_before_the_json_costs_nothing(tmp_path: Path) -> None:
    lucca = OtherLucca(mark=b"\xef\xbb\xbf", answers_post=False)
    told = a_night(tmp_path, lucca)
    assert (told.code, lucca.posts) == (0, 1)


@pytest.mark.parametrize("padding", range(120, 215, 5))
def test_a_key_that_the_server_echoes_is_hidden_even_where_its_message_is_cut(
    tmp_path: Path, padding: int
) -> None:
    message = json.dumps({"Message": f"{'x' * padding} KEY was not allowed"})
    told = a_night(tmp_path, OtherLucca(refusal=(400, message)))
    everything = json.dumps(told.run) + (tmp_path / "output/2026-11-24/index.html").read_text("utf-8")
    assert told.job("payroll")["error"]["code"] == "rejected"
    assert KEY[:8] not in everything


def test_a_key_revoked_in_the_night_fails_what_is_left_and_nothing_else(tmp_path: Path) -> None:
    """The lanes of the jobs that were done by then are empty: looking into them ended the run."""
    manifest = (
        MANIFEST
        + """\
      - {name: second, configuration_id: 4, ends_at: monday, due: daily}
  - name: globex
    domain: globex.ilucca.net
    api_key: {env: GLOBEX_API_KEY}
    exports:
      - {name: payroll, configuration_id: 3, ends_at: monday}
"""
    )
    for after in range(2, 8):
        lucca = OtherLucca(revoked_after=after)
        told = a_night(tmp_path / str(after), lucca, manifest)
        errors = {job["error"]["code"] for job in told.run["jobs"] if job["error"]}
        assert (told.code, errors) == (3, {"key_refused"}), after
        assert len(lucca.asked) <= after + 4


def test_an_answer_of_a_proxy_proves_no_key(tmp_path: Path) -> None:
    """A refused key is shown at most twice, however many requests a domain may have in flight."""
    exports = "".join(
        f"      - {{name: e{n}, configuration_id: {n}, ends_at: monday}}\n" for n in range(1, 9)
    )
    lucca = OtherLucca(busy_for=8, revoked_after=8)
    manifest = MANIFEST.partition("      - ")[0] + exports
    told = a_night(tmp_path, lucca, manifest, limits=Limits(in_flight_per_domain=8))
    assert {job["error"]["code"] for job in told.run["jobs"]} == {"key_refused"}
    assert len(lucca.asked) <= lucca.busy_for + 2


def test_the_exit_code_judges_the_selected_jobs_alone(tmp_path: Path) -> None:
    """What another run of the night left unfinished, of a date that is no longer due, is none of this run's."""
    both = """\
version: 1
defaults: {since: 2026-01-01}
tenants:
  - name: acme
    domain: acme.ilucca.net
    api_key: {env: ACME_API_KEY}
    exports:
      - {name: payroll, configuration_id: 3, ends_at: ACME}
  - name: globex
    domain: globex.ilucca.net
    api_key: {env: GLOBEX_API_KEY}
    exports:
      - {name: payroll, configuration_id: 3, ends_at: monday}
"""
    journal = tmp_path / "journal.db"
    lucca = OtherLucca(busy_for=1000)
    cut = a_night(tmp_path, lucca, both.replace("ACME", "monday"), journal=journal, until_hours=0.01)
    assert cut.code == 4
    lucca.busy_for = 0
    only_globex = Selection(only=("globex",))
    told = a_night(tmp_path, lucca, both.replace("ACME", "tuesday"), journal=journal, selection=only_globex)
    assert told.code == 0


def test_a_since_that_was_moved_keeps_an_earlier_run_s_export_from_being_asked_for(tmp_path: Path) -> None:
    """Somebody saw in time that the manifest would make what was made by hand."""
    journal, lucca = tmp_path / "journal.db", OtherLucca(busy_for=1000)
    assert a_night(tmp_path, lucca, journal=journal, until_hours=0.01).code == 4
    lucca.busy_for = 0
    told = a_night(tmp_path, lucca, MANIFEST.replace("2026-01-01", "2026-11-24"), journal=journal)
    assert lucca.posts == 0
    (notice,) = told.run["notices"]
    assert notice.startswith("acme/payroll of 2026-11-24 is pending and ends before its tenant's `since`")
    assert a_night(tmp_path, lucca, journal=journal).code == 0
    assert lucca.posts == 1


def test_an_end_that_was_mended_keeps_an_earlier_run_s_export_from_being_asked_for(tmp_path: Path) -> None:
    """What is asked for cannot be taken back, and takes its hours out of the export that is meant."""
    journal, lucca = tmp_path / "journal.db", OtherLucca(busy_for=1000)
    mistaken = MANIFEST.replace("ends_at: monday", "ends_at: sunday")
    assert mistaken != MANIFEST
    assert a_night(tmp_path, lucca, mistaken, journal=journal, until_hours=0.01).code == 4
    lucca.busy_for = 0
    told = a_night(tmp_path, lucca, journal=journal)
    assert told.code == 3
    assert [made["endsAt"] for made in lucca.exports["acme.ilucca.net"]] == ["2026-11-23T00:00:00"]
    (notice,) = told.run["notices"]
    assert notice.startswith("acme/payroll of 2026-11-24 is pending and was to end before 2026-11-22; by now")


TWO_TENANTS = (
    MANIFEST
    + """\
  - name: globex
    domain: globex.ilucca.net
    api_key: {env: GLOBEX_API_KEY}
    exports:
      - {name: payroll, configuration_id: 3, ends_at: monday}
"""
)


def test_a_folder_that_one_tenant_cannot_use_stops_no_other(tmp_path: Path) -> None:
    in_the_way = tmp_path / "output" / "2026-11-24" / "acme"
    in_the_way.parent.mkdir(parents=True)
    in_the_way.write_text("a file where a folder belongs", encoding="utf-8")
    lucca, journal = OtherLucca(), tmp_path / "journal.db"
    told = a_night(tmp_path, lucca, TWO_TENANTS, journal=journal)
    states = {job["tenant"]: (job["state"], (job["error"] or {}).get("code")) for job in told.run["jobs"]}
    assert states == {"acme": ("failed", "storage"), "globex": ("downloaded", None)}
    assert told.code == 3
    in_the_way.unlink()
    mended = a_night(tmp_path, lucca, TWO_TENANTS, journal=journal)
    assert (mended.code, lucca.posts) == (0, 2)


def test_a_folder_put_out_of_use_afterwards_is_told_by_its_own_job(tmp_path: Path) -> None:
    lucca, journal = OtherLucca(), tmp_path / "journal.db"
    a_night(tmp_path, lucca, journal=journal)
    folder = tmp_path / "output" / "2026-11-24" / "acme"
    folder.rename(tmp_path / "elsewhere")
    folder.write_text("a file where a folder belongs", encoding="utf-8")
    told = a_night(tmp_path, lucca, journal=journal)
    error = told.job("payroll")["error"]
    assert (told.code, error and error["code"], lucca.posts) == (3, "storage", 1)
