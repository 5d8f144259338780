"""The decision about an error: another attempt and its time, or the end of the run."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from random import Random
from types import new_class

import pytest

from onward.handlers.base import HandlerError, Permanent, Retry, RetryIn, TimedOut
from onward.jobs import row
from onward.jobs.model import Attempt, Job
from onward.jobs.outcome import UNCHARGED_IN_A_ROW, Outcome, after_error, kinds_of
from onward.jobs.running import StopReason
from onward.jobs.states import JobStatus
from onward.jobs.step_process import RemoteError, RemoteFailure
from onward.storage.base import Unavailable
from onward.worker import step_process

S = JobStatus
SECOND = timedelta(seconds=1)
ROW = {
    "id": "job_1",
    "handler": "test.job",
    "status": "RUNNING",
    "backend": "here",
    "priority": 0,
    "changed": 1,
    "params": "{}",
    "params_version": 1,
    "steps": '[{"n": "only"}]',
    "due_at": 1,
    "created_at": 1,
    "attempt": 1,
    "worker": "w",
    "attempt_started_at": 1,
}


class Busy(HandlerError):
    code = "BUSY"


class Overloaded(Busy):
    """A more specific class."""


def job(*, counted: int = 0, most: int = 3, earlier: tuple[bool, ...] = ()) -> Job:
    """Return a job that runs; `earlier` says which attempts before it counted."""
    made = row.decode(row.new({**ROW, "charged": counted, "max_attempts": most}).values())
    attempts = [Attempt(n, counts, "here", "w", 1, 2) for n, counts in enumerate(earlier)]
    return replace(made, attempts=(*attempts, made.attempts[-1]))


def decide(
    error: BaseException, *, of: Job | None = None, policy: Retry | None = None, stop: StopReason | None = None
) -> Outcome:
    return after_error(
        error, job=of or job(), stop=stop, step="only", policy=policy or Retry(3), secrets=(), chance=Random(1)
    )


def test_a_chosen_delay_is_kept_exactly() -> None:
    """The delay may be longer than the policy's."""
    made = decide(RetryIn(timedelta(days=2, microseconds=1), "later"), policy=Retry(3, cap=SECOND, base=SECOND))
    assert (made.status, made.delay_us, made.counts_as_attempt) == (S.RETRYING, 2 * 86_400_000_000 + 1, True)
    assert made.error is not None
    assert (made.error.code, made.error.message, made.error.retryable) == ("RETRY_IN", "later", True)


def test_the_last_charged_attempt_is_the_end() -> None:
    """An attempt that is not charged goes on, whatever the budget."""
    assert decide(RetryIn(SECOND), of=job(counted=2)).status is S.FAILED
    made = decide(RetryIn(SECOND, charged=False), of=job(counted=2), policy=Retry(1))
    assert (made.status, made.counts_as_attempt, made.delay_us) == (S.RETRYING, False, 1_000_000)


def test_every_hundredth_uncharged_attempt_in_a_row_counts() -> None:
    """A loop without end ends."""
    asked = RetryIn(SECOND, charged=False)
    most = UNCHARGED_IN_A_ROW - 1
    assert not decide(asked, of=job(earlier=(False,) * (most - 1))).counts_as_attempt
    assert decide(asked, of=job(earlier=(False,) * most)).counts_as_attempt
    assert not decide(asked, of=job(earlier=(True,) + (False,) * (most - 1))).counts_as_attempt
    assert not decide(asked, of=job(earlier=(False,) * 5 + (True,) + (False,) * (most - 1))).counts_as_attempt
    assert decide(asked, of=job(counted=2, earlier=(False,) * (most + 1))).status is S.FAILED


@pytest.mark.parametrize(
    ("stop", "status"), [(StopReason.CANCEL, S.CANCELLED), (StopReason.DRAIN, S.QUEUED), (None, S.RETRYING)]
)
def test_a_cancel_and_a_drain_come_before_a_chosen_delay(stop: StopReason | None, status: JobStatus) -> None:
    assert decide(RetryIn(SECOND), stop=stop).status is status


