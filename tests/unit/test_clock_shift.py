"""The difference between two clocks, from answers that take their time."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from onward.storage.clock_shift import ClockShift

MS = 1_000
DELAYS = st.lists(st.tuples(st.integers(0, 50 * MS), st.integers(0, 50 * MS)), min_size=1, max_size=20)


def test_a_late_answer_does_not_move_the_shift() -> None:
    """A line would otherwise seem to come before the start of its attempt."""
    clock = ClockShift()
    assert clock.measure(10_000, 110_100, 10_200) == 100_000
    assert clock.measure(20_000, 120_100, 20_000 + 40 * MS) == 100_000  # the answer was underway for 40 ms
    assert clock.measure(90_000, 190_000 + 40 * MS, 90_200 + 40 * MS) == 100_000  # so was the question
    assert clock.measure(200_000, 300_100, 200_100 + 40 * MS) == 100_000


def test_a_clock_that_is_set_counts_at_once() -> None:
    clock = ClockShift()
    clock.measure(10_000, 10_100, 10_200)
    assert clock.measure(20_000, 5_020_100, 20_200) == 5_000_000
    assert clock.measure(30_000, 30_100, 30_200) == 0


def test_a_clock_that_is_set_back_before_the_answer_comes_counts_at_once() -> None:
    clock = ClockShift()
    clock.measure(10_000_000, 10_000_100, 10_000_200)
    assert clock.measure(20_000_000, 20_000_100, 12_000_200) == 7_999_900
    assert clock.measure(12_000_300, 20_000_300, 12_000_400) == 7_999_900


@given(st.integers(-(10**9), 10**9), DELAYS)
def test_what_is_done_after_an_answer_is_dated_after_it(shift: int, delays: list[tuple[int, int]]) -> None:
    """Work before a question is likewise dated before its answer, whichever answer dates it."""
    clock, now, measured = ClockShift(), 0, 0
    for before, after in delays:
        now += 1
        asked, ledger, answered = now, now + before + shift, now + before + after
        measured = clock.measure(asked, ledger, answered)
        assert asked + measured <= ledger <= answered + measured
        now = answered
    fastest = min(before + after for before, after in delays)
    assert abs(measured - shift) <= fastest
