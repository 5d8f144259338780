"""The children of a batch as others read them: how many are in which state, and their results in order."""

from __future__ import annotations

from typing import Any

import orjson
import sqlalchemy as sa

from onward.handlers.results import ChildError, ChildResult
from onward.jobs.batches import Batch, BatchState, may_be_retried
from onward.jobs.states import RETRYABLE, JobStatus
from onward.storage.sql import one_of
from onward.storage.tables import BY_BATCH, batches, jobs
from onward.storage.transaction import Tx

S = JobStatus
B = BatchState
PAGE = 100  # results that are read at once; each may have 64 kB
_p = sa.bindparam
# A batch, and those in it that are retried with it, however deep.
_retried = sa.select(batches.c.id).where(batches.c.id == _p("batch_")).cte("retried", recursive=True)
_retried = _retried.union_all(sa.select(batches.c.id).where(batches.c.parent == _retried.c.id, may_be_retried))
_failed_in = (
    sa.select(jobs.c.id)
    .where(jobs.c.batch == _retried.c.id, one_of(jobs.c.status, RETRYABLE))
    .with_hint(jobs, BY_BATCH, "sqlite")
    .limit(_p("limit_", type_=sa.Integer))
)
_count_failed = sa.select(sa.func.count()).select_from(_failed_in.subquery())
_count = (
    sa.select(jobs.c.status, sa.func.count())
    .where(jobs.c.batch == _p("batch_"))
    .group_by(jobs.c.status)
    .with_hint(jobs, BY_BATCH, "sqlite")
)
# A batch in the batch: the job that has followed it, if any, is counted in its place.
_count_nested = (
    sa.select(batches.c.state, sa.func.count())
    .where(batches.c.parent == _p("batch_"), sa.or_(batches.c.next_job.is_(None), batches.c.state == B.STOPPED.value))
    .group_by(batches.c.state)
)
# A `then` that waits until its batch, which is retried, is over again: its row has the status of before.
_count_waiting = (
    sa.select(jobs.c.status, sa.func.count())
    .select_from(batches.join(jobs, jobs.c.id == batches.c.next_job))
    .where(batches.c.parent == _p("batch_"), batches.c.finished_at.is_(None))
    .group_by(jobs.c.status)
)
_NESTED = {B.DONE: S.SUCCEEDED, B.STOPPED: S.FAILED, B.CANCELLED: S.CANCELLED}
# Each status by the index, then merged: a page costs the same wherever it is.
_places = sa.union_all(
    *(
        sa.select(part.c.id, part.c.position)
        for part in (
            sa.select(jobs.c.id, jobs.c.position)
            .where(
                jobs.c.batch == _p("batch_"),
                jobs.c.status == sa.literal_column(f"'{status}'"),
                jobs.c.position > _p("after_"),
            )
            .order_by(jobs.c.position)
            .limit(_p("limit_", type_=sa.Integer))
            .with_hint(jobs, BY_BATCH, "sqlite")
            .subquery()
            for status in JobStatus
        )
    )
).subquery()
_page = (
    sa.select(jobs.c.position, jobs.c.id, jobs.c.status, jobs.c.result, jobs.c.error)
    .where(jobs.c.id.in_(sa.select(_places.c.id).order_by(_places.c.position).limit(_p("limit_", type_=sa.Integer))))
    .order_by(jobs.c.position)
)
_nested_page = (
    sa.select(batches.c.position, batches.c.id, batches.c.state)
    .where(batches.c.parent == _p("batch_"), batches.c.position > _p("after_"))
    .order_by(batches.c.position)
    .limit(_p("limit_", type_=sa.Integer))
)


def counts(tx: Tx, batch: Batch) -> dict[JobStatus, int]:
    """Count the children by status.

    A child that is no row yet is QUEUED; a batch in the batch is counted as its `then`, where it has one.
    """
    found = dict.fromkeys(JobStatus, 0)
    found[S.QUEUED] += batch.jobs - batch.made
    for status, n in tx.all(_count, batch_=batch.id):
        found[JobStatus(status)] += n
    if batch.total > batch.jobs:
        for state, n in tx.all(_count_nested, batch_=batch.id):
            found[_NESTED.get(BatchState(state), S.RUNNING)] += n
        for status, n in tx.all(_count_waiting, batch_=batch.id):
            found[JobStatus(status)] -= n
            found[S.RUNNING] += n
    return found


def count_retried(tx: Tx, batch_id: str, *, most: int) -> int:
    """Count the jobs that a retry of the batch queues again, those of the batches in it too; up to `most`."""
    return tx.scalar(_count_failed, batch_=batch_id, limit_=most) or 0


def results(tx: Tx, batch: Batch, after: int) -> list[tuple[int, ChildResult[Any]]]:
    """Return the next children behind a position, in their order, each with its position."""
    found: dict[int, ChildResult[Any]] = {}
    if batch.total > batch.jobs:
        for position, id_, state in tx.all(_nested_page, batch_=batch.id, after_=after, limit_=PAGE):
            status = _NESTED.get(BatchState(state), S.RUNNING)
            found[position] = ChildResult(id_, status.value, None, None)
    for position, id_, status, result, error in tx.all(_page, batch_=batch.id, after_=after, limit_=PAGE):
        shown = orjson.loads(error) if error else None
        found[position] = ChildResult(
            id_,
            status,
            orjson.loads(result) if result else None,
            None if shown is None else ChildError(shown["code"], shown["message"]),
        )
    return sorted(found.items())[:PAGE]
