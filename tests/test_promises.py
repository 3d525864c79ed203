"""The table of promises in the README is the one that the campaigns fill, and each of its rows can be tried again."""

import re
from pathlib import Path

import pytest

from tests.figures import Figures, MissingError, note
from tests.promises import NEVER, PROMISES, figures_in, table
from tests.readme import ROOT, shown


def test_the_readme_shows_every_promise_with_a_figure() -> None:
    rows = shown("promises").splitlines()[2:]
    told = figures_in(shown("promises"))
    assert [promise.promise for promise in PROMISES] == list(told)
    assert [row for row in rows if NEVER in row] == []
    assert [promise.row(told[promise.promise]) for promise in PROMISES] == rows


def test_what_a_row_names_is_there() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    for promise in PROMISES:
        tool, *names = promise.command.split()
        if tool == "make":
            assert re.search(rf"^{names[0]}:", makefile, re.MULTILINE)
        else:
            assert [name for name in names if not (ROOT / name).is_file()] == []


def test_notes_of_several_cases_are_put_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIGURES", str(tmp_path / "test"))
    note("races", pairs=40, leaves_seconds=[0.1, 0.3])
    note("races", pairs=60, leaves_seconds=[0.2])
    told = Figures(tmp_path)
    assert told.sum("races", "pairs") == 100
    assert (told.median("races", "leaves_seconds"), told.most("races", "leaves_seconds")) == (0.2, 0.3)
    with pytest.raises(MissingError):
        told.sum("races", "cars")
    (raced,) = [promise for promise in PROMISES if "millisecond" in promise.promise]
    filled = figures_in(table(told, {raced.promise: "old", PROMISES[0].promise: "kept"}))
    assert filled[raced.promise].startswith("100 of 100")
    assert filled[PROMISES[0].promise] == "kept"
    assert filled[PROMISES[1].promise] == NEVER


def test_nothing_is_noted_unasked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FIGURES", raising=False)
    monkeypatch.chdir(tmp_path)
    note("races", pairs=1)
    assert list(tmp_path.iterdir()) == []
