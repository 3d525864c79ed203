"""Date rules and periods give the dates that the manifest promises."""

import re
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.dates import (
    DAILY,
    RULE_NAMES,
    DateRule,
    Period,
    default_due,
    ends_at_warnings,
    fixed_period,
    parse_date,
    parse_date_rule,
    parse_period,
    period_warning,
)

DAYS = st.dates(date(1971, 1, 1), date(2998, 12, 31))
RECURRING = st.sampled_from(RULE_NAMES).map(parse_date_rule)
LITERAL = DAYS.map(lambda day: parse_date_rule(day.isoformat()))
RULES = RECURRING | LITERAL


@pytest.mark.parametrize(
    "rule, not_after, expected",
    [
        ("daily", "2026-11-24", "2026-11-24"),
        ("monday", "2026-11-24", "2026-11-23"),
        ("monday", "2026-11-23", "2026-11-23"),
        ("sunday", "2026-11-23", "2026-11-22"),
        ("month-start", "2026-11-24", "2026-11-01"),
        ("first-monday", "2026-11-24", "2026-11-02"),
        ("first-monday", "2026-11-01", "2026-10-05"),
        ("first-monday", "2026-06-01", "2026-06-01"),
        ("last-monday", "2026-11-29", "2026-10-26"),
        ("last-monday", "2026-11-30", "2026-11-30"),
        ("day-24", "2026-11-24", "2026-11-24"),
        ("day-24", "2026-11-23", "2026-10-24"),
        ("day-28", "2027-01-05", "2026-12-28"),
        ("monday-after-day-20", "2026-11-22", "2026-10-26"),
        ("monday-after-day-20", "2026-11-23", "2026-11-23"),
        # The Monday on or after 28 February 2026 is 2 March: on 1 March the latest is January's.
        ("monday-after-day-28", "2026-03-01", "2026-02-02"),
        ("monday-after-day-28", "2026-03-02", "2026-03-02"),
        ("2026-11-30", "2026-11-30", "2026-11-30"),
        ("2026-11-30", "2027-01-01", "2026-11-30"),
    ],
)
def test_a_rule_gives_its_latest_date_that_is_not_after_the_day(
    rule: str, not_after: str, expected: str
) -> None:
    assert parse_date_rule(rule).latest(date.fromisoformat(not_after)) == date.fromisoformat(expected)


def test_a_literal_date_gives_nothing_before_it() -> None:
    assert parse_date_rule("2026-11-30").latest(date(2026, 11, 29)) is None


@given(RULES, DAYS)
def test_the_latest_date_is_never_after_the_day_and_is_its_own_latest(rule: DateRule, day: date) -> None:
    found = rule.latest(day)
    if found is not None:
        assert found <= day
        assert rule.latest(found) == found


@given(RULES, DAYS, st.integers(0, 400))
def test_a_later_day_never_gives_an_earlier_date(rule: DateRule, day: date, further: int) -> None:
    found, later = rule.latest(day), rule.latest(min(day + timedelta(further), date(2999, 1, 1)))
    assert found is None or (later is not None and later >= found)


@given(RECURRING, DAYS)
def test_a_recurring_rule_gives_a_date_within_five_weeks_and_a_half(rule: DateRule, day: date) -> None:
    found = rule.latest(day)
    assert found is not None
    assert day - found <= timedelta(days=37)


@given(RULES, DAYS, st.integers(-10, 120))
def test_all_dates_between_two_days_are_the_days_that_the_rule_gives_back(
    rule: DateRule, first: date, length: int
) -> None:
    last = first + timedelta(length)
    days = [first + timedelta(n) for n in range(length + 1)]
    assert rule.between(first, last) == [day for day in days if rule.latest(day) == day]


@given(RULES, DAYS)
def test_the_previous_date_is_strictly_before(rule: DateRule, day: date) -> None:
    found = rule.previous(day)
    assert found is None or found < day


@given(RULES)
def test_a_rule_reads_back_from_its_text(rule: DateRule) -> None:
    assert parse_date_rule(str(rule)) == rule


