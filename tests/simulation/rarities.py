"""Troubles that one schedule in seventeen meets besides its own: what comes about once in a year of a bureau.

Owns dice of its own, so that the stories told by `story` stay as they are, and how a story is bent so that its trouble
does come about. Must not know how it is played.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from random import Random
from typing import Any, Final

from runner.jobs.model import ExportSpec
from runner.plan import plan
from runner.sandbox import Configuration, StaffExport, Status, TenantScenario, Trigger
from tests.simulation.story import FIRST_NIGHT, Ending, HowEnded, Run, Story

CHANCE: Final = 0.06
CROWD: Final = 105
"""More lines than a page of a list has."""
LONG_BEFORE_SECONDS: Final = -5000.0


def befall(story: Story) -> Story:
    """The story, maybe with one of these troubles in it."""
    dice = Random(f"rare/{story.seed}")
    if dice.random() >= CHANCE:
        return story
    wanted = [p.spec for p in plan(story.manifest, FIRST_NIGHT) if isinstance(p.spec, ExportSpec)]
    return dice.choice(_TROUBLES)(story, dice, dice.choice(wanted)) if wanted else story


def _crowded(story: Story, dice: Random, wanted: ExportSpec) -> Story:
    """Ours comes behind more strangers than a page of the list holds."""
    staff = tuple(
        StaffExport(
            at_seconds=5.0 + number * 0.1,
            ends_at=FIRST_NIGHT - timedelta(days=8),
            configuration_id=wanted.configuration_id,
        )
        for number in range(CROWD)
    )
    slow = Trigger(seconds=_hour(story) * dice.choice((0.3, 0.6)), answer=Status(504))
    return _bent(story, wanted, triggers=(slow,), staff=staff)


def _unread(story: Story, dice: Random, wanted: ExportSpec) -> Story:
    """Lists tell no ends, and ours cannot be read for a while once it is listed."""
    hour = _hour(story)
    late = Trigger(
        seconds=dice.choice((8.0, hour * 0.3)),
        answer=Status(504),
        unread_seconds=dice.choice((20.0, hour * 0.1, hour * 0.5)),
    )
    # What a first look cannot read is taken for nobody's, and a journal that forgot looks for the first time again.
    runs = tuple(replace(run, journal="kept") for run in story.runs)
    return replace(_bent(story, wanted, triggers=(late,), bare_lists=True), runs=runs)


def _crossed(story: Story, _dice: Random, wanted: ExportSpec) -> Story:
    """Staff export the same hours between our look and our POST, and nobody disturbs the night."""
    story = _bent(story, wanted, triggers=(), late_corrections=0, nothing_new="made", latency_seconds=0.05)
    runs = tuple(
        replace(run, ending=None, deadline_seconds=8 * 3600.0, keyless=frozenset(), journal="kept")
        for run in story.runs
    )
    return replace(story, crossed=True, runs=runs, weather=dict.fromkeys(story.weather, ()))


def _robbed(story: Story, dice: Random, _wanted: ExportSpec) -> Story:
    """The files of a night are lost after it, and maybe what they came from is gone at Lucca."""
    last = next(run for run in reversed(story.runs) if not run.calm)
    again = Run(
        night=last.night, pause_seconds=20_000.0, robbed=True, put_away_chance=dice.choice((0.0, 1.0, 1.0))
    )
    at = story.runs.index(last) + 1
    return replace(story, runs=(*story.runs[:at], again, *story.runs[at:]))


def _put_away(story: Story, dice: Random, wanted: ExportSpec) -> Story:
    """What was found, made by staff or by us, is archived before it is downloaded."""
    if dice.random() < 0.6:
        by_hand = StaffExport(
            at_seconds=LONG_BEFORE_SECONDS,
            ends_at=wanted.ends_at,
            configuration_id=wanted.configuration_id,
        )
        story = _bent(story, wanted, staff=(by_hand,) * dice.choice((1, 2, 2)))
    how: HowEnded = "crash" if dice.random() < 0.5 else "stop"
    first = replace(story.runs[0], ending=Ending(how, "download", 1), keyless=frozenset())
    again = Run(night=first.night, pause_seconds=700.0, put_away_chance=dice.choice((0.5, 0.5, 1.0)))
    return replace(story, runs=(first, again, *story.runs[1:]))


_TROUBLES: Final[tuple[Callable[[Story, Random, ExportSpec], Story], ...]] = (
    _crowded,
    _unread,
    _crossed,
    _robbed,
    _put_away,
)


def _hour(story: Story) -> float:
    return story.policy.retrigger_after_seconds


def _bent(
    story: Story,
    wanted: ExportSpec,
    *,
    staff: tuple[StaffExport, ...] = (),
    triggers: tuple[Trigger, ...] | None = None,
    bare_lists: bool | None = None,
    latency_seconds: float | None = None,
    late_corrections: int | None = None,
    nothing_new: str | None = None,
) -> Story:
    """The story with these staff exports besides, and with what else is given of the host and the configuration."""

    def configuration(one: Configuration) -> Configuration:
        if one.id != wanted.configuration_id:
            return one
        told = {"triggers": triggers, "late_corrections": late_corrections, "nothing_new": nothing_new}
        return replace(one, **_given(told))

    def tenant(one: TenantScenario) -> TenantScenario:
        if one.domain != wanted.domain:
            return one
        return replace(
            one,
            staff_exports=(*one.staff_exports, *staff),
            configurations=tuple(configuration(each) for each in one.configurations),
            **_given({"bare_lists": bare_lists, "latency_seconds": latency_seconds}),
        )

    scenario = replace(story.scenario, tenants=tuple(tenant(one) for one in story.scenario.tenants))
    return replace(story, scenario=scenario)


def _given(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
