"""The benchmark's arithmetic and the page it writes, and that peers can be started. What is measured is for people."""

import os
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from tests.bench.makespan import Chance, bound_seconds
from tests.bench.measure import serving
from tests.bench.rows import QUICK, Bench
from tests.bench.table import Figure, Goal, Row, Skipped, markdown, summary, svg


def test_a_figure_shows_its_median_and_its_spread() -> None:
    assert str(Figure((3.0, 1.0, 2.0), "s")) == "2 (1–3)\u00a0s"
    assert str(Figure((1.23456,), "×")) == "1.23×"
    assert str(Figure((12345.6, 12345.6), "MB")) == "12\u202f346\u00a0MB"


def test_a_ratio_is_taken_between_runs_that_stood_side_by_side() -> None:
    ours, floor = Figure((2.0, 30.0, 4.0)), Figure((1.0, 10.0, 4.0))
    assert ours.over(floor).values == (2.0, 3.0, 1.0)
    assert ours.over(floor).median == 2.0


def test_a_goal_is_a_most_or_a_least() -> None:
    assert Goal("", Figure((1.5,), "×"), 1.5).met
    assert not Goal("", Figure((1.6,), "×"), 1.5).met
    assert Goal("", Figure((0.7,), "×"), 0.6, least=True).met
    assert not Goal("", Figure((0.0,), "×"), 0.6, least=True).met
    assert Goal("", Figure((5.0,), "%"), 10, least=True).used == 2.0


def test_the_page_says_what_was_missed_and_what_was_not_measured() -> None:
    goals = [Goal("CPU", Figure((3.0,), "×"), 1.5), Goal("", Figure((1.0,), "MB"), 64)]
    row = Row("jobs", [("", Figure((3.0,), "ms"))], [("floor", Figure((1.0,), "ms"))], goals, "A hundred.")
    page = markdown([row, Skipped("a peer", "it is not installed")], "A machine.")
    assert "| jobs [1] | 3\u00a0ms | floor 1\u00a0ms | CPU 3×<br>1\u00a0MB |" in page
    assert "**missed**<br>met" in page
    assert "| a peer | not measured: it is not installed |" in page
    assert page.endswith("1. A hundred.\n")
    assert summary([row, Skipped("a peer", "it is not installed")]).splitlines()[2:] == [
        "| jobs: CPU | 3× | ≤\u00a01.5× | **missed** |",
        "| jobs | 1\u00a0MB | ≤\u00a064\u00a0MB | met |",
    ]


def test_the_picture_is_one_bar_for_each_goal() -> None:
    goals = [Goal("a < b & c", Figure((3.0,), "×"), 1.5), Goal("", Figure((1.0,), "MB"), 64)]
    picture = ET.fromstring(svg([Row("jobs", [], [], goals)], "2 cores"))  # noqa: S314 - our own
    bars = [node for node in picture.iter("{http://www.w3.org/2000/svg}rect") if node.get("rx")]
    assert [bar.get("fill") for bar in bars] == ["#c05621", "#2f855a"]


def test_a_night_is_no_shorter_than_its_slowest_tenant_allows() -> None:
    quick = Chance(latency_seconds=1.0, export_seconds=(2.0, 3.0), report_seconds=1.0, requests_per_minute=25)
    assert quick.least_seconds() == 3 + 3.0
    assert quick.requests() == 9
    slow = Chance(latency_seconds=1.0, export_seconds=(2.0, 100.0), report_seconds=1.0, requests_per_minute=4)
    assert slow.requests() == 10  # one more look: its POST is let go
    assert slow.least_seconds() == 2 * 60 + 1.0  # ten requests at four a minute
    assert bound_seconds([quick, slow]) == 121.0
    assert bound_seconds([quick] * 1000) == 9000 / 64


@pytest.mark.parametrize("script", ["aiohttp_loop.py", "keeping_loop.py"])
def test_a_peer_does_every_job_by_a_python_that_was_named_from_here(tmp_path: Path, script: str) -> None:
    bench = Bench(tmp_path, QUICK, Path(os.path.relpath(sys.executable)), print)
    assert bench.peers_python is not None
    with serving(content_bytes=1000) as server:
        bench.run_peer(bench.peers_python, script, server, 3, 2)
        told = server.reset()
    assert sum(told["requests"].values()) == 3 * 2 * 3
