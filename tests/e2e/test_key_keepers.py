"""Where keys are kept, every kind in one night of the real command: those that give theirs, and those that do not.

A keeper in trouble costs its own tenant the night, with `secret`, its words and what to do, and nobody else anything.
"""

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from runner.sandbox import Scenario
from tests.canaries import found
from tests.e2e.bureau import Bureau, Lucca, Result, lucca, quick

RING: Final = """\
import json, pathlib, time
from keyring.backend import KeyringBackend

class Ring(KeyringBackend):
    priority = 1
    def get_password(self, service, username):
        if service == "sleeping":
            time.sleep(600)
        if service == "broken":
            raise RuntimeError(open("keys/ring.json").read())
        return json.loads(pathlib.Path("keys/ring.json").read_text()).get(f"{service}/{username}")
    def set_password(self, service, username, password):
        raise NotImplementedError
"""
GIVES: Final = """\
#!/bin/sh
env > seen/env
printf '%s' "$*" > seen/arguments
cat > seen/input
cat keys/by-command
"""
FAILS: Final = """\
#!/bin/sh
cat keys/by-command
cat keys/by-command >&2
exit 3
"""
HANGS: Final = """\
#!/bin/sh
sleep 600 &
echo $! > seen/child
wait
"""
ARGUMENTS: Final = ["$HOME", "$(touch pwned)", "; touch pwned", "`touch pwned`"]

GOOD: Final[Mapping[str, dict[str, Any]]] = {
    "by-env": {"env": "KEY_OF_BY_ENV"},
    "by-file": {"file": "keys/by-file"},
    "by-command": {"command": ["./gives", *ARGUMENTS]},
    "by-systemd": {"systemd": "runner.by-systemd"},
    "by-keyring": {"keyring": "lucca/by-keyring"},
}
BAD: Final[Mapping[str, tuple[dict[str, Any], str]]] = {
    "no-env": (
        {"env": "NOT_SET"},
        "the environment variable NOT_SET is not set; set it where the runner is started",
    ),
    "no-file": ({"file": "keys/none"}, "the file keys/none cannot be read: No such file or directory"),
    "no-command": (
        {"command": ["./none"]},
        "the command ./none cannot be started: No such file or directory",
    ),
    "failing-command": (
        {"command": ["./fails"]},
        "the command ./fails failed (exit code 3); run it by hand as the runner's user to see why",
    ),
    "hanging-command": (
        {"command": ["./hangs"]},
        "the command ./hangs did not end within 30 s and was stopped",
    ),
    "no-systemd": (
        {"systemd": "runner.none"},
        "the systemd credential runner.none cannot be read: No such file or directory",
    ),
    "no-keyring": (
        {"keyring": "lucca/none"},
        "the keyring entry lucca/none does not exist; `keyring set` creates it",
    ),
    "broken-keyring": (
        {"keyring": "broken/x"},
        "the keyring entry broken/x cannot be read: the keyring refused (RuntimeError)",
    ),
    "sleeping-keyring": (
        {"keyring": "sleeping/x"},
        "the keyring entry sleeping/x gave no answer within 30 s",
    ),
}
REMEDY: Final = "To do: mend the api_key entry of this tenant, then run again."
SCENARIO: Final = Scenario(tenants=tuple(quick(f"{name}.ilucca.net") for name in (*GOOD, *BAD)))
KEYS: Final = {tenant.domain.partition(".")[0]: tenant.key for tenant in SCENARIO.tenants}


def manifest(references: Mapping[str, dict[str, Any]]) -> str:
    job = {"name": "payroll", "configuration_id": 3, "ends_at": "monday", "due": "tuesday"}
    tenants = [
        {"name": name, "domain": f"{name}.ilucca.net", "api_key": reference, "exports": [job]}
        for name, reference in references.items()
    ]
    return json.dumps({"version": 1, "defaults": {"since": "2026-11-01"}, "tenants": tenants})


def bureau_in(folder: Path, served: Lucca, references: Mapping[str, dict[str, Any]]) -> Bureau:
    """A bureau with a keeper of each kind."""
    bureau = Bureau(folder, served.gateway)
    bureau.take(SCENARIO, manifest(references))
    (folder / "seen").mkdir()
    # Where the keys are kept is not searched for them.
    kept = {"ring.json": json.dumps({"lucca/by-keyring": KEYS["by-keyring"]})}
    kept |= {f"runner.{name}": key for name, key in KEYS.items() if name == "by-systemd"}
    for name, text in kept.items():
        (folder / "keys" / name).write_text(text, encoding="utf-8")
    for name, text in {"gives": GIVES, "fails": FAILS, "hangs": HANGS}.items():
        (folder / name).write_text(text, encoding="utf-8")
        (folder / name).chmod(0o700)
    (folder / "modules").mkdir()
    (folder / "modules/filering.py").write_text(RING, encoding="utf-8")
    bureau.environ |= {
        "KEY_OF_BY_ENV": KEYS["by-env"],
        "CREDENTIALS_DIRECTORY": str(folder / "keys"),
        "PYTHON_KEYRING_BACKEND": "filering.Ring",
        "PYTHONPATH": str(folder / "modules"),
    }
    return bureau


