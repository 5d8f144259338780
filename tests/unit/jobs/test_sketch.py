"""Histograms of durations: the error of their percentiles, and that they merge in any order."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from onward.jobs import sketch

LONGEST_US = 130 * 86_400_000_000
ROUNDING = 1e-9
DURATIONS = st.integers(0, LONGEST_US) | st.integers(0, 10_000_000)
SAMPLES = st.lists(DURATIONS, max_size=200)


def made(durations: list[int]) -> sketch.Sketch:
    found: sketch.Sketch = {}
    for us in durations:
        sketch.merge(found, {sketch.bucket(us): 1})
    return found


@given(DURATIONS)
def test_a_bucket_stands_for_its_durations_within_the_stated_error(us: int) -> None:
    error = abs(sketch.seconds(sketch.bucket(us)) * 1_000_000 - us)
    assert error <= max(us * (sketch.RELATIVE_ERROR + ROUNDING), sketch.LEAST_US / 2)


@given(SAMPLES.filter(bool))
def test_a_percentile_is_that_of_the_durations_within_the_stated_error(durations: list[int]) -> None:
    for name, found in sketch.percentiles(made(durations)).items():
        exact = sorted(durations)[math.ceil(int(name[1:]) * len(durations) / 100) - 1]
        assert found is not None
        assert abs(found * 1_000_000 - exact) <= max(exact * (sketch.RELATIVE_ERROR + ROUNDING), sketch.LEAST_US / 2)


@given(SAMPLES, SAMPLES, SAMPLES)
def test_the_order_of_merges_makes_no_difference(one: list[int], two: list[int], three: list[int]) -> None:
    """Merged in one order, in another, or counted at once: always the same histogram."""
    first, second = made(one), made(two)
    sketch.merge(first, made(two))
    sketch.merge(first, made(three))
    sketch.merge(second, made(three))
    sketch.merge(second, made(one))
    assert first == second == made(three + two + one)
    read = made(one)
    for further in (two, three):
        sketch.merge_encoded(read, sketch.encode(made(further)))
    assert read == first


def test_every_duration_has_a_bucket() -> None:
    """Longer ones share the last, and a clock that was set back makes no negative one."""
    assert sketch.bucket(-5) == sketch.bucket(0) == 0
    assert sketch.bucket(10**18) == sketch.BUCKETS - 1
    assert set(sketch.percentiles({}).values()) == {None}


def test_buckets_are_those_of_the_logarithm() -> None:
    """Ledgers hold buckets that were computed by it."""
    for of, longest in enumerate(sketch._LONGEST):
        assert sketch.bucket(longest) == of
        assert sketch.bucket(longest + 1) == of + 1
    for us in (101, 110, 111, 1_000, 123_456, 10**9, 10**12):
        assert sketch.bucket(us) == min(
            math.ceil(math.log(us / sketch.LEAST_US) / math.log(sketch.GAMMA)), sketch.BUCKETS - 1
        )