@pytest.mark.parametrize(
    "text, told",
    [
        ("mondays", "did you mean monday?"),
        ("Monday", "did you mean monday?"),
        ("month_start", "did you mean month-start?"),
        ("monthstart", "did you mean month-start?"),
        ("first-munday", "did you mean first-monday?"),
        ("day-31", "from 1 to 28"),
        ("day-0", "from 1 to 28"),
        ("monday-after-day-29", "from 1 to 28"),
        ("day-024", "day-24"),
        ("2026-11-31", "does not exist"),
        ("2026-1-3", "not a date rule"),
        ("0001-01-01", "the year"),
        ("xyzzy", "not a date rule"),
        ("", "not a date rule"),
    ],
)
def test_a_rule_that_does_not_exist_is_told_with_what_is_near(text: str, told: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        parse_date_rule(text)
    assert told in str(caught.value)


@given(st.text(max_size=40))
def test_any_other_text_is_refused_with_a_message(text: str) -> None:
    if text not in RULE_NAMES and not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
        with pytest.raises(ValueError, match=r"."):
            parse_date_rule(text)


@pytest.mark.parametrize(
    "text",
    ["2026-02-30", "26-11-01", "2026-11-01T00:00:00", "\u0662\u0660\u0662\u0666-11-01", "", "9999-12-31"],
)
def test_a_date_that_does_not_exist_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"date|year"):
        parse_date(text)


@pytest.mark.parametrize(
    "period, due, starts_on, ends_on",
    [
        ("yesterday", "2026-03-01", "2026-02-28", "2026-02-28"),
        ("previous-week", "2026-11-23", "2026-11-16", "2026-11-22"),
        ("previous-week", "2026-11-29", "2026-11-16", "2026-11-22"),
        ("previous-month", "2026-01-31", "2025-12-01", "2025-12-31"),
        ("previous-month", "2028-03-01", "2028-02-01", "2028-02-29"),
        ("this-month", "2026-11-24", "2026-11-01", "2026-11-30"),
    ],
)
def test_a_period_is_seen_from_the_due_date(period: str, due: str, starts_on: str, ends_on: str) -> None:
    expected = (date.fromisoformat(starts_on), date.fromisoformat(ends_on))
    assert parse_period(period).resolve(date.fromisoformat(due)) == expected


@given(st.sampled_from(["yesterday", "previous-week", "previous-month"]).map(parse_period), DAYS)
def test_a_closed_period_is_over_by_its_due_date(period: Period, due: date) -> None:
    starts_on, ends_on = period.resolve(due)
    assert period.is_closed
    assert starts_on <= ends_on < due


def test_a_fixed_period_is_the_same_from_every_due_date() -> None:
    period = fixed_period(date(2026, 11, 1), date(2026, 11, 30))
    assert period.resolve(date(2031, 1, 1)) == (date(2026, 11, 1), date(2026, 11, 30))
    assert not period.is_closed
    assert str(period) == "2026-11-01..2026-11-30"


def test_a_fixed_period_that_ends_before_it_starts_is_refused() -> None:
    with pytest.raises(ValueError, match="before it starts"):
        fixed_period(date(2026, 11, 2), date(2026, 11, 1))


def test_a_period_that_does_not_exist_is_told_with_what_is_near() -> None:
    with pytest.raises(ValueError, match="did you mean previous-month"):
        parse_period("previous-months")
    with pytest.raises(ValueError, match="did you mean yesterday"):
        parse_period("Yesterday")
    for text in ("last-month", "lastMonth", "last_month"):  # by its letters this-month is nearer
        with pytest.raises(ValueError, match="did you mean previous-month"):
            parse_period(text)


def test_a_report_is_due_by_its_period_when_nothing_is_said() -> None:
    dues = {
        name: str(default_due(parse_period(name)))
        for name in ("previous-month", "previous-week", "yesterday")
    }
    assert dues == {"previous-month": "month-start", "previous-week": "monday", "yesterday": "daily"}
    assert default_due(parse_period("this-month")) == DAILY
    assert default_due(None) == DAILY


