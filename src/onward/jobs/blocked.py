"""Blocked jobs, which their handler's limits keep out of the line, and their return to it."""

from __future__ import annotations

import sqlalchemy as sa

from onward.jobs import key_limits, row
from onward.jobs.admission import capacity
from onward.jobs.concurrency import KEY, REQUEUED, all_limits, locked_limits
from onward.jobs.key_limits import may_start
from onward.jobs.model import Job
from onward.storage.tables import BY_LIMIT, blocked_row, by_handler, jobs
from onward.storage.transaction import Tx

RESERVED_US = 100_000  # the time by which a job with a reservation may have started

_p = sa.bindparam
# One look at the index for each handler, however many of its jobs are blocked.
_next_handler = (
    sa.select(jobs.c.handler)
    .where(by_handler, jobs.c.handler > _p("after_"))
    .order_by(jobs.c.handler, jobs.c.priority, jobs.c.due_at)  # no other index has this order
    .limit(1)
    .with_hint(jobs, BY_LIMIT, "sqlite")
)
_first = (
    sa.select(jobs.c.id)
    .where(by_handler, jobs.c.handler == _p("handler_"))
    .order_by(jobs.c.priority, jobs.c.due_at)
    .limit(_p("limit_", type_=sa.Integer))
    .with_for_update(skip_locked=True)
    .with_hint(jobs, BY_LIMIT, "sqlite")
    .cte("first")
    .prefix_with("MATERIALIZED")
)
# One that has no place of its key waits for it next, as after a pause of a handler that shares the key.
_unblock = (
    sa.update(jobs)
    .where(jobs.c.id.in_(sa.select(_first.c.id)), blocked_row)
    .values({**REQUEUED, "parked": sa.case((may_start, sa.null()), else_=KEY)})
)
_unblock_unlimited = _unblock.returning(*row.ALL)
_unblock_reserved = _unblock.values(promised=sa.case((may_start, jobs.c.token + 1), else_=sa.null())).returning(
    *row.ALL
)
_count = (
    sa.select(jobs.c.parked, sa.func.count())
    .where(by_handler)
    .group_by(jobs.c.parked)
    .with_hint(jobs, BY_LIMIT, "sqlite")
)


def count(tx: Tx) -> dict[str, int]:
    """Count the blocked jobs by reason."""
    by_key = key_limits.count(tx)
    return {**dict(tx.all(_count)), **({KEY: by_key} if by_key else {})}


def handlers(tx: Tx) -> list[str]:
    """Return the handlers that have blocked jobs, by name."""
    found: list[str] = []
    while (name := tx.scalar(_next_handler, after_=found[-1] if found else "")) is not None:
        found.append(name)
    return found


def admissible_handlers(tx: Tx) -> tuple[list[str], int | None]:
    """The handlers of which blocked jobs may start, and in how many microseconds a rate may admit the next one.

    The wait is None if no rate is waited for.
    """
    found: list[str] = []
    waits: list[int] = []
    names = handlers(tx)
    present = all_limits(tx) if names else {}
    for name in names:
        limits = present.get(name)
        if limits is None:
            found.append(name)
        elif limits.pause is None:
            left, rate = capacity(tx, limits), limits.limit.rate
            if left.unreserved > 0:
                found.append(name)
                if rate is not None:  # one more may start by then
                    waits.append(rate.interval_us)
            elif rate is not None and left.slots > left.reserved:
                waits.append(rate.wait_us(limits.theoretical_arrival, tx.now) or max(rate.interval_us, RESERVED_US))
    return found, min(waits, default=None)


def unblock(tx: Tx, handler: str, limit: int) -> list[Job]:
    """Put blocked jobs of the handler back into the line, undelivered: at most `limit`, the most urgent first.

    Those that wait for a place of their key next are returned, too.
    """
    limits = locked_limits(tx).get(handler)
    statement = _unblock_unlimited
    if limits is not None:
        if limits.pause is not None:
            return []
        limit, statement = min(limit, capacity(tx, limits).unreserved), _unblock_reserved
    if limit <= 0:
        return []
    rows = tx.all(statement, handler_=handler, limit_=limit, change=tx.change)
    found = sorted(map(row.decode, rows), key=lambda job: (job.priority, job.due_at, job.id))
    for job in found:
        if job.blocked is not None:
            key_limits.note(tx, job.limit_key, fresh=job)
    return found
