"""A position includes every commit that its reader has not seen, however commits overlap."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onward.jobs.position import MAX_OPEN, STEP, BadToken, Position, Snapshot

NUMBERS = st.integers(1, 200)


@st.composite
def histories(draw: st.DrawFn) -> tuple[Snapshot, set[int]]:
    """A snapshot, as PostgreSQL has them, and the numbers of the changes that it shows."""
    end = draw(NUMBERS)
    open_ = draw(st.sets(st.integers(1, end), max_size=30))
    seen = draw(st.sets(st.integers(1, end), max_size=30)) - open_ - {end}
    return Snapshot("1e30", end, max(seen, default=0), tuple(sorted(open_ - {end}))), seen


@given(histories(), st.sets(NUMBERS, max_size=20))
def test_what_a_reader_has_not_seen_is_included(history: tuple[Snapshot, set[int]], later: set[int]) -> None:
    """Transactions that were open, and those that came later; also from the position of any job that it has seen."""
    snapshot, seen = history
    unseen = {*snapshot.open, *(snapshot.end + number for number in later), snapshot.end}
    position = snapshot.position
    assert len(position.open) <= MAX_OPEN
    for one in (position, *(position.near(change) for change in (*seen, snapshot.end + 5))):
        assert [change for change in unseen if not one.includes(change)] == []
        assert one.end > position.end - STEP or len(one.open) == MAX_OPEN
        assert Position.of(one.token(7)) == one


@given(histories(), NUMBERS)
def test_a_number_that_is_given_again_after_a_crash_is_included(history: tuple[Snapshot, set[int]], ahead: int) -> None:
    """PostgreSQL forgets the numbers of transactions that reached no disk: those after the newest one on disk."""
    snapshot, seen = history
    forgetful = snapshot._replace(end=snapshot.end + ahead)
    assert forgetful.position.includes(max(seen, default=0) + 1)


def test_a_job_that_stays_as_it_is_keeps_its_position_for_a_while() -> None:
    """The position moves at last, so that a reader is never far behind."""
    jobs = [Position("1e30", end).near(100) for end in range(101, 300)]
    assert len(set(jobs[: STEP - 101 % STEP])) == 1
    assert all(end - one.end < STEP or one.end == 101 for end, one in zip(range(101, 300), jobs, strict=True))
    assert jobs[-1].end > 250


@pytest.mark.parametrize("token", ["", "x", "MS4x", "é", "Li4uLg", Position("0", 2**63).token(1)])
def test_any_other_text_is_no_position(token: str) -> None:
    with pytest.raises(BadToken):
        Position.of(token)


def test_two_changes_of_a_job_have_two_tokens() -> None:
    position = Position("1e30", 40, (7,))
    assert position.token(41) != position.token(42)


def test_a_reader_goes_on_after_the_newest_change_and_with_what_was_open() -> None:
    """The server crashed in between, and gave the numbers from 941 on again."""
    before = Snapshot("1e30", 1000, 940, (950, 960))
    assert Snapshot("1e30", 970, 945, (960,)).since(before) == (941, "{950}")
    assert Snapshot("1e30", 970, 945, (950, 960)).since(before) == (941, None)
