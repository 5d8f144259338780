"""The states of the contract as GraphQL enums."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, EnumMeta

import strawberry
from strawberry.types.enum import StrawberryEnumDefinition

from onward.jobs.batches import BatchState
from onward.jobs.log_level import LogLevel
from onward.jobs.schedule_choices import ScheduleMissed, ScheduleOverlap
from onward.jobs.states import JobStatus, StepStatus
from onward.jobs.stats_step import StatsStep

__all__ = [
    "BatchState",
    "JobStatus",
    "LogLevel",
    "ScheduleMissed",
    "ScheduleOverlap",
    "StatsStep",
    "StepStatus",
    "UserErrorCode",
]


def described(cls: EnumMeta, description: str, values: Mapping[str, str]) -> None:
    """Register the enum with the schema, with a description of each value."""
    strawberry.enum(cls, description=description)
    definition: StrawberryEnumDefinition = cls.__strawberry_definition__  # type: ignore[attr-defined]
    for value in definition.values:
        value.description = values[value.name]


class UserErrorCode(Enum):
    INVALID = "INVALID"
    ALREADY_EXISTS = "ALREADY_EXISTS"
    NOT_FOUND = "NOT_FOUND"
    NOT_ALLOWED = "NOT_ALLOWED"
    CONFLICT = "CONFLICT"
    IDEMPOTENCY_KEY_REUSED = "IDEMPOTENCY_KEY_REUSED"
    RATE_LIMITED = "RATE_LIMITED"
    UNAVAILABLE = "UNAVAILABLE"


described(
    JobStatus,
    "The state of a job. SUCCEEDED, FAILED and CANCELLED are terminal; only a retry leaves the last two.",
    {
        "SCHEDULED": "Waits for its time.",
        "QUEUED": "Waits for a free worker.",
        "RUNNING": "A worker runs it.",
        "RETRYING": "An attempt failed; waits for the next one.",
        "WAITING": "Waits between two steps, for a signal or a time; see `wait`.",
        "CANCELLING": "Cancelling was requested; the worker has not stopped yet.",
        "SUCCEEDED": "Done.",
        "FAILED": "Ended with an error; see `error`.",
        "CANCELLED": "Cancelled on request, with its batch, or because it had expired; see `reason` and `error`.",
    },
)
described(
    BatchState,
    "The state of a batch. DONE, STOPPED and CANCELLED are terminal; only a retry leaves them.",
    {
        "OPEN": "Its children wait or run.",
        "STOPPING": "A child has failed; those that do not run are being cancelled.",
        "CANCELLING": "Cancelling was requested; its children are being cancelled.",
        "RETRYING": "Its failed children are being queued again.",
        "DONE": "All children are over, and `then` has followed.",
        "STOPPED": "A child has failed; all are over, and what follows a failure has followed.",
        "CANCELLED": "Cancelled on request, with its children; nothing has followed.",
    },
)
described(
    StepStatus,
    "The state of a step.",
    {
        "PENDING": "Not started.",
        "RUNNING": "In progress.",
        "SUCCEEDED": "Done; never runs again.",
        "FAILED": "Ended with an error.",
        "SKIPPED": "Not needed.",
        "CANCELLED": "Cancelled with the job before its end.",
    },
)
described(
    ScheduleOverlap,
    "What a schedule does at a tick whose last job is not over.",
    {
        "ALLOW": "Makes the next job all the same.",
        "SKIP": "Makes none; `skippedAt` shows it.",
        "CANCEL_LAST": "Cancels the last job, and makes the next one in the same commit. It does not wait for the end"
        " of one that runs.",
    },
)
described(
    ScheduleMissed,
    "What a schedule does about ticks at which no process ran.",
    {"SKIP": "Nothing: it goes on with the next tick.", "RUN_ONCE": "Makes one job for all of them."},
)
described(
    LogLevel,
    "The level of a log line.",
    {
        "DEBUG": "Of interest to those who look for a fault.",
        "INFO": "All goes as it should.",
        "WARNING": "Something was not expected.",
        "ERROR": "Something failed.",
        "CRITICAL": "The process may not go on.",
    },
)
described(
    StatsStep,
    "The time that a row of the history is of.",
    {
        "MINUTE": "A minute; kept for 24 hours.",
        "HOUR": "An hour; kept for 35 days.",
        "DAY": "A day in UTC; kept for 400 days.",
        "TOTAL": "The whole time that is asked for.",
    },
)
described(
    UserErrorCode,
    "The kind of an error.",
    {
        "INVALID": "A value is not valid; `path` names it.",
        "ALREADY_EXISTS": "The object exists already.",
        "NOT_FOUND": "There is no such object, or none that you may see.",
        "NOT_ALLOWED": "You lack the right.",
        "CONFLICT": "The object's state does not allow it.",
        "IDEMPOTENCY_KEY_REUSED": "The key was used before, with another input.",
        "RATE_LIMITED": "Too many requests; try again later.",
        "UNAVAILABLE": "Not available now; send it again with the same idempotency key.",
    },
)