@dataclass
class Told:
    """The night that all keepers share."""

    bureau: Bureau
    served: Lucca
    result: Result


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    with lucca(SCENARIO) as served:
        references = {**GOOD, **{name: reference for name, (reference, _) in BAD.items()}}
        bureau = bureau_in(tmp_path_factory.mktemp("keepers"), served, references)
        yield Told(bureau, served, bureau.run("--json"))


@pytest.mark.parametrize("name", GOOD)
def test_a_key_is_fetched_where_it_is_kept(told: Told, name: str) -> None:
    job = told.bureau.jobs()[f"{name}/payroll"]
    assert (job["state"], job["error"]) == ("downloaded", None)


@pytest.mark.parametrize("name", BAD)
def test_a_keeper_that_gives_no_key_is_told_with_what_to_do_and_nothing_is_sent(
    told: Told, name: str
) -> None:
    job, words = told.bureau.jobs()[f"{name}/payroll"], BAD[name][1]
    assert (job["state"], job["error"]["code"]) == ("failed", "secret")
    assert job["error"]["message"].startswith(f"{name}/payroll ({name}.ilucca.net), ")
    assert job["error"]["message"].endswith(f": the API key could not be read ({words}). {REMEDY}")
    assert told.served.requests(f"{name}.ilucca.net") == 0


def test_the_night_ends_with_3_and_says_no_key(told: Told) -> None:
    assert told.result.code == 3
    assert found(KEYS.values(), (told.result.out + told.result.err).encode()) == []


def test_a_command_runs_without_a_shell_without_input_and_with_a_clean_environment(told: Told) -> None:
    seen = told.bureau.folder / "seen"
    assert (seen / "arguments").read_text("utf-8") == " ".join(ARGUMENTS)
    assert not (told.bureau.folder / "pwned").exists()
    assert (seen / "input").read_bytes() == b""
    names = {line.partition("=")[0] for line in (seen / "env").read_text("utf-8").splitlines()}
    assert names <= {"PATH", "HOME", "LANG", "PWD", "OLDPWD", "SHLVL", "_", "LC_CTYPE"}


def test_a_command_that_hung_is_gone_with_all_that_it_started(told: Told) -> None:
    child = int((told.bureau.folder / "seen/child").read_text("ascii"))
    status = Path(f"/proc/{child}/stat")
    if status.exists():  # nobody may have buried it yet
        assert status.read_text("ascii").rpartition(")")[2].split()[0] in "ZX"


def test_what_the_machine_does_not_have_is_told_in_words(tmp_path: Path) -> None:
    with lucca(SCENARIO) as served:
        bureau = bureau_in(
            tmp_path, served, {name: GOOD[name] for name in ("by-systemd", "by-keyring", "by-file")}
        )
        del bureau.environ["CREDENTIALS_DIRECTORY"], bureau.environ["PYTHON_KEYRING_BACKEND"]
        (tmp_path / "modules/keyring.py").write_text("raise ImportError('not installed')\n", encoding="utf-8")
        assert "CREDENTIALS_DIRECTORY" not in os.environ
        assert bureau.run().code == 3
    errors = {label: job["error"] for label, job in bureau.jobs().items()}
    assert errors["by-file/payroll"] is None
    assert "install runner[keyring], or keep the key elsewhere" in errors["by-keyring/payroll"]["message"]
    assert (
        "start the runner from a unit that has LoadCredential= for it"
        in errors["by-systemd/payroll"]["message"]
    )
    assert {error["code"] for error in errors.values() if error} == {"secret"}


@pytest.mark.parametrize(
    "reference",
    [
        {"systemd": "../keys/by-file"},
        {"systemd": "/etc/passwd"},
        {"keyring": "nobody"},
        {"command": "cat keys/by-file"},
        {"command": []},
        {"env": "A=B"},
    ],
)
def test_a_reference_that_leads_elsewhere_is_a_fault_of_the_manifest(
    tmp_path: Path, reference: dict[str, Any]
) -> None:
    bureau = Bureau(tmp_path)
    (tmp_path / "tenants.yaml").write_text(manifest({"acme": reference}), encoding="utf-8")
    checked = bureau.command("check", "--json")
    assert checked.code == 2
    assert any("tenants[0].api_key" in fault for fault in checked.json()["faults"])
