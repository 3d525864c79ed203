"""A host never gets more than its share in any minute, and never waits for less than it could have."""

import heapq
from itertools import pairwise
from random import Random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from runner.pacing import (
    ARRIVES_WITHIN_SECONDS,
    BAD_ANSWERS,
    LONGEST_PAUSE_SECONDS,
    LONGEST_RETRY_AFTER_SECONDS,
    MARGIN_SECONDS,
    WINDOW_SECONDS,
    SlidingWindow,
    Slot,
    pause_seconds,
)

SPAN = WINDOW_SECONDS + MARGIN_SECONDS
LIMITS = st.integers(1, 8)
SECONDS = st.floats(0, 200, allow_nan=False)


def most_within(leavings: list[float], span: float) -> int:
    """The oracle: how many of them lie in the fullest half-open window of this length."""
    return max((sum(1 for at in leavings if start <= at < start + span) for start in leavings), default=0)


def wait_for_a_turn(window: SlidingWindow, now: float) -> float:
    """The moment at which the window lets a request go, asked as the engine asks: wait what it says, ask again."""
    for _ in range(50):
        delay = window.delay_seconds(now)
        if delay == 0:
            return now
        now += delay
    raise AssertionError("the window keeps its caller busy")


# ── the window ───────────────────────────────────────────────────────────────────────────────────────────────────


@given(LIMITS, st.lists(st.tuples(st.floats(0, 30), st.floats(0, 20)), max_size=40))
def test_in_any_minute_never_more_leave_than_the_limit(
    limit: int, requests: list[tuple[float, float]]
) -> None:
    """However long requests dawdle between their turn and their leaving."""
    window = SlidingWindow(limit)
    now = 0.0
    leavings: list[float] = []
    dawdling: list[tuple[float, Slot]] = []
    for pause, dawdle in requests:
        now += pause
        for _ in range(200):
            for leaves, slot in sorted(dawdling, key=lambda pair: pair[0]):
                if leaves <= now and slot.at is None:
                    slot.at = leaves
                    leavings.append(leaves)
            delay = window.delay_seconds(now)
            if delay == 0:
                break
            coming = min((leaves for leaves, slot in dawdling if slot.at is None), default=now + delay)
            now = min(now + delay, coming)
        else:
            raise AssertionError("the window never lets go")
        dawdling.append((now + dawdle, window.take()))
    leavings += [leaves for leaves, slot in dawdling if slot.at is None]
    assert most_within(leavings, WINDOW_SECONDS) <= limit


