"""Many clients in one bureau: a file each, keys kept in several ways, two on one host, the fault of one alone."""

from collections import Counter
from pathlib import Path

import pytest

from runner.sandbox import Configuration, Reports, Scenario, TenantScenario, Trigger
from runner.sandbox.scenario import made_up_key
from tests.e2e.bureau import NIGHT, Bureau, lucca, quick
from tests.e2e.forks import Forks

LITERAL = made_up_key("typed into the manifest")
QUICK = Trigger(seconds=0.1)
SCENARIO = Scenario(
    tenants=(
        quick(
            "acme.ilucca.net",
            configurations=(Configuration(trigger=QUICK), Configuration(id=5, trigger=QUICK)),
        ),
        quick("globex.ilucca.net"),
        TenantScenario(
            domain="initech.ilucca.net",
            client_key=made_up_key("an old one"),
            configurations=tuple(Configuration(id=id_) for id_ in (3, 4, 5, 6)),
            reports=Reports(),
        ),
    )
)
MANIFEST = f"""\
version: 1
defaults: {{since: 2026-11-01}}
include: clients.d/*.yaml
tenants:
  - name: acme
    label: Acme SAS
    domain: acme.ilucca.net
    api_key: {{command: [cat, keys/acme]}}
    exports:
      - name: payroll
        configuration: "https://acme.ilucca.net/timmi-timesheet/legacy-settings#/export/1/3/latest"
        ends_at: monday
        due: tuesday
      - {{name: before-our-time, configuration_id: 5, ends_at: 2026-10-26}}
  - name: acme-too
    domain: acme.ilucca.net
    api_key: {{env: ACME_TOO}}
    exports:
      - {{name: vouchers, configuration_id: 5, ends_at: monday, due: tuesday, empty: ok}}
  - name: initech
    domain: initech.ilucca.net
    api_key: {{file: keys/initech}}
    exports:
      - {{name: a, configuration_id: 3, ends_at: monday, due: tuesday}}
      - {{name: b, configuration_id: 4, ends_at: monday, due: tuesday}}
      - {{name: c, configuration_id: 5, ends_at: monday, due: tuesday}}
      - {{name: d, configuration_id: 6, ends_at: monday, due: tuesday}}
    reports:
      - {{name: times, template_id: 12, period: previous-month}}
  - name: hooli
    domain: lucca.example.com
    api_key: {{file: keys/initech}}
    exports:
      - {{name: payroll, configuration_id: 3, ends_at: monday}}
  - name: piper
    domain: piper.ilucca.net
    api_key: {LITERAL}
    exports:
      - {{name: payroll, configuration_id: 3, ends_at: monday}}
"""
GLOBEX = """\
tenants:
  - name: globex
    domain: globex.ilucca.net
    api_key: {file: ../keys/globex}
    exports:
      - {name: payroll, configuration_id: 3, ends_at: monday, due: tuesday}
"""


@pytest.fixture
def bureau(forks: Forks, tmp_path: Path) -> Bureau:
    made = Bureau(tmp_path, forks=forks)
    made.take(SCENARIO, MANIFEST)
    made.environ["ACME_TOO"] = SCENARIO.tenants[0].key
    (tmp_path / "clients.d").mkdir()
    (tmp_path / "clients.d/globex.yaml").write_text(GLOBEX, "utf-8")
    (tmp_path / "clients.d/broken.yaml").write_text("tenants: [oops\n", "utf-8")
    return made


