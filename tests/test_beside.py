"""Work that may never return is left behind, and keeps nobody: key files that hang, names that nobody resolves."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from runner.beside import beside
from runner.clock import SystemClock
from runner.credentials import CredentialError, FileSecret, Secret, resolve
from runner.lucca import Request
from runner.transport import NotSentError, Timeouts, Transport

KEY = "0f6e1c4a-7d0b-4c57-9f0e-2d9d1b6a3c55"


HANGS = """
import threading, anyio
from runner.beside import beside

async def main():
    with anyio.move_on_after(0.05):
        await beside(lambda: threading.Event().wait())
    print("left behind")

anyio.run(main)
"""


def test_work_that_never_returns_does_not_keep_the_program_from_ending() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", HANGS], capture_output=True, text=True, check=True, timeout=20
    )
    assert ran.stdout == "left behind\n"


@pytest.mark.anyio
async def test_work_done_beside_gives_its_result_or_its_error() -> None:
    assert await beside(lambda: 6 * 7) == 42

    def fails() -> int:
        raise ValueError("of its own")

    with pytest.raises(ValueError, match="of its own"):
        await beside(fails)


@pytest.mark.anyio
async def test_a_key_file_that_hangs_is_told_after_a_while(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(CredentialError, match="the file pipe gave no answer within"):
        await resolve(FileSecret("pipe"), base_dir=tmp_path, timeout_seconds=0.05)


@pytest.mark.anyio
async def test_a_name_is_resolved_by_the_system() -> None:
    transport = Transport(SystemClock(), timeouts=Timeouts(request_seconds=10), gateway="http://localhost:1")
    async with transport:
        with pytest.raises(NotSentError, match="no connection"):
            await transport.send("acme.ilucca.net", Secret(KEY), Request("GET", "/"), lambda: None)
