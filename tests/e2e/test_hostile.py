"""Manifests that mean harm, given to the real command: refused within seconds, nothing sent and nothing written."""

import json
import os
import resource
from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random
from typing import Any, Final

import pytest

from tests.e2e.bureau import NIGHT, RUNNER, Bureau

MOST_CPU_SECONDS: Final = 10.0
"""Of `check` and `run` together; on a busy machine their start alone is a second."""


def client(**changes: Any) -> dict[str, Any]:
    """A client with nothing wrong but, perhaps, this."""
    reports = [{"name": "times", "template_id": 12}]
    good = {"name": "acme", "domain": "acme.ilucca.net", "api_key": {"env": "KEY"}, "reports": reports}
    return good | changes


def clients(*entries: dict[str, Any], **more: Any) -> str:
    return json.dumps({"version": 1, "tenants": entries, **more}, ensure_ascii=False)


def report(**changes: Any) -> list[dict[str, Any]]:
    return [{"name": "times"} | changes]


def bomb() -> str:
    lines = ["a0: &a0 [x,x,x,x,x,x,x,x,x]"]
    lines += [f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9)]
    return "\n".join(lines)


def fuzzed_names() -> str:
    chance = Random("names from outside")
    pieces = (
        "..",
        "/",
        "\\",
        "\x00",
        "\n",
        " ",
        "con",
        "nul",
        "A",
        "é",
        "\u202e",
        "$(id)",
        ";",
        "*",
        "%2f",
        "a" * 64,
    )
    names = ["".join(chance.choices(pieces, k=4)) + f"/{n}" for n in range(10_000)]
    return clients(*(client(name=name, domain=f"t{n}.ilucca.net") for n, name in enumerate(names)))


HOSTILE: Final[Mapping[str, Callable[[], str]]] = {
    "a bomb of aliases": bomb,
    "100,000 levels": lambda: "version: 1\ntenants: " + "[" * 100_000,
    "100,000 keys": lambda: "version: 1\n" + "".join(f"k{n}: 1\n" for n in range(100_000)),
    "a name of a million letters": lambda: clients(client(name="a" * 1_000_000)),
    "a number of a million digits": lambda: (
        "version: 1\ntenants: [{name: a, requests_per_minute: " + "9" * 1_000_000 + "}]"
    ),
    "10,000 fuzzed names": fuzzed_names,
    "a Python object": lambda: 'version: 1\ntenants: !!python/object/apply:os.system ["touch pwned"]',
    "a name that climbs": lambda: clients(client(name="../../pwned")),
    "a job's name that climbs": lambda: clients(client(reports=report(template_id=12, name="../pwned"))),
    "a name with a line end": lambda: clients(client(name="acme\n2026")),
    "a host that looks like one": lambda: clients(client(domain="acme.ilucca.net.evil.example")),
    "a host behind a user": lambda: clients(client(domain="acme.ilucca.net@evil.example")),
    "a host in other letters": lambda: clients(client(domain="\u0430cme.ilucca.net")),
    "a host with a header": lambda: clients(client(domain="acme.ilucca.net\r\nX-Evil: 1")),
    "this machine": lambda: clients(client(domain="127.0.0.1")),
    "a literal key": lambda: clients(client(api_key="made-up-and-not-to-be-shown")),
    "a template without end": lambda: clients(client(reports=report(template_file="/dev/zero"))),
    "a template that is a pipe": lambda: clients(client(reports=report(template_file="pipe"))),
    "a template of 100,000 levels": lambda: clients(client(reports=report(template_file="deep.json"))),
    "an included file without end": lambda: "version: 1\ninclude: /dev/zero\n",
    "an included pipe": lambda: "version: 1\ninclude: pipe\n",
    "a folder of pipes": lambda: "version: 1\ninclude: pipes/*.yaml\n",
    "every file of the machine": lambda: "version: 1\ninclude: /**\n",
    "an included link to itself": lambda: "version: 1\ninclude: loop\n",
    "itself included": lambda: "version: 1\ninclude: tenants.yaml\n",
    "an included file of secrets": lambda: "version: 1\ninclude: secrets\n",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_manifest_that_means_harm_is_refused_within_seconds(tmp_path: Path, name: str) -> None:
    (tmp_path / "tenants.yaml").write_text(HOSTILE[name](), encoding="utf-8")
    (tmp_path / "pipes").mkdir()
    os.mkfifo(tmp_path / "pipe")
    os.mkfifo(tmp_path / "pipes/a.yaml")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "deep.json").write_text('{"a":' * 100_000, encoding="ascii")
    (tmp_path / "secrets").write_text("root:made-up-and-not-to-be-shown:20000:0\n", encoding="ascii")
    before = {path.name for path in tmp_path.iterdir()}
    bureau = Bureau(tmp_path)
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    for command in (("check",), ("run", "--date", NIGHT)):
        with bureau.start(*command, "--json") as started:
            told = started.end(30)
        assert told.code == 2
        assert "made-up-and-not-to-be-shown" not in told.out + told.err
        assert "Traceback" not in told.err
        document = told.json()
        faults = document["faults"] if command == ("check",) else document["error"]["faults"]
        assert 1 <= len(faults) <= 100_001
        assert max(map(len, faults)) < 2_000
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert used.ru_utime + used.ru_stime - spent.ru_utime - spent.ru_stime < MOST_CPU_SECONDS
    assert {path.name for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    "locale",
    ["utf-8:strict", "utf-8:surrogateescape", "latin-1:strict"],
    ids=["a language's", "plain C", "an old one's"],
)
def test_a_file_whose_name_is_no_utf_8_is_told_in_whole_json(tmp_path: Path, locale: str) -> None:
    (tmp_path / "tenants.yaml").write_text(clients(client(), include="clients.d/*"), encoding="utf-8")
    (tmp_path / "clients.d").mkdir()
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/clients.d/caf\xe9.yaml")).write_text("tenants: 1\n", "ascii")
    bureau = Bureau(tmp_path)
    bureau.environ["PYTHONIOENCODING"] = locale
    with bureau.start("plan", "--date", NIGHT, "--json") as started:
        told = started.end(30)
    assert told.code == 3
    (problem,) = told.json()["problems"]
    assert problem["message"].startswith("clients.d/caf\udce9.yaml:1:10: ")
    quietly = ("-c", '"$0" plan --only café --json 2>/dev/null', str(RUNNER))
    with bureau.start(*quietly, program="/bin/sh") as started:
        told = started.end(30)
    assert "--only café: " in told.json()["error"]["message"]


def test_one_clients_pipe_stops_nobody_else(tmp_path: Path) -> None:
    (tmp_path / "tenants.yaml").write_text(clients(client(), include="clients.d/*"), encoding="utf-8")
    (tmp_path / "clients.d").mkdir()
    os.mkfifo(tmp_path / "clients.d/globex.yaml")
    with Bureau(tmp_path).start("plan", "--date", NIGHT, "--json") as started:
        told = started.end(30)
    assert told.code == 3
    assert [job["tenant"] for job in told.json()["jobs"]] == ["acme"]
    (problem,) = told.json()["problems"]
    assert problem["message"] == "clients.d/globex.yaml: cannot be read: it is no regular file"


def test_a_manifest_may_come_through_a_pipe_that_was_named_for_it(tmp_path: Path) -> None:
    (tmp_path / "made").write_text(clients(client()), encoding="utf-8")
    piped = ("-c", 'cat made | "$0" check /dev/stdin', str(RUNNER))
    with Bureau(tmp_path).start(*piped, program="/bin/sh") as started:
        assert started.end(30).code == 0
