"""The states of the contract as GraphQL enums."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, EnumMeta

import strawberry
from strawberry.types.enum import StrawberryEnumDefinition

from onward.jobs.states import JobStatus, StepStatus

__all__ = ["JobStatus", "StepStatus", "UserErrorCode"]


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
    "Where a job is. SUCCEEDED, FAILED and CANCELLED are terminal; only a retry leaves the last two.",
    {
        "SCHEDULED": "Its time has not come.",
        "QUEUED": "Waits for a free worker.",
        "RUNNING": "A worker has it.",
        "RETRYING": "An attempt failed; waits for the next one.",
        "CANCELLING": "Somebody wants it cancelled, and the worker has yet to stop.",
        "SUCCEEDED": "Done.",
        "FAILED": "Done without success; `error` says why.",
        "CANCELLED": "Stopped on demand.",
    },
)
described(
    StepStatus,
    "Where a step is.",
    {
        "PENDING": "Has not begun.",
        "RUNNING": "Is being done.",
        "SUCCEEDED": "Done, and never done again.",
        "FAILED": "Done without success.",
        "SKIPPED": "Not needed.",
        "CANCELLED": "The job was cancelled before its end.",
    },
)
described(
    UserErrorCode,
    "What kind of thing was wrong.",
    {
        "INVALID": "A value that cannot be taken; `path` says which.",
        "ALREADY_EXISTS": "It is there already.",
        "NOT_FOUND": "There is no such thing, or none that you may see.",
        "NOT_ALLOWED": "You may not.",
        "CONFLICT": "Its state does not allow it.",
        "IDEMPOTENCY_KEY_REUSED": "The key was used before, with another input.",
        "RATE_LIMITED": "Too often; try again later.",
        "UNAVAILABLE": "Not now; send it again with the same idempotency key.",
    },
)
