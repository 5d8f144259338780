"""What the sweep asks of the ledger: whose time has come, what has to be delivered again, what goes where now."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import sqlalchemy as sa

from onward.jobs.ledger import horizon
from onward.jobs.model import Job, from_row
from onward.jobs.states import JobStatus
from onward.storage.sql import as_list, in_array
from onward.storage.tables import jobs, later, ready
from onward.storage.transaction import Tx

S = JobStatus
BY_TIME = "INDEXED BY jobs_later"  # left to itself, SQLite reads all that waits and sorts it, look after look
_p = sa.bindparam


def _some(*which: sa.ColumnElement[bool] | sa.TextClause) -> sa.Select[tuple[str]]:
    """Ids of rows to change in one commit, which nobody has to wait for long; locked in an order that all keep to."""
    limit = _p("limit_", type_=sa.Integer)
    found = sa.select(jobs.c.id).where(*which).order_by(jobs.c.id).limit(limit).with_for_update().cte("some")
    return sa.select(found.prefix_with("MATERIALIZED").c.id)  # as in `claims`: PostgreSQL must not ask it twice


_due = (
    sa.select(jobs)
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
    )
)
_next = sa.select(sa.func.min(jobs.c.due_at)).where(later).with_hint(jobs, BY_TIME, "sqlite")
_ready = (ready, jobs.c.backend == _p("backend_"))
_undelivered = (
    sa.select(jobs.c.id, jobs.c.handler, jobs.c.priority, jobs.c.token, jobs.c.attempt > 0)
    # What waits is due by its state; a time ahead of now was written by a process whose clock was.
    .where(*_ready, sa.or_(jobs.c.due_at <= _p("before_"), jobs.c.due_at > _p("after_")))
    .where(sa.or_(jobs.c.delivered_to.is_(None), jobs.c.delivered_to != _p("identity_")))
    .order_by(jobs.c.priority, jobs.c.due_at)
    .limit(_p("limit_", type_=sa.Integer))
)
_wait = (in_array(jobs.c.id, "ids"), jobs.c.status == S.QUEUED.value, jobs.c.token == _p("token_"))
# Whoever holds one is claiming it, or will have it delivered once more. To wait for several of them, in whatever order
# they were delivered in, while a worker claims several in another order, would be a deadlock.
_idle = sa.select(jobs.c.id).where(*_wait).with_for_update(skip_locked=True).cte("idle").prefix_with("MATERIALIZED")
_confirm = sa.update(jobs).where(jobs.c.id.in_(sa.select(_idle.c.id))).values(delivered_to=_p("identity_"))
_doubt = (
    sa.update(jobs)
    .where(jobs.c.id.in_(_some(*_ready, jobs.c.delivered_to.is_not(None), jobs.c.due_at <= _p("before_"))), *_ready)
    .values(delivered_to=None)
)
_give_back = (
    sa.update(jobs)
    .where(jobs.c.id == _p("id_"), ready)
    # A promise, which is a number of this kind, is kept.
    .values(delivered_to=None, token=jobs.c.token + 1, promised=jobs.c.promised + 1)
)
_rest = _give_back.values(due_at=_p("now"))
_waiting = sa.select(sa.func.count(), sa.func.min(jobs.c.due_at)).where(*_ready)
_unclaimed = sa.or_(later, jobs.c.status == S.QUEUED.value)
_place = (jobs.c.backend, jobs.c.handler, jobs.c.delivered_to)
_places = sa.select(*_place).where(_unclaimed).distinct()
_new_places = (
    sa.select(*_place)
    .where(_unclaimed, jobs.c.changed >= _p("floor"))
    .distinct()
    .with_hint(jobs, "INDEXED BY jobs_changed", "sqlite")
)
_misplaced = (_unclaimed, jobs.c.backend == _p("old"), jobs.c.handler == _p("handler_"))
_reroute = (
    sa.update(jobs)
    .where(jobs.c.id.in_(_some(*_misplaced)), *_misplaced)
    .values(
        backend=_p("new"),
        delivered_to=None,
        token=jobs.c.token + 1,
        version=jobs.c.version + 1,
        changed=_p("change"),
    )
)
Destination = tuple[str, str, str | None]  # backend, handler, where it was delivered to


def promote_due(tx: Tx, *, route: Callable[[str], str], limit: int) -> list[Job]:
    """Jobs whose time has come wait for a delivery, by the routes of now; at most `limit`, those due longest first."""
    promoted = []
    for row in tx.all(_due, now=tx.now, limit_=limit):
        job = from_row(row)
        if tx.execute(_promote, id_=job.id, version_=job.version, change=tx.change, backend_=route(job.handler)):
            tx.count(job.owner, job.status, -1)
            tx.count(job.owner, S.QUEUED, 1)
            promoted.append(replace(job, status=S.QUEUED, backend=route(job.handler), version=job.version + 1))
    return promoted


def next_due(tx: Tx) -> int | None:
    """When the next delayed job or retry comes due."""
    row = tx.one(_next)
    return row[0] if row else None


def undelivered(
    tx: Tx, *, backend: str, identity: str, grace_us: int, limit: int
) -> list[tuple[str, str, int, int, bool]]:
    """Jobs that wait for longer than the grace without a delivery to that broker.

    Id, handler, priority and token of each, and whether it ran before.
    """
    bounds = {"before_": tx.now - grace_us, "after_": tx.now + grace_us}
    return [
        (row[0], row[1], row[2], row[3], bool(row[4]))
        for row in tx.all(_undelivered, backend_=backend, identity_=identity, limit_=limit, **bounds)
    ]


def confirm(tx: Tx, waits: Sequence[tuple[str, int]], *, identity: str) -> None:
    """The broker of that identity has the jobs of these ids and tokens. No change that a client sees.

    The token tells a wait from a later one of the same job, which was given back or claimed since it was delivered: its
    message is used up, and a confirmation that comes late must not keep it from being delivered again.
    """
    for token in {token for _, token in waits}:
        ids = [job_id for job_id, its in waits if its == token]
        tx.execute(_confirm, ids=as_list(ids), token_=token, identity_=identity)


def give_back(tx: Tx, job_id: str) -> None:
    """A delivery that came to a process which takes nothing any more does not count."""
    tx.execute(_give_back, id_=job_id)


def postpone(tx: Tx, job_id: str) -> None:
    """The delivery does not count either, and there is no hurry with the next: it may come to nothing as well."""
    tx.execute(_rest, id_=job_id, now=tx.now)


def invalidate_deliveries(tx: Tx, *, backend: str, before: int, limit: int) -> int:
    """Deliveries to the backend count no more: what has waited there since before that time will be delivered again.

    How many jobs that were, at most `limit`.
    """
    return tx.execute(_doubt, backend_=backend, before_=before, limit_=limit)


def waiting(tx: Tx, *, backend: str) -> tuple[int, int | None]:
    """How many jobs wait for the backend, and the age of the oldest in microseconds. Those at a gate do not."""
    row = tx.one(_waiting, backend_=backend)
    n, oldest = row or (0, None)
    return n, None if oldest is None else max(tx.now - oldest, 0)


def destinations(tx: Tx, *, since: int | None) -> tuple[set[Destination], int]:
    """Where what is unclaimed has been sent, and from which commit on to look the next time.

    With `since`, which the last look gave, only what has changed from then on: a backlog is looked through once.
    """
    next_since = horizon(tx)  # before the rows: what is committed between the two is read twice, not missed
    # After a crash, PostgreSQL counts on from an older number.
    rows = tx.all(_places) if since is None else tx.all(_new_places, floor=min(since, next_since))
    return {(row[0], row[1], row[2]) for row in rows}, next_since


def reroute(tx: Tx, *, old: str, handler: str, new: str, limit: int) -> int:
    """What is unclaimed of the handler's jobs goes to the new backend instead. How many moved, at most `limit`."""
    return tx.execute(_reroute, old=old, handler_=handler, new=new, change=tx.change, limit_=limit)
