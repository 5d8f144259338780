"""The expiry of jobs whose first attempt has not begun by their time: they are cancelled, with the code EXPIRED.

The claims refuse such a job from that moment on; maintenance cancels it soon after. A job that has begun once does not
expire any more.
"""

from __future__ import annotations

from dataclasses import replace

import sqlalchemy as sa

from onward.jobs import history, key_limits, row
from onward.jobs.model import Job, JobError, Step
from onward.jobs.states import JobStatus, StepStatus
from onward.storage.sql import as_list, in_array
from onward.storage.tables import BY_EXPIRY, expiring, expiring_row, jobs
from onward.storage.transaction import Tx

S = JobStatus
CODE = "EXPIRED"
EXPIRED = "the job had not begun by the time at which it expires"
_p = sa.bindparam
IN_TIME = sa.or_(jobs.c.expires_at.is_(None), jobs.c.expires_at > _p("now"), jobs.c.attempt > 0)
"""The condition of a claim."""
_over = (
    sa.select(*row.ALL)
    .where(expiring, jobs.c.expires_at <= _p("now"))
    .order_by(jobs.c.expires_at)
    .limit(_p("limit_", type_=sa.Integer))
    .with_for_update(skip_locked=True)
    .with_hint(jobs, BY_EXPIRY, "sqlite")
)
_expire = (
    sa.update(jobs)
    .where(in_array(jobs.c.id, "ids"), expiring_row)
    .values(
        {
            "version": jobs.c.version + 1,
            "changed": _p("change"),
            "status": S.CANCELLED.value,
            "finished_at": _p("now"),
            "steps": _p("steps_"),
            "error": _p("error_"),
        }
    )
)
_next = sa.select(sa.func.min(jobs.c.expires_at)).where(expiring).with_hint(jobs, BY_EXPIRY, "sqlite")
# A process of the release before leaves it empty, and moves the due time of no job that has an `expires_at`.
SPAN = sa.func.coalesce(jobs.c.expires_in, jobs.c.expires_at - jobs.c.due_at)
FRESH = sa.case((jobs.c.attempt == 0, _p("now") + SPAN))
"""The value of `expires_at` in a run that begins now: as long again for a job that never began, else none."""


def expire_due(tx: Tx, limit: int) -> list[Job]:
    """Cancel the jobs whose time is over: at most `limit`, those that expired first before others."""
    expired = [row.decode(found) for found in tx.all(_over, now=tx.now, limit_=limit)]
    alike: dict[tuple[str, ...], list[Job]] = {}  # by their steps: one statement for all of a handler
    for job in expired:
        alike.setdefault(tuple(step.name for step in job.steps), []).append(job)
    error = JobError(CODE, EXPIRED, retryable=True, step=None, occurred_at=tx.now)
    for names, same in alike.items():
        steps = row.encode_steps(tuple(Step(name, index, StepStatus.SKIPPED) for index, name in enumerate(names)))
        ids = as_list([job.id for job in same])
        tx.execute(_expire, ids=ids, now=tx.now, change=tx.change, steps_=steps, error_=row.encode_error(error))
    for job in expired:
        history.moved(tx, job, job.status, S.CANCELLED)
        if job.status is S.QUEUED:
            key_limits.note(tx, job.limit_key)
    return [replace(job, status=S.CANCELLED, error=error) for job in expired]


def next_expiry(tx: Tx) -> int | None:
    """Return the time at which the next job expires."""
    return tx.scalar(_next)
