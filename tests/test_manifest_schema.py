"""The schema that editors use says the same as the loader, and the examples are right by both."""

import json
from datetime import date
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from runner.errors import ManifestError
from runner.manifest import load_manifest, manifest_schema, starter_manifest, warnings

ROOT = Path(__file__).parent.parent
EXAMPLE = ROOT / "tenants.example.yaml"


class _EditorLoader(yaml.SafeLoader):
    """Reads YAML as editors do: a date is a text."""


_EditorLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def schema_faults(text: str) -> list[str]:
    document: Any = yaml.load(text, Loader=_EditorLoader)  # noqa: S506 - a safe loader all the same
    validator = jsonschema.Draft202012Validator(manifest_schema())
    return [error.message for error in validator.iter_errors(document)]


def loader_faults(path: Path) -> list[str]:
    try:
        return [problem.message for problem in load_manifest(path).problems]
    except ManifestError as error:
        return list(error.faults)


def test_the_schema_is_a_schema_and_the_one_in_the_documentation() -> None:
    jsonschema.Draft202012Validator.check_schema(manifest_schema())
    kept = json.loads((ROOT / "docs" / "tenants.schema.json").read_text(encoding="utf-8"))
    assert kept == manifest_schema()


@pytest.mark.parametrize(
    "text", [EXAMPLE.read_text(encoding="utf-8"), starter_manifest()], ids=["example", "starter"]
)
def test_the_examples_are_right_by_schema_and_loader_and_warn_of_nothing(text: str, tmp_path: Path) -> None:
    path = tmp_path / "tenants.yaml"
    path.write_text(text, encoding="utf-8")
    assert schema_faults(text) == []
    manifest = load_manifest(path)
    assert manifest.problems == ()
    assert warnings(manifest, date(2026, 11, 24)) == []


def test_the_example_shows_every_key_of_the_schema() -> None:
    text = EXAMPLE.read_text(encoding="utf-8")
    definitions = manifest_schema()["$defs"]
    keys = {
        key for name in ("tenant", "export", "report", "secret") for key in definitions[name]["properties"]
    }
    assert [key for key in sorted(keys) if f"{key}:" not in text] == []


GOOD = """\
version: 1
tenants:
  - name: acme
    domain: acme.ilucca.net
    api_key: {env: ACME}
    since: 2026-11-01
    exports: [{name: payroll, configuration_id: 3, ends_at: monday, due: day-24}]
    reports: [{name: times, template_id: 12, period: previous-month}]
"""


def test_the_good_document_of_the_next_test_is_good(tmp_path: Path) -> None:
    path = tmp_path / "tenants.yaml"
    path.write_text(GOOD, encoding="utf-8")
    assert schema_faults(GOOD) == loader_faults(path) == []


@pytest.mark.parametrize(
    "good, bad",
    [
        ("version: 1", "version: 2"),
        ("tenants:", "tenant:"),
        ("name: acme", "name: Acme"),
        ("name: acme", "name: con"),
        ("name: acme", "label: x"),
        ("acme.ilucca.net", "https://acme.ilucca.net"),
        ("{env: ACME}", "d8f7a1c2-0b3e-4f5a-9c6d-7e8f90a1b2c3"),
        ("{env: ACME}", "{env: d8f7a1c2-0b3e-4f5a-9c6d-7e8f90a1b2c3}"),
        ("{env: ACME}", "{env: A, file: b}"),
        ("{env: ACME}", "{}"),
        ("{env: ACME}", "{vault: x}"),
        ("{env: ACME}", "{keyring: x}"),
        ("{env: ACME}", "{command: pass show x}"),
        ("2026-11-01", "november"),
        ("2026-11-01", "2026-13-01"),
        ("configuration_id: 3", "configuration_id: 0"),
        ("configuration_id: 3", "configuration_id: '3'"),
        ("configuration_id: 3", "configuration: 'https://acme.ilucca.net/'"),
        ("configuration_id: 3, ", ""),
        ("ends_at: monday", "ends_at: mondays"),
        (", ends_at: monday", ""),
        ("day-24", "day-29"),
        ("day-24", "monday-after-day-0"),
        ("day-24", "day-24, empty: yes"),
        ("day-24", "day-24, formats: [xlsx]"),
        ("day-24", "day-24, formats: [csv, csv]"),
        ("template_id: 12", "template: {}"),
        ("template_id: 12", "template_id: 12, template: {a: 1}"),
        ("template_id: 12, ", ""),
        ("previous-month", "last-month"),
        ("previous-month", "{starts_on: 2026-11-01}"),
        ("previous-month", "previous-month, formats: []"),
        ("    since", "    dossier: 123\n    since"),
        ("    since", "    tags: monthly\n    since"),
        ("    since", "    tags: [a, a]\n    since"),
        ("    since", "    requests_per_minute: 0\n    since"),
        ("    since", "    notify: x\n    since"),
        ("tenants:", "defaults: {label: x}\ntenants:"),
        ("tenants:", "include: 1\ntenants:"),
    ],
)
def test_what_is_wrong_is_wrong_by_schema_and_loader(good: str, bad: str, tmp_path: Path) -> None:
    assert good in GOOD
    text = GOOD.replace(good, bad, 1)
    path = tmp_path / "tenants.yaml"
    path.write_text(text, encoding="utf-8")
    assert loader_faults(path)
    assert schema_faults(text)
