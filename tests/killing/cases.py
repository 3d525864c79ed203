"""The table: at which places which night is killed, once or several times. Knows no processes.

`MATRIX` is what every `make test` plays, `FURTHER` what the soak adds.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from tests.killing.ports import Death

STORIES: Final = ("answered", "doubled", "polled", "report")
"""An export whose POST is answered, one that answers under the doubled path alone, one whose POST is cut off by a
gateway, a report by its own template."""


@dataclass(frozen=True, slots=True)
class Case:
    """A story, and the deaths of its runs one after the other."""

    story: str
    deaths: tuple[Death, ...]

    def __str__(self) -> str:
        return f"{self.story}: {', then '.join(map(str, self.deaths))}"


def deaths(*lines: str) -> tuple[Death, ...]:
    """From lines `before after: place, place #2`."""
    made = []
    for line in lines:
        moments, _, places = line.partition(": ")
        for place in places.split(", "):
            name, _, nth = place.partition(" #")
            made += [Death(name, when, int(nth or 1)) for when in moments.split()]
    return tuple(made)


ONCE: Final = {
    "polled": (
        "before after: journal create, disk rename run.json, export Triggered, journal spend #2",
        "after: journal start_night, disk make night, disk make tenant, disk create page #2, disk flush night",
        # The sixth transaction is that of the intent.
        "before after: send survey, journal commit #6, send content",
        "before midst after: send trigger, send poll",
        "before after: export TriggerLetGo, export Listed #2",
        "before after: disk create data, disk write data, disk flush data",
        "before after: export Named, disk link data, disk unlink data, disk flush tenant, export Placed",
        "before after: journal finish_night",
        "after: disk rename run.json #2",
    ),
    "answered": ("before after: export TriggerAnswered",),
    "doubled": ("before after: journal remember_trait",),
    "report": (
        "midst after: send template",
        "after: journal remember_template, report TemplateCreated",
        "before after: report Triggered, report TriggerAnswered, send report-poll, report ReportPolled",
        "before midst after: send report",
        "after: send download-csv",
        "before after: send download-excel, report Named, report Placed",
        "after: disk link data, disk link data #2, disk unlink data #2",
    ),
}
"""Where a night is killed once."""

ONCE_FURTHER: Final = {
    "polled": (
        "before: journal start_night, disk make night, disk make tenant, disk create page, disk flush night",
        "after: disk write page, disk rename SHA256SUMS, disk rename SHA256SUMS #2, disk rename index.html #2",
        "before after: journal spend, journal spend #3, export Listed",
        "before after: journal commit #5, journal commit #7, journal commit #8, journal commit #9",
        "midst: send survey, send content",
        "before after: disk create data #2, disk write data #3, disk flush data #2",
        "before after: disk link data #2, disk unlink data #2",
        "before: disk rename run.json #2",
    ),
    "answered": ("before midst after: send trigger, send content",),
    "report": (
        "before after: journal first_nights",
        "before: send template, journal remember_template, report TemplateCreated",
        "before midst: send download-csv",
        "midst: send report-poll, send download-excel",
        "before after: disk write data, disk flush data, disk create data #2, disk flush data #2",
        "before: disk link data, disk link data #2, disk unlink data, disk unlink data #2",
    ),
}

AGAIN: Final = (
    # The intent is stored and nothing was sent: the hour is waited for, then it is asked for again.
    (
        "polled",
        "after: export Triggered",
        ("before after: export Triggered", "after: send poll", "before midst after: send trigger"),
    ),
    # It was sent, and nobody was there to hear.
    (
        "polled",
        "midst: send trigger",
        (
            "before after: export Listed",
            "after: send poll, disk write data, disk flush data, disk unlink data #2, journal finish_night",
        ),
    ),
    # Something lies beside its place: the cleaning dies.
    ("polled", "after: disk write data", ("before after: disk unlink data",)),
    ("polled", "after: disk create page #2", ("before: disk unlink page",)),
    # Named, and not yet, half or quite there.
    ("polled", "after: export Named", ("before after: export FilesMissed, export Named",)),
    ("polled", "after: disk link data", ("before after: disk unlink data", "before: export Placed")),
    ("polled", "after: disk unlink data #2", ("before after: disk flush tenant, export Placed",)),
    # Reports leave no trace: one more is asked for, under the same care.
    ("report", "after: report Triggered", ("after: report Triggered", "before midst after: send report")),
    ("report", "midst: send report", ("after: report TriggerAnswered", "after: disk write data")),
    ("report", "after: report TriggerAnswered", ("midst: send report-poll", "after: report ReportPolled")),
    ("report", "after: report Named", ("before after: report FilesMissed", "after: disk link data")),
    ("report", "after: disk link data", ("after: disk unlink data", "before: report Placed")),
)
"""A story, where its first run is killed, and where each second one."""

AGAIN_FURTHER: Final = (
    ("polled", "after: export Triggered", ("before: send poll",)),
    (
        "polled",
        "midst: send trigger",
        (
            "before after: journal start_night, send content, export Named, export Placed",
            "before: send poll",
            "after: disk link data",
        ),
    ),
    ("polled", "after: disk create page #2", ("after: disk unlink page",)),
    ("polled", "after: export Named", ("before after: disk link data",)),
    ("polled", "after: disk link data", ("after: export Placed",)),
    ("answered", "after: send trigger", ("before after: export Listed", "after: export Named")),
    ("report", "after: report Triggered", ("before: report Triggered",)),
    ("report", "after: report TriggerAnswered", ("before after: send report-poll",)),
    ("report", "after: report ReportPolled", ("midst: send download-excel", "before after: report Named")),
    (
        "report",
        "after: disk link data",
        ("before: disk unlink data", "before after: disk link data", "after: report Placed"),
    ),
)

OFTEN: Final = (
    Case("polled", deaths("after: export Triggered", "midst: send trigger", "after: export Named")),
    Case("report", deaths("midst: send template", "midst: send report", "after: disk link data")),
)
"""Killed more than twice."""


def _once(table: Mapping[str, Iterable[str]]) -> list[Case]:
    return [Case(story, (death,)) for story, lines in table.items() for death in deaths(*lines)]


def _again(table: Iterable[tuple[str, str, Iterable[str]]]) -> list[Case]:
    return [
        Case(story, (*deaths(first), second)) for story, first, lines in table for second in deaths(*lines)
    ]


MATRIX: Final = (*_once(ONCE), *_again(AGAIN), *OFTEN)
FURTHER: Final = (*_once(ONCE_FURTHER), *_again(AGAIN_FURTHER))
