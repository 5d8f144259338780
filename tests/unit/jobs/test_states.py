"""The table of legal moves has the moves of the design."""

from __future__ import annotations

from onward.jobs.states import HELD, MOVES, RETRYABLE, TERMINAL, UNCLAIMED, JobStatus, may_move

S = JobStatus


def test_every_state_has_its_moves() -> None:
    assert set(MOVES) == set(JobStatus)
    assert set(JobStatus) == TERMINAL | HELD | UNCLAIMED | {S.WAITING}
    assert not TERMINAL & HELD
    assert not TERMINAL & UNCLAIMED
    assert not HELD & UNCLAIMED


def test_only_a_manual_retry_leaves_a_terminal_state() -> None:
    """Only FAILED and CANCELLED can be left, for QUEUED."""
    assert {state: set(MOVES[state]) for state in TERMINAL} == {
        S.SUCCEEDED: set(),
        S.FAILED: {S.QUEUED},
        S.CANCELLED: {S.QUEUED},
    }
    assert {state for state in TERMINAL if MOVES[state]} == RETRYABLE


def test_every_state_is_reached_and_leads_to_an_end() -> None:
    """From SCHEDULED every other state can be reached, and from each of them a terminal one."""
    reached, edge = {S.SCHEDULED}, {S.SCHEDULED}
    while edge:
        edge = {target for state in edge for target in MOVES[state]} - reached
        reached |= edge
    assert reached == set(JobStatus)
    ending = set(TERMINAL)
    for _ in JobStatus:
        ending |= {state for state in JobStatus if MOVES[state] & ending}
    assert ending == set(JobStatus)


def test_only_a_queued_job_can_be_claimed() -> None:
    assert {state for state in JobStatus if may_move(state, S.RUNNING)} == {S.QUEUED}


def test_a_job_that_is_being_cancelled_is_never_retried() -> None:
    assert MOVES[S.CANCELLING] == TERMINAL