@pytest.mark.parametrize(
    "period, due",
    [
        ("yesterday", "monday"),
        ("yesterday", "day-3"),
        ("previous-week", "month-start"),
        ("previous-week", "day-24"),
        # The Monday after the 28th drifts into the next month in some years only.
        ("previous-month", "monday-after-day-28"),
    ],
)
def test_a_period_that_could_be_passed_over_is_warned_of(period: str, due: str) -> None:
    warning = period_warning(parse_period(period), parse_date_rule(due))
    assert warning is not None
    assert default_due(parse_period(period)).text in warning


@pytest.mark.parametrize(
    "period, due",
    [
        ("yesterday", "daily"),
        ("previous-week", "monday"),
        ("previous-week", "thursday"),
        ("previous-week", "daily"),
        ("previous-month", "month-start"),
        ("previous-month", "last-monday"),
        ("previous-month", "day-5"),
        ("previous-month", "2026-11-30"),
        ("this-month", "day-24"),
    ],
)
def test_a_period_that_is_always_asked_for_is_not_warned_of(period: str, due: str) -> None:
    assert period_warning(parse_period(period), parse_date_rule(due)) is None


def _ends_at_warnings(ends_at: str, due: str, batch_date: date = date(2026, 11, 24)) -> tuple[str, ...]:
    return ends_at_warnings(parse_date_rule(ends_at), parse_date_rule(due), batch_date)


def test_an_export_that_ends_on_the_monday_before_its_due_date_is_not_warned_of() -> None:
    assert _ends_at_warnings("monday", "day-24") == ()
    assert _ends_at_warnings("monday", "thursday") == ()


@pytest.mark.parametrize("ends_at", ["month-start", "sunday", "daily", "2026-11-17"])
def test_an_export_that_does_not_end_on_a_monday_is_warned_of(ends_at: str) -> None:
    assert any("no Monday" in warning for warning in _ends_at_warnings(ends_at, "day-24"))


def test_an_export_that_ends_on_the_very_day_it_is_due_is_warned_of() -> None:
    assert "very day it is due (2026-11-23)" in _ends_at_warnings("monday", "monday")[0]
    assert "very day it is due (2026-11-30)" in _ends_at_warnings("monday", "daily")[0]
    # 24 May 2027 is a Monday: told when it comes near.
    assert "2027-05-24" in _ends_at_warnings("monday", "day-24", date(2027, 5, 2))[0]


@pytest.mark.parametrize(
    "ends_at, due, told",
    [
        (
            "last-monday",
            "day-24",
            "on 2027-03-24 it is still 2027-02-22, as on 2027-02-24, and nothing is asked for",
        ),
        ("monday-after-day-20", "day-24", "on 2027-01-24 it is still 2026-12-21, as on 2026-12-24"),
        ("first-monday", "month-start", "on 2027-04-01 it is still 2027-03-01, as on 2027-03-01"),
    ],
)
def test_rules_by_which_a_month_asks_for_no_export_are_warned_of(ends_at: str, due: str, told: str) -> None:
    assert any(told in warning for warning in _ends_at_warnings(ends_at, due, date(2026, 12, 1)))


@pytest.mark.parametrize(
    "ends_at, due",
    [
        ("last-monday", "month-start"),
        ("monday-after-day-20", "day-26"),
        ("first-monday", "day-7"),
        ("first-monday", "monday"),
        ("first-monday", "daily"),
        ("monday", "day-24"),
        ("2026-11-30", "day-24"),
    ],
)
def test_rules_by_which_each_month_has_its_export_are_not(ends_at: str, due: str) -> None:
    assert not any("passes a month over" in warning for warning in _ends_at_warnings(ends_at, due))


def test_an_export_that_has_no_end_yet_is_not_warned_of() -> None:
    assert _ends_at_warnings("2026-11-30", "2026-11-24") == ()
    assert _ends_at_warnings("2026-11-30", "2027-11-24") == ()
