"""The search for keys and names finds them in every shape: else its silence would mean nothing."""

import html
import json
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest

from runner.sandbox import TenantScenario
from tests.canaries import NAMES, files_below, found, leaks
from tests.nights import DOMAIN, export, night, report, tenant

KEY = "d8f7a1c2-0b3e-4f5a-9c6d-7e8f90a1b2c3"
SHAPES: dict[str, Callable[[str], bytes]] = {
    "as it is": str.encode,
    "in capitals": lambda text: text.upper().encode(),
    "without dashes": lambda text: text.replace("-", "").encode(),
    "in an address": lambda text: quote(f"lucca application={text}").encode(),
    "in an address to the last sign": lambda text: "".join(
        c if c.isalnum() and c.isascii() else quote(c) if c != "-" else "%2D" for c in text
    ).encode(),
    "in JSON": lambda text: json.dumps({"k": text}).encode(),
    "in a page": lambda text: html.escape(text).encode(),
    "in a traceback": lambda text: f"ValueError({text!r})".encode(),
    "in a dump of memory": lambda text: text.encode("utf-16-le"),
    **{
        f"in base64 behind {n} bytes": lambda text, n=n: b64encode(b"u" * n + text.encode() + b":pw")  # type: ignore[misc]
        for n in range(5)
    },
    "in base64 for addresses": lambda text: urlsafe_b64encode(f"lucca application={text}".encode()),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("secret", [KEY, *NAMES])
def test_a_canary_is_found_in_every_shape(shape: str, secret: str) -> None:
    written = b"before " + SHAPES[shape](secret) + b" after"
    if "base64" in shape and len(secret.encode()) < len("Lefèvre and more"):
        return  # too little of it is whole there to tell it from chance
    assert secret in found([KEY, *NAMES], written)


def test_a_name_may_stand_in_a_payload_and_a_key_may_not() -> None:
    body = f"{NAMES[0]} {KEY}".encode()
    assert len(leaks([KEY], [("output/2026-11-24/acme/payroll-290.json", body)])) == 1
    assert len(leaks([KEY], [("output/2026-11-24/run.json", body)])) == 2
    assert len(leaks([KEY], [(".runner/journal.db-wal", body)])) == 2


def test_the_names_that_are_searched_for_are_those_of_the_payloads(tmp_path: Path) -> None:
    host = TenantScenario(domain=DOMAIN, requests_per_minute=100_000, employees=40)
    told = night(tmp_path, [tenant(exports=[export()], reports=[report()])], [host])
    assert told.code == 0
    payloads = b"".join(body for name, body in files_below(told.folder) if "/" in name)
    assert set(found(NAMES, payloads)) == set(NAMES)
