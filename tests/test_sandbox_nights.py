"""The sandbox in virtual time: exports that come late or never, budgets, outages, and one report at a time."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import date, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp
import pytest

from runner.sandbox import (
    MOODS,
    Configuration,
    Hang,
    Outage,
    Reports,
    Scenario,
    StaffExport,
    Status,
    TenantScenario,
    Trigger,
)
from tests.virtual import NIGHT, VirtualClock, VirtualSandbox, run_virtual, run_with_sandbox

DOMAIN = "acme.ilucca.net"
LIST = "/api/v3/timmiexports"
REPORTS = "/timmi-timesheet/api/reports"
MONDAY = "2026-11-23T00:00:00"
LATE = Configuration(trigger=Trigger(seconds=1800.0))


class Night:
    """A client in one virtual night."""

    def __init__(self, sandbox: VirtualSandbox, session: aiohttp.ClientSession) -> None:
        self.clock = sandbox.clock
        self.world = sandbox.world
        self.session = session

    async def get(self, path: str) -> tuple[int, Any]:
        async with self.session.get(path) as response:
            body = await response.read()
            return response.status, json.loads(body) if response.content_type == "application/json" else body

    async def post(self, path: str, body: Any) -> tuple[int, Any]:
        async with self.session.post(path, json=body) as response:
            text = await response.text()
            return response.status, json.loads(text) if text.startswith("{") else text

    async def trigger(self, seconds: float = 7200.0) -> tuple[int | str, Any]:
        """Ask for the export and listen for so long."""
        try:
            async with asyncio.timeout(seconds):
                return await self.post(f"{LIST}/run?fields=id", {"endsAt": MONDAY, "configurationId": 3})
        except TimeoutError:
            return "let go", None
        except aiohttp.ClientConnectionError:
            return "reset", None

    async def new_since(self, baseline: int) -> list[int]:
        _, answer = await self.get(f"{LIST}?configurationId=3&id=greaterthan,{baseline}&fields=id")
        return [item["id"] for item in answer["data"]["items"]]

    @property
    def latest(self) -> int:
        return self.world.exports(DOMAIN)[-1].id


def night(tenant: TenantScenario, main: Callable[[Night], Awaitable[None]]) -> None:
    async def body(sandbox: VirtualSandbox) -> None:
        headers = {"Host": DOMAIN, "Authorization": f"lucca application={tenant.key}"}
        async with sandbox.session(headers=headers, timeout=aiohttp.ClientTimeout()) as session:
            await main(Night(sandbox, session))

    run_with_sandbox(Scenario(tenants=(tenant,)), body)


def acme(**changes: Any) -> TenantScenario:
    return TenantScenario(domain=DOMAIN, **changes)


def test_a_generation_goes_on_when_its_client_has_left() -> None:
    async def main(client: Night) -> None:
        baseline = client.latest
        assert (await client.trigger(15.0))[0] == "let go"
        assert await client.new_since(baseline) == []
        await client.clock.wait(1784.0)
        assert await client.new_since(baseline) == []
        await client.clock.wait(2.0)
        (trigger,) = client.world.triggers
        (export_id,) = await client.new_since(baseline)
        assert (trigger.export_id, trigger.executed, trigger.status) == (export_id, True, "aborted")

    night(acme(configurations=(LATE,)), main)


def test_a_generation_may_end_with_its_client() -> None:
    async def main(client: Night) -> None:
        baseline = client.latest
        assert (await client.trigger(15.0))[0] == "let go"
        await client.clock.wait(7200.0)
        assert await client.new_since(baseline) == []
        assert (await client.trigger())[0] == 200

    loses = Trigger(seconds=1800.0, stops_with_client=True)
    night(acme(configurations=(Configuration(triggers=(loses,)),)), main)


def test_the_server_may_give_a_post_up_with_408_and_go_on() -> None:
    async def main(client: Night) -> None:
        baseline = client.latest
        assert (await client.trigger())[0] == 408
        assert client.clock.now().wall == NIGHT + timedelta(seconds=5)
        await client.clock.wait(1800.0)
        assert len(await client.new_since(baseline)) == 1

    night(acme(configurations=(LATE,), post_timeout_seconds=5.0), main)


def test_the_server_may_lose_what_it_gave_up() -> None:
    async def main(client: Night) -> None:
        baseline = client.latest
        assert (await client.trigger())[0] == 408
        await client.clock.wait(1800.0)
        assert await client.new_since(baseline) == []
        assert client.world.triggers[0].executed

    night(acme(configurations=(LATE,), post_timeout_seconds=5.0, post_timeout_loses=True), main)


def test_silent_failures_yield_nothing_until_the_third_trigger() -> None:
    async def main(client: Night) -> None:
        baseline = client.latest
        assert [(await client.trigger())[0] for _ in range(2)] == ["reset", 500]
        await client.clock.wait(3600.0)
        assert await client.new_since(baseline) == []
        assert (await client.trigger())[0] == 200
        assert [trigger.export_id for trigger in client.world.triggers] == [None, None, client.latest]

    night(MOODS["silent_twice"](DOMAIN, date(2026, 11, 24)), main)


def test_two_triggers_at_once_split_the_ledger_between_them() -> None:
    async def main(client: Night) -> None:
        baseline = client.latest
        await asyncio.gather(client.trigger(15.0), client.trigger(15.0))
        await client.clock.wait(3600.0)
        first, second = await client.new_since(baseline)
        assert len(client.world.entry_ids(DOMAIN, first)) == 48
        assert client.world.entry_ids(DOMAIN, second) == []

    night(acme(configurations=(LATE,)), main)


def test_staff_export_by_hand_at_their_time() -> None:
    async def main(client: Night) -> None:
        baseline = client.latest
        await client.clock.wait(599.0)
        assert await client.new_since(baseline) == []
        await client.clock.wait(2.0)
        assert len(await client.new_since(baseline)) == 1
        assert client.world.exports(DOMAIN)[-1].origin == "staff"
        assert client.world.exports(DOMAIN)[-1].created_at == NIGHT + timedelta(seconds=600)

    night(acme(staff_exports=(StaffExport(at_seconds=600.0, ends_at=date(2026, 11, 16)),)), main)


def test_the_budget_is_a_sliding_window_and_says_when_to_come_back() -> None:
    async def main(client: Night) -> None:
        for _ in range(30):
            assert (await client.get(LIST))[0] == 200
        await client.clock.wait(30.0)
        for _ in range(20):
            assert (await client.get(LIST))[0] == 200
        async with client.session.get(LIST) as response:
            assert (response.status, response.headers["Retry-After"]) == (429, "30")
        await client.clock.wait(30.0)
        assert (await client.get(LIST))[0] == 200
        assert client.world.max_requests_in_any_60_seconds(DOMAIN) == 51

    night(acme(), main)


@pytest.mark.parametrize("form", ["date", "zero", "none"])
def test_the_budget_may_be_told_in_other_forms(form: Any) -> None:
    async def main(client: Night) -> None:
        await client.get(LIST)
        async with client.session.get(LIST) as response:
            assert response.status == 429
            told = response.headers.get("Retry-After")
        if form == "date":
            assert told is not None
            assert parsedate_to_datetime(told) == NIGHT + timedelta(seconds=60)
        else:
            assert told == {"zero": "0", "none": None}[form]

    night(acme(retry_after=form, other_requests_per_minute=49), main)


def test_a_client_that_waits_exactly_a_minute_is_in_time() -> None:
    async def main(client: Night) -> None:
        for _ in range(200):
            assert (await client.get(LIST))[0] == 200
            await client.clock.wait(60.0 / 7)
        assert client.world.max_requests_in_any_60_seconds(DOMAIN) == 7

    night(acme(requests_per_minute=7), main)


@pytest.mark.parametrize("form", ["503", "reset"])
def test_an_outage_has_a_beginning_and_an_end(form: Any) -> None:
    async def main(client: Night) -> None:
        seen = []
        for _ in range(4):
            seen.append((await client.trigger())[0])
            await client.clock.wait(60.0)
        assert seen == [200, 503 if form == "503" else "reset", 503 if form == "503" else "reset", 200]

    outage = Outage(from_seconds=50.0, to_seconds=150.0, form=form)
    night(acme(outages=(outage,), configurations=(Configuration(trigger=Trigger(seconds=0.0)),)), main)


def test_the_date_header_is_the_server_s_own_clock() -> None:
    async def main(client: Night) -> None:
        await client.clock.wait(3600.0)
        async with client.session.get(LIST) as response:
            told = parsedate_to_datetime(response.headers["Date"])
        assert told == NIGHT + timedelta(seconds=3600 + 300)

    night(acme(clock_skew_seconds=300.0), main)


async def make_report(client: Night) -> int:
    status, report = await client.post(REPORTS, {"templateId": 12, "startsOn": None, "endsOn": None})
    assert status == 200
    assert report["status"] == "pending"
    return int(report["id"])


def test_a_report_fails_the_first_time_only() -> None:
    async def main(client: Night) -> None:
        for status in ("error", "done"):
            report = await make_report(client)
            await client.clock.wait(2.0)
            assert (await client.get(f"{REPORTS}/{report}"))[1]["status"] == status
        assert not client.world.evictions[0].unfinished

    night(acme(reports=Reports(error_first=1)), main)


def test_a_report_cannot_be_downloaded_before_it_is_done() -> None:
    async def main(client: Night) -> None:
        report = await make_report(client)
        assert (await client.get(f"{REPORTS}/{report}/download-csv"))[0] == 409
        await client.clock.wait(86_000.0)
        assert (await client.get(f"{REPORTS}/{report}"))[1]["status"] == "pending"

    night(acme(reports=Reports(pending_forever=True)), main)


def test_a_report_expires_after_a_day() -> None:
    async def main(client: Night) -> None:
        report = await make_report(client)
        await client.clock.wait(86_399.0)
        assert (await client.get(f"{REPORTS}/{report}"))[0] == 200
        await client.clock.wait(2.0)
        assert (await client.get(f"{REPORTS}/{report}"))[0] == 404

    night(acme(), main)


def test_a_colleague_s_report_deletes_ours_while_pending_and_before_download() -> None:
    async def main(client: Night) -> None:
        first = await make_report(client)
        await client.clock.wait(2.0)
        assert (await client.get(f"{REPORTS}/{first}"))[0] == 404
        second = await make_report(client)
        await client.clock.wait(2.0)
        assert (await client.get(f"{REPORTS}/{second}"))[1]["status"] == "done"
        assert (await client.get(f"{REPORTS}/{second}/download-csv"))[0] == 404
        third = await make_report(client)
        await client.clock.wait(2.0)
        assert (await client.get(f"{REPORTS}/{third}/download-excel"))[0] == 200
        evicted = [(record.report_id, record.by, record.unfinished) for record in client.world.evictions]
        assert evicted == [(first, "colleague", True), (second, "colleague", True)]

    night(acme(reports=Reports(evicted_while_pending=1, evicted_before_download=1)), main)


def test_a_colleague_makes_reports_at_set_times() -> None:
    async def main(client: Night) -> None:
        report = await make_report(client)
        await client.clock.wait(61.0)
        assert (await client.get(f"{REPORTS}/{report}"))[0] == 404

    night(acme(reports=Reports(foreign_at_seconds=(60.0, 120.0))), main)


def test_a_template_that_vanished_can_be_made_again() -> None:
    async def main(client: Night) -> None:
        seen = []
        for _ in range(2):
            _, template = await client.post(
                "/timmi-timesheet/api/report-templates", {"id": 0, "name": "Temps"}
            )
            body = {"templateId": template["id"], "startsOn": None, "endsOn": None}
            seen.append((await client.post(REPORTS, body))[0])
        assert seen == [403, 200]

    night(acme(reports=Reports(vanishing_templates=1, vanished_status=403)), main)


def test_the_same_night_twice_is_the_same_to_the_last_byte() -> None:
    seen: list[list[Any]] = []

    async def main(client: Night) -> None:
        answers: list[Any] = []
        for _ in range(3):
            answers.append(await client.trigger())
            answers.append(await client.get(f"{LIST}?fields=id,createdAt,endsAt&paging=0,100"))
            answers.append(await client.get(f"{LIST}/{client.latest}?fields=id,name,entries[id,name,amount]"))
        answers.append(client.world.state())
        seen.append(answers)

    tenant = acme(configurations=(Configuration(trigger=Trigger(seconds=(1.0, 900.0)), late_corrections=3),))
    night(tenant, main)
    night(tenant, main)
    assert seen[0] == seen[1]


def test_one_tenant_s_chance_does_not_depend_on_another_s_requests() -> None:
    draws = replace(acme(), configurations=(Configuration(trigger=Trigger(seconds=(1.0, 900.0))),))
    other = replace(draws, domain="globex.ilucca.net")
    ends: list[float] = []

    async def alone(sandbox: VirtualSandbox) -> None:
        await one_export(sandbox, draws)

    async def together(sandbox: VirtualSandbox) -> None:
        await asyncio.gather(one_export(sandbox, other), one_export(sandbox, draws))

    async def one_export(sandbox: VirtualSandbox, tenant: TenantScenario) -> None:
        headers = {"Host": tenant.domain, "Authorization": f"lucca application={tenant.key}"}
        async with sandbox.session(headers=headers, timeout=aiohttp.ClientTimeout()) as session:
            body = {"endsAt": MONDAY, "configurationId": 3}
            async with session.post(f"{LIST}/run?fields=id", json=body):
                if tenant is draws:
                    ends.append(sandbox.clock.now().boot_seconds)

    run_with_sandbox(Scenario(tenants=(draws,)), alone)
    run_with_sandbox(Scenario(tenants=(other, draws)), together)
    assert ends[0] == ends[1]


def test_the_client_s_clock_can_be_set_and_rebooted_without_the_server_noticing() -> None:
    async def main(client: Night) -> None:
        client.clock.shift_wall(86_400.0)
        before = client.clock.now()
        client.clock.reboot("boot-2", down_seconds=600.0)
        after = client.clock.now()
        assert after.wall - before.wall == timedelta(seconds=600)
        assert (after.boot_id, after.boot_seconds) == ("boot-2", 10.0)
        async with client.session.get(LIST) as response:
            assert parsedate_to_datetime(response.headers["Date"]) == NIGHT

    night(acme(), main)


def test_a_week_of_virtual_time_is_waited_in_one_go() -> None:
    async def main(clock: VirtualClock) -> timedelta:
        await clock.wait(7 * 86_400.0)
        return clock.now().wall - NIGHT

    assert run_virtual(main) == timedelta(days=7)


def test_a_hang_is_a_fault_of_a_trigger_too() -> None:
    async def main(client: Night) -> None:
        assert await client.trigger() == ("reset", None)
        assert client.clock.now().wall == NIGHT + timedelta(seconds=120)

    hangs = Trigger(completes=False, answer=Hang(120.0))
    night(acme(configurations=(Configuration(triggers=(hangs,)),)), main)


def test_an_answered_fault_comes_at_its_time_and_the_export_later() -> None:
    async def main(client: Night) -> None:
        baseline = client.latest
        assert (await client.trigger())[0] == 504
        assert client.clock.now().wall == NIGHT + timedelta(seconds=100)
        assert await client.new_since(baseline) == []
        await client.clock.wait(4900.0)
        assert len(await client.new_since(baseline)) == 1

    late = Trigger(seconds=5000.0, answer=Status(504), answer_seconds=100.0)
    night(acme(configurations=(Configuration(trigger=late),)), main)
