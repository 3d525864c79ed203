"""The manifest: what is read from it, what stops one tenant, what stops the run; every fault with its place."""

import gc
import glob
import json
import subprocess
import sys
from collections.abc import Callable
from datetime import date
from itertools import permutations
from pathlib import Path

import pytest

from runner.credentials import CommandSecret, EnvSecret, FileSecret, KeyringSecret, SystemdSecret
from runner.dates import parse_date_rule
from runner.errors import ManifestError
from runner.manifest import Manifest, TemplateBody, TemplateId, load_manifest, warnings
from runner.manifest.patterns import matching

GUID = "d8f7a1c2-0b3e-4f5a-9c6d-7e8f90a1b2c3"
GOOD = """
  - name: good
    domain: good.ilucca.net
    api_key: {env: GOOD}
    reports: [{name: times, template_id: 1}]
"""
HEAD = "version: 1\ntenants:"

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Write a manifest (and other files); it is then loaded as `tenants.yaml` from its folder."""
    monkeypatch.chdir(tmp_path)

    def write_files(text: str | bytes, **others: str) -> Path:
        path = Path("tenants.yaml")
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        for name, content in others.items():
            other = Path(name.replace("__", "/").replace("_dot_", "."))
            other.parent.mkdir(parents=True, exist_ok=True)
            other.write_text(content, encoding="utf-8")
        return path

    return write_files


def tenant(extra: str = "", *, name: str = "bad", api_key: str = "{env: BAD}") -> str:
    """A tenant's entry with more lines, to which nothing else is wrong; they begin on the entry's line 5."""
    lines = "".join(f"    {line}\n" for line in extra.splitlines())
    return f"\n  - name: {name}\n    domain: {name}.ilucca.net\n    api_key: {api_key}\n{lines}"


def problems_of(manifest: Manifest) -> list[tuple[str | None, str]]:
    return [(problem.tenant, problem.message) for problem in manifest.problems]


def only_problem(path: Path) -> str:
    """The message of the only problem; it is the tenant `bad`'s, and `good` runs."""
    manifest = load_manifest(path)
    assert [each.name for each in manifest.tenants] == ["good"]
    ((name, message),) = problems_of(manifest)
    assert name == "bad"
    return message


def faults_of(path: Path) -> tuple[str, ...]:
    with pytest.raises(ManifestError) as caught:
        load_manifest(path)
    assert caught.value.exit_code == 2
    return caught.value.faults


# --- what is read ------------------------------------------------------------------------------------------------


def test_everything_that_a_manifest_can_say_is_read(write: Write) -> None:
    path = write("""\
version: 1
defaults:
  since: 2026-11-01
  requests_per_minute: 25
tenants:
  - name: acme
    label: Acme SAS
    dossier: "00123"
    owner: paie-equipe-2
    domain: ACME.ilucca.net
    api_key: {env: ACME_API_KEY}
    tags: [monthly]
    exports:
      - name: payroll
        configuration_id: 3
        ends_at: monday
        due: day-24
        empty: ok
        formats: [csv, json]
      - {name: other, configuration: 'https://acme.ilucca.net/x#/export/1/4/latest', ends_at: 2026-11-30}
    reports:
      - name: times
        template_id: 12
        period: previous-month
        formats: [excel, csv]
      - {name: fixed, template_id: 13, period: {starts_on: 2026-11-01, ends_on: "2026-11-30"}}
      - {name: own, template_id: 14}
""")
    manifest = load_manifest(path)
    assert manifest.problems == ()
    (acme,) = manifest.tenants
    assert (acme.name, acme.label, acme.dossier, acme.owner) == ("acme", "Acme SAS", "00123", "paie-equipe-2")
    assert (acme.domain, acme.api_key, acme.tags) == (
        "acme.ilucca.net",
        EnvSecret("ACME_API_KEY"),
        ("monthly",),
    )
    assert (acme.since, acme.requests_per_minute) == (date(2026, 11, 1), 25)
    assert acme.place == "tenants.yaml:6:5: tenants[0]"
    payroll, other = acme.exports
    assert (payroll.configuration_id, payroll.empty_ok, payroll.formats) == (3, True, ("json", "csv"))
    assert (payroll.ends_at, payroll.due) == (parse_date_rule("monday"), parse_date_rule("day-24"))
    assert (other.configuration_id, other.empty_ok, other.formats) == (4, False, ("json",))
    assert (other.ends_at.day, other.due.text) == (date(2026, 11, 30), "daily")
    times, fixed, own = acme.reports
    assert (times.template, times.due.text, times.formats) == (
        TemplateId(12),
        "month-start",
        ("excel", "csv"),
    )
    assert fixed.period is not None
    assert fixed.period.days == (date(2026, 11, 1), date(2026, 11, 30))
    assert (own.period, own.due.text, own.formats) == (None, "daily", ("csv",))


