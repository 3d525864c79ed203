"""The journal's SQL, read once from the files beside this module. Knows nothing of what the queries mean."""

import re
from collections.abc import Mapping
from importlib.resources import files
from types import MappingProxyType

_NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)
_STEP = re.compile(r"^(\d{4})_\w+\.sql$")


def parse(text: str) -> Mapping[str, str]:
    """The queries of one file by name. What stands before the first name belongs to no query.

    Args:
        text: blocks that start with `-- name: …`; further comments are for people.
    """
    _, *parts = _NAME.split(text)
    bare = (
        "\n".join(line for line in part.splitlines() if line.strip() and not line.startswith("--"))
        for part in parts[1::2]
    )
    return MappingProxyType(dict(zip(parts[::2], bare, strict=True)))


def _read_steps() -> tuple[str, ...]:
    folder = files(__package__) / "migrations"
    found = sorted((item for item in folder.iterdir() if _STEP.match(item.name)), key=lambda item: item.name)
    return tuple(item.read_text(encoding="utf-8") for item in found)


QUERIES: Mapping[str, str] = parse((files(__package__) / "queries.sql").read_text(encoding="utf-8"))
"""Every query by its name."""

MIGRATIONS: tuple[str, ...] = _read_steps()
"""Scripts in order: the first makes version 1, each further one the next."""


def choosing(query: str, choice: str) -> str:
    """The query of that name over the jobs that the choice of that name selects."""
    return QUERIES[query].replace("{choice}", QUERIES[choice])
