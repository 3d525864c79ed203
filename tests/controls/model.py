"""What a control is, and planting it. Pure: source text comes in and goes out."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Change:
    """One text of a module for another. As short as can be, so that it outlives what is written around it."""

    module: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Control:
    """A fault, and who must notice it.

    Attributes:
        name: of the fault.
        breaks: what the program does with it, in one sentence.
        changes: how it is planted.
        tests: each of them must fail, of a parametrized one some case.
        simulated: whether the simulation must notice it, too.
    """

    name: str
    breaks: str
    changes: tuple[Change, ...]
    tests: tuple[str, ...]
    simulated: bool = False


class NotPlantableError(Exception):
    """The text to be replaced does not stand there exactly once."""


def planted(control: Control, read: Callable[[str], str]) -> dict[str, str]:
    """The changed modules with the fault in them.

    Args:
        control: what to plant.
        read: gives the text of a module.

    Raises:
        NotPlantableError: see there.
    """
    sources: dict[str, str] = {}
    for change in control.changes:
        source = sources.get(change.module) or read(change.module)
        times = source.count(change.old)
        if times != 1:
            raise NotPlantableError(f"in {change.module} its text stands {times} times instead of once")
        sources[change.module] = source.replace(change.old, change.new)
    return sources