def test_a_tenants_own_key_replaces_the_default_whole(write: Write) -> None:
    path = write(
        "version: 1\ndefaults: {since: 2026-01-01, tags: [a, b], owner: x, requests_per_minute: 9,"
        " reports: [{name: times, template_id: 1}]}\ntenants:"
        + tenant(name="one")
        + tenant("tags: [c]\nreports: [{name: own, template_id: 2}]\nsince: 2026-02-02", name="two")
    )
    one, two = load_manifest(path).tenants
    assert (one.tags, one.owner, one.requests_per_minute, one.since) == (("a", "b"), "x", 9, date(2026, 1, 1))
    assert (two.tags, two.owner, two.since) == (("c",), "x", date(2026, 2, 2))
    assert [report.name for report in one.reports] == ["times"]
    assert [report.name for report in two.reports] == ["own"]


IN_ANY_ORDER = permutations(["version: 1", "defaults: {tags: [a]}", f"tenants:{GOOD.rstrip()}"])


@pytest.mark.parametrize("order", list(IN_ANY_ORDER))
def test_the_keys_of_a_manifest_may_stand_in_any_order(write: Write, order: tuple[str, ...]) -> None:
    (only,) = load_manifest(write("\n".join(order) + "\n")).tenants
    assert (only.name, only.tags, [report.name for report in only.reports]) == ("good", ("a",), ["times"])


@pytest.mark.parametrize("defaults", ["{tags: [a]}", "{tags: [a], since: 2026-13-01}"])
def test_what_is_wrong_below_the_tenants_stops_the_run_and_is_told_alone(write: Write, defaults: str) -> None:
    path = write(f"version: 1\ndefaults: {defaults}\ntenants:" + GOOD + tenant("a: b")[1:] + "sinc: x\n")
    *above, fault = faults_of(path)
    assert fault.startswith("tenants.yaml:12:1: sinc: unknown key")
    assert [told.partition(": ")[0] for told in above] == (["tenants.yaml:2:30"] if "13" in defaults else [])
    path.write_text(path.read_text("utf-8") + "- [", encoding="utf-8")
    (fault,) = faults_of(path)
    assert fault.startswith("tenants.yaml:13:1: not YAML")


@pytest.mark.parametrize(
    "written, reference",
    [
        ("{env: KEY}", EnvSecret("KEY")),
        ("{file: keys/acme}", FileSecret("keys/acme")),
        ("{command: [pass, show, lucca/acme]}", CommandSecret(("pass", "show", "lucca/acme"))),
        # Some password managers know their entries by a GUID only.
        (f"{{command: [bws, secret, get, {GUID}]}}", CommandSecret(("bws", "secret", "get", GUID))),
        ("{systemd: acme-key}", SystemdSecret("acme-key")),
        ("{keyring: lucca/acme}", KeyringSecret("lucca", "acme")),
    ],
)
def test_a_key_is_kept_elsewhere(write: Write, written: str, reference: object) -> None:
    (one,) = load_manifest(
        write(HEAD + tenant("reports: [{name: a, template_id: 1}]", api_key=written))
    ).tenants
    assert one.api_key == reference


def test_an_inline_template_and_a_file_of_the_same_content_are_one_template(write: Write) -> None:
    path = write(
        HEAD
        + tenant("reports:\n- {name: a, template: {id: 0, name: Écart, big: 1.50, on: [true, null, 'no']}}")
        + tenant("reports: [{name: b, template_file: t.json}]", name="other"),
        t_dot_json=json.dumps({"on": [True, None, "no"], "big": 1.5, "name": "Écart", "id": 0}, indent=2),
    )
    inline, from_file = (each.reports[0].template for each in load_manifest(path).tenants)
    assert isinstance(inline, TemplateBody)
    assert isinstance(from_file, TemplateBody)
    assert inline.body.decode() == '{"id":0,"name":"Écart","big":1.5,"on":[true,null,"no"]}'
    assert from_file.body == Path("t.json").read_bytes()
    assert inline.sha256 == from_file.sha256


