"""The negative controls themselves: every fault can still be planted, and only a test that fails counts as caught."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.controls import CONTROLS
from tests.controls.model import Change, Control, NotPlantableError, planted
from tests.controls.play import REPOSITORY, Copy, play, uncaught


def source(name: str) -> str:
    return (REPOSITORY / name).read_text("utf-8")


@pytest.mark.parametrize("control", CONTROLS, ids=lambda control: control.name)
def test_every_fault_can_be_planted(control: Control) -> None:
    for module, text in planted(control, source).items():
        assert text != source(module)
        if module.endswith(".py"):
            ast.parse(text)


@pytest.mark.parametrize("control", CONTROLS, ids=lambda control: control.name)
def test_every_test_that_is_to_notice_a_fault_is_there(control: Control) -> None:
    assert control.tests
    for test in control.tests:
        module, _, name = test.partition("::")
        assert f"def {name.partition('[')[0]}(" in source(module)


def test_each_fault_has_its_own_name() -> None:
    names = [control.name for control in CONTROLS]
    assert len(set(names)) == len(names)


def test_a_planted_fault_is_no_slip_of_the_pen(tmp_path: Path) -> None:
    """A name that nobody defined would be noticed by any test, and show nothing."""
    for control in CONTROLS:
        for module, text in planted(control, source).items():
            if module.endswith(".py"):
                path = tmp_path / control.name / module
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, encoding="utf-8")
    ruff = [sys.executable, "-m", "ruff", "check", "--isolated", "--no-cache", "--select", "F821,F823"]
    told = subprocess.run([*ruff, tmp_path], capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stdout


@pytest.mark.parametrize("text", ["nothing of it", "twice twice"])
def test_a_text_that_is_not_there_exactly_once_is_not_replaced(text: str) -> None:
    control = Control("", "", (Change("runner/x.py", "twice", "once"),), ())
    with pytest.raises(NotPlantableError, match=r"runner/x\.py"):
        planted(control, lambda _: text)


def test_each_named_test_must_notice_of_a_parametrized_one_some_case() -> None:
    assert uncaught(("a", "b"), ("a", "b[1]")) == ""
    assert uncaught(("a", "b"), ("a", "bc")) == "not noticed by b"
    assert uncaught(("b[1]",), ("b[2]",)) == "not noticed by b[1]"


SUM = "def total(a, b):\n    return a + b  # the sum\n"
TESTS = """
from runner.x import total

def test_sum():
    assert total(2, 3) == 5

def test_zero():
    assert total(0, 0) == 0
"""


@pytest.mark.parametrize(
    "new, test, missing",
    [
        ("a - b", "test_sum", ""),
        ("a - b", "test_zero", "not noticed by tests/test_x.py::test_zero"),
        ("a +", "test_sum", "pytest ended with"),
    ],
    ids=["noticed", "not noticed", "not even imported"],
)
def test_only_a_test_that_fails_counts_as_caught(tmp_path: Path, new: str, test: str, missing: str) -> None:
    origin = tmp_path / "origin"
    for name, text in {"runner/__init__.py": "", "runner/x.py": SUM, "tests/test_x.py": TESTS}.items():
        (origin / name).parent.mkdir(parents=True, exist_ok=True)
        (origin / name).write_text(text, encoding="utf-8")
    copy = Copy(tmp_path / "copy", origin)
    control = Control("", "", (Change("runner/x.py", "a + b", new),), (f"tests/test_x.py::{test}",))
    verdict = play(control, copy)
    assert verdict.missing[: len(missing) or None] == missing
    assert (copy.root / "runner/x.py").read_text("utf-8") == SUM
