"""The states of a job and the legal transitions between them, in one table."""

from __future__ import annotations

from enum import StrEnum
from types import MappingProxyType


class JobStatus(StrEnum):
    SCHEDULED = "SCHEDULED"
    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    RETRYING = "RETRYING"
    WAITING = "WAITING"
    CANCELLING = "CANCELLING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


class StepStatus(StrEnum):
    PENDING = "PENDING"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    SKIPPED = "SKIPPED"
    CANCELLED = "CANCELLED"


S = JobStatus
TERMINAL = frozenset({S.SUCCEEDED, S.FAILED, S.CANCELLED})
HELD = frozenset({S.RUNNING, S.CANCELLING})
UNCLAIMED = frozenset({S.SCHEDULED, S.QUEUED, S.RETRYING})
RETRYABLE = frozenset({S.FAILED, S.CANCELLED})
ENDED_BY_ERROR = frozenset({S.RETRYING, S.FAILED, S.CANCELLED})  # the statuses that the error of an attempt may bring
CANCELLABLE = frozenset(S) - TERMINAL - {S.CANCELLING}

MOVES = MappingProxyType(
    {
        S.SCHEDULED: frozenset({S.QUEUED, S.CANCELLED}),  # its time came; cancelled
        S.QUEUED: frozenset({S.RUNNING, S.CANCELLED, S.FAILED}),  # claimed; cancelled; its handler is gone
        S.RUNNING: frozenset(
            {
                S.SUCCEEDED,
                S.FAILED,
                S.RETRYING,  # the attempt failed, and another is allowed
                S.QUEUED,  # handed back at a drain, or its runner crashed
                S.WAITING,  # between two steps, for a signal or a time
                S.CANCELLING,  # a cancel was requested
            }
        ),
        S.RETRYING: frozenset({S.QUEUED, S.CANCELLED}),
        S.WAITING: frozenset({S.QUEUED, S.CANCELLED, S.FAILED}),  # the wait is over; cancelled; no signal came in time
        S.CANCELLING: frozenset({S.CANCELLED, S.SUCCEEDED, S.FAILED}),  # as the attempt ended
        S.SUCCEEDED: frozenset(),
        S.FAILED: frozenset({S.QUEUED}),  # a manual retry
        S.CANCELLED: frozenset({S.QUEUED}),
    }
)


def may_move(source: JobStatus, target: JobStatus) -> bool:
    return target in MOVES[source]