@pytest.mark.parametrize(
    "content, told",
    [
        ("[1]", "holds no JSON object"),
        ("{}", "holds no JSON object"),
        ('{"a": NaN}', "is not JSON"),
        ("[" * 99_999, "JSON"),
    ],
    ids=["list", "empty", "nan", "deep"],
)
def test_a_template_file_holds_one_json_object(write: Write, content: str, told: str) -> None:
    entry = tenant("reports: [{name: a, template_file: t.json}]")
    assert told in only_problem(write(HEAD + GOOD.rstrip() + entry, t_dot_json=content))


def test_included_files_hold_one_client_each_and_name_their_own_places(write: Write) -> None:
    path = write(
        "version: 1\ninclude: [clients.d/*.yaml, '*.yaml']\n",
        clients_dot_d__a_dot_yaml="tenants:"
        + tenant("reports: [{name: a, template_file: a.json}]", name="a"),
        clients_dot_d__a_dot_json='{"id": 0}',
        clients_dot_d__b_dot_yaml="tenants:" + tenant("reports: [{name: b, template_id: 0}]", name="b"),
    )
    manifest = load_manifest(path)
    (one,) = manifest.tenants
    assert one.place == "clients.d/a.yaml:2:5: tenants[0]"
    assert one.base_dir == Path("clients.d")
    ((name, message),) = problems_of(manifest)
    assert name == "b"
    assert message.startswith("clients.d/b.yaml:5:38: tenants[0].reports[0].template_id: a whole number")


def test_domains_beyond_luccas_are_allowed_by_a_setting_only(write: Write) -> None:
    path = write(HEAD + GOOD.replace("good.ilucca.net", "good.example.org"))
    assert "not a Lucca host" in faults_of(path)[0] + faults_of(path)[1]
    assert load_manifest(path, allowed_hosts=("example.org",)).tenants[0].domain == "good.example.org"


# --- what stops one tenant ---------------------------------------------------------------------------------------

EXPORT = "{name: a, configuration_id: 3, ends_at: monday"
REPORT = "{name: a, template_id: 3"


