"""The expiry of jobs whose first attempt has not begun by their time: they are cancelled, with the code EXPIRED.

The claims refuse such a job from that moment on; maintenance cancels it soon after. A job that has begun once does not
expire any more.
"""

from __future__ import annotations

from dataclasses import replace

import sqlalchemy as sa

from onward.jobs import row
from onward.jobs.model import Job, JobError, Step, to_datetime
from onward.jobs.states import JobStatus, StepStatus
from onward.storage.tables import BY_EXPIRY, expiring, expiring_row, jobs
from onward.storage.transaction import Tx

S = JobStatus
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
    .where(jobs.c.id == _p("id_"), jobs.c.version == _p("version_"), expiring_row)
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
FRESH = sa.case((jobs.c.attempt == 0, _p("now") + (jobs.c.expires_at - jobs.c.due_at)))
"""The value of `expires_at` in a run that begins now: as long again for a job that never began, else none."""


def expire_due(tx: Tx, limit: int) -> list[Job]:
    """Cancel the jobs whose time is over: at most `limit`, those that expired first before others."""
    expired = []
    for job in map(row.decode, tx.all(_over, now=tx.now, limit_=limit)):
        words = f"it had not begun by {to_datetime(job.expires_at or 0):%Y-%m-%d %H:%M:%S} UTC"
        error = JobError("EXPIRED", words, retryable=True, step=None, occurred_at=tx.now)
        steps = tuple(Step(step.name, step.index, StepStatus.SKIPPED) for step in job.steps)
        values = {"steps_": row.encode_steps(steps), "error_": row.encode_error(error)}
        if tx.execute(_expire, id_=job.id, version_=job.version, now=tx.now, change=tx.change, **values):
            tx.count(job.owner, job.status, -1)
            tx.count(job.owner, S.CANCELLED, 1)
            expired.append(replace(job, status=S.CANCELLED))
    return expired


def next_expiry(tx: Tx) -> int | None:
    """Return the time at which the next job expires."""
    return tx.scalar(_next)
