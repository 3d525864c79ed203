"""A journal that cannot be used, met by every command that reads it: told with what to do, and nothing sent."""

import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Final

import pytest

from tests.e2e.bureau import NIGHT, Bureau, Lucca, lucca, quick, scenario_of
from tests.e2e.forks import Forks

SCENARIO: Final = scenario_of(quick("acme.ilucca.net"))
COMMANDS: Final = (
    ("status",),
    ("explain", "acme/payroll"),
    ("verify",),
    ("plan", "--date", NIGHT),
    ("retry",),
    ("run", "--date", NIGHT),
)


def sql(statement: str) -> Callable[[Path], None]:
    def do(journal: Path) -> None:
        with closing(sqlite3.connect(journal)) as connection, connection:
            connection.execute(statement)

    return do


def cut(journal: Path) -> None:
    os.truncate(journal, journal.stat().st_size // 2)


def emptied(journal: Path) -> None:
    content = journal.read_bytes()
    journal.write_bytes(content[:4096] + bytes(len(content) - 4096))


def garbage(journal: Path) -> None:
    journal.write_bytes(os.urandom(8192))


def another(journal: Path) -> None:
    journal.unlink()
    sql("CREATE TABLE accounts (id)")(journal)


def folder(journal: Path) -> None:
    journal.unlink()
    journal.mkdir()


def pipe(journal: Path) -> None:
    journal.unlink()
    os.mkfifo(journal)


DAMAGES: Final[Mapping[str, tuple[Callable[[Path], None], str, str]]] = {
    "cut": (cut, "it is damaged", "move it away together with"),
    "emptied": (emptied, "it is damaged", "move it away together with"),
    "garbage": (garbage, "it is damaged", "move it away together with"),
    "a table gone": (sql("DROP TABLE jobs"), "it is damaged", "move it away together with"),
    "of a newer version": (sql("PRAGMA user_version = 99"), "newer version", "install the newer version"),
    "another program's": (another, "the database of another program", "let RUNNER_STATE name"),
    "a folder": (folder, "", ""),
    "a pipe": (pipe, "", ""),
}
OF_EACH_KIND: Final = ("cut", "of a newer version", "another program's")
"""What every command is shown; of the others the first and the last."""


@pytest.fixture(scope="module")
def served() -> Iterator[Lucca]:
    with lucca(SCENARIO) as served:
        yield served


@pytest.fixture(scope="module")
def done(forks: Forks, served: Lucca, tmp_path_factory: pytest.TempPathFactory) -> Bureau:
    bureau = Bureau(tmp_path_factory.mktemp("done"), served.gateway, forks=forks)
    bureau.take(SCENARIO)
    assert bureau.run().code == 0
    return bureau


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_journal_that_cannot_be_used_ends_every_command_with_6(
    forks: Forks, done: Bureau, served: Lucca, tmp_path: Path, damage: str
) -> None:
    spoil, what, to_do = DAMAGES[damage]
    shutil.copytree(done.folder, tmp_path / "bureau")
    bureau = Bureau(tmp_path / "bureau", served.gateway, forks=forks)
    journal = bureau.output / ".runner/journal.db"
    spoil(journal)
    before = journal.read_bytes() if journal.is_file() else None
    requests = served.requests()
    for command in COMMANDS if damage in OF_EACH_KIND else (COMMANDS[0], COMMANDS[-1]):
        told = bureau.command(*command, "--json")
        error = told.json()["error"]
        assert (command, told.code, error["code"]) == (command, 6, "storage")
        assert [words for words in (what, "To do: ", to_do) if words not in error["message"]] == []
        assert "Traceback" not in told.err
        if "nothing in it was changed" in error["message"]:
            assert journal.read_bytes() == before
    assert served.requests() == requests
