"""Maintenance of queued and delayed jobs: those that are due, those to deliver again, those to reroute."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import sqlalchemy as sa

from onward.jobs import history, key_limits, row
from onward.jobs.concurrency import KEY
from onward.jobs.model import Job
from onward.jobs.outcome import NEVER
from onward.jobs.position import Snapshot
from onward.jobs.states import UNCLAIMED, JobStatus
from onward.storage.sql import as_list, from_on, in_array, one_of
from onward.storage.tables import (
    BY_CALLER,
    BY_CHANGE,
    BY_READY,
    BY_TIME,
    BY_WAIT,
    between_steps,
    jobs,
    later,
    queued_row,
    ready,
    ready_row,
    unclaimed_row,
)
from onward.storage.tables import unsent as unsent_
from onward.storage.transaction import Tx

S = JobStatus
_p = sa.bindparam


def _batch(*conditions: sa.ColumnElement[bool] | sa.TextClause) -> sa.Select[tuple[str]]:
    """Ids of rows for one short commit, in the order that every writer keeps to.

    Without those that another transaction has locked, which may stay open for long.
    """
    limit = _p("limit_", type_=sa.Integer)
    ids = sa.select(jobs.c.id).where(*conditions).order_by(jobs.c.id).limit(limit)
    found = ids.with_for_update(skip_locked=True).cte("batch")
    return sa.select(found.prefix_with("MATERIALIZED").c.id)  # as in `claims`: PostgreSQL must not run it twice


_due = (
    sa.select(*row.ALL)
    .where(later, jobs.c.due_at <= _p("now"))
    .order_by(jobs.c.due_at)
    .limit(_p("limit_", type_=sa.Integer))
    .with_for_update(skip_locked=True)
    .with_hint(jobs, BY_TIME, "sqlite")
)
_promote = (
    sa.update(jobs)
    .where(jobs.c.id == _p("id_"), jobs.c.version == _p("version_"))
    .values(
        status=S.QUEUED.value,
        version=jobs.c.version + 1,
        changed=_p("change"),
        backend=_p("backend_"),
        delivered_to=None,
        parked=_p("blocked_"),
    )
)
_first = sa.select(jobs.c.due_at).order_by(jobs.c.due_at).limit(1)
_next = sa.select(
    _first.where(later).with_hint(jobs, BY_TIME, "sqlite").scalar_subquery(),
    _first.where(between_steps, jobs.c.due_at < NEVER).with_hint(jobs, BY_WAIT, "sqlite").scalar_subquery(),
)
_ready_of = (ready, jobs.c.backend == _p("backend_"))
_undelivered = (
    sa.select(*row.columns(row.Unconfirmed))
    # A queued job is due; a time ahead of now was written by a process whose clock was ahead.
    .where(*_ready_of, sa.or_(jobs.c.due_at <= _p("before_"), jobs.c.due_at > _p("after_")))
    .where(sa.or_(jobs.c.delivered_to.is_(None), jobs.c.delivered_to != _p("identity_")))
    .order_by(jobs.c.priority, jobs.c.due_at)
    .limit(_p("limit_", type_=sa.Integer))
    .with_hint(jobs, BY_READY, "sqlite")
)
_unsent = (
    sa.select(*row.columns(row.Unconfirmed))
    .where(unsent_, jobs.c.backend == _p("backend_"))
    .order_by(jobs.c.priority, jobs.c.due_at)
    .limit(_p("limit_", type_=sa.Integer))
    .with_hint(jobs, BY_CALLER, "sqlite")
)
_queued = (in_array(jobs.c.id, "ids"), queued_row, jobs.c.token == _p("token_"))
# A transaction that holds one of them claims it, or has it delivered again. To wait for several of them in the order of
# their delivery, while a worker claims several in another order, would be a deadlock.
_idle = sa.select(jobs.c.id).where(*_queued).with_for_update(skip_locked=True).cte("idle").prefix_with("MATERIALIZED")
_confirm = sa.update(jobs).where(jobs.c.id.in_(sa.select(_idle.c.id))).values(delivered_to=_p("identity_"))
_invalidate = (
    sa.update(jobs)
    .where(
        jobs.c.id.in_(_batch(*_ready_of, jobs.c.delivered_to.is_not(None), jobs.c.due_at <= _p("before_"))),
        ready_row,
        jobs.c.backend == _p("backend_"),
    )
    .values(delivered_to=None)
)
_give_back = (
    sa.update(jobs)
    .where(jobs.c.id == _p("id_"), ready_row)
    # Reservations, which are numbers of this kind, are kept.
    .values(
        delivered_to=None,
        token=jobs.c.token + 1,
        promised=jobs.c.promised + 1,
        placed=jobs.c.placed + 1,
    )
)
_postpone = _give_back.values(due_at=_p("now"))
_waiting = sa.select(sa.func.count(), sa.func.min(jobs.c.due_at)).where(*_ready_of).with_hint(jobs, BY_READY, "sqlite")
_waiting_by_handler = (
    sa.select(jobs.c.handler, sa.func.count(), sa.func.min(jobs.c.due_at))
    .where(*_ready_of)
    .group_by(jobs.c.handler)
    .with_hint(jobs, BY_READY, "sqlite")
)
_is_free = jobs.c.parked.is_(None)
_backlog = (
    sa.select(
        jobs.c.handler,
        jobs.c.backend,
        sa.func.count(sa.case((_is_free, 1))),
        sa.func.min(sa.case((_is_free, jobs.c.due_at))),
        sa.func.count(jobs.c.parked),
    )
    .where(jobs.c.status == sa.literal_column("'QUEUED'"))
    .group_by(jobs.c.handler, jobs.c.backend)
    .order_by(jobs.c.handler, jobs.c.backend)
)
_unclaimed = one_of(jobs.c.status, UNCLAIMED)
_destination = row.columns(row.Destination)
_destinations = sa.select(*_destination).where(_unclaimed).distinct()
_new_destinations = (
    sa.select(*_destination)
    .where(unclaimed_row, from_on(jobs.c.changed, "floor"))
    .distinct()
    .with_hint(jobs, BY_CHANGE, "sqlite")
)
_destinations_of_open = (
    sa.select(*_destination).where(unclaimed_row, sa.text("changed = ANY(CAST(:open AS BIGINT[]))")).distinct()
)
_misrouted = (_unclaimed, jobs.c.backend == _p("old"), jobs.c.handler == _p("handler_"))
_any_misrouted = sa.select(jobs.c.id).where(*_misrouted).limit(1)
_reroute = (
    sa.update(jobs)
    .where(jobs.c.id.in_(_batch(*_misrouted)), *_misrouted)
    .values(
        backend=_p("new"),
        delivered_to=None,
        token=jobs.c.token + 1,
        placed=jobs.c.placed + 1,
        version=jobs.c.version + 1,
        changed=_p("change"),
    )
)


def promote_due(tx: Tx, limit: int, *, route: Callable[[str, str], str]) -> list[Job]:
    """Queue the jobs whose time has come, by the present routes: at most `limit`, longest due first."""
    promoted = []
    for job in map(row.decode, tx.all(_due, now=tx.now, limit_=limit)):
        backend, reason = route(job.handler, job.backend), None if job.limit_key is None else KEY
        values = {"change": tx.change, "backend_": backend, "blocked_": reason}
        if tx.execute(_promote, id_=job.id, version_=job.version, **values):
            history.moved(tx, job, job.status, S.QUEUED)
            after = replace(
                job, status=S.QUEUED, backend=backend, version=job.version + 1, changed=tx.change, blocked=reason
            )
            key_limits.note(tx, job.limit_key, fresh=after)
            promoted.append(after)
    return promoted


def next_due(tx: Tx) -> int | None:
    """The time at which the next delayed job or retry is due, or the next wait ends."""
    return min((at for at in tx.all(_next)[0] if at is not None), default=None)


def undelivered(tx: Tx, *, backend: str, identity: str, grace_us: int, limit: int) -> list[row.Unconfirmed]:
    """Jobs that have waited for longer than the grace and were not delivered to the broker of that identity."""
    bounds = {"before_": tx.now - grace_us, "after_": tx.now + grace_us}
    rows = tx.all(_undelivered, backend_=backend, identity_=identity, limit_=limit, **bounds)
    return [row.Unconfirmed._make(found) for found in rows]


def unsent(tx: Tx, *, backend: str, limit: int) -> list[row.Unconfirmed]:
    """Jobs that a caller's transaction brought for the backend, and that nobody has delivered yet."""
    return [row.Unconfirmed._make(found) for found in tx.all(_unsent, backend_=backend, limit_=limit)]


