"""What can go wrong with a job."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onward.jobs.model import Job


class JobsError(Exception):
    """The root of what this room raises."""


class NotFound(JobsError):
    """There is no such job, or the viewer may not know of it."""


class Conflict(JobsError):
    """The job is in a state that does not allow it; `job` is the job as it is."""

    def __init__(self, message: str, job: Job) -> None:
        super().__init__(message)
        self.job = job


class KeyReused(JobsError):
    """The idempotency key was used before with another input."""


class Superseded(JobsError):
    """The claim is no longer this runner's: what it wanted to write was not written."""
