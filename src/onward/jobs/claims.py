"""Claims: each is a compare-and-set on a queued job that makes it one runner's.

A claim has a fencing token, which no other claim of the job has.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

import sqlalchemy as sa

from onward.jobs import admission, history, key_limits, row
from onward.jobs.concurrency import free, has_limits
from onward.jobs.expiry import IN_TIME
from onward.jobs.key_limits import may_start
from onward.jobs.ledger import ID
from onward.jobs.model import Job
from onward.jobs.states import JobStatus
from onward.storage.sql import as_list, in_array, row_as_json, row_values
from onward.storage.tables import BY_DANGER, BY_HOLDER, BY_READY, dangerous, held, jobs, ready, ready_row
from onward.storage.tables import gates as _gates
from onward.storage.transaction import Tx

CRASHES_BEFORE_ISOLATION = 2  # as in the index `jobs_dangerous`
MAX_CRASHES = 6  # counted where runners crash together, so that no single job is known to be the cause
CANDIDATES = 500  # how many jobs from the front of the line are examined for handlers with limits

S = JobStatus
_p = sa.bindparam
_CLAIM = {
    "version": jobs.c.version + 1,
    "changed": _p("change"),
    "status": S.RUNNING.value,
    "token": jobs.c.token + 1,
    "runner": _p("runner_"),
    "worker": _p("worker_"),
    "backend": _p("backend_"),
    "attempt": jobs.c.attempt + 1,
    "attempt_started_at": _p("now"),
    "started_at": sa.func.coalesce(jobs.c.started_at, _p("now")),
}
_delivered = (
    ready_row,
    jobs.c.backend == _p("backend_"),
    jobs.c.deaths <= _p("crashes_"),
    IN_TIME,
    ~has_limits,
    may_start,
)
_claim = sa.update(jobs).where(ID, *_delivered).values(_CLAIM).returning(row_as_json(*row.ALL))
# All of them are locked, in order, also those that are left to `claim`.
_these = (
    sa.select(jobs.c.id)
    .where(in_array(jobs.c.id, "ids"))
    .order_by(jobs.c.id)
    .with_for_update()
    .cte("these")
    .prefix_with("MATERIALIZED")
)
_claim_each = (
    sa.update(jobs)
    .where(jobs.c.id.in_(sa.select(_these.c.id)), *_delivered)
    .values(_CLAIM)
    .returning(row_as_json(*row.ALL))
)
_claimable = (
    ready,
    jobs.c.backend == _p("backend_"),
    sa.or_(
        jobs.c.delivered_to.is_(None),
        sa.and_(
            jobs.c.delivered_to == _p("runner_"),
            # A time ahead of now was written before the clock was set back.
            sa.or_(jobs.c.due_at <= _p("before_"), jobs.c.due_at > _p("after_")),
        ),
    ),
    sa.not_(in_array(jobs.c.id, "exclude")),
    jobs.c.deaths < CRASHES_BEFORE_ISOLATION,
    IN_TIME,
    may_start,  # as all in line, but for those that an older release has queued
)
_any_due = sa.select(sa.literal(1)).select_from(jobs).where(*_claimable).limit(1).with_hint(jobs, BY_READY, "sqlite")
# Materialized, as a table of its own: PostgreSQL may run a subselect again for each row, and each time skip what it
# has locked the time before, so that a LIMIT in it limits nothing.
_due = (
    sa.select(jobs.c.id)
    .where(*_claimable)
    .order_by(jobs.c.priority, jobs.c.due_at)
    .limit(_p("limit_", type_=sa.Integer))
    .with_for_update(skip_locked=True)
    .with_hint(jobs, BY_READY, "sqlite")
    .cte("due")
    .prefix_with("MATERIALIZED")
)
_claim_due = (
    sa.update(jobs)
    .where(jobs.c.id.in_(sa.select(_due.c.id)), ready_row, ~has_limits)
    .values(_CLAIM)
    .returning(row_as_json(*row.ALL))
)
_line = (
    sa.select(*row.columns(row.Candidate), jobs.c.due_at)
    .where(*_claimable)
    .order_by(jobs.c.priority, jobs.c.due_at)
    .limit(CANDIDATES)
    .with_hint(jobs, BY_READY, "sqlite")
    .cte("line")
    .prefix_with("MATERIALIZED")
)
_limited = (
    sa.select(*(_line.c[column.name] for column in row.columns(row.Candidate)))
    .where(_line.c.handler.in_(sa.select(_gates.c.handler)))
    .order_by(_line.c.priority, _line.c.due_at)
)
# On PostgreSQL the candidates are locked, before the limits are: a job that another process is about to claim must use
# up no start of its handler's rate here. Not by ids that were read before: the rows are those of the lock's moment.
_limited_free = (
    sa.select(*row.columns(row.Candidate))
    .where(jobs.c.id.in_(sa.select(_line.c.id).where(_line.c.handler.in_(sa.select(_gates.c.handler)))), ready_row)
    .order_by(jobs.c.priority, jobs.c.due_at)
    .with_for_update(skip_locked=True)
)
_claim_admitted = (
    sa.update(jobs)
    .where(jobs.c.id.in_(sa.select(free.c.id)), ready_row, jobs.c.deaths <= _p("crashes_"))
    .values(_CLAIM)
    .returning(row_as_json(*row.ALL))
)
_next_isolated = (
    sa.select(jobs.c.id)
    .where(dangerous, jobs.c.backend == _p("backend_"))
    .limit(1)
    .with_hint(jobs, BY_DANGER, "sqlite")
)
# Not a UNION: PostgreSQL plans an EXISTS for its first row, and so reads no backlog.
_any_work = sa.select(sa.or_(_any_due.exists(), _next_isolated.exists()))
_in_line = sa.select(jobs.c.backend, jobs.c.deaths).where(ID, ready_row)
_held_by = (
    sa.select(*row.columns(row.Claim)).where(held, jobs.c.runner == _p("runner_")).with_hint(jobs, BY_HOLDER, "sqlite")
)
_cancelling = _held_by.where(jobs.c.status == S.CANCELLING.value)


def claim(tx: Tx, job_id: str, *, runner: str, worker: str, backend: str, isolated: bool) -> Job | None:
    """Claim the job; None if it is not queued there, or has to run isolated and this runner is not `isolated`.

    If the handler's limits do not admit the job now, it becomes blocked.
    """
    crashes = MAX_CRASHES if isolated else CRASHES_BEFORE_ISOLATION - 1
    values = _values(tx, runner, worker, backend)
    found = tx.one(_claim, id_=job_id, crashes_=crashes, **values)
    if found is not None:
        return _claimed(tx, found)
    line = admission.candidate(tx, job_id, backend=backend)
    if line and line[0].lacks_place:
        key_limits.block(tx, line[0])
        return None
    admitted = admission.admit(tx, line, limit=1, max_crashes=crashes) if line else []
    rows = tx.all(_claim_admitted, ids=as_list(admitted), crashes_=crashes, **values) if admitted else []
    return next((replace(_claimed(tx, found), limited=True) for found in rows), None)


def claim_each(tx: Tx, ids: Collection[str], *, runner: str, worker: str, backend: str, isolated: bool) -> list[Job]:
    """Claim those of the jobs that `claim` would claim at once, by one statement; the others are left to it."""
    crashes = MAX_CRASHES if isolated else CRASHES_BEFORE_ISOLATION - 1
    rows = tx.all(_claim_each, ids=as_list(ids), crashes_=crashes, **_values(tx, runner, worker, backend))
    return [_claimed(tx, found) for found in rows]


def claim_due(
    tx: Tx, *, runner: str, worker: str, backend: str, limit: int, exclude: Collection[str] = (), grace_us: int = 0
) -> list[Job]:
    """Claim up to `limit` queued jobs of the backend that were not delivered elsewhere, the most urgent first.

    Leaves out the jobs in `exclude`, and those that were accepted for this runner within the last `grace_us`: it is
    handed them without asking. Jobs whose handler has limits are not claimed, and may fill the front of the line:
    `claim_limited` takes care of them.
    """
    rows = tx.all(_claim_due, limit_=limit, **_bounds(tx, exclude, grace_us), **_values(tx, runner, worker, backend))
    return sorted((_claimed(tx, found) for found in rows), key=lambda job: (job.priority, job.due_at, job.id))


def any_due(tx: Tx, *, runner: str, backend: str, grace_us: int = 0) -> bool:
    """True if a claim would look at a job, or one has to run in a process of its own.

    A read: on PostgreSQL each claim counts as a commit.
    """
    return bool(tx.scalar(_any_work, runner_=runner, backend_=backend, now=tx.now, **_bounds(tx, (), grace_us)))


def claim_limited(
    tx: Tx, *, runner: str, worker: str, backend: str, limit: int, exclude: Collection[str] = (), grace_us: int = 0
) -> tuple[list[Job], bool]:
    """Claim likewise from the front of the line, of handlers with limits; jobs that are not admitted become blocked.

    The flag says whether the front of the line has changed, so that there may be more for `claim_due`.
    """
    bounds = _bounds(tx, exclude, grace_us)
    statement = _limited if tx.dialect == "sqlite" else _limited_free  # SQLite has one lock for all
    named = {"runner_": runner, "backend_": backend, "now": tx.now}
    line = [row.Candidate._make(found) for found in tx.all(statement, **named, **bounds)]
    if not line:
        return [], False
    crashes = CRASHES_BEFORE_ISOLATION - 1
    admitted = admission.admit(tx, line, limit=limit, max_crashes=crashes)
    values = _values(tx, runner, worker, backend)
    rows = tx.all(_claim_admitted, ids=as_list(admitted), crashes_=crashes, **values) if admitted else []
    claimed = {job.id: replace(job, limited=True) for job in (_claimed(tx, found) for found in rows)}
    return [claimed[job_id] for job_id in admitted if job_id in claimed], len(admitted) < limit


def in_line(tx: Tx, job_id: str) -> tuple[str | None, bool]:
    """Return the destination of a queued job, None for any other, and whether it has to run in a process of its own."""
    there, crashes = tx.one(_in_line, id_=job_id) or (None, 0)
    return there, crashes >= CRASHES_BEFORE_ISOLATION


def next_isolated(tx: Tx, *, backend: str) -> str | None:
    """Return the id of a queued job of the backend that has to run in a process of its own."""
    return tx.scalar(_next_isolated, backend_=backend)


def held_by(tx: Tx, *, runner: str) -> set[row.Claim]:
    """Return the runner's claims."""
    return {row.Claim._make(found) for found in tx.all(_held_by, runner_=runner)}


def cancelling(tx: Tx, *, runner: str) -> list[row.Claim]:
    """Return the runner's claims whose jobs are to be cancelled."""
    return [row.Claim._make(found) for found in tx.all(_cancelling, runner_=runner)]


def _values(tx: Tx, runner: str, worker: str, backend: str) -> dict[str, Any]:
    return {"runner_": runner, "worker_": worker, "backend_": backend, "now": tx.now, "change": tx.change}


def _bounds(tx: Tx, exclude: Collection[str], grace_us: int) -> dict[str, Any]:
    return {"before_": tx.now - grace_us, "after_": tx.now + grace_us, "exclude": as_list(exclude)}


def _claimed(tx: Tx, found: Sequence[Any]) -> Job:
    job = row.decode(row_values(found))
    history.moved(tx, job, S.QUEUED, S.RUNNING)
    key_limits.note(tx, job.limit_key, started=True)
    return job
