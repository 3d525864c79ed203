"""As many files as a night needs may be open; where the system allows fewer, no connection is kept for later."""

import resource
import subprocess
import sys
from pathlib import Path

import pytest

from runner.app.room import make_room
from runner.clock import SystemClock
from runner.credentials import Secret
from runner.lucca import latest_exports
from runner.transport import Timeouts, Transport
from tests.bench.measure import RUNNER, environment, serving
from tests.bench.worlds import KEY, KEY_VARIABLE, NIGHT, write_manifest
from tests.scripted import answer, scripted


def limit_after(soft: int, hard: int, hosts: int) -> tuple[bool, int]:
    """What `make_room` tells, and the limit after it, in a process of its own."""
    program = f"""
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard}))
from runner.app.room import make_room
print(int(make_room(hosts={hosts}, in_flight=64, per_host=2)), resource.getrlimit(resource.RLIMIT_NOFILE)[0])
"""
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    room, limit = done.stdout.split()
    return room == "1", int(limit)


@pytest.mark.parametrize(
    "soft, hard, hosts, told",
    [
        pytest.param(1024, 4096, 200, (True, 1024), id="enough as it is"),
        pytest.param(256, 4096, 36, (True, 456), id="raised as far as needed"),
        pytest.param(1024, 4096, 1000, (True, 2384), id="many clients"),
        pytest.param(1024, 2048, 1000, (False, 2048), id="not as far as needed"),
        pytest.param(1024, 1024, 1000, (False, 1024), id="not at all"),
    ],
)
def test_the_limit_is_raised_as_far_as_a_night_needs(
    soft: int, hard: int, hosts: int, told: tuple[bool, int]
) -> None:
    assert limit_after(soft, hard, hosts) == told


def test_what_is_enough_is_left_alone() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert make_room(hosts=1, in_flight=1, per_host=1)
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == before


@pytest.mark.anyio
@pytest.mark.parametrize("keep_open, connections", [(True, 1), (False, 3)])
async def test_without_room_no_connection_is_kept_for_the_next_request(
    keep_open: bool, connections: int
) -> None:
    async with (
        scripted(answer(b'{"data": {"items": []}}')) as server,
        Transport(SystemClock(), timeouts=Timeouts(), gateway=server.url, keep_open=keep_open) as transport,
    ):
        for _ in range(3):
            told = await transport.send("acme.ilucca.net", Secret("k" * 36), latest_exports(3), lambda: None)
            assert told.status == 200
        assert server.connections == connections


def test_behind_a_gateway_connections_are_kept_however_many_tenants_there_are(tmp_path: Path) -> None:
    write_manifest(tmp_path / "tenants.yaml", 100, 1)
    with serving(content_bytes=1000) as server:
        subprocess.run(
            [RUNNER, "run", "tenants.yaml", "--gateway", server.url, "--date", NIGHT],
            cwd=tmp_path,
            env=environment(**{KEY_VARIABLE: KEY}),
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (500, 500)),
            check=True,
            capture_output=True,
        )
        told = server.told()
    assert sum(told["requests"].values()) == 300
    # One for each request in flight, and our own question.
    assert told["connections"] <= 65
