"""How a mood is told: a name, one sentence, and the tenant that it makes. Owns the register of all of them."""

from collections.abc import Callable
from datetime import date
from typing import Protocol

from runner.sandbox.faults import Replacing
from runner.sandbox.scenario import Configuration, TenantScenario, Trigger

DEMO_HOUR_SECONDS = 8.0


class Mood(Protocol):
    """Makes the tenant of a mood."""

    def __call__(self, domain: str, day: date, hour_seconds: float = DEMO_HOUR_SECONDS) -> TenantScenario:
        """The tenant of this mood at `domain`, for a run on `day`."""


_Maker = Callable[[str, date, float], TenantScenario]
MOODS: dict[str, Mood] = {}


def mood(make: _Maker) -> _Maker:
    """Enter the mood of this function under its name."""
    name = make.__name__

    def made(domain: str, day: date, hour_seconds: float = DEMO_HOUR_SECONDS) -> TenantScenario:
        tenant = make(domain, day, hour_seconds)
        object.__setattr__(tenant, "mood", name)
        return tenant

    made.__doc__ = make.__doc__
    MOODS[name] = made
    return make


def exports(*triggers: Trigger, then: Trigger | None = None) -> tuple[Configuration, ...]:
    """One configuration whose first triggers fare so, and all others like `then`."""
    return (Configuration(triggers=triggers, trigger=then or Trigger()),)


def answered(fault: Replacing, *, seconds: float = 3.0, answer_seconds: float = 0.5) -> Trigger:
    """An export that appears although its POST was answered like this."""
    return Trigger(seconds=seconds, answer=fault, answer_seconds=answer_seconds)


def lost(fault: Replacing | None = None) -> Trigger:
    """A trigger that brings no export, whatever its POST is answered."""
    return Trigger(completes=False, answer=fault)
