"""The sandbox over real sockets: it does what the guides say, and is as strict as the server would be."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import date
from typing import Any

import aiohttp
import anyio
import pytest

from runner.clock import SystemClock
from runner.sandbox import (
    Configuration,
    Reports,
    Scenario,
    StaffExport,
    TenantScenario,
    Trigger,
    World,
    serve,
)

pytestmark = pytest.mark.anyio

DOMAIN = "acme.ilucca.net"
QUICK = Configuration(trigger=Trigger(seconds=0.0))
ACME = TenantScenario(domain=DOMAIN, configurations=(QUICK,), reports=Reports(pending_seconds=0.0))
LIST = "/api/v3/timmiexports"
MONDAY = "2026-11-23T00:00:00"
CONTENT_FIELDS = (
    "id,name,createdAt,configurationId,startsAt,endsAt,exportFiles,entries[id,name,amount,amountUnit,externalCode,"
    "endsAt,owner[id,lastName,firstName],timeType[id,name,payTreatment],axisSections[id,name,code]]"
)


class Client:
    """A client that knows one tenant's key and reads answers as text."""

    def __init__(self, session: aiohttp.ClientSession, world: World) -> None:
        self.session = session
        self.world = world
        self.headers = {"Host": DOMAIN, "Authorization": f"lucca application={ACME.key}"}

    async def get(self, path: str, **headers: str) -> tuple[int, Any]:
        async with self.session.get(path, headers=self.headers | headers) as response:
            text = await response.text()
            return response.status, json.loads(text) if "json" in response.content_type else text

    async def post(self, path: str, body: Any, **headers: str) -> tuple[int, Any]:
        async with self.session.post(path, json=body, headers=self.headers | headers) as response:
            return response.status, await response.json()

    async def export(self, ends_at: str = MONDAY, configuration_id: int = 3) -> tuple[int, Any]:
        return await self.post(
            f"{LIST}/run?fields=id", {"endsAt": ends_at, "configurationId": configuration_id}
        )

    async def items(self, query: str) -> list[dict[str, Any]]:
        status, answer = await self.get(f"{LIST}?{query}")
        assert status == 200, answer
        items: list[dict[str, Any]] = answer["data"]["items"]
        return items


@asynccontextmanager
async def sandbox(tenant: TenantScenario = ACME) -> AsyncIterator[Client]:
    world = World(Scenario(tenants=(tenant,)), SystemClock())
    ports: list[int] = []
    listening = anyio.Event()

    def ready(port: int) -> None:
        ports.append(port)
        listening.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(serve, world, "127.0.0.1", 0, ready)
        await listening.wait()
        async with aiohttp.ClientSession(f"http://127.0.0.1:{ports[0]}") as session:
            yield Client(session, world)
        tasks.cancel_scope.cancel()


async def test_the_four_steps_of_the_guide_lead_to_the_entries() -> None:
    async with sandbox() as client:
        query = (
            "configurationId=3&orderBy=createdAt,desc,id,desc&archivedAt=null&paging=0,1&fields=id,createdat"
        )
        (latest,) = await client.items(query)
        assert set(latest) == {"id", "createdAt"}
        status, answer = await client.export()
        assert status == 200
        export_id = answer["data"]["id"]
        query = f"configurationId=3&id=greaterthan,{latest['id']}&archivedAt=null&fields=id,createdat"
        assert [item["id"] for item in await client.items(query)] == [export_id]
        status, answer = await client.get(f"{LIST}/{export_id}?fields={CONTENT_FIELDS}")
        assert status == 200
        content = answer["data"]
        assert (content["id"], content["configurationId"], content["endsAt"]) == (export_id, 3, MONDAY)
        assert content["startsAt"] == "2026-10-26T00:00:00"
        assert len(content["entries"]) == 4 * 12
        assert set(content["entries"][0]["owner"]) == {"id", "lastName", "firstName"}
        assert [record.kind for record in client.world.log] == ["list", "trigger", "poll", "content"]