def confirm(tx: Tx, waits: Sequence[tuple[str, int]], *, identity: str) -> int:
    """Record that the broker of that identity has the jobs of these ids and fencing tokens; return how many.

    No client sees a change. Jobs that another transaction has locked are left.

    The token tells a wait from a later one of the same job, which was given back or claimed since it was delivered: its
    message is used up, and a confirmation that comes late must not keep it from being delivered again.
    """
    confirmed = 0
    for token in {token for _, token in waits}:
        ids = [job_id for job_id, its in waits if its == token]
        confirmed += tx.execute(_confirm, ids=as_list(ids), token_=token, identity_=identity)
    return confirmed


def give_back(tx: Tx, job_id: str) -> None:
    """Have the job delivered again: its delivery came to a process that is draining."""
    tx.execute(_give_back, id_=job_id)


def postpone(tx: Tx, job_id: str) -> None:
    """Have the job delivered again after the grace: its delivery came to a process that has no room for it."""
    tx.execute(_postpone, id_=job_id, now=tx.now)


def invalidate_deliveries(tx: Tx, limit: int, *, backend: str, before: int) -> int:
    """Have jobs delivered again that have waited since before that time; return how many, at most `limit`.

    Jobs that another transaction has locked are left.
    """
    return tx.execute(_invalidate, backend_=backend, before_=before, limit_=limit)


