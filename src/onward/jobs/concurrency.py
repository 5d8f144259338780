"""The limits of handlers: pauses, concurrent jobs, starts in a period. Each is a row of the table `gates`.

A handler that is neither paused nor limited has no row, and a claim finds that out in passing. Jobs of any other one
are admitted under a lock on these rows, one claim after another (`admission`). A job that is not admitted becomes
*blocked*: it stays QUEUED, but out of the line. It is neither claimed nor delivered until it is unblocked (`blocked`):
by maintenance, or by the end of a job that used up the limit.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import sqlalchemy as sa

from onward.jobs.limits import Limit, Rate
from onward.storage.sql import in_array, insert_new
from onward.storage.tables import gates, jobs
from onward.storage.transaction import Tx

PAUSED, CONCURRENCY, RATE = "PAUSED", "CONCURRENCY", "RATE"
KEY = "KEY"  # by the limit of the job's key (`key_limits`), and by no limit of its handler
REASONS = (PAUSED, CONCURRENCY, RATE, KEY)
THREAD = "THREAD"  # of a job that runs, and whose plain function waits for a thread

_p = sa.bindparam
REQUEUED = {  # set where a job is blocked or unblocked
    "delivered_to": None,
    "token": jobs.c.token + 1,  # a confirmation that comes late is for another wait
    "placed": jobs.c.placed + 1,  # a place of its key is kept
    "version": jobs.c.version + 1,  # `waitingFor` is another one
    "changed": _p("change"),
}
free = (
    sa.select(jobs.c.id)
    .where(in_array(jobs.c.id, "ids"))
    .with_for_update(skip_locked=True)
    .cte("free")
    .prefix_with("MATERIALIZED")
)
"""The jobs of `ids` that no other transaction holds, because it could wait for the limits that are locked here."""
has_limits = sa.exists(sa.select(gates.c.handler).where(gates.c.handler == jobs.c.handler).correlate(jobs))
_any = sa.select(sa.exists(sa.select(gates.c.handler)))
_all = sa.select(
    gates.c.handler,
    gates.c.paused_at,
    gates.c.paused_by,
    gates.c.concurrency,
    gates.c.starts,
    gates.c.period_us,
    gates.c.even_at,
).order_by(gates.c.handler)
# All of them, in order: a commit that needs one for a claim may need the next one for its next claim.
_locked = _all.with_for_update()
_this = gates.c.handler == _p("handler_")
_insert = insert_new(gates).values(handler=_p("handler_"))
_pause = sa.update(gates).where(_this, gates.c.paused_at.is_(None)).values(paused_at=_p("now"), paused_by=_p("by"))
_resume = sa.update(gates).where(_this, gates.c.paused_at.is_not(None)).values(paused_at=None, paused_by=None)
_configure = (
    sa.update(gates)
    .where(_this)
    .values(concurrency=_p("concurrency_"), starts=_p("starts_"), period_us=_p("period_"), even_at=_p("arrival_"))
)
_set_arrival = sa.update(gates).where(_this).values(even_at=_p("arrival_"))
_delete_unlimited = sa.delete(gates).where(
    gates.c.paused_at.is_(None), gates.c.concurrency.is_(None), gates.c.starts.is_(None)
)


class Pause(NamedTuple):
    """A pause, in which no job of the handler starts: `since` in microseconds, `by` its author, if known."""

    handler: str
    since: int
    by: str | None


class HandlerLimits(NamedTuple):
    """All present limits of a handler."""

    handler: str
    pause: Pause | None
    limit: Limit
    theoretical_arrival: int | None  # of its rate: when the next job would start if all came evenly, in microseconds


def pause(tx: Tx, handler: str, *, by: str | None) -> Pause:
    """Pause the handler: none of its jobs is claimed, running ones go on. An earlier pause stays."""
    locked_limits(tx)
    tx.execute(_insert, handler_=handler)
    tx.execute(_pause, handler_=handler, now=tx.now, by=by)
    return next(found for found in pauses(tx) if found.handler == handler)


def resume(tx: Tx, handler: str) -> bool:
    """End the pause, after which maintenance unblocks the handler's jobs; return False if it was not paused."""
    locked_limits(tx)
    was_paused = bool(tx.execute(_resume, handler_=handler))
    tx.execute(_delete_unlimited)
    return was_paused


def configure(tx: Tx, limits: Mapping[str, Limit]) -> None:
    """Set the limits of these handlers for all processes; those of other handlers stay."""
    present = locked_limits(tx)
    for handler, limit in limits.items():
        found = present.get(handler)
        if limit == (found.limit if found else Limit()):
            continue
        tx.execute(_insert, handler_=handler)
        rate, arrival = limit.rate, found.theoretical_arrival if found else None
        starts, period_us = (rate.starts, rate.period_us) if rate else (None, None)
        if rate is not None and arrival is not None:  # what a slower rate has used up does not count for this one
            arrival = min(arrival, tx.now + rate.burst * rate.interval_us)
        values = {"concurrency_": limit.concurrency, "starts_": starts, "period_": period_us, "arrival_": arrival}
        tx.execute(_configure, handler_=handler, **values)
    tx.execute(_delete_unlimited)


def set_theoretical_arrival(tx: Tx, handler: str, arrival: int) -> None:
    """Record how much of the handler's rate the starts have used."""
    tx.execute(_set_arrival, handler_=handler, arrival_=arrival)


def any_limits(tx: Tx) -> bool:
    """True if any handler is paused or limited, or was at the begin of the transaction."""
    return bool(tx.scalar(_any)) if tx.any_limits is None else tx.any_limits


def all_limits(tx: Tx) -> dict[str, HandlerLimits]:
    """Return the limits of all handlers that have some, by handler."""
    return _read(tx, _all)


def locked_limits(tx: Tx) -> dict[str, HandlerLimits]:
    """Return the same, locked until the end of the transaction."""
    return _read(tx, _locked)


def pauses(tx: Tx) -> list[Pause]:
    """Return the pauses of all handlers, by name."""
    return [limits.pause for limits in all_limits(tx).values() if limits.pause is not None]


def _read(tx: Tx, statement: sa.Select[tuple[str, int, str, int, int, int, int]]) -> dict[str, HandlerLimits]:
    found = {}
    for handler, paused_at, paused_by, concurrency, starts, period_us, arrival in tx.all(statement):
        rate = Rate(starts, period_us) if starts is not None else None
        pause = Pause(handler, paused_at, paused_by) if paused_at is not None else None
        found[handler] = HandlerLimits(handler, pause, Limit(concurrency, rate), arrival)
    return found
