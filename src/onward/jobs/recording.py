"""The writes of a runner under its claim: a finished step, progress, the outcome.

Each is a compare-and-set on the claim's fencing token and on the status that the transition starts from. A token
belongs to one claim, so that a runner whose claim is over can write nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import sqlalchemy as sa

from onward.handlers.base import Wait
from onward.jobs import history, key_limits, row
from onward.jobs.base import Superseded
from onward.jobs.concurrency import KEY, THREAD
from onward.jobs.ledger import ID
from onward.jobs.model import Attempt, Job, JobWait, Progress, Step
from onward.jobs.outcome import Outcome
from onward.jobs.states import TERMINAL, JobStatus, StepStatus
from onward.storage.tables import BY_READY, jobs, ready
from onward.storage.transaction import Tx

ATTEMPTS_KEPT = 100

S = JobStatus
Finished = tuple[Job, tuple[Step, ...], object, Progress | None]
"""A step that has succeeded: its job, the steps before it ended, its result, and the progress."""
Succeeded = tuple[Job, Outcome, tuple[Step, ...], Progress | None]
"""An attempt that has succeeded: its job, the outcome, the steps before the last one ended, and the progress."""
_p = sa.bindparam
_CHANGED = {"version": jobs.c.version + 1, "changed": _p("change")}
_under_claim = (ID, jobs.c.token == _p("token_"), jobs.c.status == _p("from_"))
_finish_step = (
    sa.update(jobs).where(*_under_claim).values({**_CHANGED, "steps": _p("steps_"), "progress": _p("progress_")})
)
_report_progress = sa.update(jobs).where(*_under_claim).values({**_CHANGED, "progress": _p("progress_")})
_record = (
    sa.update(jobs)
    .where(*_under_claim)
    .values(
        {
            **_CHANGED,
            "status": _p("to_"),
            "steps": _p("steps_"),
            "progress": _p("progress_"),
            "attempts": _p("attempts_"),
            "charged": _p("counted_"),
            "deaths": _p("crashes_"),
            "token": _p("next_token"),
            "parked": _p("blocked_"),
            "runner": None,
            "delivered_to": None,
            "due_at": _p("due_"),
            "finished_at": _p("finished_"),
            "result": _p("result_"),
            "error": _p("error_"),
        }
    )
)
_record_wait = _record.values({"wait": _p("wait_")})
_front = (
    sa.select(jobs.c.due_at)
    .where(ready, jobs.c.backend == _p("backend_"), jobs.c.priority == _p("priority_"))
    .order_by(jobs.c.due_at)
    .limit(1)
    .with_hint(jobs, BY_READY, "sqlite")
)
_wait_for_thread = sa.update(jobs).where(*_under_claim).values({**_CHANGED, "parked": _p("reason_")})


def finish_step(
    tx: Tx, job: Job, steps: tuple[Step, ...], result: object, progress: Progress | None
) -> tuple[tuple[Step, ...], JobStatus]:
    """Record that the running step has succeeded, and return the present steps and status.

    Raises Superseded.
    """
    after = _advance(steps, result, tx.now)
    values = {"steps_": row.encode_steps(after), "progress_": row.encode_progress(progress)}
    for status in (S.RUNNING, S.CANCELLING):
        if tx.execute(_finish_step, **_claim_values(tx, job, status), **values):
            return after, status
    raise Superseded(job.id)


def finish_each(tx: Tx, finished: Sequence[Finished]) -> list[tuple[tuple[Step, ...], JobStatus]]:
    """Do as `finish_step` for jobs of which each is running. Raises Superseded if one of them is not."""
    after = [_advance(steps, result, tx.now) for _, steps, result, _ in finished]
    rows = [
        {
            **_claim_values(tx, job, S.RUNNING),
            "steps_": row.encode_steps(steps),
            "progress_": row.encode_progress(progress),
        }
        for (job, _, _, progress), steps in zip(finished, after, strict=True)
    ]
    _update_each(tx, _finish_step, rows)
    return [(steps, S.RUNNING) for steps in after]


def record_each(tx: Tx, succeeded: Sequence[Succeeded]) -> list[JobStatus]:
    """Do as `record_outcome` for jobs that have succeeded. Raises Superseded if one of them is not running any more."""
    rows = [_values(tx, job, S.RUNNING, outcome, steps, progress) for job, outcome, steps, progress in succeeded]
    _update_each(tx, _record, rows)
    for job, outcome, _, _ in succeeded:
        _count(tx, job, S.RUNNING, outcome)
    return [outcome.status for _, outcome, _, _ in succeeded]


def _update_each(tx: Tx, statement: Any, rows: Sequence[dict[str, Any]]) -> None:
    if tx.update_each(statement, rows) < len(rows):
        raise Superseded("one of several jobs")


def report_progress(tx: Tx, job: Job, progress: Progress) -> None:
    """Record the progress of the running job. Raises Superseded, also when the job is being cancelled."""
    values = _claim_values(tx, job, S.RUNNING)
    if not tx.execute(_report_progress, **values, progress_=row.encode_progress(progress)):
        raise Superseded(job.id)


def wait_for_thread(tx: Tx, job: Job, *, waits: bool) -> None:
    """Record whether the running job waits for a thread. Does nothing after the end of its claim."""
    tx.execute(_wait_for_thread, **_claim_values(tx, job, S.RUNNING), reason_=THREAD if waits else None)


def record_outcome(
    tx: Tx, job: Job, outcome: Outcome, *, steps: tuple[Step, ...], progress: Progress | None = None
) -> JobStatus:
    """End the attempt and its claim, and return the job's new status. Raises Superseded.

    A job that is being cancelled is not tried again: an outcome of RETRYING, QUEUED or WAITING becomes CANCELLED.
    """
    if outcome.wait is not None and _unfinished(steps).name != outcome.wait.name:  # the step before it has ended
        steps = _advance(steps, outcome.result, tx.now)
    if write(tx, job, S.RUNNING, outcome, steps, progress):
        return outcome.status
    if outcome.status in (S.RETRYING, S.QUEUED, S.WAITING):
        outcome = outcome._replace(status=S.CANCELLED, error=None, wait=None)
    if write(tx, job, S.CANCELLING, outcome, steps, progress):
        return outcome.status
    raise Superseded(job.id)


def write(  # noqa: PLR0917 - all of them in every call
    tx: Tx, job: Job, source: JobStatus, outcome: Outcome, steps: tuple[Step, ...], progress: Progress | None
) -> bool:
    """Write the outcome of a job that is in the status `source`; return False if the claim is over."""
    statement, values = _record, _values(tx, job, source, outcome, steps, progress)
    if outcome.wait is not None:
        statement, values["wait_"] = _record_wait, row.encode_wait(_wait_of(job, outcome.wait, tx.now))
    if not tx.execute(statement, **values):
        return False
    _count(tx, job, source, outcome)
    return True


def _count(tx: Tx, job: Job, source: JobStatus, outcome: Outcome) -> None:
    history.moved(tx, job, source, outcome.status, outcome.error)
    key_limits.note(tx, job.limit_key)


def _values(  # noqa: PLR0917 - as `write`
    tx: Tx, job: Job, source: JobStatus, outcome: Outcome, steps: tuple[Step, ...], progress: Progress | None
) -> dict[str, Any]:
    """Return the values of the statement that writes an outcome."""
    now, status = tx.now, outcome.status
    started = job.attempts[-1]
    error = replace(outcome.error, occurred_at=now) if outcome.error else None
    attempt = Attempt(
        started.number, outcome.counts_as_attempt, started.backend, started.worker, started.started_at, now, error
    )
    return {
        **_claim_values(tx, job, source),
        "to_": status._value_,
        "steps_": row.encode_steps(_close(steps, status, outcome.result, now)),
        "progress_": row.encode_progress(progress or job.progress),
        "attempts_": row.encode_attempts((*job.attempts[:-1], attempt)[-ATTEMPTS_KEPT:]),
        "counted_": job.counted_attempts + outcome.counts_as_attempt,
        "crashes_": job.crash_count + outcome.crashed,
        "next_token": job.fencing_token + 1,
        "blocked_": KEY if status is S.QUEUED and job.limit_key is not None else None,
        "due_": _front_of_line(tx, job) if status is S.QUEUED else now + outcome.delay_us,
        "finished_": now if status in TERMINAL else None,
        "result_": row.encode(outcome.result) if status is S.SUCCEEDED else None,
        "error_": None if status is S.CANCELLED else row.encode_error(error),
    }


def _claim_values(tx: Tx, job: Job, source: JobStatus) -> dict[str, Any]:
    """Return the values of any write under the claim of a job that is in the status `source`."""
    return {"id_": job.id, "token_": job.fencing_token, "from_": source._value_, "change": tx.change}


def _front_of_line(tx: Tx, job: Job) -> int:
    """Return the due time of a job that is handed back: it goes before jobs that have not started."""
    first: int | None = tx.scalar(_front, backend_=job.backend, priority_=job.priority)
    return job.due_at if first is None else min(job.due_at, first)


def _wait_of(job: Job, wait: Wait, now: int) -> JobWait:
    until = None if wait.time is None else now + wait.time // timedelta(microseconds=1)
    return JobWait(job.handler, wait.name, now, until, wait.is_sleep, (None,) if wait.is_sleep else wait.otherwise)


def _unfinished(steps: tuple[Step, ...]) -> Step:
    for step in steps:  # without a generator, as below
        if step.status is not StepStatus.SUCCEEDED:
            return step
    raise ValueError("all steps have finished")


def _advance(steps: tuple[Step, ...], result: object, now: int) -> tuple[Step, ...]:
    """Return the steps once the first unfinished one has succeeded and the next one runs."""
    at = _unfinished(steps).index
    ended, *rest = steps[at:]
    # Built anew: `replace` takes ten times as long, and this runs for each step of each job.
    after = [*steps[:at], Step(ended.name, at, StepStatus.SUCCEEDED, ended.started_at, now, result)]
    if rest:
        after += [Step(rest[0].name, at + 1, StepStatus.RUNNING, now), *rest[1:]]
    return tuple(after)


def _close(steps: tuple[Step, ...], status: JobStatus, result: object, now: int) -> tuple[Step, ...]:
    """Return the steps at the end of the attempt: the current one succeeded, failed, was cancelled, or waits again."""
    if status is S.SUCCEEDED:
        return _advance(steps, result, now)
    if status is S.WAITING:
        return steps
    closed = []
    for step in steps:
        if step.status is StepStatus.SUCCEEDED:
            closed.append(step)
        elif status in (S.QUEUED, S.RETRYING):
            closed.append(Step(step.name, step.index))
        elif step.status is StepStatus.RUNNING:
            ended = StepStatus.FAILED if status is S.FAILED else StepStatus.CANCELLED
            closed.append(replace(step, status=ended, finished_at=now))
        else:
            closed.append(Step(step.name, step.index, StepStatus.SKIPPED))
    return tuple(closed)
