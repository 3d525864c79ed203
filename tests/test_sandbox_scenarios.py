"""Scenarios: read from YAML, named as moods, written as the demo's manifest."""

import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest
import yaml

from runner.clock import SystemClock
from runner.errors import UsageError
from runner.sandbox import (
    MOODS,
    Cut,
    FaultRule,
    Reset,
    Scenario,
    Status,
    TenantScenario,
    Trigger,
    World,
    demo_scenario,
    load_scenario,
    scenario_keys,
    scenario_manifest,
)

DAY = date(2026, 11, 24)


def load(folder: Path, text: str) -> Scenario:
    path = folder / "scenario.yaml"
    path.write_text(text, encoding="utf-8")
    return load_scenario(path)


def test_a_scenario_is_read_from_yaml_under_the_names_of_the_dataclasses(tmp_path: Path) -> None:
    scenario = load(
        tmp_path,
        """
        seed: 7
        date: 2026-12-01
        tenants:
          - domain: acme.ilucca.net
            requests_per_minute: 20
            latency_seconds: 1
            staff_exports:
              - {at_seconds: -60, ends_at: 2026-11-30}
            configurations:
              - id: 5
                triggers:
                  - {completes: false, answer: reset}
                  - {seconds: [1, 2.5], answer: {status: {status: 504}}}
            faults:
              - {kind: content, last: 2, fault: {cut: {bytes: 80}}}
          - domain: globex.ilucca.ch
            mood: already_there
            requests_per_minute: 10
        """,
    )
    acme, globex = scenario.tenants
    assert (scenario.seed, scenario.date, acme.requests_per_minute) == (7, date(2026, 12, 1), 20)
    assert acme.faults == (FaultRule(kind="content", last=2, fault=Cut(80)),)
    assert acme.configurations[0].triggers == (
        Trigger(completes=False, answer=Reset()),
        Trigger(seconds=(1.0, 2.5), answer=Status(504)),
    )
    assert (globex.mood, globex.requests_per_minute) == ("already_there", 10)
    assert globex.staff_exports[0].ends_at == date(2026, 11, 30)
    World(scenario, SystemClock())


@pytest.mark.parametrize(
    "text, told",
    [
        ("tenants: []", "tenants: a list of tenants is expected"),
        ("- 1", "the file: a mapping"),
        ("tenant: 1", "did you mean tenants?"),
        (
            "tenants: [{domain: a.net, latency: 1}]",
            "tenants[0].latency: unknown key, did you mean latency_seconds?",
        ),
        ("tenants: [{name: a}]", "tenants[0]: `domain` is missing"),
        ("tenants: [{domain: a.net, mood: lat_twin}]", "did you mean late_twin?"),
        ("tenants: [{domain: a.net, mood: never, employes: 1}]", "did you mean employees?"),
        ("tenants: [{domain: a.net, employees: many}]", "tenants[0].employees: a whole number is expected"),
        ("tenants: [{domain: a.net, content_path: triple}]", "one of plain, doubled, both is expected"),
        ("tenants: [{domain: a.net, faults: [{fault: {cutt: {}}}]}]", "did you mean cut?"),
        ("tenants: [{domain: a.net, faults: [{fault: {cut: {byte: 1}}}]}]", "faults[0].fault.cut.byte"),
        (
            "tenants: [{domain: a.net, configurations: [{trigger: {answer: {cut: {}}}}]}]",
            "bends a true answer",
        ),
        ("tenants: [{domain: a.net, staff_exports: [{at_seconds: 1, ends_at: '31/12'}]}]", "is not a date"),
        ("tenants: [{domain: a.net}, {domain: a.net}]", "share the domain a.net"),
        ("tenants: [{domain: A.net}]", "small letters"),
        ("tenants: {", "is not YAML"),
    ],
)
def test_a_fault_in_a_scenario_is_told_with_its_place(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(UsageError) as caught:
        load(tmp_path, text)
    assert told in str(caught.value)


def test_a_scenario_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        load_scenario(tmp_path / "none.yaml")


@pytest.mark.parametrize("mood", sorted(MOODS))
def test_every_mood_makes_a_tenant_and_has_a_sentence(mood: str) -> None:
    tenant = MOODS[mood]("acme.ilucca.net", DAY, hour_seconds=3600.0)
    assert (tenant.domain, tenant.mood) == ("acme.ilucca.net", mood)
    assert (MOODS[mood].__doc__ or "").endswith(".")
    World(Scenario(tenants=(tenant,), date=DAY), SystemClock())


def test_the_demo_has_different_clients_with_different_moods() -> None:
    scenario = demo_scenario(seed=3, tenants=60, date=DAY)
    assert scenario == demo_scenario(seed=3, tenants=60, date=DAY)
    assert len({tenant.domain for tenant in scenario.tenants}) == 60
    assert len({tenant.label for tenant in scenario.tenants}) == 60
    assert {tenant.mood for tenant in scenario.tenants} >= set(MOODS) - {"crowded", "report_pending_for_ever"}


@pytest.mark.parametrize("form", ["env", "file"])
def test_the_demo_s_manifest_and_keys_belong_together(form: str) -> None:
    scenario = demo_scenario(tenants=60, date=DAY)
    manifest = yaml.safe_load(scenario_manifest(scenario, form))  # type: ignore[arg-type]
    keys = scenario_keys(scenario, form)  # type: ignore[arg-type]
    assert manifest["version"] == 1
    assert [entry["api_key"] for entry in manifest["tenants"]] == [{form: name} for name in keys]
    for entry, tenant in zip(manifest["tenants"], scenario.tenants, strict=True):
        assert (entry["name"], entry["domain"], entry["label"]) == (tenant.name, tenant.domain, tenant.label)
        assert entry.get("exports") or entry.get("reports")


def test_a_key_of_the_demo_opens_its_tenant_unless_its_mood_is_against_it() -> None:
    scenario = demo_scenario(tenants=49, date=DAY)
    for tenant, key in zip(scenario.tenants, scenario_keys(scenario).values(), strict=True):
        assert (key == tenant.key) is (tenant.mood not in {"key_refused", "read_only"})


def test_a_tenant_gets_a_key_and_a_name_of_its_own() -> None:
    one, other = TenantScenario(domain="a.ilucca.net"), TenantScenario(domain="b.ilucca.net")
    assert one.key != other.key
    assert one.name == "a"


def test_the_sandbox_can_be_described_without_loading_aiohttp() -> None:
    code = "import sys, runner.sandbox; sys.exit('aiohttp' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
