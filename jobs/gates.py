"""The gates of handlers: whose jobs may not begin at the moment.

A handler without a row has none, and a claim finds that out in passing. A job that a claim may not have is *parked*: it
stays QUEUED, but out of the line. No claim looks at it, and nobody delivers it, until the sweep lets it out again.
"""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from jobs.ledger import ID
from jobs.model import Job, from_row
from storage.engine import Tx
from storage.tables import at_gate, gates, jobs, ready

PAUSED = "PAUSED"
REASONS = (PAUSED,)
BY_GATE = "INDEXED BY jobs_at_gate"  # left to itself, SQLite reads all that is queued
LOOK = 500  # so far into the line is looked for jobs that are not to be had

_p = sa.bindparam
_limit = _p("limit_", type_=sa.Integer)
_closed = sa.select(gates.c.handler).where(gates.c.paused_at.is_not(None))
_TURNED = {  # parked or let out
    "delivered_to": None,
    "token": jobs.c.token + 1,  # a confirmation that comes late is for another wait
    "version": jobs.c.version + 1,  # `waitingFor` is another one
    "changed": _p("change"),
}
_PARKED = {**_TURNED, "parked": PAUSED}
gated = sa.exists(sa.select(gates.c.handler).where(gates.c.handler == jobs.c.handler).correlate(jobs))
_any = sa.select(sa.exists(sa.select(gates.c.handler)))
_stop = sa.update(jobs).where(ID, ready, jobs.c.handler.in_(_closed)).values(_PARKED)
_front = (
    sa.select(jobs.c.id, jobs.c.handler)
    .where(ready, jobs.c.backend == _p("backend_"))
    .order_by(jobs.c.priority, jobs.c.due_at)
    .limit(LOOK)
    .with_for_update(skip_locked=True)
    .cte("front")
    .prefix_with("MATERIALIZED")
)
_clear = (
    sa.update(jobs)
    .where(jobs.c.id.in_(sa.select(_front.c.id).where(_front.c.handler.in_(_closed))), ready)
    .values(_PARKED)
)
# One look at the index for each, however many are parked.
_next = (
    sa.select(sa.func.min(jobs.c.handler))
    .where(at_gate, jobs.c.handler > _p("after_"))
    .with_hint(jobs, BY_GATE, "sqlite")
)
_first_out = (
    sa.select(jobs.c.id)
    .where(at_gate, jobs.c.handler == _p("handler_"), jobs.c.handler.not_in(_closed))
    .order_by(jobs.c.priority, jobs.c.due_at)
    .limit(_limit)
    .with_for_update(skip_locked=True)
    .cte("first_out")
    .prefix_with("MATERIALIZED")
)
_let_out = (
    sa.update(jobs)
    .where(jobs.c.id.in_(sa.select(_first_out.c.id)), at_gate)
    .values({**_TURNED, "parked": None})
    .returning(*jobs.c)
)
_parked = (
    sa.select(jobs.c.parked, sa.func.count()).where(at_gate).group_by(jobs.c.parked).with_hint(jobs, BY_GATE, "sqlite")
)
_paused = (
    sa.select(gates.c.handler, gates.c.paused_at, gates.c.paused_by)
    .where(gates.c.paused_at.is_not(None))
    .order_by(gates.c.handler)
)
_pause = (
    insert(gates)
    .values(handler=_p("handler_"), paused_at=_p("now"), paused_by=_p("by"))
    .on_conflict_do_nothing(index_elements=[gates.c.handler])
)
_resume = sa.delete(gates).where(gates.c.handler == _p("handler_"))


@dataclass(frozen=True, slots=True)
class Pause:
    """No job of the handler begins; `since` is in microseconds, `by` whoever wanted it, as far as that is known."""

    handler: str
    since: int
    by: str | None


def pause(tx: Tx, handler: str, *, by: str | None) -> Pause:
    """From the commit on no job of the handler is claimed; what runs goes on. The first pause stands."""
    tx.execute(_pause, handler_=handler, now=tx.now, by=by)
    return next(found for found in pauses(tx) if found.handler == handler)


def resume(tx: Tx, handler: str) -> bool:
    """Jobs of the handler are claimed again, and the sweep lets out what is parked; False where it was not paused."""
    return bool(tx.execute(_resume, handler_=handler))


def pauses(tx: Tx) -> list[Pause]:
    return [Pause(*row) for row in tx.all(_paused)]


def stop(tx: Tx, job_id: str) -> None:
    """A job that could not be claimed is parked, if that was for its handler's gate."""
    tx.execute(_stop, id_=job_id, change=tx.change)


def clear(tx: Tx, *, backend: str) -> int:
    """At the front of the backend's line nothing waits that no claim may have. How many jobs were parked for it."""
    row = tx.one(_any)
    return tx.execute(_clear, backend_=backend, change=tx.change) if row and row[0] else 0


def with_parked(tx: Tx) -> list[str]:
    """The handlers that have parked jobs."""
    found: list[str] = []
    while (row := tx.one(_next, after_=found[-1] if found else "")) and row[0] is not None:
        found.append(row[0])
    return found


def open_with_parked(tx: Tx) -> list[str]:
    """Those whose jobs may pass."""
    handlers = with_parked(tx)
    return sorted({*handlers} - {found.handler for found in pauses(tx)}) if handlers else []


def let_out(tx: Tx, handler: str, *, limit: int) -> list[Job]:
    """Parked jobs of the handler wait in line again, as nobody has delivered them: at most `limit`, the first first."""
    rows = tx.all(_let_out, handler_=handler, limit_=limit, change=tx.change)
    return sorted(map(from_row, rows), key=lambda job: (job.priority, job.due_at, job.id))


def parked(tx: Tx) -> dict[str, int]:
    """How many jobs are parked, by why they are."""
    return {row[0]: row[1] for row in tx.all(_parked)}
