"""The people of a tenant, their times, and which export took which of them.

Owns the ledger's one rule: an export takes every entry before its end that no export took before, so nothing is ever
given twice and nothing is left out. Entries are computed, not stored: the same seed, domain, configuration and day
give the same entry for ever, and only an export that is read costs anything. Knows nothing of time or of HTTP.
"""

import random
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any

from runner.sandbox.scenario import Configuration, TenantScenario

_FIRST_NAMES = (
    "Zoé", "François", "Anaïs", "Jean-Noël", "Maëlle", "Loïc", "Inès", "Gaël", "Chloé", "Rémi", "Solène", "Théo",
    "Hélène", "Aurélien", "Bénédicte", "Urs", "Noëmi", "Søren", "D’Arcy", "Marie-José",
)  # fmt: skip
_LAST_NAMES = (
    "Lefèvre", "N'Guyen", "Müller", "O’Brien", "de la Tour; dite Bel-Air", 'Dupont "Junior"', "Bürgi", "Gonçalves",
    "Châtelain", "Œuvrard", "Ço\u015fkun", "Le Goff", "Müller-Ruchti", "Peña", "Rochat", "Vuilleumier",
)  # fmt: skip
_TIME_TYPES = (
    {"id": 1, "name": "Heures normales", "payTreatment": "normal"},
    {"id": 2, "name": "Heures supp. 25 %", "payTreatment": "overtime"},
    {"id": 4, "name": "Prime panier; repas", "payTreatment": "bonus"},
    {"id": 7, "name": "Astreinte « week-end »", "payTreatment": "bonus"},
)
_CODES = ("H100", "0125", "P;07", "AST")
_UNITS = ("hours", "hours", "units", "hours")
_AMOUNTS = ("7.50", "8.00", "0.25", "1.10", "35.00", "4.75", "10.00", "151.67")
_SECTIONS = (("Siège", "001"), ("Atelier n° 2", "AT;02"), ("Chantier Lyon-Est", "0691"))

_NO_NUMBER_EVERY = 11
_LEAVER_EVERY = 9
_SECTION_EVERY = 3
_ADJUSTMENT_EVERY = 13
_DAY_ZERO = date(2000, 1, 1).toordinal()


@dataclass(frozen=True, slots=True)
class Employee:
    """One employee. `number` has leading zeros, belongs to one legal entity only, and may be missing."""

    id: int
    first_name: str
    last_name: str
    number: str | None
    legal_entity_id: int
    former: bool


@dataclass(frozen=True, slots=True)
class Taken:
    """What one export took from the ledger: whole days, and corrections by their number."""

    starts_on: date
    ends_on: date
    days: tuple[date, ...]
    corrections: range
    entry_count: int


class People:
    """The employees of a tenant, always the same for a seed and a domain."""

    def __init__(self, chance: random.Random, count: int) -> None:
        self._first = chance.randrange(100, 900)
        self.count = count

    def __iter__(self) -> Iterator[Employee]:
        return (self.employee(place) for place in range(self.count))

    def employee(self, place: int) -> Employee:
        """The employee at this place."""
        number = self._first + place
        return Employee(
            id=number,
            first_name=_FIRST_NAMES[number * 7 % len(_FIRST_NAMES)],
            last_name=_LAST_NAMES[number * 5 % len(_LAST_NAMES)],
            number=None if number % _NO_NUMBER_EVERY == 0 else f"{number // 2:06d}",
            legal_entity_id=1 + number % 2,
            former=number % _LEAVER_EVERY == 0,
        )