def waiting(tx: Tx, *, backend: str) -> tuple[int, int | None]:
    """Count the jobs that wait for the backend, without blocked ones; with the oldest one's age in microseconds."""
    for n, oldest in tx.all(_waiting, backend_=backend):
        return n, None if oldest is None else max(tx.now - oldest, 0)
    return 0, None


def waiting_by_handler(tx: Tx, *, backend: str) -> dict[str, tuple[int, int]]:
    """Count the same jobs by their handler; with the age of the oldest one of each. Reads their rows."""
    rows = tx.all(_waiting_by_handler, backend_=backend)
    return {handler: (n, max(tx.now - oldest, 0)) for handler, n, oldest in rows}


KEPT_TIMES = 20  # a backlog is counted again after so many times as long as it took: at most 5 % of a connection's time
MAX_PAUSE_S = 10.0  # a read may have taken long for another reason


def pause_s(took_s: float) -> float:
    """Return the seconds to wait before a backlog is read again, after a read that took so many."""
    return min(KEPT_TIMES * took_s, MAX_PAUSE_S)


class Backlog(NamedTuple):
    """The queued jobs of a handler at a destination: those that wait for a free worker, and the blocked ones.

    `oldest` is the due time of the first one that waits, in microseconds; None if none does.
    """

    handler: str
    destination: str
    depth: int
    oldest: int | None
    blocked: int


def backlog(tx: Tx) -> list[Backlog]:
    """Count the queued jobs by handler and destination. Reads their rows."""
    return [Backlog._make(found) for found in tx.all(_backlog)]


def destinations(tx: Tx, *, since: Snapshot | None) -> tuple[set[row.Destination], Snapshot]:
    """Return the destinations of unclaimed jobs, and what is seen, to pass as `since` the next time.

    With `since` only jobs that have changed since then are read, so that a backlog is read once, however long a
    transaction of somebody else's is open.
    """
    now = Snapshot.of(tx)  # before the rows: what is committed between the two is read twice, not missed
    if since is None:
        rows = tx.all(_destinations)
    else:
        first, ended = now.since(since)
        rows = tx.all(_new_destinations, floor=first)
        if ended is not None:
            rows += tx.all(_destinations_of_open, open=ended)
    return {row.Destination._make(found) for found in rows}, now


def reroute(tx: Tx, limit: int, *, old: str, handler: str, new: str) -> int:
    """Send the handler's unclaimed jobs to the new backend; return how many, at most `limit`.

    Jobs that another transaction has locked are left.
    """
    return tx.execute(_reroute, old=old, handler_=handler, new=new, change=tx.change, limit_=limit)


def any_misrouted(tx: Tx, *, old: str, handler: str) -> bool:
    """Return whether the handler has unclaimed jobs at a backend that they are to leave."""
    return tx.one(_any_misrouted, old=old, handler_=handler) is not None
