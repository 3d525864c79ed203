"""Names, addresses and certificates as they are in the world, met by the real command without a gateway.

The command runs on an island: a network of its own, with a name service and servers on port 443. What will never work
is `unreachable`, for its tenant alone, and told with what to do; all other trouble is waited out; and without a valid
certificate not a byte of a key leaves.
"""

import datetime as dt
import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import pytest
import trustme

from tests.e2e.bureau import NIGHT, RUNNER, Bureau, Result
from tests.e2e.island import STRANGER, Host

KEY: Final = "1f0c2b9a-made-up-for-the-island"
PAST: Final = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
FUTURE: Final = dt.datetime(2090, 1, 1, tzinfo=dt.UTC)

NEVER: Final[Mapping[str, tuple[Host, str]]] = {
    "expired": (Host(certificate="expired"), "its certificate does not verify"),
    "of the future": (Host(certificate="of the future"), "its certificate does not verify"),
    "wrong host": (Host(certificate="wrong host"), "its certificate does not verify"),
    "of a wider name": (Host(certificate="of a wider name"), "its certificate does not verify"),
    "self-signed": (Host(certificate="self-signed"), "its certificate does not verify"),
    "no such name": (Host("no such name"), "there is no such host"),
    "a name without an address": (Host("no address"), "there is no such host"),
}
WAITED_OUT: Final[Mapping[str, Host]] = {
    "a name service in trouble": Host("in trouble"),
    "a name service that refuses": Host("refused"),
    "a silent name service": Host("silent"),
    "refused": Host(does="closed"),
    "no connection in time": Host(does="full"),
    "no handshake in time": Host(does="says nothing"),
    "no TLS": Host(does="speaks plainly"),
}
HOSTS: Final[Mapping[str, Host]] = {
    "the truth": Host(certificate="good"),
    "a redirect to a stranger": Host(certificate="good", does="redirects"),
    **{name: host for name, (host, _) in NEVER.items()},
    **WAITED_OUT,
}


def domain_of(name: str) -> str:
    return f"t{list(HOSTS).index(name)}.ilucca.net"


def certificates(folder: Path) -> Mapping[str, str]:
    """A file with key and certificates of each kind, and `ca.pem` to trust in."""
    ours, others = trustme.CA(), trustme.CA()
    ours.cert_pem.write_to_path(str(folder / "ca.pem"))
    names = [domain_of(name) for name in HOSTS]
    made = {
        "good": ours.issue_cert(*names),
        "expired": ours.issue_cert(*names, not_before=PAST, not_after=PAST + dt.timedelta(days=90)),
        "of the future": ours.issue_cert(*names, not_before=FUTURE, not_after=FUTURE + dt.timedelta(days=90)),
        "wrong host": ours.issue_cert("globex.ilucca.net"),
        "of a wider name": ours.issue_cert("*.net"),
        "self-signed": others.issue_cert(*names),
    }
    paths = {kind: str(folder / f"{kind}.crt") for kind in made}
    for kind, certificate in made.items():
        certificate.private_key_and_cert_chain_pem.write_to_path(paths[kind])
    return paths


def unshared() -> list[str]:
    """The command that makes a network of its own, where the system allows it."""
    for more in ([], ["--map-root-user"]):
        command = ["unshare", *more, "--net", "--mount"]
        try:
            if subprocess.run([*command, "true"], capture_output=True, check=False).returncode == 0:
                return command
        except OSError:
            break
    pytest.skip("no network of its own is to be had here: tests/test_transport.py stands for it")


@dataclass
class Told:
    """A night on the island."""

    bureau: Bureau
    result: Result
    notes: Any

    def job(self, name: str) -> Any:
        return self.bureau.jobs()[f"{domain_of(name).partition('.')[0]}/payroll"]


