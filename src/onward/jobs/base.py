"""Errors of this package."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onward.jobs.batches import Batch
    from onward.jobs.model import Job
    from onward.jobs.workers import Worker


class JobsError(Exception):
    """Base class for errors of this package."""


class NotFound(JobsError):
    """The job does not exist, or the viewer may not see it."""


class UnknownSignal(NotFound):
    """The job waits for no signal of this name."""


class NotAllowed(JobsError):
    """The sender lacks the right."""


class Conflict(JobsError):
    """The state of the job does not allow the command; `job` is the job as it is."""

    def __init__(self, message: str, job: Job) -> None:
        super().__init__(message)
        self.job = job


class OtherPayload(Conflict):
    """The signal has come before, with another payload."""


class ScheduleRefused(JobsError):
    """A schedule cannot be made or changed: a code of `UserErrorCode`, and the parts of the path of what is wrong."""

    def __init__(self, code: str, message: str, *path: str) -> None:
        super().__init__(message)
        self.code = code
        self.path = path


class BatchConflict(JobsError):
    """The state of the batch does not allow the command; `batch` is the batch as it is."""

    def __init__(self, message: str, batch: Batch) -> None:
        super().__init__(message)
        self.batch = batch


class WorkerRefused(JobsError):
    """The process does not drain on request; `worker` is the process as it is."""

    def __init__(self, message: str, worker: Worker) -> None:
        super().__init__(message)
        self.worker = worker


class KeyReused(JobsError):
    """The idempotency key was used before with another input."""


class NotUnique(JobsError):
    """Another owner's job holds the key of a handler whose jobs are unique for all owners."""

    def __init__(self, handler: str) -> None:
        super().__init__(
            f"{handler}: a job of another owner is there, and only one is allowed at a time: try again later"
        )


class JobFailed(JobsError):
    """The job is over and has no result: it failed, or was cancelled. `job` is the job as it is."""

    def __init__(self, job: Job) -> None:
        words = f"{job.error.code}: {job.error.message}" if job.error else job.reason
        super().__init__(f"{job.id} ({job.handler}) is {job.status}" + (f": {words}" if words else ""))
        self.job = job


class NotStarted(JobsError):
    """The thread of a plain function, or the process of a handler with `process=True`, did not come up."""


class Superseded(JobsError):
    """The claim is over, and its runner's write was refused."""
