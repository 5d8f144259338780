"""The job that a failure brings: prepared before the failure is written, and accepted in the same commit."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

from onward.handlers.base import HandlerError
from onward.jobs.model import Job, JobError, NewJob
from onward.jobs.outcome import MESSAGE_CHARACTERS, Outcome, message_of
from onward.jobs.states import JobStatus
from onward.storage.transaction import Tx
from onward.telemetry import logger

NOTE_CHARACTERS = 500  # of a message that says why there is no such job


class FailureEnqueuer(Protocol):
    """Prepares the job of a failed job's `on_failure`, and accepts it where nobody delivers it.

    The preparation raises a HandlerError, and any other error.
    """

    def prepare_on_failure(self, failed: Job, error: JobError) -> NewJob: ...
    def accept_undelivered(self, tx: Tx, new: NewJob) -> Job: ...


def prepared(job: Job, outcome: Outcome, enqueuer: FailureEnqueuer) -> tuple[Outcome, NewJob | None]:
    """Return the outcome, and the job to be accepted with it: None unless it is a failure that somebody is to hear of.

    A job that is refused must not keep the failure from being written: the outcome's message tells of it, and the log.
    """
    error = outcome.error
    if job.on_failure is None or error is None or outcome.status is not JobStatus.FAILED:
        return outcome, None
    try:
        return outcome, enqueuer.prepare_on_failure(job, error)
    except Exception as refused:  # noqa: BLE001 - a handler that is gone, other parameters, a missing key
        logger("runner").exception("the job of on_failure was refused", job=job.id, on_failure=job.on_failure)
        why = message_of(refused) if isinstance(refused, HandlerError) else "the log tells more under this job's id"
        note = f" (no job of {job.on_failure} was made: {why})"[:NOTE_CHARACTERS]
        message = error.message[: MESSAGE_CHARACTERS - len(note)] + note
        return outcome._replace(error=replace(error, message=message)), None