async def test_amounts_keep_their_trailing_zeros() -> None:
    async with sandbox() as client:
        _, answer = await client.export()
        path = f"{LIST}/{answer['data']['id']}?fields=entries[amount]"
        async with client.session.get(path, headers=client.headers) as response:
            text = await response.text()
        amounts = [entry["amount"] for entry in json.loads(text, parse_float=str)["data"]["entries"]]
        assert "7.50" in amounts
        assert any(amount.startswith("-") for amount in amounts)
        assert all("." in amount for amount in amounts)


async def test_without_fields_an_item_is_its_id_name_and_url_and_without_paging_a_page_is_ten() -> None:
    tenant = replace(ACME, configurations=(Configuration(history=14),))
    async with sandbox(tenant) as client:
        items = await client.items("configurationId=3")
        assert len(items) == 10
        assert set(items[0]) == {"id", "name", "url"}


async def test_names_match_in_any_case_and_are_answered_in_lucca_s_own() -> None:
    async with sandbox() as client:
        (item,) = await client.items("CONFIGURATIONID=3&FIELDS=ID,CREATEDAT,endsat&paging=0,100")
        assert set(item) == {"id", "createdAt", "endsAt"}


async def test_an_unknown_query_key_is_a_filter_that_nothing_passes() -> None:
    async with sandbox() as client:
        assert await client.items("configurationId=3&limit=50") == []


@pytest.mark.parametrize(
    "query", ["orderBy=id", "orderBy=id,up", "paging=5", "fields=entries[id", "fields=id]"]
)
async def test_a_query_that_cannot_be_understood_is_refused(query: str) -> None:
    async with sandbox() as client:
        status, answer = await client.get(f"{LIST}?{query}")
        assert status == 400
        assert answer["Message"]


async def test_lists_are_in_the_order_asked_for() -> None:
    tenant = replace(ACME, configurations=(Configuration(history=3),))
    async with sandbox(tenant) as client:
        up = [item["id"] for item in await client.items("configurationId=3&orderBy=id,asc&fields=id")]
        down = [item["id"] for item in await client.items("configurationId=3&orderBy=id,desc&fields=id")]
        assert up == sorted(up)
        assert down == up[::-1]


async def test_archived_exports_are_filtered_out() -> None:
    staff = StaffExport(at_seconds=-60, ends_at=date(2026, 11, 16), archived=True)
    async with sandbox(replace(ACME, staff_exports=(staff,))) as client:
        assert len(await client.items("configurationId=3&fields=id")) == 2
        assert len(await client.items("configurationId=3&archivedAt=null&fields=id")) == 1


@pytest.mark.parametrize(
    "body",
    [
        {"endsAt": "2026-11-23T08:00:00", "configurationId": 3},
        {"endsAt": "2026-11-23", "configurationId": 3},
        {"endsAt": "2026-11-31T00:00:00", "configurationId": 3},
        {"endsAt": "2026-11-23T00:00:00+01:00", "configurationId": 3},
        {"endsAt": MONDAY, "configurationId": "3"},
        {"endsAt": MONDAY},
        [],
    ],
)
async def test_a_post_that_is_not_as_the_guide_has_it_is_rejected_with_a_reason(body: Any) -> None:
    async with sandbox() as client:
        status, answer = await client.post(f"{LIST}/run?fields=id", body)
        assert status == 400
        assert answer["Message"]
        (trigger,) = client.world.triggers
        assert not trigger.executed


async def test_a_configuration_that_does_not_exist_is_not_found() -> None:
    async with sandbox() as client:
        status, answer = await client.export(configuration_id=99)
        assert (status, client.world.triggers[0].executed) == (404, False)
        assert "99" in answer["Message"]


async def test_the_ledger_gives_each_entry_once() -> None:
    async with sandbox() as client:
        first = (await client.export("2026-11-16T00:00:00"))[1]["data"]["id"]
        second = (await client.export())[1]["data"]["id"]
        third = (await client.export())[1]["data"]["id"]
        ids = [client.world.entry_ids(DOMAIN, export_id) for export_id in (first, second, third)]
        assert [len(part) for part in ids] == [36, 12, 0]
        assert len(set(ids[0] + ids[1])) == 48
        exports = client.world.exports(DOMAIN)[-3:]
        assert [record.entry_count for record in exports] == [36, 12, 0]
        assert exports[1].starts_at == exports[0].ends_at