@pytest.mark.parametrize(
    "extra, told",
    [
        (
            f"since: 2026-01-01\nexports:\n- {EXPORT}, ends: 1}}",
            "tenants.yaml:12:55: tenants[1].exports[0].ends: ",
        ),
        ("reports: []\nlabels: x", "tenants[1].labels: unknown key; did you mean label?"),
        ("reports: []\nreports: []", "tenants[1].reports: the key is here twice"),
        (f"exports: [{EXPORT}}}]", "tenants[1].since: since is required where there are exports"),
        (f"since: 2026-02-30\nexports: [{EXPORT}}}]", "tenants[1].since: the date 2026-02-30 does not exist"),
        ("reports: [{name: a, template_id: 3, due: mondays}]", "reports[0].due: not a date rule"),
        ("reports: [{name: a, template_id: 3, due: mondays}]", "did you mean monday?"),
        ("reports: [{name: a, template_id: 3, period: lastweek}]", "reports[0].period: not a period"),
        (
            f"reports: [{REPORT}, period: {{starts_on: 2026-02-02, ends_on: 2026-02-01}}}}]",
            "period ends (2026-02-01) before it starts",
        ),
        ("reports: [{name: a}]", "one of template_id, template, template_file is expected"),
        ("reports: [{name: a, template_id: 1, template: {a: 1}}]", "not template_id and template"),
        ("reports: [{name: a, template: {}}]", "the template is empty"),
        ("reports: [{name: a, template: {a: 1, a: 2}}]", "reports[0].template: the key is here twice"),
        ("reports: [{name: a, template: {a: no}}]", "JSON has no such value"),
        ("reports: [{name: a, template: {a: .inf}}]", "JSON has no such value"),
        ("reports: [{name: a, template: {a: 1e999}}]", "JSON has no such value"),
        ("reports: [{name: a, template_file: none.json}]", "template_file: the file cannot be read"),
        ("reports: [{name: a, template_file: tenants.yaml}]", "template_file: the file is not JSON"),
        ("reports: [{name: a, template: {[a]: 1}}]", "a key of JSON is a text"),
        ("reports: [{name: a, template: {a: [&x 1]}}]", "YAML anchors (&name) are not allowed"),
        ("reports: [{name: con, template_id: 1}]", "reports[0].name: Windows reserves this name"),
        ("reports: [{name: A, template_id: 1}]", "reports[0].name: a name has 1 to 63 lower-case"),
        ("reports: [{name: 2026, template_id: 1}]", 'write it in quotes ("2026")'),
        (f"reports: [{REPORT}}}, {REPORT}}}]", "tenants[1].reports[1].name: the name a is given twice"),
        (
            f"since: 2026-01-01\nreports: [{REPORT}}}]\nexports: [{EXPORT}}}]",
            "tenants[1].reports[0].name: the name a is given twice; exports and reports share their names",
        ),
        (f"reports: [{REPORT}, formats: []}}]", "the list is empty"),
        (f"reports: [{REPORT}, formats: [csv, csv]}}]", "something is in this list twice"),
        (f"reports: [{REPORT}, formats: [pdf]}}]", "formats[0]: one of csv, excel is expected here"),
        (f"reports: [{REPORT}, formats: [xlsx]}}]", "xlsx is planned but not built yet"),
        (f"reports: [{REPORT}, formats: csv}}]", "formats: a list is expected here"),
        (f"since: 2026-01-01\nexports: [{EXPORT}, empty: yes}}]", "one of ok is expected"),
        (
            f"since: 2026-01-01\nexports: [{EXPORT}, layout: {{}}}}]",
            "layout: this key is planned but not built yet",
        ),
        ("reports: []\nemployees: true", "tenants[1].employees: this key is planned but not built yet"),
        (
            "since: 2026-01-01\nexports: [{name: a, configuration: 'https://x/#/export/1', ends_at: monday}]",
            "configuration: write the address of the export's page",
        ),
        ("reports: []\ndossier: 00123", "tenants[1].dossier: YAML takes this for something else than a text"),
        ("reports: []\ndossier: 00123", 'write it in quotes ("00123")'),
        ("reports: []\nlabel: no", 'write it in quotes ("no")'),
        ("reports: []\nlabel:", "nothing stands here"),
        ('reports: []\nlabel: "a\\nb"', "one line of 1 to 200 characters"),
        ("reports: []\nlabel: a\u00a0b", "all of them visible or plain spaces"),
        ("reports: []\nrequests_per_minute: 0", "a whole number from 1"),
        ("reports: []\nrequests_per_minute: 012", "a whole number from 1"),
        ("reports: []\nrequests_per_minute: '12'", "a whole number from 1"),
        ("reports: []\ntags: monthly", "tags: a list is expected here"),
        ("reports: []\nlabel: &x a", "tenants[1].label: YAML anchors (&name) are not allowed"),
        ("reports: []\nlabel: *x", "tenants[1].label: YAML aliases (*name) are not allowed"),
        (
            "reports: []\nlabel: !!python/object:os.system a",
            "tenants[1].label: YAML tags (!name) are not allowed",
        ),
        ("reports: []\n? [a]\n: b", "a key here is none of name, label"),
        (f"reports: [{{name: a, template: {{a: {'[' * 40}{']' * 40}}}}}]", "nested more than 30 levels deep"),
        ("", "tenants[1]: there are neither exports nor reports"),
    ],
)
def test_a_fault_in_one_entry_stops_that_tenant_alone_and_tells_its_place(
    write: Write, extra: str, told: str
) -> None:
    message = only_problem(write(HEAD + GOOD.rstrip() + tenant(extra)))
    assert message.startswith("tenants.yaml:")
    assert told in message


def test_every_fault_of_an_entry_is_told_at_once(write: Write) -> None:
    path = write(HEAD + GOOD + tenant("label: 1\ntags: [a b]\nreports: [{name: x, due: y}]"))
    assert [
        message.partition(": ")[2].partition(":")[0] for _, message in problems_of(load_manifest(path))
    ] == [
        "tenants[1].label",
        "tenants[1].tags[0]",
        "tenants[1].reports[0].due",
    ]


