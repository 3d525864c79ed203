"""Faults that reading the program against its promises found, each held down by the night that showed it."""

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


def runner(folder: Path, *arguments: str, **environ: str) -> "subprocess.CompletedProcess[str]":
    """The command as a user runs it, in a folder of its own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RUNNER_")}
    return subprocess.run(
        [str(Path(sys.executable).with_name("runner")), *arguments],
        cwd=folder,
        env={**kept, "ACME_API_KEY": "0f6e1c4a-7d0b-4c57-9f0e-2d9d1b6a3c55", **environ},
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
