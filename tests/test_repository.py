"""Nothing in the repository is a secret: every tracked file is searched for what keys look like.

A key of Lucca is a GUID; the made-up ones of the tests are named here, so that another one is noticed. The rest are the
shapes in which other keys come. Locks are full of hashes, and hold nothing that a person wrote.
"""

import re
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
GUID = re.compile(r"(?<![0-9a-f-])[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}(?![0-9a-f-])", re.IGNORECASE)
MADE_UP = {
    "d8f7a1c2-0b3e-4f5a-9c6d-7e8f90a1b2c3",
    "0f6e1c4a-7d0b-4c57-9f0e-2d9d1b6a3c55",
    "01234567-89ab-cdef-0123-456789abcdef",
    "00000000-0000-0000-0000-00000000dead",
}
OTHERS = {
    "a private key": re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY"),
    "a key of a cloud": re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b|\bAIza[0-9A-Za-z_-]{35}\b"),
    "a token of a forge": re.compile(r"\b(?:gh[pousr]_[0-9A-Za-z]{36}|github_pat_\w{22,}|glpat-[\w-]{20})"),
    "a token of a registry": re.compile(r"\b(?:pypi-AgEI[\w-]{50,}|npm_[0-9A-Za-z]{36})"),
    "a token of a chat": re.compile(
        r"\bxox[abposr]-[0-9A-Za-z-]{10,}|hooks\.slack\.com/services/T\w+/B\w+/\w+"
    ),
    "an age key": re.compile(r"AGE-SECRET-KEY-1[0-9A-Z]{20,}"),
    "a signed token": re.compile(r"\beyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{10,}"),
    "a password in an address": re.compile(
        r"\b[a-z][a-z0-9+]*://[^/\s:@'\"{]+:(?!hunter2@)[^/\s@'\"{<…]{6,}@"
    ),
    "a whole Authorization": re.compile(r"lucca application=[0-9a-f]{8}-", re.IGNORECASE),
}


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, check=False)
    if listed.returncode:
        pytest.skip("not a git repository: an unpacked archive holds what was looked through before")
    paths = [REPOSITORY / name for name in listed.stdout.decode().split("\0") if name]
    return [path for path in paths if path.is_file() and path.suffix not in {".lock", ".png", ".svg"}]


def secrets_in(text: str) -> list[str]:
    """What in the text looks like a secret and is not known to be made up."""
    told = [f"a GUID ({guid[:8]}…)" for guid in GUID.findall(text) if guid.lower() not in MADE_UP]
    return told + [kind for kind, shape in OTHERS.items() if shape.search(text)]


def test_no_tracked_file_holds_a_secret() -> None:
    paths = tracked()
    assert len(paths) > 50
    told = {str(path.relative_to(REPOSITORY)): secrets_in(path.read_text("utf-8")) for path in paths}
    assert {path: found for path, found in told.items() if found} == {}


def test_no_key_output_or_environment_is_tracked() -> None:
    names = [str(path.relative_to(REPOSITORY)) for path in tracked()]
    forbidden = re.compile(
        r"(^|/)(\.env|tenants\.yaml|keys/.*|.*\.(pem|key|p12|db|db-wal))$|^(demo-)?output/"
    )
    assert [name for name in names if forbidden.search(name)] == []


@pytest.mark.parametrize(
    "text",
    [
        "api_key: " + "7a1b2c3d-4e5f-6071-" + "8293-a4b5c6d7e8f9",
        "-----BEGIN RSA " + "PRIVATE KEY-----",
        "AKIA" + "IOSFODNN7EXAMPLE",
        "ghp_" + "a1B2" * 9,
        "postgresql://runner:" + "hunter2hunter2@db/journal",
        "Authorization: lucca application" + "=7a1b2c3d-4e5f",
    ],
)
def test_what_looks_like_a_secret_is_found(text: str) -> None:
    assert secrets_in(text) != []


def test_every_package_that_is_installed_is_pinned_by_hash() -> None:
    for lock in REPOSITORY.glob("requirements*.lock"):
        text = lock.read_text("utf-8").replace("\\\n", " ")
        packages = [line for line in text.splitlines() if line and not line.startswith(("#", " "))]
        assert packages, lock.name
        assert [line for line in packages if "==" not in line or "--hash=sha256:" not in line] == []