@pytest.mark.parametrize("missing", ["domain", "api_key"])
def test_a_tenant_without_host_or_key_is_told_what_is_missing(write: Write, missing: str) -> None:
    entry = "\n".join(line for line in tenant("reports: []").splitlines() if missing not in line)
    assert f"tenants[1].{missing}: the key is missing" in only_problem(write(HEAD + GOOD.rstrip() + entry))


@pytest.mark.parametrize("name", ["Bad", "-bad", "a" * 64, "../x", "nul", "com1", "a b", "é", "''", "[a]"])
def test_a_tenant_without_a_good_name_is_told_without_one(write: Write, name: str) -> None:
    entry = tenant("reports: []").replace("name: bad", f"name: {name}")
    manifest = load_manifest(write(HEAD + GOOD.rstrip() + entry))
    ((nobody, message),) = problems_of(manifest)
    assert nobody is None
    assert message.startswith("tenants.yaml:7:11: tenants[1].name: ")
    assert len(manifest.tenants) == 1


@pytest.mark.parametrize(
    "domain",
    [
        "acme.ilucca.net.evil.com",
        "ilucca.net",
        "a.b.ilucca.net",
        "acme.ilucca.net.",
        "acme.ilucca.net:443",
        "https://acme.ilucca.net",
        "acme@evil.com",
        "user@acme.ilucca.net",
        "acme.ilucca.com",
        "acmeilucca.net",
        "acme.i\u217cucca.net",
        "\u0430cme.ilucca.net",
        "acme.iluc\u212a.net",
        "-a.ilucca.net",
        "a.luccasoftware.com",
        "a.sandbox.luccasoftware.com",
        "a.sandbox.x.y.luccasoftware.com",
        "'acme.ilucca.net\\n'",
        "127.0.0.1",
        "' acme.ilucca.net'",
    ],
)
def test_a_host_that_is_not_luccas_is_refused(write: Write, domain: str) -> None:
    entry = tenant("reports: []").replace("bad.ilucca.net", domain)
    assert "tenants[1].domain: " in only_problem(write(HEAD + GOOD.rstrip() + entry))


@pytest.mark.parametrize(
    "domain",
    [
        "acme.ilucca.net",
        "acme.ilucca.ch",
        "acme.ilucca-test.net",
        "acme.ilucca-demo.ch",
        "acme-x.sandbox.eu1.luccasoftware.com",
    ],
)
def test_luccas_hosts_are_taken(write: Write, domain: str) -> None:
    assert load_manifest(write(HEAD + GOOD.replace("good.ilucca.net", domain))).tenants[0].domain == domain


# --- secrets -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "written",
    [
        GUID,
        "hunter2",
        f"'{GUID}'",
        f"{{env: {GUID}}}",
        "{env: d8f7a1c20b3e4f5a9c6d7e8f90a1b2c3}",
        f"{{file: {GUID}}}",
        f"{{systemd: {GUID}}}",
        f"{{keyring: lucca/{GUID}}}",
        f"{{command: [echo, {GUID}]}}",
        f"{{command: [sh, -c, 'printf %s {GUID}']}}",
        f"{{command: {GUID}}}",
        f"{{{GUID}}}",
        f"{{{GUID}: x}}",
        "{hunter2: x}",
        "{env: hunter2 hunter2}",
        "{env: X, hunter2: Y}",
        f"[{GUID}]",
        "&hunter2 x",
        "*hunter2",
        "!hunter2 x",
        "{env: {hunter2: x}}",
        "{env: &hunter2 X}",
        "{keyring: hunter2}",
        "{command: [[hunter2]]}",
        "{systemd: hunter2/../..}",
        "|\n      hunter2\n",
    ],
)
def test_a_literal_key_is_refused_and_never_printed(write: Write, written: str) -> None:
    message = only_problem(write(HEAD + GOOD.rstrip() + tenant("reports: []", api_key=written)))
    assert "tenants[1].api_key" in message
    assert "hunter2" not in message
    assert GUID not in message
    assert "d8f7a1c2" not in message


