"""The outcome of an attempt, as data, and the one place that decides what follows from an error."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from random import Random
from typing import Any, NamedTuple

from onward.handlers.base import HandlerError, InvalidParameters, Permanent, Retry, RetryIn, Wait
from onward.jobs.base import NotStarted, Superseded
from onward.jobs.encryption import redact
from onward.jobs.model import Attempt, Job, JobError, Step, without_surrogates
from onward.jobs.retry import delay, internal_delay, name_of, rule_for
from onward.jobs.running import StopReason
from onward.jobs.states import JobStatus
from onward.jobs.step_process import RemoteError, RemoteFailure
from onward.storage.base import Unavailable
from onward.text.errors import text_of

UNEXPECTED = "the handler failed unexpectedly; the log tells more under this job's id"
NO_MESSAGE = "the handler gave no reason"
MESSAGE_CHARACTERS = 2000
CODE_CHARACTERS = 100
MAX_INTERNAL_ERRORS = 10
UNCHARGED_IN_A_ROW = 100  # of these the last one counts, so that an endless loop uses up its attempts
MAX_ERRORS = 100  # of a group, of which the classes are looked at
NEVER = 2**62  # as a delay in microseconds: the index of waits by their time has those without a limit, too

S = JobStatus


class Outcome(NamedTuple):
    """The end of an attempt: the state that it leads to, and the values recorded with it."""

    status: JobStatus  # SUCCEEDED, FAILED, CANCELLED, RETRYING (after `delay_us`), QUEUED (handed back) or WAITING
    result: object = None
    error: JobError | None = None
    counts_as_attempt: bool = True
    delay_us: int = 0
    crashed: bool = False
    wait: Wait | None = None  # that begins; `result` is that of the step before it, if that one has just ended


class Ended(NamedTuple):
    """The end of an attempt: its steps as they were recorded last, and its outcome."""

    steps: tuple[Step, ...]
    outcome: Outcome


HANDED_BACK = Outcome(S.QUEUED, counts_as_attempt=False)


def waiting(wait: Wait, result: object = None) -> Outcome:
    """Return the outcome of an attempt that ends because a wait comes next. It counts as no attempt."""
    delay_us = NEVER if wait.time is None else _us(wait.time)
    return Outcome(S.WAITING, result=result, counts_as_attempt=False, delay_us=delay_us, wait=wait)


def failed(code: str, message: str) -> Outcome:
    """Return the outcome of an attempt that failed for another reason than an error of the handler."""
    return Outcome(S.FAILED, error=_error(code, message, retryable=False))


def internal_error(attempts: Sequence[Attempt]) -> Outcome:
    """Return the outcome of an attempt that an error of ours ended: another attempt, and none is counted.

    After many in a row the job is FAILED, and waits for a retry by hand: its handler would run again and again.
    """
    in_a_row = _in_a_row(attempts, "INTERNAL")
    error = _error("INTERNAL", UNEXPECTED, retryable=True)
    if in_a_row >= MAX_INTERNAL_ERRORS:
        return Outcome(S.FAILED, error=error, counts_as_attempt=False)
    return Outcome(S.RETRYING, error=error, counts_as_attempt=False, delay_us=_us(internal_delay(in_a_row)))


def _in_a_row(attempts: Sequence[Attempt], code: str) -> int:
    """Return the number of attempts in a row that end with the error code, the present one included."""
    earlier = [attempt.error.code if attempt.error else None for attempt in attempts[:-1]]
    return next((n for n, one in enumerate(reversed(earlier)) if one != code), len(earlier)) + 1


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
    raised, error = error, cause_of(error)
    match stop:
        case StopReason.CANCEL if not isinstance(error, Permanent):
            return Outcome(S.CANCELLED)
        case StopReason.DRAIN:
            return HANDED_BACK
        case StopReason.LOST:
            raise Superseded(job.id)
    if isinstance(error, NotStarted):
        return internal_error(job.attempts)
    if isinstance(error, Unavailable):
        job_error = _error("UNAVAILABLE", "the ledger did not answer; the job is tried again", step, retryable=True)
        wait = internal_delay(_in_a_row(job.attempts, job_error.code))
        return Outcome(S.RETRYING, error=job_error, counts_as_attempt=False, delay_us=_us(wait))
    chosen = error if isinstance(error, RetryIn) else None
    rule = policy if chosen is not None else rule_for(policy, kinds_of(raised))
    permanent = rule is None or isinstance(error, Permanent | InvalidParameters)
    if isinstance(error, HandlerError):
        code, message = (redact(text, secrets) for text in (code_of(error), message_of(error)))
        job_error = _error(code, message, step, retryable=not permanent)
    else:
        job_error = _error("UNEXPECTED", UNEXPECTED, step, retryable=not permanent)
    counts = chosen is None or chosen.charged or _none_counts(job.attempts[-UNCHARGED_IN_A_ROW:-1])
    attempts = job.counted_attempts + counts
    most = job.max_attempts if rule is None or rule is policy else rule.max_attempts
    if rule is None or permanent or (counts and attempts >= most):
        return Outcome(S.FAILED, error=job_error)
    wait = delay(rule, attempts, chance) if chosen is None else chosen.delay
    return Outcome(S.RETRYING, error=job_error, counts_as_attempt=counts, delay_us=_us(wait))


def _none_counts(earlier: Sequence[Attempt]) -> bool:
    """Return whether there were so many attempts before the present one that one has to count, and none does."""
    return len(earlier) == UNCHARGED_IN_A_ROW - 1 and not any(attempt.counts_as_attempt for attempt in earlier)


def kinds_of(error: BaseException | None) -> list[list[str]]:
    """Return the names of an error's classes, the most specific first; of a group, its members' before its own."""
    if isinstance(error, RemoteError | RemoteFailure):
        return error.kinds
    judged = _members(error)[:MAX_ERRORS]
    if isinstance(error, BaseExceptionGroup):
        judged.append(error)
    return [[name_of(kind) for kind in type(one).__mro__] for one in judged]


def cause_of(error: BaseException | None) -> BaseException | None:
    """Return the deciding error: of a group, as a TaskGroup raises it, a permanent one, a RetryIn, one with a code."""
    inner = _members(error)
    for kinds in (Permanent | InvalidParameters, RetryIn, Unavailable, HandlerError):
        if (found := next((one for one in inner if isinstance(one, kinds)), None)) is not None:
            return found
    return error


def _members(error: BaseException | None) -> list[BaseException]:
    """Return all errors of a group and of the groups in it."""
    if not isinstance(error, BaseExceptionGroup):
        return [error] if error is not None else []
    return [one for member in error.exceptions for one in _members(member)]


def code_of(error: HandlerError) -> str:
    """Return the error's code as text, since classes of the project's may have anything there."""
    try:
        code: Any = error.code
        return code if isinstance(code, str) else HandlerError.code if code is None else str(code)
    except Exception:  # noqa: BLE001 - a property, or the text of a value, is other people's code
        return HandlerError.code


def message_of(error: HandlerError) -> str:
    """Return the error's message, which is never empty: it stands behind the code."""
    return text_of(error) or NO_MESSAGE


def _us(duration: timedelta) -> int:
    return duration // timedelta(microseconds=1)


def _error(code: str, message: str, step: str | None = None, *, retryable: bool) -> JobError:
    return JobError(
        without_surrogates(code[:CODE_CHARACTERS]), without_surrogates(message[:MESSAGE_CHARACTERS]), retryable, step, 0
    )