class Ledger:
    """The ledger of one configuration: what it holds, and up to where it was exported."""

    def __init__(
        self, tenant: TenantScenario, configuration: Configuration, people: People, day: date, seed: int
    ) -> None:
        self.configuration = configuration
        self.opened_on = configuration.ledger_from or day - timedelta(days=28 + day.weekday())
        self.exported_until = self.opened_on
        self.corrections_entered = 0
        self.corrections_exported = 0
        self._people = people
        self._salt = zlib.crc32(f"{seed}/{tenant.domain}/{configuration.id}".encode())
        self._weekdays = frozenset(configuration.entry_weekdays)

    def holds_news_before(self, ends_on: date) -> bool:
        """Whether an export up to this day would carry anything."""
        return self.look(ends_on).entry_count > 0

    def look(self, ends_on: date) -> Taken:
        """What an export up to this day would take."""
        starts_on = min(self.exported_until, ends_on)
        days = tuple(
            day
            for number in range(starts_on.toordinal(), ends_on.toordinal())
            if (day := date.fromordinal(number)).weekday() in self._weekdays
        )
        corrections = range(self.corrections_exported, self.corrections_entered)
        count = len(days) * self._people.count * self.configuration.entries_per_day + len(corrections)
        return Taken(starts_on, ends_on, days if self._people.count else (), corrections, count)

    def take(self, ends_on: date) -> Taken:
        """Export up to this day: what is taken now is never taken again."""
        taken = self.look(ends_on)
        self.exported_until = max(self.exported_until, ends_on)
        self.corrections_exported = self.corrections_entered
        # Staff correct something after each export; the next one carries it.
        self.corrections_entered += self.configuration.late_corrections
        return taken

    def entries(self, taken: Taken) -> Iterator[dict[str, Any]]:
        """The entries of one export, as the API shows them."""
        for day in taken.days:
            for place in range(self._people.count):
                for number in range(self.configuration.entries_per_day):
                    yield self._entry(day, place, number)
        for correction in taken.corrections:
            yield self._correction(correction, taken)

    def _entry(self, day: date, place: int, number: int) -> dict[str, Any]:
        chance = zlib.crc32(b"%d/%d/%d" % (day.toordinal(), place, number), self._salt)
        entry_id = (day.toordinal() - _DAY_ZERO) * 10_000_000 + place * 100 + number
        amount = _AMOUNTS[(chance >> 4) % len(_AMOUNTS)]
        if chance % _ADJUSTMENT_EVERY == 0:
            amount = "-" + amount
        return self._row(entry_id, day, place, chance, amount)

    def _correction(self, correction: int, taken: Taken) -> dict[str, Any]:
        chance = zlib.crc32(b"correction/%d" % correction, self._salt)
        place = chance % self._people.count if self._people.count else 0
        return self._row(9_000_000_000_000 + correction, taken.starts_on, place, chance, "-1.50")

    def _row(self, entry_id: int, day: date, place: int, chance: int, amount: str) -> dict[str, Any]:
        kind = (chance >> 8) % len(_TIME_TYPES)
        owner = self._people.employee(place)
        sections = []
        if (chance >> 12) % _SECTION_EVERY == 0:
            section = (chance >> 16) % len(_SECTIONS)
            name, code = _SECTIONS[section]
            sections.append(
                {"id": 40 + section, "name": name, "code": code, "axisId": 2, "active": True,
                 "startOn": "2020-01-01T00:00:00", "endOn": None}
            )  # fmt: skip
        return {
            "id": self.configuration.id * 10**14 + entry_id,
            "name": _TIME_TYPES[kind]["name"],
            "amount": exact(amount),
            "amountUnit": _UNITS[kind],
            "externalCode": _CODES[kind],
            "endsAt": f"{(day + timedelta(days=1)).isoformat()}T00:00:00",
            "owner": {"id": owner.id, "lastName": owner.last_name, "firstName": owner.first_name},
            "timeType": _TIME_TYPES[kind],
            "axisSections": sections,
        }


# A decimal keeps its trailing zeros on the wire, which no JSON encoder of Python writes: it travels through the
# encoder as marked text, and the marks and quotes are taken off after.
_OPEN, _CLOSE = "\ue000", "\ue001"


def exact(amount: str) -> str:
    """A number for JSON with exactly these digits."""
    return f"{_OPEN}{amount}{_CLOSE}"


def unmark(encoded: bytes) -> bytes:
    """Encoded JSON with the exact numbers in place."""
    return encoded.replace(f'"{_OPEN}'.encode(), b"").replace(f'{_CLOSE}"'.encode(), b"")


def midnight(day: date) -> datetime:
    """The first moment of a day, without a zone as Lucca has it."""
    return datetime.combine(day, time())