async def test_a_second_export_of_a_period_carries_late_corrections() -> None:
    tenant = replace(ACME, configurations=(replace(QUICK, late_corrections=2),))
    async with sandbox(tenant) as client:
        await client.export()
        await client.export()
        assert [record.entry_count for record in client.world.exports(DOMAIN)[-2:]] == [48, 2]


async def test_configurations_share_their_ids_and_not_their_ledgers() -> None:
    tenant = replace(ACME, configurations=(QUICK, replace(QUICK, id=5)))
    async with sandbox(tenant) as client:
        one = (await client.export())[1]["data"]["id"]
        other = (await client.export(configuration_id=5))[1]["data"]["id"]
        assert other > one
        assert len(client.world.entry_ids(DOMAIN, other)) == 48
        items = await client.items(f"configurationId=3&id=greaterthan,{one - 1}&fields=id")
        assert [item["id"] for item in items] == [one]


@pytest.mark.parametrize("nothing_new, status", [("made", 200), ("rejected", 400)])
async def test_nothing_to_export_is_made_or_refused(nothing_new: Any, status: int) -> None:
    tenant = replace(ACME, employees=0, configurations=(replace(QUICK, nothing_new=nothing_new),))
    async with sandbox(tenant) as client:
        assert (await client.export())[0] == status


async def test_the_doubled_path_answers_only_where_a_tenant_has_it() -> None:
    for form, plain, doubled in (("plain", 200, 404), ("doubled", 404, 200), ("both", 200, 200)):
        async with sandbox(replace(ACME, content_path=form)) as client:  # type: ignore[arg-type]
            export_id = (await client.export())[1]["data"]["id"]
            assert (await client.get(f"{LIST}/{export_id}?fields=entries[id]"))[0] == plain
            assert (await client.get(f"/api/v3{LIST}/{export_id}?fields=entries[id]"))[0] == doubled


async def test_bare_lists_never_say_where_an_export_ends_but_items_do() -> None:
    async with sandbox(replace(ACME, bare_lists=True, zoneless=True)) as client:
        (item,) = await client.items("configurationId=3&fields=id,createdat,endsat")
        assert set(item) == {"id", "createdAt"}
        assert not item["createdAt"].endswith("Z")
        _, answer = await client.get(f"{LIST}/{item['id']}?fields=id,endsAt")
        assert answer["data"]["endsAt"] == "2026-10-26T00:00:00"


async def test_a_wrong_key_is_unauthorized_in_the_shape_of_either_api() -> None:
    async with sandbox() as client:
        wrong = {"Authorization": "lucca application=guess"}
        status, answer = await client.get(f"{LIST}?fields=id", **wrong)
        assert (status, answer) == (401, {"Status": 401, "Message": "Unauthorized"})
        status, answer = await client.get("/timmi-timesheet/api/reports/1", **wrong)
        assert (status, answer["title"], answer["status"]) == (401, "Unauthorized", 401)
        assert [record.key_ok for record in client.world.log] == [False, False]


async def test_a_read_only_key_may_not_post() -> None:
    async with sandbox(replace(ACME, read_only_keys=("reader",))) as client:
        reader = {"Authorization": "lucca application=reader"}
        assert (await client.get(f"{LIST}?fields=id", **reader))[0] == 200
        body = {"endsAt": MONDAY, "configurationId": 3}
        assert (await client.post(f"{LIST}/run?fields=id", body, **reader))[0] == 403


async def test_a_key_may_be_refused_from_some_request_on() -> None:
    async with sandbox(replace(ACME, key_refused_from=2)) as client:
        assert [(await client.get(f"{LIST}?fields=id"))[0] for _ in range(3)] == [200, 401, 401]


async def test_an_unknown_host_meets_a_proxy_and_an_unknown_path_the_api() -> None:
    async with sandbox() as client:
        status, page = await client.get(LIST, Host="nobody.ilucca.net")
        assert (status, "<html>" in page) == (404, True)
        assert (await client.get("/api/v3/nothing"))[1]["Status"] == 404


