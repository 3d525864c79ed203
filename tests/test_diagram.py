"""The diagrams in the README are the transition tables, not a memory of them."""

import re
from pathlib import Path

import pytest

from runner.jobs.model import State
from runner.jobs.tables import TABLES
from tests.diagram import mermaid

README = Path(__file__).parent.parent / "README.md"
ARROW = re.compile(r"    (?P<source>\S+) --> (?P<target>[^\s:]+)(?:: (?P<labels>.+))?")


@pytest.mark.parametrize("kind", ["export", "report"])
def test_every_line_of_the_table_is_an_arrow_and_no_other(kind: str) -> None:
    head, *lines = mermaid(kind).split("\n")
    assert head == "stateDiagram-v2"
    drawn = set()
    for line in lines:
        arrow = ARROW.fullmatch(line)
        assert arrow is not None, line
        for label in (arrow["labels"] or "").split(", "):
            drawn.add((arrow["source"], arrow["target"], label))
    meant = {
        (str(source), str(target), re.sub(r"(?<!^)([A-Z])", r" \1", event.__name__).lower())
        for source, exits in TABLES[kind].items()
        for event, targets in exits.items()
        for target in targets
    }
    ends = {("[*]", "pending", ""), ("downloaded", "[*]", ""), ("failed", "[*]", ""), ("skipped", "[*]", "")}
    assert drawn == meant | ends


@pytest.mark.parametrize("kind", ["export", "report"])
def test_an_arrow_is_drawn_once_with_its_events_sorted(kind: str) -> None:
    arrows = [ARROW.fullmatch(line) for line in mermaid(kind).split("\n")[1:]]
    ends = [(arrow["source"], arrow["target"]) for arrow in arrows if arrow]
    assert len(ends) == len(set(ends))
    for arrow in arrows:
        labels = ((arrow and arrow["labels"]) or "").split(", ")
        assert labels == sorted(labels)


def test_the_diagram_starts_where_a_job_starts() -> None:
    assert mermaid("export").split("\n")[1] == f"    [*] --> {State.PENDING}"
    assert "pending --> triggered: triggered" in mermaid("export")
    assert "polling --> retried: triggered" in mermaid("export")


@pytest.mark.skipif(not README.exists(), reason="a built package comes without its README")
@pytest.mark.parametrize("kind", ["export", "report"])
def test_the_readme_shows_the_diagram_of_the_table(kind: str) -> None:
    text = README.read_text(encoding="utf-8")
    shown = re.search(rf"<!-- states:{kind} -->(?P<body>.*?)<!-- /states -->", text, re.DOTALL)
    assert shown is not None, f"README.md lacks the block between <!-- states:{kind} --> and <!-- /states -->"
    assert shown["body"].strip() == f"```mermaid\n{mermaid(kind)}\n```"