def test_a_chosen_delay_in_a_task_group_counts_unless_another_task_failed_for_good() -> None:
    inner = ExceptionGroup("inner", [RetryIn(SECOND, code="LATER"), ValueError()])
    made = decide(ExceptionGroup("outer", [Busy(), inner]))
    assert made.error is not None
    assert (made.error.code, made.delay_us) == ("LATER", 1_000_000)
    assert decide(ExceptionGroup("outer", [inner, Permanent("no")])).status is S.FAILED


POLICY = Retry(
    2,
    base=timedelta(0),
    by_type={
        Busy: Retry(4, base=timedelta(0)),
        Overloaded: Retry(8, base=timedelta(0)),
        OSError: Retry(4, base=timedelta(0)),
        ConnectionError: Permanent,
        TimedOut: Permanent,
    },
)


@pytest.mark.parametrize(
    ("error", "attempts"),
    [
        (ValueError(), 2),
        (Busy(), 4),
        (Overloaded(), 8),
        (PermissionError(), 4),
        (ConnectionResetError(), 1),
        (TimedOut("late"), 1),
        (HandlerError(), 2),
        (ExceptionGroup("tasks", [ValueError(), PermissionError()]), 4),
        (ExceptionGroup("tasks", [PermissionError(), ConnectionResetError()]), 1),
        (ExceptionGroup("tasks", [ValueError()]), 2),
        (ExceptionGroup("tasks", [HandlerError("with a code"), PermissionError()]), 4),
        (ExceptionGroup("tasks", [HandlerError("with a code"), ConnectionResetError()]), 1),
        (BaseExceptionGroup("tasks", [asyncio.CancelledError(), PermissionError()]), 4),
    ],
)
def test_the_most_specific_class_chooses_the_number_of_attempts(error: BaseException, attempts: int) -> None:
    """The same in the process of the handler, whose parent gets the names of the classes."""
    kinds = kinds_of(error)
    remote = RemoteError("there", "BUSY", kinds) if isinstance(error, HandlerError) else RemoteFailure("there", kinds)
    for raised in (error, remote):
        before = decide(raised, of=job(counted=attempts - 2, most=2), policy=POLICY)
        last = decide(raised, of=job(counted=attempts - 1, most=2), policy=POLICY)
        assert (before.status, last.status) == (S.RETRYING if attempts > 1 else S.FAILED, S.FAILED)
        assert last.error is not None
        assert last.error.retryable is (attempts > 1)


def test_the_process_of_a_handler_names_the_classes_of_all_errors_of_a_task_group() -> None:
    """The parent takes the code from one of them, and the policy perhaps from another."""
    raised = ExceptionGroup("tasks", [Busy("now"), ConnectionResetError()])
    described = step_process._described(raised, ())
    assert (described["kind"], described["code"], described["kinds"]) == ("handler", "BUSY", kinds_of(raised))


def test_a_class_chooses_the_wait() -> None:
    policy = Retry(
        9, base=timedelta(0), by_type={ValueError: Retry(9, base=timedelta(hours=1), cap=timedelta(hours=1))}
    )
    assert decide(TypeError(), policy=policy).delay_us == 0
    assert decide(ValueError(), policy=policy).delay_us > 0


def test_a_policy_by_class_changes_no_outage_and_no_error_that_decides() -> None:
    policy = Retry(2, by_type={Exception: Permanent})
    assert decide(Unavailable("away"), policy=policy).status is S.RETRYING
    assert decide(RetryIn(SECOND), policy=policy).status is S.RETRYING
    assert decide(KeyError(), policy=policy).status is S.FAILED


def test_classes_of_any_name_are_told_apart() -> None:
    """Two classes of one name in two modules are two."""
    other = new_class("Busy", (HandlerError,), exec_body=lambda body: body.update({"__module__": "elsewhere"}))
    assert decide(other(), of=job(counted=1, most=2), policy=POLICY).status is S.FAILED
    assert decide(Busy(), of=job(counted=1, most=2), policy=POLICY).status is S.RETRYING