@pytest.mark.parametrize(
    "line",
    [
        f"apikey: {GUID}",
        f"{GUID}: x",
        f"api_key {GUID}: x",
        f"since: {GUID}",
        f"dossier: [{GUID}]",
        f"tags: [{GUID} x]",
    ],
)
def test_a_key_that_strayed_elsewhere_is_not_printed_either(write: Write, line: str) -> None:
    assert GUID not in only_problem(write(HEAD + GOOD.rstrip() + tenant(f"reports: []\n{line}")))


def test_the_fault_of_the_only_tenant_is_told_before_what_follows_from_it(write: Write) -> None:
    told = faults_of(write(HEAD + GOOD.replace("times", "TIMES")))
    assert ["reports[0].name" in told[0], told[1]] == [
        True,
        "tenants.yaml:1:1: tenants: nothing is left to run",
    ]


def test_what_is_not_yaml_is_told_without_repeating_it(write: Write) -> None:
    (message,) = faults_of(write(HEAD + tenant("x: 1", api_key=f"{{env: {GUID}")))
    assert message.startswith("tenants.yaml:")
    assert "not YAML" in message
    assert GUID not in message


# --- what stops the run ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text, told",
    [
        ("", "is empty"),
        ("a: [", "not YAML"),
        ("\x00", "not YAML"),
        (b"\xff\xfe\xfd", "not YAML"),
        ("version: 1 # é\nlabel: Société".encode("latin-1"), "tenants.yaml:1:14: not YAML: "),
        (b"version: 1\nlabel: caf\xe9\n", "tenants.yaml:2:11: not YAML: "),
        (b"version: 1\nlabel: caf\xe9\n", "; save the file as UTF-8"),
        ("version: 1 # é\nlabel: é\x07", "tenants.yaml:2:9: not YAML: control characters"),
        ("just text", "keys and values are expected here"),
        ("tenants: []", "version: the key is missing"),
        ("version: 2\ntenants: []", "version: this program reads version 1"),
        ("version: '1'\ntenants: []", "version: this program reads version 1"),
        ("version: 1", "nothing is left to run"),
        ("version: 1\ntenants: []", "nothing is left to run"),
        ("version: 1\ntenants: {}", "tenants: a list is expected here"),
        ("version: 1\ntenants:", "tenants: nothing stands here"),
        ("version: 1\ntenant: []", "tenant: unknown key; did you mean tenants?"),
        ("version: 1\nversion: 1", "version: the key is here twice"),
        ("version: 1\n---\nversion: 1", "tenants.yaml:2:1: holds several YAML documents"),
        ("version: 1\ndefaults: {label: x}" + "\ntenants:" + GOOD, "defaults.label: unknown key"),
        ("version: 1\ndefaults: {since: x}" + "\ntenants:" + GOOD, "defaults.since: write a date"),
        ("version: 1\ndefaults: &a {tags: []}" + "\ntenants:" + GOOD, "defaults: YAML anchors"),
        ('version: 1\ninclude: "a\\0b"' + "\ntenants:" + GOOD, "include: no path holds"),
        (HEAD + GOOD + GOOD, "tenants[1].name: another tenant has this name already (tenants.yaml:3:11)"),
        (HEAD + GOOD + GOOD.replace("name: good", "name: GOOD"), "another tenant has this name already"),
        (HEAD + GOOD.replace("times", "TIMES"), "nothing is left to run"),
        (
            HEAD + GOOD + GOOD.replace("name: good", "name: twin"),
            "twin/times and good/times are the same job: domain good.ilucca.net, report times",
        ),
        ("[" * 10_000, "nested without end"),
    ],
)
def test_a_fault_outside_the_tenants_stops_the_run(write: Write, text: str | bytes, told: str) -> None:
    assert any(told in fault for fault in faults_of(write(text)))


def test_two_exports_with_one_identity_stop_the_run(write: Write) -> None:
    entry = f"since: 2026-01-01\nexports: [{EXPORT}}}, {EXPORT.replace('name: a', 'name: b')}}}]"
    assert "bad/b and bad/a are the same job" in faults_of(write(HEAD + tenant(entry)))[0]
    another_due = entry[:-2] + ", due: monday}]"
    assert len(load_manifest(write(HEAD + tenant(another_due))).tenants) == 1


