"""Date rules and periods: which dates a job is for. Pure; knows nothing of clocks, files, tenants or jobs.

A rule stands for a set of days; resolved against a day it gives the latest of them that is not after it.
`due` is resolved against the batch date, `ends_at` and `period` against the due date. A period's last day is
included.
"""

import calendar
import re
from datetime import date, timedelta
from difflib import get_close_matches
from functools import lru_cache
from itertools import pairwise

from msgspec import Struct

FIRST_YEAR, LAST_YEAR = 1970, 2999
"""Dates outside these years are taken for slips of the pen; within them no date arithmetic can overflow."""

WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
LAST_DAY_N = 28
RULE_NAMES = (
    "daily",
    *WEEKDAYS,
    "month-start",
    "first-monday",
    "last-monday",
    *(f"day-{n}" for n in range(1, LAST_DAY_N + 1)),
    *(f"monday-after-day-{n}" for n in range(1, LAST_DAY_N + 1)),
)
CLOSED_PERIODS = ("yesterday", "previous-week", "previous-month")
PERIOD_NAMES = (*CLOSED_PERIODS, "this-month")
_MONTHLY_KINDS = ("month-start", "first-monday", "last-monday", "day", "monday-after-day")

_ONE_DAY = timedelta(days=1)
_ISO_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_NUMBERED = re.compile(r"(monday-after-day|day)-([0-9]{1,9})")

# Weekdays and leap days repeat after 28 years: what does not happen within these never happens (until 2100).
_CYCLE = (date(2027, 1, 1), date(2054, 12, 31))
_SOON = timedelta(days=92)
_YEAR = timedelta(days=366)


def did_you_mean(text: str, names: tuple[str, ...]) -> str:
    """`; did you mean …?` where one of the names is near, else nothing."""
    near = get_close_matches(text.strip().lower()[:100].replace("_", "-"), names, n=1)
    return f"; did you mean {near[0]}?" if near else ""


def parse_date(text: str) -> date:
    """The day written `YYYY-MM-DD`.

    Raises:
        ValueError: it is written otherwise, does not exist or lies outside 1970 … 2999.
    """
    if not _ISO_DATE.fullmatch(text):
        raise ValueError("write a date as YYYY-MM-DD, for example 2026-11-30")
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise ValueError(f"the date {text} does not exist") from None
    if not FIRST_YEAR <= day.year <= LAST_YEAR:
        raise ValueError(f"the year of {text} is not between {FIRST_YEAR} and {LAST_YEAR}")
    return day


def _monday_from(day: date) -> date:
    """The first Monday on or after this day."""
    return day + timedelta(days=-day.weekday() % 7)


class DateRule(Struct, frozen=True, gc=False):
    """A set of days, as the manifest writes it; two rules are equal where their text is.

    Attributes:
        text: the rule as written; canonical, since there is one way to write each.
        kind: its name without the number; `literal` for one fixed day.
        number: the N of `day-N` and `monday-after-day-N`, or the weekday (Monday is 0).
        day: the fixed day of a literal.
    """

    text: str
    kind: str
    number: int = 0
    day: date | None = None

    @lru_cache(maxsize=4096)  # noqa: B019 - rules are values, and a night asks few of them for few days
    def latest(self, not_after: date) -> date | None:
        """The latest day of the rule that is not after this one; None if a literal is still to come."""
        if self.day is not None:
            return self.day if self.day <= not_after else None
        if self.kind == "daily":
            return not_after
        if self.kind == "weekday":
            return not_after - timedelta(days=(not_after.weekday() - self.number) % 7)
        year, month = not_after.year, not_after.month
        # The Monday after a late day may lie in the next month: then even the month before is too late.
        while (found := self._of_month(year, month)) > not_after:
            year, month = (year, month - 1) if month > 1 else (year - 1, 12)
        return found

    def previous(self, day: date) -> date | None:
        """The latest day of the rule that is strictly before this one."""
        return self.latest(day - _ONE_DAY)

    def between(self, first: date, last: date) -> list[date]:
        """All days of the rule from the first to the last, both included, the oldest first."""
        found: list[date] = []
        day = self.latest(last)
        while day is not None and day >= first:
            found.append(day)
            day = self.previous(day)
        return found[::-1]

    def _of_month(self, year: int, month: int) -> date:
        match self.kind:
            case "month-start":
                return date(year, month, 1)
            case "first-monday":
                return _monday_from(date(year, month, 1))
            case "last-monday":
                end = date(year, month, calendar.monthrange(year, month)[1])
                return end - timedelta(days=end.weekday())
            case "day":
                return date(year, month, self.number)
            case _:
                return _monday_from(date(year, month, self.number))

    def __str__(self) -> str:
        return self.text


