"""Whatever stands in a manifest: it is told as a fault, at once, and no secret with it."""

import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runner.errors import ManifestError
from runner.manifest import load_manifest

SECRET = "Zq7-hunter2-Zq7"
KEYS = [
    "version",
    "defaults",
    "tenants",
    "include",
    "name",
    "label",
    "dossier",
    "owner",
    "domain",
    "api_key",
    "tags",
    "since",
    "requests_per_minute",
    "exports",
    "reports",
    "configuration_id",
    "configuration",
    "ends_at",
    "due",
    "empty",
    "formats",
    "template_id",
    "template",
    "template_file",
    "period",
    "starts_on",
    "ends_on",
    "env",
    "file",
    "command",
    "systemd",
    "keyring",
]
WORDS = [
    "acme",
    "acme.ilucca.net",
    "monday",
    "day-24",
    "2026-11-01",
    "2026-02-30",
    "previous-week",
    "ok",
    "csv",
    "json",
    "1",
    "0",
    "-1",
    "1e9",
    "no",
    "null",
    "~",
    "''",
    "[",
    "]",
    "{",
    "}",
    ":",
    "-",
    "&",
    "*",
    "!",
]

scalars = (
    st.sampled_from(WORDS) | st.text(max_size=8) | st.integers() | st.floats() | st.booleans() | st.none()
)
documents = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=4), inner, max_size=5)
    ),
    max_leaves=30,
)
shared_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


def told_by(path: Path, content: bytes) -> str:
    """All that is said about a manifest, whatever comes of it."""
    path.write_bytes(content)
    try:
        manifest = load_manifest(path)
    except ManifestError as error:
        return "\n".join(error.faults)
    return "\n".join(problem.message for problem in manifest.problems)


@shared_folder
@given(st.binary(max_size=200))
def test_any_bytes_are_a_manifest_or_a_fault(tmp_path: Path, content: bytes) -> None:
    told_by(tmp_path / "tenants.yaml", content)


@shared_folder
@given(documents)
def test_any_document_is_a_manifest_or_a_fault(tmp_path: Path, document: Any) -> None:
    told_by(tmp_path / "tenants.yaml", yaml.safe_dump(document).encode())


@shared_folder
@given(
    st.dictionaries(st.sampled_from(KEYS), documents, max_size=8),
    st.dictionaries(st.sampled_from(KEYS), documents),
)
def test_any_tenant_and_defaults_are_taken_or_told(
    tmp_path: Path, entry: dict[str, Any], defaults: dict[str, Any]
) -> None:
    document = {
        "version": 1,
        "defaults": defaults,
        "tenants": [{"name": "acme", "domain": "a.ilucca.net", **entry}],
    }
    told_by(tmp_path / "tenants.yaml", yaml.safe_dump(document).encode())


def with_secret(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    kinds = st.sampled_from(["env", "file", "systemd", "keyring", "command", SECRET])
    return st.lists(inner, max_size=3) | st.dictionaries(kinds, inner, max_size=2)


@shared_folder
@given(
    st.recursive(st.sampled_from([SECRET, f"{SECRET} ", f"\n{SECRET}", f"x/{SECRET}", 1, None]), with_secret)
)
def test_no_secret_is_printed_wherever_below_api_key_it_stands(tmp_path: Path, api_key: Any) -> None:
    entry = {"name": "acme", "domain": "a.ilucca.net", "api_key": api_key}
    assert SECRET not in told_by(
        tmp_path / "tenants.yaml", yaml.dump({"version": 1, "tenants": [entry]}).encode()
    )


def _bomb() -> str:
    lines = ["a0: &a0 [x,x,x,x,x,x,x,x,x]"]
    lines += [f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    "content",
    [
        _bomb(),
        "version: 1\ntenants:\n- name: a\n  label: " + "[" * 100_000,
        "version: 1\ntenants: " + "{a: " * 100_000,
        "- " * 100_000,
        "? " * 100_000,
        "version: 1\ntenants:\n" + "- x\n" * 50_000,
        "version: 1\n" + "".join(f"k{n}: 1\n" for n in range(3_000)),
        "version: 1\ntenants: [{name: " + "a" * 1_000_000 + "}]",
        "a" * 2_000_000,
        "version: 1\ntenants: [{dossier: " + "9" * 100_000 + ", requests_per_minute: " + "9" * 100_000 + "}]",
        "version: 1\ntenants: [{reports: [{name: a, due: " + "-" * 100_000 + "}]}]",
    ],
    ids=["bomb", "lists", "maps", "dashes", "keys", "items", "unknown", "name", "text", "digits", "rule"],
)
def test_what_would_take_for_ever_is_refused_soon(tmp_path: Path, content: str) -> None:
    started = time.process_time()
    told = told_by(tmp_path / "tenants.yaml", content.encode())
    assert told
    assert time.process_time() - started < 5
    assert max(map(len, told.splitlines())) < 2_000


def test_a_file_without_end_is_not_read_to_its_end() -> None:
    with pytest.raises(ManifestError, match=r"larger than"):
        load_manifest("/dev/zero")


def test_ten_thousand_tenants_are_read_within_a_few_times_what_parsing_takes(tmp_path: Path) -> None:
    entry = """\
  - name: t{n}
    label: Client {n}
    domain: t{n}.ilucca.net
    api_key: {{env: T{n}}}
    exports:
      - name: payroll
        configuration_id: 3
        ends_at: monday
        due: day-24
    reports:
      - name: times
        template_id: 12
        period: previous-month
        formats: [csv, excel]
"""
    path = tmp_path / "tenants.yaml"
    head = "version: 1\ndefaults: {since: 2026-11-01}\ntenants:\n"
    path.write_text(head + "".join(entry.format(n=n) for n in range(10_000)), encoding="utf-8")
    started = time.process_time()
    assert sum(1 for _ in yaml.parse(path.read_bytes(), Loader=yaml.CSafeLoader)) > 400_000
    parsing = time.process_time() - started
    started = time.process_time()
    assert len(load_manifest(path).tenants) == 10_000
    # About twice at a desk; the margin is for machines that do other things meanwhile.
    assert time.process_time() - started < 6 * parsing
