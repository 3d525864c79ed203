"""Words, dates and numbers in the reader's language. Owns how they are written; must not know what they are said of.

Two small tables (`french`, `english`) in place of a translation library: a few hundred phrases that one person can read
through. A test keeps their keys and placeholders equal.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from functools import cache, lru_cache
from typing import Literal
from zoneinfo import ZoneInfo

from runner.summary import english, french

Language = Literal["fr", "en"]
LANGUAGES: tuple[Language, ...] = ("fr", "en")

_NBSP, _THIN = "\u00a0", "\u202f"
_HIGH_MARKS = re.compile(r" (?=[:;!?»])|(?<=«) |(?<=n°) ")
_UNITS = {"fr": ("octets", "ko", "Mo", "Go", "To"), "en": ("bytes", "kB", "MB", "GB", "TB")}
_PAUSES = (("h", 3600), ("min", 60), ("s", 1))


@cache
def _phrases(language: Language) -> Mapping[str, str]:
    words = french.WORDS if language == "fr" else english.WORDS
    typeset = {key: text.replace("'", "’") for key, text in words.items()}
    if language == "fr":
        typeset = {key: _HIGH_MARKS.sub(_NBSP, text) for key, text in typeset.items()}
    return typeset


@dataclass(frozen=True, slots=True)
class Phrasebook:
    """The words of one language, with times in one zone."""

    language: Language
    timezone: ZoneInfo

    def __call__(self, key: str, **values: object) -> str:
        """The phrase of this key with its values put in."""
        text = _phrases(self.language)[key]
        return text.format(**values) if values else text

    def has(self, key: str) -> bool:
        """Whether there is such a phrase."""
        return key in _phrases(self.language)

    def count(self, key: str, n: int, **values: object) -> str:
        """The phrase for this many; zero is singular in French, plural in English."""
        one = n in (0, 1) if self.language == "fr" else n == 1
        chosen = f"{key}.one" if one and self.has(f"{key}.one") else f"{key}.many"
        return self(chosen, n=self.number(n), **values)

    def number(self, n: int) -> str:
        """A whole number with its thousands apart."""
        return f"{n:,}".replace(",", _THIN) if self.language == "fr" else f"{n:,}"

    def size(self, size_bytes: int) -> str:
        """A file's size, to two or three digits."""
        amount, unit = float(size_bytes), 0
        while amount >= 999.5 and unit < len(_UNITS[self.language]) - 1:
            amount, unit = amount / 1000, unit + 1
        digits = 1 if unit and amount < 99.95 else 0
        text = f"{amount:.{digits}f}"
        if self.language == "fr":
            text = text.replace(".", ",")
        name = _UNITS[self.language][unit]
        if not unit and size_bytes == 1:
            name = name.removesuffix("s")
        return f"{text}{_NBSP}{name}"

    def day(self, day: date, *, weekday: bool = True) -> str:
        """`mardi 24 novembre 2026`, `Tuesday 24 November 2026`."""
        return _day(self.language, day, weekday=weekday)

    def days(self, key: str, first: date, last: date) -> str:
        """The phrase of this key with a first and a last day."""
        return _days(self.language, key, first, last)

    def local(self, at: datetime) -> datetime:
        """The moment in the reader's zone."""
        return at.astimezone(self.timezone)

    def time(self, at: datetime) -> str:
        """`2 h 14`, `02:14`."""
        local = self.local(at)
        if self.language == "fr":
            return f"{local.hour}{_NBSP}h{_NBSP}{local.minute:02}"
        return f"{local.hour:02}:{local.minute:02}"

    def moment(self, at: datetime) -> str:
        """`24 novembre 2026 à 2 h 14`, `24 November 2026 at 02:14`."""
        word = "à" if self.language == "fr" else "at"
        return f"{self.day(self.local(at).date(), weekday=False)} {word} {self.time(at)}"

    def pause(self, seconds: float) -> str:
        """A duration in its largest whole unit: `30 s`, `10 min`."""
        return _pause(self.language, seconds)


# Of a night's thousands of jobs nearly all have the same days and pauses.


@lru_cache(256)
def _day(language: Language, day: date, *, weekday: bool) -> str:
    table = french if language == "fr" else english
    number = f"1{'er' if language == 'fr' else ''}" if day.day == 1 else str(day.day)
    text = f"{number}{_NBSP}{table.MONTHS[day.month - 1]} {day.year}"
    return f"{table.DAYS[day.weekday()]} {text}" if weekday else text


@lru_cache(256)
def _days(language: Language, key: str, first: date, last: date) -> str:
    days = [_day(language, day, weekday=True) for day in (first, last)]
    return _phrases(language)[key].format(first=days[0], last=days[1])


@lru_cache(256)
def _pause(language: Language, seconds: float) -> str:
    name, size = next((u for u in _PAUSES if seconds >= u[1] and not seconds % u[1]), ("s", 1))
    amount = f"{seconds / size:g}"
    return f"{amount.replace('.', ',') if language == 'fr' else amount}{_NBSP}{name}"
