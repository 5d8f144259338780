"""The outcome of an attempt, as data, and the one place that decides what follows from an error."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from random import Random
from typing import NamedTuple

from onward.handlers.base import HandlerError, InvalidParameters, Permanent, Retry
from onward.jobs.base import Superseded
from onward.jobs.encryption import redact
from onward.jobs.model import Job, JobError, Step, legible
from onward.jobs.retry import delay
from onward.jobs.running import StopReason
from onward.jobs.states import JobStatus
from onward.storage.base import StorageError

UNEXPECTED = "the handler failed unexpectedly; the log tells more under this job's id"
MESSAGE_CHARACTERS = 2000
LEDGER_RETRY = timedelta(seconds=1)

S = JobStatus


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt ended: the state that it leads to, and what is recorded with it."""

    status: JobStatus  # SUCCEEDED, FAILED, CANCELLED, RETRYING (after `delay_us`) or QUEUED (handed back)
    result: object = None
    error: JobError | None = None
    counts_as_attempt: bool = True
    delay_us: int = 0
    crashed: bool = False


class Ended(NamedTuple):
    """The end of an attempt: its steps as they were recorded last, and its outcome."""

    steps: tuple[Step, ...]
    outcome: Outcome


HANDED_BACK = Outcome(S.QUEUED, counts_as_attempt=False)


def failed(code: str, message: str, *, retryable: bool = False) -> Outcome:
    """The outcome of an attempt that failed for no error of the handler's."""
    return Outcome(S.FAILED, error=_error(code, message, retryable=retryable))


def after_error(
    error: BaseException | None,
    *,
    job: Job,
    stop: StopReason | None,
    step: str,
    policy: Retry,
    secrets: Sequence[str],
    chance: Random,
) -> Outcome:
    """Decide what follows from an error in a step: FAILED, another attempt by the policy, or an uncounted attempt.

    `error` is None if the step was stopped. Raises Superseded if the claim was lost.
    """
    match stop:
        case StopReason.CANCEL if not isinstance(error, Permanent):
            return Outcome(S.CANCELLED)
        case StopReason.DRAIN:
            return HANDED_BACK
        case StopReason.LOST:
            raise Superseded(job.id)
    if isinstance(error, StorageError):
        told = _error("UNAVAILABLE", "the ledger did not answer; the job is tried again", step, retryable=True)
        return Outcome(S.RETRYING, error=told, counts_as_attempt=False, delay_us=_us(LEDGER_RETRY))
    permanent = isinstance(error, Permanent | InvalidParameters)
    if isinstance(error, HandlerError):
        told = _error(error.code, redact(str(error), secrets), step, retryable=not permanent)
    else:
        told = _error("UNEXPECTED", UNEXPECTED, step, retryable=True)
    attempts = job.counted_attempts + 1
    if permanent or attempts >= job.max_attempts:
        return Outcome(S.FAILED, error=told)
    return Outcome(S.RETRYING, error=told, delay_us=_us(delay(policy, attempts, chance)))


def _us(duration: timedelta) -> int:
    return duration // timedelta(microseconds=1)


def _error(code: str, message: str, step: str | None = None, *, retryable: bool) -> JobError:
    return JobError(legible(code), legible(message[:MESSAGE_CHARACTERS]), retryable, step, 0)