def test_one_clients_fault_is_told_with_its_place_and_the_others_arrive(bureau: Bureau) -> None:
    with lucca(SCENARIO) as served:
        told = bureau.run(gateway=served.gateway)
        assert told.code == 3, told.err
        states = {label: job["state"] for label, job in bureau.jobs().items()}
        assert states == {
            "acme/payroll": "downloaded",
            "acme-too/vouchers": "downloaded",
            "globex/payroll": "downloaded",
            **dict.fromkeys((f"initech/{name}" for name in ("a", "b", "c", "d", "times")), "failed"),
        }
        problems = {problem["tenant"]: problem["message"] for problem in bureau.document()["problems"]}
        assert set(problems) == {"hooli", "piper", None}
        assert problems["hooli"].startswith("tenants.yaml:31:13: tenants[3].domain: ")
        assert problems["piper"].startswith("tenants.yaml:37:14: tenants[4].api_key: ")
        assert problems[None].startswith("clients.d/broken.yaml:")
        assert "Acme SAS" in bureau.words()
        assert "3 erreurs de configuration" in bureau.words()
        # A refused key is shown at most twice, whatever the client has to make.
        asked = served.tell(lambda world: [r.kind for r in world.requests("initech.ilucca.net")])
        assert len(asked) <= 2
        assert {job["error"]["code"] for job in bureau.jobs().values() if job["error"]} == {"key_refused"}
        said = told.out + told.err + bureau.page() + str(bureau.document())
        assert LITERAL not in said
        # The export from before `since` was not made: its period is not ours.
        assert [t.ends_at for t in served.triggers("acme.ilucca.net")] == ["2026-11-23T00:00:00"] * 2
        # What one night finished, the next does not list; what it tried again, it does.
        assert bureau.run(date="2026-11-25", gateway=served.gateway).code == 3
        assert {job["tenant"] for job in bureau.document("2026-11-25")["jobs"]} == {"initech"}


def test_a_key_that_was_mended_is_taken_up_by_the_next_run(bureau: Bureau) -> None:
    with lucca(SCENARIO) as served:
        bureau.environ["RUNNER_GATEWAY"] = served.gateway
        assert bureau.run("--only", "initech/a", "--only", "acme").code == 3
        (bureau.folder / "keys/initech").write_text(SCENARIO.tenants[2].key, "utf-8")
        assert bureau.run("--only", "initech/a", "--only", "acme").code == 0
        assert bureau.jobs()["initech/a"]["state"] == "downloaded"
        assert len(served.triggers()) == 2


def test_check_and_run_agree_on_what_is_wrong(bureau: Bureau) -> None:
    checked = bureau.command("check", "--json")
    assert checked.code == 2
    faults = checked.json()["faults"]
    assert len(faults) == 3
    assert LITERAL not in checked.out + checked.err
    (bureau.folder / "keys/globex").chmod(0o644)
    warned = bureau.command("check", "--json").json()["warnings"]
    assert any("globex" in warning and "may be read by others" in warning for warning in warned)
    assert "may be read by others" in bureau.run("--only", "globex").err
    planned = bureau.command("plan", "--date", NIGHT, "--json")
    assert planned.code == 3
    assert [problem["message"] for problem in planned.json()["problems"]] == faults


def test_a_name_or_a_job_given_twice_stops_the_run(bureau: Bureau) -> None:
    twice = {
        "the tenant's name": GLOBEX.replace("name: globex", "name: ACME").replace("ACME", "acme"),
        "the job's identity": GLOBEX.replace("globex.ilucca.net", "acme.ilucca.net"),
    }
    (bureau.folder / "clients.d/broken.yaml").unlink()
    for text in twice.values():
        (bureau.folder / "clients.d/globex.yaml").write_text(text, "utf-8")
        told = bureau.run("--json", gateway="http://127.0.0.1:9")
        assert (told.code, told.json()["error"]["code"]) == (2, "manifest"), text
        assert not bureau.output.exists()


def test_the_tenants_of_one_host_share_its_budget(bureau: Bureau) -> None:
    bureau.environ["RUNNER_REQUESTS_PER_MINUTE"] = "4"
    with lucca(SCENARIO) as served:
        told = bureau.run("--only", "acme", "--only", "acme-too", "--until", "2s", gateway=served.gateway)
        assert told.code == 4, told.err
        counted = Counter(served.tell(lambda world: [r.domain for r in world.log]))
        assert counted == {"acme.ilucca.net": 4}