def test_a_manifest_that_is_not_there_is_told_by_its_name(tmp_path: Path) -> None:
    assert faults_of(tmp_path / "none.yaml") == (
        f"{tmp_path}/none.yaml: cannot be read: No such file or directory",
    )
    assert "cannot be read" in faults_of(tmp_path)[0]


@pytest.mark.parametrize(
    "included, name, told",
    [
        ("a: [", None, "clients.d/a.yaml:2:1: not YAML"),
        ("", None, "clients.d/a.yaml:1:1: is empty"),
        ("version: 1\ntenants: []", None, "clients.d/a.yaml:1:1: version: unknown key"),
        ("tenants: {}", None, "clients.d/a.yaml:1:10: tenants: a list is expected here"),
        ("version: 1\ntenants: [{name: zed}]", "zed", "version: unknown key"),
        ("version: 1\ntenants: [{name: Zed}]", None, "version: unknown key"),
        (
            "tenants: [{name: zed}]\ntenants: []",
            "zed",
            "clients.d/a.yaml:2:1: tenants: the key is here twice",
        ),
    ],
)
def test_an_included_file_that_cannot_be_used_stops_nobody_else(
    write: Write, included: str, name: str | None, told: str
) -> None:
    path = write("version: 1\ninclude: clients.d/*.yaml\ntenants:" + GOOD, clients_dot_d__a_dot_yaml=included)
    manifest = load_manifest(path)
    assert [each.name for each in manifest.tenants] == ["good"]
    ((found_name, message),) = problems_of(manifest)
    assert found_name == name
    assert told in message


def test_an_included_file_that_cannot_be_read_stops_nobody_else(write: Write) -> None:
    path = write("version: 1\ninclude: clients.d/*\ntenants:" + GOOD)
    Path("clients.d/a.yaml").mkdir(parents=True)
    manifest = load_manifest(path)
    assert [each.name for each in manifest.tenants] == ["good"]
    assert problems_of(manifest) == [(None, "clients.d/a.yaml: cannot be read: Is a directory")]


def test_a_pattern_that_finds_nothing_is_told(write: Write) -> None:
    manifest = load_manifest(write("version: 1\ninclude: [none/*.yaml]\ntenants:" + GOOD))
    assert problems_of(manifest) == [(None, "tenants.yaml:2:11: include: no file matches this pattern")]


def test_a_pattern_that_would_read_the_whole_disk_is_told_and_stops_nobody(write: Write) -> None:
    path = write("version: 1\ninclude: [in/**/*.yaml]\ntenants:" + GOOD, in__a_dot_yaml="tenants: []")
    for name in ("round", "about"):  # in circles there is no end of folders
        Path("in", name).symlink_to(".")
    manifest = load_manifest(path)
    assert [tenant.name for tenant in manifest.tenants] == ["good"]
    ((_, message),) = problems_of(manifest)
    assert message.startswith("tenants.yaml:2:11: include: this pattern looks through more than 100000 files")
    assert message.endswith("; name the folder of the clients' files, like clients.d/*.yaml")


PATTERNS = (
    "*.yaml",
    "*/*.yaml",
    "**/*.yaml",
    "a/**/c/*.yaml",
    "[ab]/?.yaml",
    "a[!x]",
    "a/b/c/x.yaml",
    "./a//y.yaml",
    "b/../a/*.yaml",
    "*",
    "**/b",
    ".h/*",
    ".*/*.yaml",
    "*/.yaml",
    "loop/*.yaml",
    "a/y.yaml/*",
    "none/*",
    "",
)


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("absolute", [False, True])
def test_a_pattern_means_what_it_means_elsewhere(tmp_path: Path, pattern: str, absolute: bool) -> None:
    for name in ("x.yaml", "a/y.yaml", "a/b/c/x.yaml", "b/z.yaml", "b/z.yml", ".h/x.yaml", "a/.yaml"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "c").symlink_to("a")
    pattern = f"{tmp_path}/{pattern}" if absolute else pattern
    told = glob.glob(pattern, root_dir=tmp_path, recursive=True)  # noqa: PTH207 - what it is held against
    assert [Path(name) for name in matching(pattern, tmp_path)] == sorted(set(map(Path, told)))


