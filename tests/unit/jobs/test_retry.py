"""The waits between attempts: properties of pure functions."""

from __future__ import annotations

from datetime import timedelta
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from onward.handlers.base import Retry
from onward.jobs.retry import ceiling, delay

TICK = timedelta(milliseconds=1)


@st.composite
def policies(draw: st.DrawFn) -> Retry:
    base = draw(st.integers(0, 100_000))
    return Retry(base=base * TICK, cap=draw(st.integers(base, 10_000_000)) * TICK)


attempts = st.integers(1, 10_000)


@given(policies(), attempts)
def test_the_ceiling_grows_up_to_the_cap(policy: Retry, attempt: int) -> None:
    """The ceiling never falls, and never exceeds the cap."""
    assert ceiling(policy, attempt) <= ceiling(policy, attempt + 1) <= policy.cap


@given(policies(), st.integers(1, 60))
def test_the_ceiling_doubles_from_the_base(policy: Retry, attempt: int) -> None:
    """After the n-th attempt it is the base times 2^(n-1), as long as that is below the cap."""
    us = timedelta(microseconds=1)
    assert ceiling(policy, attempt) // us == min(policy.cap // us, policy.base // us * 2 ** (attempt - 1))


@given(policies(), attempts, st.integers())
def test_the_delay_is_within_the_ceiling(policy: Retry, attempt: int, seed: int) -> None:
    """The delay is never negative, for any random number."""
    assert timedelta(0) <= delay(policy, attempt, Random(seed)) <= ceiling(policy, attempt)


@given(policies(), attempts, st.integers())
def test_the_delay_is_the_same_for_the_same_random_number(policy: Retry, attempt: int, seed: int) -> None:
    assert delay(policy, attempt, Random(seed)) == delay(policy, attempt, Random(seed))


def test_the_jitter_is_full() -> None:
    """Waits lie in each tenth of the range."""
    policy, chance = Retry(base=timedelta(seconds=10), cap=timedelta(seconds=10)), Random(1)
    assert {int(delay(policy, 1, chance).total_seconds()) for _ in range(1000)} == set(range(10))
