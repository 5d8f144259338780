"""Commands of viewers and operators: cancel jobs, retry them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace

import sqlalchemy as sa

from onward.jobs import history, key_limits, pages, row, uniqueness
from onward.jobs.base import Conflict, NotFound
from onward.jobs.concurrency import KEY
from onward.jobs.expiry import FRESH
from onward.jobs.ledger import ID, get, get_many
from onward.jobs.model import Job, JobFilter, Step, Visible
from onward.jobs.states import CANCELLABLE, RETRYABLE, TERMINAL, JobStatus, StepStatus
from onward.storage.sql import as_list, in_array, one_of
from onward.storage.tables import batches, jobs
from onward.storage.transaction import Tx

S = JobStatus
_p = sa.bindparam
_unchanged = (ID, jobs.c.version == _p("version_"))
_BUMP = {"version": jobs.c.version + 1, "changed": _p("change"), "status": _p("to_")}
_cancel = (
    sa.update(jobs)
    .where(*_unchanged)
    .values({**_BUMP, "reason": _p("reason_"), "finished_at": _p("finished_"), "steps": _p("steps_"), "wait": None})
)
_retry = (
    sa.update(jobs)
    .where(*_unchanged)
    .values(
        {
            **_BUMP,
            "run": jobs.c.run + 1,
            "token": jobs.c.token + 1,
            "charged": 0,
            "deaths": 0,
            "backend": _p("backend_"),
            "delivered_to": None,
            "parked": _p("blocked_"),
            "due_at": _p("now"),
            "expires_at": FRESH,
            "finished_at": None,
            "result": None,
            "error": None,
            "reason": None,
            "progress": None,
            "steps": _p("steps_"),
        }
    )
    .returning(*row.ALL)
)
# Those of the jobs that follow batches which are being retried, and run them again: a batch that is followed for the
# first time has no `next_job` in these states.
_left_to_batches = sa.select(batches.c.next_job).where(
    in_array(batches.c.next_job, "ids"), one_of(batches.c.state, ["OPEN", "RETRYING"])
)
TRIES = 10


def cancel(tx: Tx, job_id: str, *, reason: str | None, visible: Visible) -> Job:
    """Cancel a waiting job at once, and make a running one CANCELLING. Raises NotFound, and Conflict if it is over."""
    for _ in range(TRIES):
        job = _visible(tx, job_id, visible)
        if job.status in TERMINAL:
            raise Conflict(f"the job is {job.status} already", job)
        if job.status is S.CANCELLING:
            return job
        running = job.status is S.RUNNING
        target = S.CANCELLING if running else S.CANCELLED
        steps = job.steps if running else tuple(_skipped(step) for step in job.steps)
        if tx.execute(
            _cancel,
            id_=job.id,
            version_=job.version,
            to_=target.value,
            change=tx.change,
            reason_=reason,
            finished_=None if running else tx.now,
            steps_=row.encode_steps(steps),
        ):
            if job.status is S.QUEUED and job.blocked != KEY:  # it may have had a place
                key_limits.note(tx, job.limit_key)
            return _moved(tx, job, target)
    raise Conflict("the job changes too fast; try again", _visible(tx, job_id, visible))


def cancel_each(tx: Tx, ids: Sequence[str], *, reason: str | None, visible: Visible) -> list[Job]:
    """Cancel those of the jobs that are not over yet."""
    cancelled = []
    for job_id in ids:
        with suppress(NotFound, Conflict):  # it was over, or pruned, meanwhile
            cancelled.append(cancel(tx, job_id, reason=reason, visible=visible))
    return cancelled


def retry(tx: Tx, job_id: str, *, from_start: bool, visible: Visible, route: Callable[[str, str], str]) -> Job:
    """Queue the job for a new run, with a fresh budget of attempts: from its first unfinished step, or the first.

    `route` gives the destination of a handler's job from the present one. Raises NotFound, and Conflict if the job is
    neither FAILED nor CANCELLED, if it follows a batch that is being retried, or if another one holds its unique key
    now. It waits for the key and the job, in a transaction of its own.
    """
    for _ in range(TRIES):
        job = _visible(tx, job_id, visible)
        if job.status not in RETRYABLE:
            raise Conflict(f"the job is {job.status}; only FAILED and CANCELLED jobs can be retried", job)
        if tx.one(_left_to_batches, ids=as_list([job.id])) is not None:
            words = "the batch that it follows is being retried, and runs it then: wait for that, or cancel the batch"
            raise Conflict(words, job)
        if job.unique_key is not None and (other := uniqueness.retake(tx, [job]).get(job.id)) is not None:
            whose = other.id if visible.sees(other) else "a job that you may not see"
            raise Conflict(f"only one such job is allowed at a time, and {whose} is there now", job)
        if (again := _retried(tx, job, from_start=from_start, route=route)) is not None:
            return again
    raise Conflict("the job changes too fast; try again", _visible(tx, job_id, visible))


def retry_each(tx: Tx, ids: Sequence[str], *, visible: Visible, route: Callable[[str, str], str]) -> list[Job]:
    """Retry those of the jobs that can be retried, each from its first unfinished step.

    Leaves out a job whose unique key another one holds now, and one that follows a batch which is being retried.
    """
    there = get_many(tx, ids) if ids else {}
    left = set(tx.scalars(_left_to_batches, ids=as_list(ids))) if there else set()
    found = [there[job_id] for job_id in ids if job_id in there and job_id not in left]
    wanted = [job for job in found if job.status in RETRYABLE and visible.sees(job)]
    refused = uniqueness.retake(tx, wanted)
    wanted = [job for job in wanted if job.id not in refused]
    # One that has changed meanwhile was first another command's.
    return [again for job in wanted if (again := _retried(tx, job, from_start=False, route=route)) is not None]


def rerun(tx: Tx, job_id: str, *, route: Callable[[str, str], str]) -> Job | None:
    """Queue the job for a new run, from its first step; None if it cannot be retried, or is gone."""
    job = get(tx, job_id)
    return None if job is None or job.status not in RETRYABLE else _retried(tx, job, from_start=True, route=route)


def _retried(tx: Tx, job: Job, *, from_start: bool, route: Callable[[str, str], str]) -> Job | None:
    """Queue the job for a new run; None if it has changed since it was read."""
    steps = tuple(
        step if step.status is StepStatus.SUCCEEDED and not from_start else Step(step.name, step.index)
        for step in job.steps
    )
    found = tx.one(
        _retry,
        id_=job.id,
        version_=job.version,
        to_=S.QUEUED.value,
        change=tx.change,
        now=tx.now,
        backend_=route(job.handler, job.backend),
        blocked_=None if job.limit_key is None else KEY,
        steps_=row.encode_steps(steps),
    )
    if found is None:
        return None
    history.moved(tx, job, job.status, S.QUEUED)
    again = row.decode(found)
    key_limits.note(tx, job.limit_key, fresh=again)
    return again


def retryable(tx: Tx, *, filter: JobFilter, limit: int, visible: Visible, beyond: str = "") -> pages.Found:
    """Return the ids of the oldest `limit` jobs that match and can be retried, among ids greater than `beyond`."""
    return _oldest(tx, RETRYABLE, filter=filter, limit=limit, visible=visible, beyond=beyond)


def cancellable(tx: Tx, *, filter: JobFilter, limit: int, visible: Visible, beyond: str = "") -> pages.Found:
    """Return the ids of the oldest `limit` jobs that match and can be cancelled, among ids greater than `beyond`."""
    return _oldest(tx, CANCELLABLE, filter=filter, limit=limit, visible=visible, beyond=beyond)


def _oldest(
    tx: Tx, among: frozenset[S], *, filter: JobFilter, limit: int, visible: Visible, beyond: str
) -> pages.Found:
    statuses = among if filter.statuses is None else filter.statuses
    wanted = tuple(S(status) for status in statuses if status in among)
    if not wanted:
        return pages.Found([], None)
    return pages.ids(tx, visible=visible, filter=replace(filter, status=wanted), limit=limit, beyond=beyond)


def _visible(tx: Tx, job_id: str, visible: Visible) -> Job:
    job = get(tx, job_id)
    if job is None or not visible.sees(job):
        raise NotFound(f"there is no job {job_id[:64]!r}")
    return job


def _moved(tx: Tx, job: Job, target: JobStatus) -> Job:
    history.moved(tx, job, job.status, target)
    after = get(tx, job.id)
    assert after is not None  # noqa: S101 - for the type checker
    return after


def _skipped(step: Step) -> Step:
    return step if step.status is StepStatus.SUCCEEDED else Step(step.name, step.index, StepStatus.SKIPPED)
