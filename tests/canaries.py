"""Keys and names that must stand nowhere, in every shape they could be written in.

Owns the shapes and the search through whatever a night or a command left: files, journal, log, words on screen. The
shared helpers search at the end of every night and every command, so that each test of theirs proves it once more.
Payload files may hold names, since names are what they are for, and so may refused answers; a key stands in none.
"""

import html
import json
import re
from base64 import b64encode
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from urllib.parse import quote, quote_plus

from tests.figures import note

NAMES = (
    "Lefèvre",
    "N'Guyen",
    "O’Brien",
    "Gonçalves",
    "Châtelain",
    "Œuvrard",
    "Peña",
    "Müller-Ruchti",
    "Maëlle",
)
"""Employees of the sandbox, whose names are not also a client's or a word of ours."""

_LEAST_ENCODED = 8
_PAYLOAD = re.compile(r"(?:.*/)?(?:\d{4}-\d\d-\d\d/[^/]+|\.runner/quarantine)/[^/]+")


@lru_cache(maxsize=4096)
def shapes(secret: str) -> tuple[frozenset[bytes], frozenset[bytes]]:
    """What to look for where ASCII letters were made small, and what where they are as they were: base64."""
    texts = {secret, secret.upper(), secret.lower()}
    texts |= {json.dumps(secret)[1:-1], html.escape(secret), repr(secret)[1:-1], secret.replace("-", "")}
    texts |= {quote(secret), quote_plus(secret), quote(secret).replace("-", "%2D")}
    plain = {text.encode().lower() for text in texts} | {secret.encode("utf-16-le").lower()}
    return frozenset(plain), frozenset(_in_base64(secret))


def _in_base64(secret: str) -> Iterator[bytes]:
    """Its core at each of the three places where it may begin within what was encoded."""
    for text in {secret.encode(), secret.replace("-", "").encode()}:
        for offset in range(3):
            coded = b64encode(b"\0" * offset + text).rstrip(b"=")
            core = coded[(offset * 8 + 5) // 6 : len(coded) - 1]
            if len(core) >= _LEAST_ENCODED:
                yield core
                yield core.replace(b"+", b"-").replace(b"/", b"_")


def found(secrets: Iterable[str], content: bytes) -> list[str]:
    """Which of them stand in `content`, in any shape."""
    stands, stands_in_any_case = content.__contains__, content.lower().__contains__
    told = []
    for secret in secrets:
        plain, coded = shapes(secret)
        if any(map(stands_in_any_case, plain)) or any(map(stands, coded)):
            told.append(secret)
    return told


def leaks(
    keys: Iterable[str], artefacts: Iterable[tuple[str, bytes]], names: Iterable[str] = NAMES
) -> list[str]:
    """Every key in any artefact, and every name in one that is no payload, as sentences."""
    keys, names = tuple(keys), tuple(names)
    told = []
    searched = size_bytes = 0
    for place, content in artefacts:
        searched, size_bytes = searched + 1, size_bytes + len(content)
        wanted = keys if _PAYLOAD.fullmatch(place) else (*keys, *names)
        told += [f"{secret!r} stands in {place}" for secret in found(wanted, content)]
    note("canaries", artefacts=searched, size_bytes=size_bytes)
    return told


def files_below(folder: Path, *but: str) -> Iterator[tuple[str, bytes]]:
    """Each file with its path from `folder`, hidden ones too; what vanishes meanwhile is left out."""
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        try:
            if name.parts[0] not in but and path.is_file():
                yield str(name), path.read_bytes()
        except OSError:
            continue
