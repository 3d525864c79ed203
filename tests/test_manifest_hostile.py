"""Whatever stands in a manifest: it is told as a fault, at once, and no secret with it."""

import json
import re
import time
from pathlib import Path
from random import Random
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


# --- names and hosts -------------------------------------------------------------------------------------------------

GOOD_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
RESERVED = {"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(10))}
PIECES = (
    *(
        "..",
        "../",
        "/",
        "\\",
        "//",
        ".",
        "~",
        "%2e%2e",
        "%2f",
        "\u2025",
        "\uff0f",
        "\u2215",
        "\x00",
        "\n",
        "\r",
        "\t",
        " ",
    ),
    *(
        "con",
        "nul",
        "aux",
        "com1",
        "CON",
        "Acme",
        "acme",
        "a",
        "0",
        "-",
        "_",
        "é",
        "\u202e",
        "\ufeff",
        "\U0001f600",
    ),
    *(
        "$HOME",
        "`id`",
        "$(id)",
        ";",
        "|",
        "*",
        "?",
        "<",
        ">",
        '"',
        "'",
        ":",
        "{",
        "}",
        "a" * 64,
        "\u0430cme",
        "run.json",
    ),
)


def client(name: str, domain: str) -> dict[str, Any]:
    """A client with nothing wrong but, perhaps, these."""
    job = {"name": "times", "template_id": 12}
    return {"name": name, "domain": domain, "api_key": {"env": "KEY"}, "reports": [job]}


def test_ten_thousand_fuzzed_names_are_taken_where_they_are_good_and_refused_within_seconds(
    tmp_path: Path,
) -> None:
    chance = Random("names")
    # No two alike: a name that is given twice stops the run, which would hide all else.
    names = list(
        {
            name.lower(): name for name in ("".join(chance.choices(PIECES, k=4)) for _ in range(12_000))
        }.values()
    )
    entries = [client(name, f"t{n}.ilucca.net") for n, name in enumerate(names[:10_000])]
    assert len(entries) == 10_000
    content = json.dumps({"version": 1, "tenants": entries}, ensure_ascii=False)
    (tmp_path / "tenants.yaml").write_text(content, encoding="utf-8")
    started = time.process_time()
    manifest = load_manifest(tmp_path / "tenants.yaml")
    taken, told = [tenant.name for tenant in manifest.tenants], [p.message for p in manifest.problems]
    assert time.process_time() - started < 5
    assert len(taken) + len(told) == 10_000
    good = [name for name in names[:10_000] if GOOD_NAME.fullmatch(name) and name not in RESERVED]
    assert taken == good != []
    assert all(line.isprintable() and len(line) < 500 for message in told for line in message.splitlines())


@pytest.mark.parametrize(
    "domain",
    [
        "acme.ilucca.net.evil.example",
        "acme.ilucca.net@evil.example",
        "evil.example/acme.ilucca.net",
        "evil.example#.ilucca.net",
        "evil.example?.ilucca.net",
        "evil.example\\.ilucca.net",
        "acmeilucca.net",
        "ilucca.net",
        "acme.ilucca.com",
        "acme.ilucca-prod.net",
        "acme.xilucca.net",
        "acme.ilucca.net.",
        "acme.ilucca.net:8443",
        "acme..ilucca.net",
        "-acme.ilucca.net",
        "acme.i1ucca.net",
        "acme.\u0131lucca.net",
        "acme.ilucca.n\u0435t",
        "acme\u3002ilucca.net",
        "acme.ilucca.net\u200b",
        "acme.ilucca.net\nHost: evil.example",
        "acme.ilucca.net\r\nX: 1",
        "acme.ilucca.net\x00.evil.example",
        "127.0.0.1",
        "[::1]",
        "localhost",
        "169.254.169.254",
        "a.sandbox.luccasoftware.com",
        "a.sandbox.s.luccasoftware.com.evil.example",
        "a.sandbox.x.y.luccasoftware.com",
        "xn--acme-.ilucca.net.example",
    ],
)
def test_a_host_that_only_looks_like_luccas_is_refused(tmp_path: Path, domain: str) -> None:
    content = json.dumps(
        {"version": 1, "tenants": [client("acme", domain), client("good", "good.ilucca.net")]}
    )
    (tmp_path / "tenants.yaml").write_text(content, encoding="utf-8")
    manifest = load_manifest(tmp_path / "tenants.yaml")
    assert [tenant.name for tenant in manifest.tenants] == ["good"]
    (problem,) = manifest.problems
    assert problem.tenant == "acme"
    assert ".domain: " in problem.message


@pytest.mark.parametrize("kind", ["exports", "reports"])
@pytest.mark.parametrize(
    "name", ["../x", "/etc/passwd", "a/b", "..", "a\\b", "a\x00", "A", "", "a" * 64, "run.json"]
)
def test_a_jobs_name_never_leads_out_of_its_folder(tmp_path: Path, kind: str, name: str) -> None:
    job = {"name": name, "configuration_id": 3, "ends_at": "monday"}
    if kind == "reports":
        job = {"name": name, "template_id": 12}
    entry = {"name": "acme", "domain": "acme.ilucca.net", "api_key": {"env": "KEY"}, kind: [job]}
    content = json.dumps({"version": 1, "defaults": {"since": "2026-11-01"}, "tenants": [entry]})
    told = told_by(tmp_path / "tenants.yaml", content.encode())
    assert f".{kind}[0].name: " in told
