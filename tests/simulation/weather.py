"""Trouble on the way to a host, drawn from dice.

Owns which fault may meet which kind of request. Must not know the story that it happens in.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

from runner.sandbox import Cut, Delay, Fault, Gzip, Hang, Html, RawBody, Redirect, Reset, Status, Trickle


@dataclass(frozen=True, slots=True, kw_only=True)
class Weather:
    """Trouble on the way to one host: each request of `kind` meets `fault` with this chance, between two moments."""

    kind: str
    fault: Fault
    chance: float
    from_seconds: float = 0.0
    to_seconds: float = float("inf")


_READING: Final[tuple[Fault, ...]] = (
    Status(500),
    Status(503, retry_after="20"),
    Status(408),
    Status(429, retry_after="30"),
    Status(429),
    Status(401),
    Status(403),
    Reset(),
    Hang(90.0),
    Html(),
    Redirect(),
    RawBody("{"),
    RawBody('{"data": null}'),
    Cut(20),
    Cut(20, announced=False),
    Delay(7.0),
    Delay(45.0),
    Gzip(),
    Gzip(5),
)
_POSTING: Final[tuple[Fault, ...]] = (
    Status(500),
    Status(500, executes=True),
    Status(504, executes=True),
    Status(400, body=""),
    Status(429, retry_after="30"),
    Status(403),
    Reset(),
    Reset(executes=True),
    Hang(90.0),
    Hang(90.0, executes=True),
    Html(),
    Html(executes=True),
    Redirect(),
    RawBody('{"data": {}}', executes=True),
    Cut(4),
    Delay(4.0),
    Delay(30.0),
)
_FETCHING: Final[tuple[Fault, ...]] = (
    Status(502),
    Reset(),
    Hang(90.0),
    Html(),
    RawBody("[]"),
    Cut(100),
    Cut(100, announced=False),
    Trickle(300),
    Delay(30.0),
    Gzip(),
    Gzip(3),
)
_KINDS: Final[tuple[tuple[str, tuple[Fault, ...]], ...]] = (
    ("list", _READING),
    ("poll", _READING),
    ("item", _READING),
    ("trigger", _POSTING),
    ("content", _FETCHING),
    ("report.create", _POSTING),
    ("report.poll", _READING),
    ("report.download", _FETCHING),
    ("template.create", _POSTING),
)


def weather(
    dice: Random, how_many: Sequence[int], outage_chance: float, outages: Sequence[float]
) -> tuple[Weather, ...]:
    """The trouble on the way to one host; an outage lasts one of `outages`, in seconds."""
    troubles: list[Weather] = []
    for _ in range(dice.choice(how_many)):
        kind, faults = dice.choice(_KINDS)
        chance = dice.choice((0.1, 0.3, 0.6))
        troubles.append(Weather(kind=kind, fault=dice.choice(faults), chance=chance))
    if dice.random() < outage_chance:
        start = dice.choice((0.0, 3.0, 60.0, 600.0))
        fault: Fault = dice.choice((Status(503), Reset()))
        length = dice.choice(outages)
        troubles.append(
            Weather(kind="", fault=fault, chance=1.0, from_seconds=start, to_seconds=start + length)
        )
    return tuple(troubles)