def test_a_name_given_twice_in_two_files_stops_the_run(write: Write) -> None:
    path = write("version: 1\ninclude: [a.yml]\ntenants:" + GOOD, a_dot_yml="tenants:" + GOOD)
    assert faults_of(path)[0].startswith("a.yml:2:11: tenants[0].name: another tenant has this name already")


# --- warnings ----------------------------------------------------------------------------------------------------


def test_rules_that_are_hardly_meant_are_warned_of_with_their_place(write: Write) -> None:
    path = write(
        HEAD
        + tenant(
            "since: 2026-01-01\nexports:\n- {name: a, configuration_id: 3, ends_at: month-start, due: day-24}\n"
            "reports:\n- {name: b, template_id: 1, period: previous-week, due: month-start}\n"
            "- {name: c, template_id: 1}"
        )
    )
    first, second = warnings(load_manifest(path), date(2026, 11, 24))
    assert first.startswith("tenants.yaml:8:7: tenants[0]: export a: ends_at month-start is no Monday")
    assert second.startswith(
        "tenants.yaml:10:7: tenants[0]: report b: period previous-week with due month-start"
    )


def test_the_address_of_another_clients_page_is_warned_of(write: Write) -> None:
    """Its number means another configuration here, and what it triggers is not undone."""
    page = "timmi-timesheet/settings#/export/1"
    path = write(f"""
version: 1
defaults: {{since: 2026-01-01}}
tenants:
  - name: acme
    domain: acme.ilucca.net
    api_key: {{env: ACME_API_KEY}}
    exports:
      - {{name: own, configuration: "https://ACME.ilucca.net/{page}/4/latest", ends_at: monday, due: tuesday}}
      - {{name: alien, configuration: "https://globex.ilucca.net/{page}/5/latest", ends_at: monday, due: tuesday}}
      - {{name: bare, configuration: "{page}/6/latest", ends_at: monday, due: tuesday}}
""")
    (told,) = warnings(load_manifest(path), date(2026, 11, 24))
    assert "export alien: its page's address is of globex.ilucca.net" in told


def test_a_warning_about_defaults_is_given_once_for_all_tenants(write: Write) -> None:
    path = write(
        "version: 1\ndefaults: {since: 2026-01-01, exports: [{name: a, configuration_id: 3, ends_at: sunday}]}\n"
        "tenants:" + tenant(name="one") + tenant(name="two")
    )
    assert (
        len(warnings(load_manifest(path), date(2026, 11, 24))) == 2
    )  # no Monday, and on Sundays the very day


def test_a_key_file_that_others_may_read_is_warned_of(write: Write) -> None:
    path = write(
        HEAD + tenant("reports: [{name: a, template_id: 1}]", api_key="{file: keys/a}"), keys__a="secret"
    )
    Path("keys/a").chmod(0o640)
    (warning,) = warnings(load_manifest(path), date(2026, 11, 24))
    assert warning.startswith("tenants.yaml:3:5: tenants[0].api_key: the file keys/a may be read by others")
    Path("keys/a").chmod(0o600)
    assert warnings(load_manifest(path), date(2026, 11, 24)) == []


def test_loading_leaves_the_garbage_collector_as_it_was(write: Write) -> None:
    faults_of(write("a: ["))
    assert gc.isenabled()
    gc.disable()
    try:
        load_manifest(write(HEAD + GOOD))
        assert not gc.isenabled()
    finally:
        gc.enable()


RESIDENT = """
import re, sys
from pathlib import Path
from runner.manifest import load_manifest
def resident(key): return int(re.search(key + r":\\s+(\\d+)", Path("/proc/self/status").read_text()).group(1))
before = resident("VmRSS")
manifest = load_manifest("tenants.yaml")
print(resident("VmHWM") - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the system does not tell")
def test_reading_takes_little_more_memory_than_what_is_read(write: Write) -> None:
    write(HEAD + "".join(tenant("reports: [{name: a, template_id: 1}]", name=f"t{n}") for n in range(4000)))
    told = subprocess.run([sys.executable, "-c", RESIDENT], capture_output=True, text=True, check=True)
    assert int(told.stdout) < 9_000  # kB: it takes about 5,000, and with the nodes of all of them 15,000