@given(LIMITS, st.integers(1, 60))
def test_who_sends_as_fast_as_allowed_gets_the_whole_rate(limit: int, requests: int) -> None:
    window = SlidingWindow(limit)
    now = 0.0
    for number in range(requests):
        now = wait_for_a_turn(window, now)
        assert now == pytest.approx(number // limit * SPAN, abs=0.1)
        window.take().at = now


@given(LIMITS, st.lists(SECONDS, max_size=30), st.floats(200, 300))
@example(1, [5.0, 50.0], 200.0)
def test_the_delay_is_exactly_what_the_record_asks_for(limit: int, spent: list[float], now: float) -> None:
    window = SlidingWindow(limit, spent)
    spent = [at + ARRIVES_WITHIN_SECONDS for at in spent]
    turn = wait_for_a_turn(window, now)
    assert most_within([*spent, turn], SPAN) <= max(limit, most_within(spent, SPAN))
    assert sum(1 for at in spent if turn - SPAN < at) < limit
    if turn > now:
        just_before = turn - 0.01
        assert sum(1 for at in spent if just_before - SPAN < at) >= limit, "it could have gone earlier"


def test_requests_that_leave_out_of_order_free_their_places_in_the_order_they_left() -> None:
    window = SlidingWindow(2)
    slow, quick = window.take(), window.take()
    quick.at = 1.0
    slow.at = 50.0
    assert wait_for_a_turn(window, 50.0) == pytest.approx(1.0 + SPAN)


def test_a_lowered_limit_waits_for_the_right_one_though_they_left_out_of_order() -> None:
    window = SlidingWindow(3)
    for at in (50.0, 5.0, 20.0):
        window.take().at = at
    window.lower(1)
    window.lower(9)
    assert window.delay_seconds(60.0) == pytest.approx(50.0 + SPAN - 60.0)


def test_an_earlier_run_counts() -> None:
    window = SlidingWindow(2, spent=[30.0, 10.0])
    counted = 10.0 + ARRIVES_WITHIN_SECONDS
    assert window.delay_seconds(40.0) == pytest.approx(counted + SPAN - 40.0)
    assert window.delay_seconds(counted + SPAN + 0.001) == 0


@given(LIMITS, st.lists(st.tuples(st.floats(0, 30), st.floats(0, 5), st.floats(0, 90)), max_size=40))
def test_in_any_minute_never_more_arrive_than_the_limit(
    limit: int, requests: list[tuple[float, float, float]]
) -> None:
    """A request is on the road for a while, which its sender does not see: only its answer says that it has arrived."""
    window = SlidingWindow(limit)
    now = 0.0
    arrivals: list[float] = []
    answers: list[tuple[float, int, Slot]] = []
    for pause, road, more in requests:
        now = wait_for_a_turn(window, now + pause)
        while answers and answers[0][0] <= now:
            answered, _, slot = heapq.heappop(answers)
            slot.answered(answered)
        slot = window.take()
        slot.left(now)
        arrivals.append(now + road)
        heapq.heappush(answers, (now + road + more, len(arrivals), slot))
    assert most_within(arrivals, WINDOW_SECONDS) <= limit


def test_a_request_on_its_way_holds_its_place_until_it_has_left_for_a_minute() -> None:
    window = SlidingWindow(1)
    slot = window.take()
    assert window.delay_seconds(500.0) == pytest.approx(SPAN)
    slot.at = 500.0
    assert window.delay_seconds(500.0 + SPAN - 1) == pytest.approx(1.0)


def test_a_request_that_never_left_costs_nothing() -> None:
    window = SlidingWindow(1)
    window.give_back(window.take())
    assert window.delay_seconds(0.0) == 0


def test_a_delay_is_never_so_short_that_asking_again_would_be_all_one_does() -> None:
    window = SlidingWindow(1, spent=[0.0])
    assert window.delay_seconds(SPAN - 1e-12) >= 0.001


# ── pauses ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_pauses_grow_from_half_a_second_to_a_minute() -> None:
    pauses = [pause_seconds(attempt, Random(1)) for attempt in range(12)]
    assert 0.5 <= pauses[0] <= 0.55
    assert all(later > earlier for earlier, later in pairwise(pauses[:8]))
    assert all(60.0 <= pause <= 66.0 for pause in pauses[7:])
    assert pause_seconds(10**6, Random(1)) <= 66.0


@given(st.integers(0, 100), st.integers(), st.none() | st.floats(0, 1e12))
def test_what_the_host_asks_for_lengthens_the_pause_and_never_shortens_it(
    attempt: int, seed: int, asked: float | None
) -> None:
    own = pause_seconds(attempt, Random(seed))
    pause = pause_seconds(attempt, Random(seed), asked)
    assert pause >= own
    assert pause >= min(asked or 0.0, LONGEST_RETRY_AFTER_SECONDS)
    assert pause <= LONGEST_RETRY_AFTER_SECONDS + LONGEST_PAUSE_SECONDS * 0.1


def test_a_thousand_tenants_do_not_come_back_as_one() -> None:
    random = Random(1)
    assert len({pause_seconds(3, random) for _ in range(1000)}) > 900


def test_an_answer_that_is_no_content_is_asked_for_again_five_times() -> None:
    assert BAD_ANSWERS - 1 == 5


def test_polite_requests_leave_a_fifth_of_the_budget_to_urgent_ones() -> None:
    window = SlidingWindow(10)
    for _ in range(8):
        assert window.delay_seconds(0.0, polite=True) == 0.0
        window.take().at = 0.0
    assert window.delay_seconds(0.0, polite=True) > 59.0
    assert window.delay_seconds(0.0) == 0.0


def test_a_budget_too_small_to_share_is_not_shared() -> None:
    window = SlidingWindow(1)
    assert window.delay_seconds(0.0, polite=True) == 0.0