@lru_cache(maxsize=1024)
def parse_date_rule(text: str) -> DateRule:
    """The rule written like this.

    Raises:
        ValueError: there is no such rule; the message says what there is, and which one is near.
    """
    if text in WEEKDAYS:
        return DateRule(text, "weekday", WEEKDAYS.index(text))
    if text in RULE_NAMES:
        if numbered := _NUMBERED.fullmatch(text):
            return DateRule(text, numbered[1], int(numbered[2]))
        return DateRule(text, text)
    if _ISO_DATE.fullmatch(text):
        return DateRule(text, "literal", day=parse_date(text))
    if numbered := _NUMBERED.fullmatch(text):
        number = int(numbered[2])
        if not 1 <= number <= LAST_DAY_N:
            message = (
                f"{numbered[1]}-N takes an N from 1 to {LAST_DAY_N}, since not every month has more days; "
                "month-start and last-monday follow a month's end"
            )
        else:
            message = f"write the number without leading zeros: {numbered[1]}-{number}"
        raise ValueError(message)
    message = (
        "not a date rule (daily, monday … sunday, month-start, first-monday, last-monday, day-N, "
        f"monday-after-day-N, or a date like 2026-11-30){did_you_mean(text, RULE_NAMES)}"
    )
    raise ValueError(message)


DAILY = parse_date_rule("daily")


class Period(Struct, frozen=True, gc=False):
    """The days a report is about.

    Attributes:
        text: its name, or `2026-11-01..2026-11-30`.
        days: the first and the last day of a fixed period, else None.
    """

    text: str
    days: tuple[date, date] | None = None

    @property
    def is_closed(self) -> bool:
        """Whether it is over by its due date and another follows it, so that a missed one is made up for."""
        return self.text in CLOSED_PERIODS

    def resolve(self, due: date) -> tuple[date, date]:
        """Its first and its last day, seen from the due date."""
        if self.days is not None:
            return self.days
        match self.text:
            case "yesterday":
                return due - _ONE_DAY, due - _ONE_DAY
            case "previous-week":
                monday = due - timedelta(days=due.weekday() + 7)
                return monday, monday + timedelta(days=6)
            case "previous-month":
                end = due.replace(day=1) - _ONE_DAY
                return end.replace(day=1), end
            case _:
                return due.replace(day=1), due.replace(day=calendar.monthrange(due.year, due.month)[1])

    def __str__(self) -> str:
        return self.text


def parse_period(text: str) -> Period:
    """The period of this name.

    Raises:
        ValueError: there is none; the message says what there is, and which one is near.
    """
    if text not in PERIOD_NAMES:
        message = (
            f"not a period ({', '.join(PERIOD_NAMES)}, or {{starts_on: 2026-11-01, ends_on: 2026-11-30}})"
            f"{did_you_mean(text.lower().replace('last', 'previous'), PERIOD_NAMES)}"
        )
        raise ValueError(message)
    return Period(text)


def fixed_period(starts_on: date, ends_on: date) -> Period:
    """The period from one day to another, both included.

    Raises:
        ValueError: it ends before it starts.
    """
    if ends_on < starts_on:
        raise ValueError(f"the period ends ({ends_on}) before it starts ({starts_on})")
    return Period(f"{starts_on}..{ends_on}", (starts_on, ends_on))


def default_due(period: Period | None) -> DateRule:
    """When a report is due if nothing is said: by its period, daily without one."""
    name = {"previous-month": "month-start", "previous-week": "monday"}.get(
        period.text if period else "", "daily"
    )
    return parse_date_rule(name)


@lru_cache(maxsize=1024)
def period_warning(period: Period, due: DateRule) -> str | None:
    """A warning where no due date asks for some period between two others; None if all are asked for."""
    last_end: date | None = None
    for day in due.between(*_CYCLE):
        starts_on, ends_on = period.resolve(day)
        if last_end is not None and starts_on > last_end + _ONE_DAY:
            gap_start, gap_end = last_end + _ONE_DAY, starts_on - _ONE_DAY
            gap = f"{gap_start}" if gap_start == gap_end else f"{gap_start} to {gap_end}"
            return (
                f"period {period} with due {due} passes days over (for example {gap} is in no report); "
                f"due: {default_due(period)} asks for every one"
            )
        last_end = ends_on
    return None


@lru_cache(maxsize=1024)
def ends_at_warnings(ends_at: DateRule, due: DateRule, batch_date: date) -> tuple[str, ...]:
    """Warnings of an `ends_at` that within a year is no Monday, or for a month the same; or, soon, the day it is due.

    Looking further ahead would warn of every rule by day of the month, which meets a Monday sooner or later.
    """
    found: list[str] = []
    start = due.latest(batch_date) or batch_date
    pairs = [(day, ends_at.latest(day)) for day in due.between(start, batch_date + _YEAR)]
    for day, end in pairs:
        if end is not None and end.weekday() != 0:
            found.append(
                f"ends_at {ends_at} is no Monday (due {day}, it is {WEEKDAYS[end.weekday()].title()} {end}): "
                "rules that count by the week would cut one in two; a rule that gives Mondays is advised"
            )
            break
    for day, end in pairs:
        if end == day and day <= batch_date + _SOON:
            found.append(
                f"ends_at {ends_at} is the very day it is due ({day}): the hours of the day before are "
                "hardly approved by then; a due some days later is advised"
            )
            break
    monthly = ends_at.kind in _MONTHLY_KINDS and due.kind in _MONTHLY_KINDS
    for (day, end), (next_day, next_end) in pairwise(pairs) if monthly else ():
        if next_end == end:
            found.append(
                f"ends_at {ends_at} with due {due} passes a month over: on {next_day} it is still {end}, as on "
                f"{day}, and nothing is asked for; a due that comes after its month's ends_at is advised"
            )
            break
    return tuple(found)
