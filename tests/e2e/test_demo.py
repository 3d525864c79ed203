"""What a newcomer sees first: `make run`, `runner sandbox`, and the live view on a terminal."""

import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import structlog

from runner.app.logs import log_to_stderr
from runner.manifest import load_manifest
from tests.e2e.bureau import RUNNER

ANSI = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]")
SHORT = {
    "RUNNER_RETRIGGER_AFTER": "3s",
    "RUNNER_TRIGGER_TIMEOUT": "1s",
    "RUNNER_EXPORT_POLL_INTERVAL": "1s",
    "RUNNER_REPORT_POLL_INTERVAL": "1s",
    "RUNNER_REQUESTS_PER_MINUTE": "45",
    "RUNNER_LANGUAGE": "en",
}


def environment(**settings: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RUNNER_")}
    return kept | SHORT | settings


def test_the_example_night_ends_as_it_should_and_leaves_files_to_look_at(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "runner.demo"],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert "36 tenants" in ended.stdout
    assert "retrigger_after=8s" in ended.stdout
    assert "exit code 3: some clients need a person" in ended.stdout
    [night] = (tmp_path / "demo-output").glob("20*")
    assert (night / "index.html").stat().st_size > 0
    told = re.search(r"try {2}\S+ explain (\S+)", ended.stdout)
    assert told is not None
    story = subprocess.run(
        [RUNNER, "explain", told[1], "--output", "demo-output"],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert "What happened" in story.stderr


def test_the_demo_leaves_a_folder_that_is_not_its_own_alone(tmp_path: Path) -> None:
    (tmp_path / "demo-output").mkdir()
    ended = subprocess.run(
        [sys.executable, "-m", "runner.demo"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert ended.returncode == 2
    assert "is not the demo's" in ended.stderr


def started_sandbox(folder: Path, *arguments: str) -> tuple["subprocess.Popen[str]", str]:
    process = subprocess.Popen(
        [RUNNER, "sandbox", "--port", "0", "--write", str(folder), *arguments],
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    assert process.stderr is not None
    for line in process.stderr:
        if (told := re.search(r"http://127\.0\.0\.1:\d+", line)) is not None:
            return process, told[0]
    pytest.fail("the sandbox did not start")


def test_on_a_terminal_the_night_is_followed_live_and_ctrl_c_ends_it(tmp_path: Path) -> None:
    sandbox, gateway = started_sandbox(tmp_path / "bureau", "--tenants", "12", "--seed", "2")
    try:
        assert load_manifest(tmp_path / "bureau" / "tenants.yaml").problems == ()
        terminal, inside = pty.openpty()
        night = subprocess.Popen(
            [RUNNER, "run", str(tmp_path / "bureau" / "tenants.yaml"), "--gateway", gateway],
            cwd=tmp_path,
            stdin=inside,
            stdout=inside,
            stderr=inside,
            env=environment(TERM="xterm-256color", COLUMNS="110", LINES="30"),
            start_new_session=True,
        )
        os.close(inside)
        shown = read_until(terminal, b"downloaded", seconds=30)
        assert re.search(rb"\d+ jobs, \d:\d\d", shown)
        night.send_signal(signal.SIGINT)
        shown += read_until(terminal, b"index.html", seconds=30)
        assert night.wait(60) == 130
        assert b"Traceback" not in shown
        os.close(terminal)
    finally:
        sandbox.terminate()
        sandbox.communicate(timeout=60)
    assert sandbox.returncode in (0, -signal.SIGTERM, 143)


@pytest.mark.parametrize("no_color, colours", [("", True), ("1", False)], ids=["with colours", "without"])
def test_who_wants_no_colours_gets_none(
    no_color: str, colours: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", no_color)
    terminal, inside = pty.openpty()
    before = structlog.get_config()
    with os.fdopen(inside, "w", encoding="utf-8") as stream:
        log_to_stderr("console", "info", stream)
        try:
            structlog.get_logger("runner").info("job.downloaded", job="acme/payroll")
        finally:
            structlog.configure(**before)
        stream.flush()
        shown = os.read(terminal, 65536)
    os.close(terminal)
    assert b"job.downloaded" in shown
    assert (b"\x1b[" in shown) is colours


def read_until(terminal: int, word: bytes, *, seconds: float) -> bytes:
    """What the terminal shows up to `word`, without colours."""
    shown = b""
    end = time.monotonic() + seconds
    while word not in shown.replace(b"\r\n", b""):
        assert time.monotonic() < end, shown
        if select.select([terminal], [], [], 0.2)[0]:
            try:
                shown = ANSI.sub(b"", shown + os.read(terminal, 65536))
            except OSError:  # the other side is gone
                break
    return shown
