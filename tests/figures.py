"""What the campaigns counted, on its way to the table of promises in the README.

Owns the notes: a line of JSON for each `note`, below the folder that the environment names as `FIGURES` (the Makefile
does), and nothing without it. A figure never decides whether a test passes. `tests.promises` reads them.
"""

import json
import os
import statistics
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def note(campaign: str, **figures: float | list[float]) -> None:
    """Note what one case of a campaign counted: numbers are summed over its cases, lists are put together."""
    folder = os.environ.get("FIGURES")
    if not folder:
        return
    Path(folder).mkdir(parents=True, exist_ok=True)
    line = json.dumps({"campaign": campaign, **figures}) + "\n"
    # A file for each process: two never write into one.
    with Path(folder, f"{os.getpid()}.jsonl").open("a", encoding="utf-8") as file:
        file.write(line)


class MissingError(LookupError):
    """Nobody noted that figure."""


class Figures:
    """All notes below a folder."""

    def __init__(self, folder: Path) -> None:
        self._sums: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
        self._lists: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
        for path in sorted(folder.rglob("*.jsonl")):
            for line in path.read_text("utf-8").splitlines():
                self._take(json.loads(line))

    def _take(self, told: Mapping[str, Any]) -> None:
        for name, value in told.items():
            if isinstance(value, list):
                self._lists[told["campaign"]][name] += value
            elif isinstance(value, int | float):
                self._sums[told["campaign"]][name] += value

    def sum(self, campaign: str, name: str) -> float:
        """The sum over all cases.

        Raises:
            MissingError: nobody noted it.
        """
        if name not in self._sums.get(campaign, {}):
            raise MissingError(f"{campaign}: {name}")
        return self._sums[campaign][name]

    def median(self, campaign: str, name: str) -> float:
        """The middle of what was listed; raises as `sum` does."""
        return statistics.median(self._listed(campaign, name))

    def most(self, campaign: str, name: str) -> float:
        """The greatest of what was listed; raises as `sum` does."""
        return max(self._listed(campaign, name))

    def _listed(self, campaign: str, name: str) -> list[float]:
        listed = self._lists.get(campaign, {}).get(name)
        if not listed:
            raise MissingError(f"{campaign}: {name}")
        return listed

    def passed(self, *files: str) -> float:
        """How many cases passed in these files of tests; raises as `sum` does."""
        return sum(self.sum("passed", file) for file in files)