async def test_a_report_is_made_polled_and_downloaded_in_both_forms() -> None:
    async with sandbox(replace(ACME, reports=Reports(created_status=201, pending_seconds=0.0))) as client:
        body = {"templateId": "12", "startsOn": "2026-11-01", "endsOn": None}
        status, created = await client.post("/timmi-timesheet/api/reports", body)
        assert status == 201
        path = f"/timmi-timesheet/api/reports/{created['id']}"
        assert (await client.get(path))[1]["status"] == "done"
        async with client.session.get(f"{path}/download-csv", headers=client.headers) as response:
            assert response.content_type == "application/octet-stream"
            table = await response.read()
        async with client.session.get(f"{path}/download-excel", headers=client.headers) as response:
            workbook = await response.read()
        assert table.startswith("\ufeffNom complet;".encode())
        assert table.count(b"\r\n") == 13
        assert workbook.startswith(bytes.fromhex("d0cf11e0a1b11ae1"))
        assert len(workbook) % 512 == 0


async def test_a_new_report_deletes_the_one_before() -> None:
    async with sandbox() as client:
        body = {"templateId": 12, "startsOn": None, "endsOn": None}
        _, first = await client.post("/timmi-timesheet/api/reports", body)
        await client.post("/timmi-timesheet/api/reports", body)
        assert (await client.get(f"/timmi-timesheet/api/reports/{first['id']}"))[0] == 404
        (eviction,) = client.world.evictions
        assert (eviction.report_id, eviction.by, eviction.unfinished) == (first["id"], "client", True)


async def test_a_template_is_made_with_an_id_of_its_own() -> None:
    async with sandbox() as client:
        status, template = await client.post(
            "/timmi-timesheet/api/report-templates", {"id": 0, "name": "Temps"}
        )
        assert (status, template["name"]) == (200, "Temps")
        body = {"templateId": template["id"], "startsOn": None, "endsOn": None}
        assert (await client.post("/timmi-timesheet/api/reports", body))[0] == 200


@pytest.mark.parametrize(
    "body, status",
    [
        ({"templateId": 999, "startsOn": None, "endsOn": None}, 404),
        ({"templateId": None}, 400),
        ({"templateId": 12, "startsOn": "01/11/2026"}, 400),
    ],
)
async def test_a_report_that_cannot_be_is_refused_in_the_newer_shape(body: Any, status: int) -> None:
    async with sandbox() as client:
        got, answer = await client.post("/timmi-timesheet/api/reports", body)
        assert (got, answer["status"]) == (status, status)
        assert "errors" in answer


async def test_users_have_numbers_with_zeros_and_leavers_only_when_asked_for() -> None:
    async with sandbox(replace(ACME, employees=40)) as client:
        query = "/api/v3/users?fields=id,employeeNumber,legalEntityId&paging=0,1000"
        _, present = await client.get(query)
        _, everyone = await client.get(f"{query}&formerEmployees=true")
        users = everyone["data"]["items"]
        assert len(present["data"]["items"]) < len(users) == 40
        numbers = [user["employeeNumber"] for user in users]
        assert None in numbers
        assert any(number is not None and number.startswith("000") for number in numbers)


async def test_a_post_that_is_not_json_is_an_unsupported_media_type() -> None:
    async with (
        sandbox() as client,
        client.session.post(f"{LIST}/run", data=b"{}", headers=client.headers) as response,
    ):
        assert response.status == 415


async def test_the_state_can_be_read_over_http() -> None:
    async with sandbox() as client:
        await client.export()
        status, state = await client.get("/__sandbox__/state", Host="whoever.example")
        assert status == 200
        assert state["triggers"][0]["export_id"] == state["exports"][DOMAIN][-1]["id"]
        assert [record["kind"] for record in state["log"]] == ["trigger"]
        assert state["max_requests_in_any_60_seconds"] == {DOMAIN: 1}


async def test_an_export_of_two_hundred_thousand_entries_is_possible() -> None:
    large = replace(QUICK, entry_weekdays=(0, 1, 2, 3, 4), entries_per_day=5)
    async with sandbox(replace(ACME, employees=2000, configurations=(large,))) as client:
        await client.export()
        assert client.world.exports(DOMAIN)[-1].entry_count == 200_000
