"""Keys while a night runs: what other processes may see of them, and what a fault of ours would print."""

import io
import json
import os
import stat
from pathlib import Path

import pytest
import structlog

from runner.app.logs import log_to_stderr
from runner.app.tell import tell_internal
from runner.credentials import Secret
from runner.sandbox import Scenario
from tests.canaries import found
from tests.e2e.bureau import Bureau, lucca, quick

SPY = """\
#!/bin/sh
# Prints its tenant's key, and notes what it sees: its environment, and the command lines of all processes.
env > "seen/env-$1"
tr '\\\\0' ' ' < /proc/$PPID/cmdline > "seen/parent-$1"
for process in /proc/[0-9]*; do tr '\\\\0' ' ' < "$process/cmdline"; echo; done > "seen/commands-$1" 2>/dev/null
cat "keys/$1"
"""


def test_no_other_process_sees_a_key_and_a_command_sees_nothing_of_the_runners(tmp_path: Path) -> None:
    scenario = Scenario(tenants=tuple(quick(f"{name}.ilucca.net") for name in ("acme", "globex", "initech")))
    with lucca(scenario) as served:
        bureau = Bureau(tmp_path, served.gateway)
        bureau.take(scenario)
        path = tmp_path / "tenants.yaml"
        text = path.read_text("utf-8")
        for name in ("acme", "globex"):
            text = text.replace(f"{{file: keys/{name}}}", f"{{command: [./spy, {name}]}}")
        path.write_text(text.replace("{file: keys/initech}", "{env: KEY_OF_INITECH}"), "utf-8")
        (tmp_path / "spy").write_text(SPY, encoding="utf-8")
        (tmp_path / "spy").chmod(0o700)
        (tmp_path / "seen").mkdir()
        bureau.environ["KEY_OF_INITECH"] = scenario.tenants[2].key
        told = bureau.run()
        assert told.code == 0, told.err
    keys = [tenant.key for tenant in scenario.tenants]
    seen = {path.name: path.read_bytes() for path in (tmp_path / "seen").iterdir()}
    assert set(seen) == {
        f"{what}-{name}" for what in ("env", "parent", "commands") for name in ("acme", "globex")
    }
    assert {name: found(keys, content) for name, content in seen.items()} == {name: [] for name in seen}
    for name in ("acme", "globex"):
        assert b"runner" in seen[f"commands-{name}"]
        names = {line.partition("=")[0] for line in seen[f"env-{name}"].decode().splitlines()}
        assert names <= {"PATH", "HOME", "LANG", "PWD", "OLDPWD", "SHLVL", "_", "LC_CTYPE"}


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_a_fault_of_ours_prints_where_it_was_and_no_value(
    log_format: str, capsys: pytest.CaptureFixture[str]
) -> None:
    key = "d8f7a1c2-0b3e-4f5a-9c6d-7e8f90a1b2c3"
    stream, before = io.StringIO(), structlog.get_config()
    log_to_stderr(log_format, "debug", stream)
    try:
        try:
            _fail_with(Secret(key), {"Authorization": f"lucca application={key}"})
        except ZeroDivisionError as error:
            structlog.get_logger("runner.engine").exception("job.crashed", job="acme/payroll")
            tell_internal(error, as_json=True)
    finally:
        structlog.configure(**before)
    captured = capsys.readouterr()
    for said in (stream.getvalue(), captured.out, captured.err):
        assert "ZeroDivisionError" in said
        assert found([key], said.encode()) == []
    assert "_fail_with" in stream.getvalue()
    assert json.loads(captured.out)["error"]["code"] == "internal"


def _fail_with(secret: Secret, headers: dict[str, str]) -> float:
    key = secret.reveal()
    return len(key) / (len(headers) - 1)


def test_what_a_night_writes_is_for_its_owner_alone(tmp_path: Path) -> None:
    scenario = Scenario(tenants=(quick("acme.ilucca.net"),))
    before = os.umask(0)
    try:
        with lucca(scenario) as served:
            bureau = Bureau(tmp_path, served.gateway)
            bureau.take(scenario)
            assert bureau.run().code == 0
    finally:
        os.umask(before)
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in (bureau.output, *bureau.output.rglob("*"))}
    assert {path: oct(mode) for path, mode in modes.items() if mode & 0o077} == {}