def night(folder: Path, *, online: bool, until: str) -> Told:
    command = unshared()
    paths = certificates(folder)
    hosts = {}
    for number, (name, host) in enumerate(HOSTS.items()):
        told = asdict(host) | {"certificate": paths.get(host.certificate, "")}
        hosts[domain_of(name)] = told | {"address": "" if host.name_service else f"127.0.1.{number + 1}"}
    hosts[STRANGER] = asdict(Host(address="127.0.2.1", certificate=paths["good"]))
    (folder / "plan.json").write_text(json.dumps({"online": online, "hosts": hosts}), encoding="utf-8")
    job = {"name": "payroll", "configuration_id": 3, "ends_at": "monday", "due": "tuesday"}
    tenants = [
        {
            "name": domain_of(name).partition(".")[0],
            "label": name,
            "domain": domain_of(name),
            "api_key": {"file": "keys/key"},
            "exports": [job],
        }
        for name in HOSTS
    ]
    bureau = Bureau(folder)
    bureau.keys.add(KEY)
    (folder / "keys").mkdir(mode=0o700)
    (folder / "keys" / "key").write_text(KEY, encoding="utf-8")
    (folder / "keys" / "key").chmod(0o600)
    document = {"version": 1, "defaults": {"since": "2026-11-01"}, "tenants": tenants}
    (folder / "tenants.yaml").write_text(json.dumps(document), encoding="utf-8")
    bureau.environ |= {"SSL_CERT_FILE": str(folder / "ca.pem"), "RUNNER_REQUEST_TIMEOUT": "3s"}
    arguments = (*command[1:], sys.executable, "-m", "tests.e2e.island", str(folder / "plan.json"))
    with bureau.start(
        *arguments, str(RUNNER), "run", "--date", NIGHT, "--json", program=command[0], until=until
    ) as started:
        result = started.end()
    return Told(bureau, result, json.loads((folder / "notes.json").read_text("utf-8")))


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Told:
    return night(tmp_path_factory.mktemp("island"), online=True, until="22s")


def test_a_host_with_a_name_and_a_valid_certificate_is_asked(told: Told) -> None:
    job = told.job("the truth")
    assert (job["state"], job["error"]) == ("downloaded", None)
    assert len(told.notes["requests"][domain_of("the truth")]) == 3


@pytest.mark.parametrize("name", NEVER)
def test_a_host_that_cannot_be_reached_safely_is_unreachable_and_gets_nothing(told: Told, name: str) -> None:
    job, domain = told.job(name), domain_of(name)
    assert (job["state"], job["error"]["code"], job["triggers"]) == ("failed", "unreachable", 0)
    assert job["error"]["message"] == (
        f"{job['tenant']}/payroll ({domain}), configuration 3, before 2026-11-23: the host cannot be reached safely "
        f"({NEVER[name][1]}). To do: check the domain in the manifest, and its certificate, then run again."
    )
    assert domain not in told.notes["requests"]
    explained = told.bureau.command("explain", f"{job['tenant']}/payroll", language="en")
    assert job["error"]["message"] in explained.err


@pytest.mark.parametrize("name", WAITED_OUT)
def test_all_other_trouble_on_the_way_to_a_host_is_waited_out(told: Told, name: str) -> None:
    job = told.job(name)
    assert (job["state"], job["error"], job["triggers"]) == ("pending", None, 0)
    assert domain_of(name) not in told.notes["requests"]
    if HOSTS[name].name_service:
        assert told.notes["names"].count(domain_of(name)) >= 2


def test_a_redirect_is_not_followed_and_the_strangers_name_not_even_asked_for(told: Told) -> None:
    job = told.job("a redirect to a stranger")
    assert (job["state"], job["error"]["code"]) == ("failed", "bad_answer")
    assert STRANGER not in told.notes["requests"]
    assert STRANGER not in told.notes["names"]


def test_no_other_name_is_asked_for(told: Told) -> None:
    assert set(told.notes["names"]) == {domain_of(name) for name in HOSTS}


def test_the_night_says_what_is_true_of_it(told: Told) -> None:
    assert (told.result.code, told.notes["code"]) == (4, 4)
    counts = {"downloaded": 1, "failed": len(NEVER) + 1, "unfinished": len(WAITED_OUT)}
    assert told.bureau.document()["counts"] == counts


def test_a_machine_without_any_network_waits_for_it_and_gives_nothing_up(tmp_path: Path) -> None:
    told = night(tmp_path, online=False, until="4s")
    jobs = told.bureau.jobs().values()
    assert told.result.code == 4
    assert {(job["state"], job["error"]) for job in jobs} == {("pending", None)}
