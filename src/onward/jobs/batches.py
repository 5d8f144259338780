"""Batches: their rows, and the moves between their states. Each is a transaction function.

The file is long because the moves are one machine: each is right only beside the others that may be made at once.

A batch has no counter of open children, which every end of a child would have to change: that it is over is read from
the rows of its children, by an index, after a child has ended (`batch_keeper`). The move that follows is a
compare-and-set on the row of the batch, in one commit with the job that follows. Where two ends are committed at once,
whoever reads after the second commit sees both.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Any, NamedTuple

import orjson
import sqlalchemy as sa

from onward.jobs import commands, ledger
from onward.jobs.base import BatchConflict, Conflict, NotFound
from onward.jobs.model import EVERYTHING, Job, NewJob, Visible
from onward.jobs.position import Snapshot
from onward.jobs.states import HELD, RETRYABLE, TERMINAL, JobStatus
from onward.storage.sql import from_on, one_of
from onward.storage.tables import BY_BATCH, BY_BATCH_STATE, BY_CHANGE, batches, jobs
from onward.storage.transaction import Tx

Insert = Callable[[Tx, NewJob], Job]
Route = Callable[[str, str], str]
S = JobStatus
STOPPED_WITH = "a job of the batch has failed"  # the reason of what a failed child has stopped


class BatchState(StrEnum):
    OPEN = "OPEN"  # its children wait or run
    STOPPING = "STOPPING"  # a child has failed; those that do not run are being cancelled
    CANCELLING = "CANCELLING"  # all children are being cancelled
    RETRYING = "RETRYING"  # failed children are being queued again
    DONE = "DONE"  # all children are over, and `then` has followed
    STOPPED = "STOPPED"  # likewise, and `on_failure` has followed
    CANCELLED = "CANCELLED"


B = BatchState
FINISHED = frozenset({B.DONE, B.STOPPED, B.CANCELLED})
ATTENDED = frozenset({B.STOPPING, B.CANCELLING, B.RETRYING})  # somebody has to go through the children
NOT_DONE = frozenset({B.STOPPED, B.CANCELLED})  # of finished batches that count as failed in the one that holds them
_ENDS = {B.OPEN: B.DONE, B.STOPPING: B.STOPPED, B.CANCELLING: B.CANCELLED}


class Batch(NamedTuple):
    """A batch as the ledger has it; times in microseconds."""

    id: str
    owner: str | None
    state: BatchState
    parent: str | None
    position: int | None
    job: str | None
    total: int
    jobs: int
    made: int
    stops: bool
    on_success: str | None
    on_failure: str | None
    next_job: str | None
    reason: str | None
    retried: int | None
    created_at: int
    finished_at: int | None

    @property
    def done(self) -> bool:
        return self.state in FINISHED


_p = sa.bindparam


def _has_child(status: JobStatus, *conditions: sa.ColumnElement[bool]) -> sa.ColumnElement[bool]:
    """Return whether the batch has a child of that status: the first one by position, at the front of an index.

    For any one, PostgreSQL may read the whole table, where its statistics promise one soon.
    """
    this: sa.ColumnElement[str] = sa.literal_column(f"'{status.value}'")
    first = sa.select(jobs.c.id).where(jobs.c.batch == _p("batch_"), jobs.c.status == this, *conditions)
    return first.order_by(jobs.c.position).limit(1).with_hint(jobs, BY_BATCH, "sqlite").scalar_subquery().is_not(None)


ID = batches.c.id == _p("id_")
_OPEN = frozenset(JobStatus) - TERMINAL
_all = sa.select(*batches.c)
_COLUMNS = tuple(column.name for column in batches.c)
_get = _all.where(ID)
_lock = _get.with_for_update()
_newest = (
    _all.where(batches.c.parent.is_(None), batches.c.id < _p("after_"))
    .order_by(batches.c.id.desc())
    .limit(_p("limit_", type_=sa.Integer))
)
_insert = sa.insert(batches)
_exists = sa.select(batches.c.id).where(ID)
_add_made = (
    sa.update(batches).where(ID).values(made=batches.c.made + _p("n")).returning(batches.c.state, batches.c.reason)
)
_move = (
    sa.update(batches)
    .where(ID, batches.c.state == _p("from_"))
    .values(
        state=_p("to_"),
        finished_at=_p("finished_"),
        next_job=_p("next_"),
        reason=_p("reason_"),
        retried=_p("retried_"),
    )
)
_children = sa.select(jobs.c.id).where(jobs.c.batch == _p("batch_")).with_hint(jobs, BY_BATCH, "sqlite")
_limited = _children.limit(_p("limit_", type_=sa.Integer))
# The `then` of a batch in the batch that is retried waits for it, and counts for nothing meanwhile.
_inner = batches.alias("inner_batch")
_waits_for_inner = sa.exists(
    sa.select(_inner.c.id).where(_inner.c.next_job == jobs.c.id, _inner.c.finished_at.is_(None))
)
# Without those that another transaction has locked: a caller's may stay open, and the others would go on meanwhile.
_idle = _limited.with_for_update(skip_locked=True)
_waiting = _idle.where(one_of(jobs.c.status, _OPEN - HELD))
_not_cancelled = _idle.where(one_of(jobs.c.status, _OPEN - {S.CANCELLING}))
_to_retry = (
    sa.select(jobs.c.id, jobs.c.position)
    .where(jobs.c.batch == _p("batch_"), jobs.c.status == _p("status_"), jobs.c.position > _p("after_"))
    .where(jobs.c.changed < _p("retried_"), ~_waits_for_inner)
    .order_by(jobs.c.position)
    .limit(_p("limit_", type_=sa.Integer))
    .with_hint(jobs, BY_BATCH, "sqlite")
)
_nested = sa.select(batches.c.id).where(batches.c.parent == _p("batch_"))
_any_nested_open = _nested.where(batches.c.finished_at.is_(None)).limit(1)
_any_nested_failed = _nested.where(one_of(batches.c.state, NOT_DONE)).limit(1)
_child_open = sa.or_(*map(_has_child, sorted(_OPEN)))
_child_failed = sa.or_(*(_has_child(status, ~_waits_for_inner) for status in sorted(RETRYABLE)))
# One statement, and so one moment: a child that is retried between two reads would be neither open nor failed.
_standing = sa.select(
    sa.or_(_child_open, _any_nested_open.exists()), sa.or_(_child_failed, _any_nested_failed.exists())
)
_nested_to_cancel = _nested.where(batches.c.finished_at.is_(None), batches.c.state != B.CANCELLING.value)
_thens = jobs.alias("then_job")
_then_retryable = sa.exists(
    sa.select(_thens.c.id).where(_thens.c.id == batches.c.next_job, one_of(_thens.c.status, RETRYABLE))
)
may_be_retried: sa.ColumnElement[bool] = sa.or_(
    one_of(batches.c.state, NOT_DONE),
    sa.and_(batches.c.state == B.DONE.value, sa.or_(batches.c.next_job.is_(None), _then_retryable)),
)
"""The condition of a batch in a batch: it may be retried with that one, if something in it has failed."""
# The batches in a batch, however deep, each with the one directly in that batch that holds it.
_below = (
    sa.select(batches.c.id, batches.c.state, batches.c.id.label("top"))
    .where(batches.c.parent == _p("batch_"), may_be_retried)
    .cte("below", recursive=True)
)
_below = _below.union_all(
    sa.select(batches.c.id, batches.c.state, _below.c.top).where(batches.c.parent == _below.c.id, may_be_retried)
)
_failed_below = sa.exists(
    sa.select(jobs.c.id)
    .where(jobs.c.batch == _below.c.id, one_of(jobs.c.status, RETRYABLE))
    .with_hint(jobs, BY_BATCH, "sqlite")
)
_nested_to_retry = (
    sa.select(_below.c.top)
    .where(sa.or_(one_of(_below.c.state, NOT_DONE), _failed_below))
    .distinct()
    .order_by(_below.c.top)
)
_any_nested_to_retry = _nested_to_retry.limit(1)
_followed = _all.where(batches.c.next_job == _p("job_"))
_outer = batches.alias("outer_batch")
_followers = jobs.alias("follower")
_follower_open = sa.exists(
    sa.select(_followers.c.id).where(_followers.c.id == batches.c.next_job, _followers.c.finished_at.is_(None))
)
_any_followed = (
    sa.select(batches.c.id)
    .where(sa.or_(batches.c.id == _p("batch_"), batches.c.parent == _p("batch_")), _follower_open)
    .limit(1)
)
_follower_kept = sa.exists(
    sa.select(_followers.c.id).where(
        _followers.c.id == batches.c.next_job,
        sa.or_(_followers.c.finished_at.is_(None), _followers.c.finished_at >= _p("before_")),
    )
)
_old = (
    sa.select(batches.c.id)
    .where(batches.c.finished_at < _p("before_"), ~_follower_kept)
    # The results of a batch are read from the rows of those in it, too: they go after it.
    .where(~sa.exists(sa.select(_outer.c.id).where(_outer.c.id == batches.c.parent)))
    .order_by(batches.c.finished_at)
    .limit(_p("limit_", type_=sa.Integer))
)
# The condition again: a batch that is retried meanwhile, by a transaction that the deletion waits for, is kept.
_prune = sa.delete(batches).where(batches.c.id.in_(_old), batches.c.finished_at < _p("before_"))
_unfinished = batches.c.finished_at.is_(None)
_any_unfinished = sa.select(sa.literal(1)).select_from(batches).where(_unfinished).limit(1)
_all_unfinished = sa.select(batches.c.id).where(_unfinished)
_to_attend = (
    sa.select(batches.c.id)
    .where(_unfinished, one_of(batches.c.state, ATTENDED))
    .with_hint(batches, BY_BATCH_STATE, "sqlite")
)
_of_ended = sa.select(jobs.c.batch).where(jobs.c.batch.is_not(None), jobs.c.finished_at.is_not(None)).distinct()
_ended = _of_ended.where(from_on(jobs.c.changed, "floor")).with_hint(jobs, BY_CHANGE, "sqlite")
_ended_of_open = _of_ended.where(sa.text("changed = ANY(CAST(:open AS BIGINT[]))"))


def is_in_none(batch_id: sa.Column[Any]) -> sa.ColumnElement[bool]:
    """Return the condition of a job that is no child of a batch which is still there: its result may go."""
    return sa.or_(batch_id.is_(None), ~sa.exists(sa.select(batches.c.id).where(batches.c.id == batch_id)))


def prune(tx: Tx, limit: int, *, before: int) -> int:
    """Delete batches that ended before that time, with what follows them; return how many, at most `limit`.

    A batch in another one goes after it. The children are kept as long as the row, to be retried and read as a whole.
    """
    return tx.execute(_prune, before_=before, limit_=limit)


def new_row(id_: str, **values: Any) -> dict[str, Any]:
    """Return the values of a batch by their columns, in the order of the table; missing ones are empty."""
    return {**dict.fromkeys(_COLUMNS), "id": id_, "state": B.OPEN.value, **values}


def insert(tx: Tx, rows: Sequence[Mapping[str, Any]], new_jobs: Sequence[NewJob], accept: Insert) -> list[Job]:
    """Insert batches, inner ones first, with some of their jobs; return these, and the jobs that follow empty batches.

    Nothing is inserted if the last batch, which holds the others, exists: it was committed, and the answer lost.
    """
    if tx.one(_exists, id_=rows[-1]["id"]):
        return []
    made = Counter(new.batch for new in new_jobs)
    for values in rows:
        tx.insert(_insert, {**values, "made": made[values["id"]], "created_at": tx.now})
    accepted = [accept(tx, new) for new in new_jobs]
    for values in rows:
        if not values["total"]:
            accepted += advance(tx, values["id"], accept=accept, route=_never)
    return accepted


def _never(_handler: str, _present: str) -> str:
    raise AssertionError("a new batch has no job to be retried")


def count_made(tx: Tx, accepted: list[Job]) -> list[Job]:
    """Count jobs that have become rows in their batches; return them, cancelled where the batch is being stopped."""
    now = accepted
    for batch_id, n in sorted(Counter(job.batch for job in accepted if job.batch is not None).items()):
        state, reason = tx.one(_add_made, id_=batch_id, n=n) or (B.OPEN, None)
        if state in (B.STOPPING, B.CANCELLING):
            why = STOPPED_WITH if state == B.STOPPING else reason
            now = [_cancelled(tx, job.id, why) or job if job.batch == batch_id else job for job in now]
    return now


def get(tx: Tx, batch_id: str) -> Batch | None:
    return _decode(tx.one(_get, id_=batch_id))


def newest(tx: Tx, limit: int, *, after: str | None = None) -> list[Batch]:
    """Return the newest batches that no other one holds; those `after` an id are older."""
    return [_read(row) for row in tx.all(_newest, after_=after or "~", limit_=limit)]  # no id is greater


def _decode(found: Sequence[Any] | None) -> Batch | None:
    return None if found is None else _read(found)


def _read(found: Sequence[Any]) -> Batch:
    values = dict(zip(_COLUMNS, found, strict=True))
    return Batch(**{**values, "state": BatchState(values["state"]), "stops": bool(values["stops"])})


def visible_batch(tx: Tx, batch_id: str, visible: Visible) -> Batch:
    """Return the batch. Raises NotFound."""
    found = get(tx, batch_id)
    if found is None or not visible.sees_jobs_of(found.owner):
        raise NotFound(f"there is no batch {batch_id[:64]!r}")
    return found


def followed(tx: Tx, job_id: str) -> Batch | None:
    """Return the batch that the job follows."""
    return _decode(tx.one(_followed, job_=job_id))


def verdict(tx: Tx, batch: Batch) -> BatchState | None:
    """Return the state that the batch has to move to because of its children; None if it stays."""
    if batch.state not in _ENDS:
        return None
    any_open, any_failed = _open_and_failed(tx, batch)
    is_open = any_open or batch.made < batch.jobs
    failed = any_failed and batch.stops and batch.state is B.OPEN
    # A batch whose `then` has followed, and is kept to run again, is cancelled: no other job may follow it.
    stopping, stopped = (B.STOPPING, B.STOPPED) if batch.next_job is None else (B.CANCELLING, B.CANCELLED)
    if is_open:
        return stopping if failed else None
    return stopped if failed else _ENDS[batch.state]


def _open_and_failed(tx: Tx, batch: Batch) -> tuple[bool, bool]:
    """Return whether any of the children are open, and whether any have failed."""
    any_open, any_failed = tx.all(_standing, batch_=batch.id)[0]
    return bool(any_open), bool(any_failed)


def look(tx: Tx, batch_id: str) -> tuple[Batch | None, BatchState | None]:
    """Return the batch, and the state that it has to move to."""
    batch = get(tx, batch_id)
    return batch, None if batch is None else verdict(tx, batch)


def advance(tx: Tx, batch_id: str | None, *, accept: Insert, route: Route) -> list[Job]:
    """Move the batch, and then those that hold it, as their children demand; return the jobs that follow.

    A batch is locked before its children are read: what another transaction has moved is seen.
    """
    following: list[Job] = []
    while batch_id is not None:
        batch = _decode(tx.one(_lock, id_=batch_id))
        to = None if batch is None else verdict(tx, batch)
        if batch is None or to is None:
            break
        job = None if to in ATTENDED else _next(tx, batch, to, accept, route)
        # Nobody has cancelled an open batch, and so a failed child does: see `verdict`.
        is_stopped = batch.state is B.OPEN and to in (B.CANCELLING, B.CANCELLED)
        reason = STOPPED_WITH if is_stopped else None
        _moved(tx, batch, to, next_job=batch.next_job if job is None else job.id, reason=reason)
        if job is not None:
            following.append(job)
        batch_id = None if to in ATTENDED else batch.parent
    return following


def _next(tx: Tx, batch: Batch, to: BatchState, accept: Insert, route: Route) -> Job | None:
    """Accept the job that follows the batch.

    A `then` that followed before runs again if it has failed; one that somebody has retried meanwhile goes on.
    """
    text = {B.DONE: batch.on_success, B.STOPPED: batch.on_failure}.get(to)
    if text is None:
        return None
    if to is B.DONE and batch.next_job is not None and ledger.get(tx, batch.next_job) is not None:
        return commands.rerun(tx, batch.next_job, route=route)
    return accept(tx, NewJob(**orjson.loads(text)))


def _moved(tx: Tx, batch: Batch, to: BatchState, *, next_job: str | None, reason: str | None = None) -> Batch:
    finished, retried = tx.now if to in FINISHED else None, tx.change if to is B.RETRYING else None
    tx.execute(
        _move,
        id_=batch.id,
        from_=batch.state.value,
        to_=to.value,
        finished_=finished,
        next_=next_job,
        reason_=None if to is B.RETRYING else reason or batch.reason,  # the retry begins anew
        retried_=retried,
    )
    after = get(tx, batch.id)
    assert after is not None  # noqa: S101 - it is locked
    return after


def cancel(tx: Tx, batch_id: str, *, reason: str | None, visible: Visible) -> Batch:
    """Make the batch CANCELLING; its children are cancelled afterwards.

    Raises NotFound, and BatchConflict if it is over.
    """
    batch = _locked(tx, batch_id, visible)
    if batch.done:
        raise BatchConflict("the batch is over already", batch)
    if batch.state is B.CANCELLING:
        return batch
    return _moved(tx, batch, B.CANCELLING, next_job=batch.next_job, reason=reason)


def retry(tx: Tx, batch_id: str, *, visible: Visible) -> Batch:
    """Make a finished batch RETRYING; its failed children are queued again afterwards.

    One that was stopped or cancelled goes on to `then`, also where nothing in it is failed any more. Raises NotFound,
    and BatchConflict if there is nothing to do, or `then` has succeeded.
    """
    batch = _locked(tx, batch_id, visible)
    reason = why_not_retried(tx, batch)
    if reason is not None:
        raise BatchConflict(reason, batch)
    return _moved(tx, batch, B.RETRYING, next_job=_then(batch))


def why_not_retried(tx: Tx, batch: Batch) -> str | None:
    """Return why the batch cannot be retried; None if it can."""
    if not batch.done:
        return "the batch is not over; only one that is can be retried"
    if _is_followed(tx, batch):  # it reads the results of the batch
        return "the job that follows the batch is not over: wait for it, or cancel it"
    if (then := _then(batch)) is not None:
        job = ledger.get(tx, then)
        if job is None:
            return "the job that follows the batch has been deleted; retry single jobs"
        return None if job.status in RETRYABLE else f"the job that follows the batch is {job.status}; retry single jobs"
    if batch.state is B.DONE and not (_open_and_failed(tx, batch)[1] or tx.one(_any_nested_to_retry, batch_=batch.id)):
        return "nothing in the batch has failed: there is nothing to retry"
    return None


def _then(batch: Batch) -> str | None:
    """Return the `then` of a finished batch that has followed, maybe before it was retried; None if none has."""
    return None if batch.state is B.STOPPED else batch.next_job


def _is_followed(tx: Tx, batch: Batch) -> bool:
    """Return whether the job that follows the batch, or one in it, is not over."""
    return tx.one(_any_followed, batch_=batch.id) is not None


def _locked(tx: Tx, batch_id: str, visible: Visible) -> Batch:
    batch = _decode(tx.one(_lock, id_=batch_id))
    if batch is None or not visible.sees_jobs_of(batch.owner):
        raise NotFound(f"there is no batch {batch_id[:64]!r}")
    return batch


def reason_of_children(batch: Batch) -> str | None:
    """Return the reason of children that are cancelled with the batch; None if nobody gave one."""
    return STOPPED_WITH if batch.state is B.STOPPING else batch.reason


def cancel_children(tx: Tx, limit: int, *, batch: Batch) -> list[Job] | None:
    """Cancel some children of a batch that is STOPPING or CANCELLING: of the former those that do not run.

    Returns those that it has cancelled; None if none were left but some that another transaction has locked, to which
    the leading process comes back, or if the batch is in another state by now: a process that has stood still must not
    cancel what was retried meanwhile.
    """
    now = _decode(tx.one(_lock, id_=batch.id))
    if now is None or now.state is not batch.state:
        return None
    found = tx.scalars(_waiting if batch.state is B.STOPPING else _not_cancelled, batch_=batch.id, limit_=limit)
    cancelled = [_cancelled(tx, job_id, reason_of_children(now)) for job_id in sorted(found)]
    return [job for job in cancelled if job is not None] if found else None


def _cancelled(tx: Tx, job_id: str, reason: str | None) -> Job | None:
    """Cancel a child; None if it has ended meanwhile."""
    try:
        return commands.cancel(tx, job_id, reason=reason, visible=EVERYTHING)
    except (Conflict, NotFound):
        return None


def cancel_nested(tx: Tx, batch_id: str, *, reason: str | None) -> None:
    """Cancel a batch with the one that holds it; do nothing if it is over, or if that one goes on by now."""
    batch = _decode(tx.one(_lock, id_=batch_id))
    if batch is not None and not batch.done and _is_held_in(tx, batch, B.STOPPING, B.CANCELLING):
        _moved(tx, batch, B.CANCELLING, next_job=batch.next_job, reason=reason)


def _is_held_in(tx: Tx, batch: Batch, *states: BatchState) -> bool:
    """Lock the batch that holds this one, after this one; return whether it is in one of the states."""
    outer = _decode(tx.one(_lock, id_=batch.parent))
    return outer is not None and outer.state in states


def nested_to_cancel(tx: Tx, batch: Batch) -> list[str]:
    """Return the batches in the batch that have to be cancelled with it."""
    return tx.scalars(_nested_to_cancel, batch_=batch.id)


class Retried(NamedTuple):
    """Some retried jobs; `last` is the position behind which there may be more, and None if there are none."""

    jobs: list[Job]
    last: int | None


def retry_children(tx: Tx, limit: int, *, batch_id: str, status: JobStatus, after: int, route: Route) -> Retried:
    """Queue some children in that status again, by their positions; none once the batch is no longer RETRYING.

    Those that have failed since it was are left: what goes through the children a second time retries none twice.
    """
    batch = _decode(tx.one(_lock, id_=batch_id))
    if batch is None or batch.state is not B.RETRYING:
        return Retried([], None)
    mark = batch.retried or tx.change
    found = tx.all(_to_retry, batch_=batch_id, status_=status.value, after_=after, retried_=mark, limit_=limit)
    retried = commands.retry_each(tx, sorted(job_id for job_id, _ in found), visible=EVERYTHING, route=route)
    return Retried(retried, found[-1][1] if found else None)


def retry_nested(tx: Tx, batch_id: str) -> None:
    """Retry a batch with the one that holds it, if it can be retried still, and that one is being retried."""
    batch = _decode(tx.one(_lock, id_=batch_id))
    if batch is not None and _is_held_in(tx, batch, B.RETRYING) and why_not_retried(tx, batch) is None:
        _moved(tx, batch, B.RETRYING, next_job=_then(batch))


def nested_to_retry(tx: Tx, batch: Batch) -> list[str]:
    """Return the batches in the batch that have to be retried with it: something in each, however deep, has failed."""
    return tx.scalars(_nested_to_retry, batch_=batch.id)


def reopen(tx: Tx, batch_id: str, *, retried: int | None = None) -> None:
    """Wait for the children of a batch that was retried; with `retried`, only if that was its last retry."""
    batch = _decode(tx.one(_lock, id_=batch_id))
    if batch is not None and batch.state is B.RETRYING and retried in (None, batch.retried):
        _moved(tx, batch, B.OPEN, next_job=batch.next_job)


def unattended(tx: Tx, *, since: Snapshot | None) -> tuple[list[str], Snapshot]:
    """Return batches that may have to move, and what is seen, to pass as `since` the next time.

    With `since` only those with a child that has ended since then, and those that somebody has to go through.
    """
    now = Snapshot.of(tx)  # before the rows: what is committed between the two is read twice, not missed
    if tx.one(_any_unfinished) is None:
        return [], now
    if since is None:
        return tx.scalars(_all_unfinished), now
    first, ended = now.since(since)
    found = {*tx.scalars(_ended, floor=first), *tx.scalars(_to_attend)}
    if ended is not None:
        found.update(tx.scalars(_ended_of_open, open=ended))
    return sorted(found), now
