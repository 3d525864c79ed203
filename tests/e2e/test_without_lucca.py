"""What the command says where there is no Lucca to be had: each in a process and a folder of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path

MANIFEST = """\
version: 1
defaults: {since: 2026-01-01}
tenants:
  - name: acme
    domain: acme.ilucca.net
    api_key: {env: ACME_API_KEY}
    exports:
      - {name: payroll, configuration_id: 3, ends_at: monday}
"""
NOWHERE = "http://127.0.0.1:1"
KEY = "0f6e1c4a-7d0b-4c57-9f0e-2d9d1b6a3c55"


def runner(folder: Path, *arguments: str, **environ: str) -> "subprocess.CompletedProcess[str]":
    """The command as a user runs it, in a folder of its own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RUNNER_")}
    return subprocess.run(
        [str(Path(sys.executable).with_name("runner")), *arguments],
        cwd=folder,
        env={**kept, "ACME_API_KEY": KEY, **environ},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def a_folder_with_a_manifest(tmp_path: Path) -> Path:
    (tmp_path / "tenants.yaml").write_text(MANIFEST, encoding="utf-8")
    return tmp_path


def test_an_output_that_cannot_be_written_exits_6_and_says_why(tmp_path: Path) -> None:
    folder = a_folder_with_a_manifest(tmp_path)
    (folder / "output").mkdir()
    (folder / "output" / "2026-11-24").write_text("a file where the night's folder belongs", encoding="utf-8")
    ran = runner(folder, "run", "--gateway", NOWHERE, "--date", "2026-11-24", "--until", "5s", "--json")
    assert ran.returncode == 6, ran.stderr
    assert json.loads(ran.stdout)["error"]["code"] == "storage"
    assert "2026-11-24" in ran.stderr
    assert "internal" not in ran.stderr


def test_check_tells_of_a_night_that_no_tenant_will_have(tmp_path: Path) -> None:
    """Two entries that are two exports when the manifest is checked, and one on the first Monday that is a first."""
    folder = a_folder_with_a_manifest(tmp_path)
    twin = MANIFEST + "      - {name: monthly, configuration_id: 3, ends_at: month-start}\n"
    (folder / "tenants.yaml").write_text(twin, encoding="utf-8")
    ran = runner(folder, "check", "--date", "2026-11-24", "--json")
    (told,) = [text for text in json.loads(ran.stdout)["warnings"] if "the same export" in text]
    assert "on 2027-02-01" in told
    assert runner(folder, "plan", "--date", "2027-02-01").returncode == 2
    assert "on 2027-02-01" in runner(folder, "plan", "--date", "2026-11-24").stderr


def test_a_key_that_is_never_given_costs_its_tenant_alone_and_not_the_end_of_the_run(tmp_path: Path) -> None:
    """A pipe without a writer, a hung share, a keyring that asks a sleeping person: reading them never returns."""
    folder = a_folder_with_a_manifest(tmp_path)
    manifest = MANIFEST.replace("{env: ACME_API_KEY}", "{file: pipe}")
    (folder / "tenants.yaml").write_text(manifest, encoding="utf-8")
    os.mkfifo(folder / "pipe", 0o600)
    ran = runner(folder, "run", "--gateway", NOWHERE, "--date", "2026-11-24", "--until", "1s", "--json")
    assert ran.returncode == 4, ran.stderr
    assert json.loads(ran.stdout)["jobs"][0]["state"] == "pending"
