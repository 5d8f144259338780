"""The gates of handlers: which of their jobs may not begin at the moment.

A handler that is neither paused nor limited has no row, and a claim finds that out in passing. Any other one's jobs
pass its gate under a lock, one claim after another. What may not pass is *parked*: it stays QUEUED, but out of the
line. No claim looks at it, and nobody delivers it, until it is let out: by the sweep, or by the end of a job that made
room.

Who is let out of a limited gate takes a *promise* along, a place that nobody else may have. It is the number of the
job's token, and so lapses by itself when the job is claimed or parked.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from onward.jobs.ledger import ID
from onward.jobs.limits import Limit, Rate
from onward.jobs.model import Job, from_row
from onward.storage.sql import as_list, in_array, insert_new
from onward.storage.tables import at_gate, gates, held, jobs, promised, ready
from onward.storage.transaction import Tx

PAUSED, CONCURRENCY, RATE = "PAUSED", "CONCURRENCY", "RATE"
RESERVED_US = 100_000  # until who has a promised start may have begun
REASONS = (PAUSED, CONCURRENCY, RATE)
BY_GATE = "INDEXED BY jobs_at_gate"  # left to itself, SQLite reads all that is queued

_p = sa.bindparam
_limit = _p("limit_", type_=sa.Integer)
_turned = {  # parked or let out
    "delivered_to": None,
    "token": jobs.c.token + 1,  # a confirmation that comes late is for another wait
    "version": jobs.c.version + 1,  # `waitingFor` is another one
    "changed": _p("change"),
}
gated = sa.exists(sa.select(gates.c.handler).where(gates.c.handler == jobs.c.handler).correlate(jobs))
_any = sa.select(sa.exists(sa.select(gates.c.handler)))
_all = sa.select(gates).order_by(gates.c.handler)
# All of them, in order: who needs one for a claim may need the next one for the next claim of the commit.
_locked = _all.with_for_update()
waits = (jobs.c.id, jobs.c.handler, jobs.c.priority, jobs.c.deaths, jobs.c.promised, jobs.c.token)
_one = sa.select(*waits).where(ID, ready, gated)
_park = (
    sa.update(jobs)
    .where(in_array(jobs.c.id, "ids"), ready)
    .values({**_turned, "parked": _p("parked_"), "promised": None})
)
# One look at the index for each, however many are parked.
_next = (
    sa.select(sa.func.min(jobs.c.handler))
    .where(at_gate, jobs.c.handler > _p("after_"))
    .with_hint(jobs, BY_GATE, "sqlite")
)
_first = (
    sa.select(jobs.c.priority)
    .where(at_gate, jobs.c.handler == _p("handler_"))
    .order_by(jobs.c.priority, jobs.c.due_at)
    .limit(1)
    .with_hint(jobs, BY_GATE, "sqlite")
)
_first_out = (
    sa.select(jobs.c.id)
    .where(at_gate, jobs.c.handler == _p("handler_"))
    .order_by(jobs.c.priority, jobs.c.due_at)
    .limit(_limit)
    .with_for_update(skip_locked=True)
    .cte("first_out")
    .prefix_with("MATERIALIZED")
)
_let_out = sa.update(jobs).where(jobs.c.id.in_(sa.select(_first_out.c.id)), at_gate).values({**_turned, "parked": None})
_let_out_freely = _let_out.returning(*jobs.c)
_let_out_promised = _let_out.values(promised=jobs.c.token + 1).returning(*jobs.c)
_running = (
    sa.select(sa.func.count())
    .where(held, jobs.c.handler == _p("handler_"))
    .with_hint(jobs, "INDEXED BY jobs_held", "sqlite")
)
_promised = (
    sa.select(sa.func.count())
    .where(promised, jobs.c.handler == _p("handler_"))
    .with_hint(jobs, "INDEXED BY jobs_promised", "sqlite")
)
_parked = (
    sa.select(jobs.c.parked, sa.func.count()).where(at_gate).group_by(jobs.c.parked).with_hint(jobs, BY_GATE, "sqlite")
)
_mine = gates.c.handler == _p("handler_")
_insert = insert_new(gates).values(handler=_p("handler_"))
_pause = sa.update(gates).where(_mine, gates.c.paused_at.is_(None)).values(paused_at=_p("now"), paused_by=_p("by"))
_resume = sa.update(gates).where(_mine, gates.c.paused_at.is_not(None)).values(paused_at=None, paused_by=None)
_set = (
    sa.update(gates)
    .where(_mine)
    .values(concurrency=_p("concurrency_"), starts=_p("starts_"), period_us=_p("period_"), even_at=_p("even_"))
)
_started = sa.update(gates).where(_mine).values(even_at=_p("even_"))
_tidy = sa.delete(gates).where(gates.c.paused_at.is_(None), gates.c.concurrency.is_(None), gates.c.starts.is_(None))


@dataclass(frozen=True, slots=True)
class Pause:
    """No job of the handler begins; `since` is in microseconds, `by` whoever wanted it, as far as that is known."""

    handler: str
    since: int
    by: str | None


@dataclass(frozen=True, slots=True)
class Candidate:
    """A job in line, as far as its handler's gate is concerned: `waits`, read."""

    id: str
    handler: str
    priority: int
    crash_count: int
    reserved: int | None
    fencing_token: int

    @property
    def is_reserved(self) -> bool:
        return self.reserved == self.fencing_token


@dataclass(frozen=True, slots=True)
class HandlerLimits:
    """A handler's gate, as its row says."""

    handler: str
    pause: Pause | None
    limit: Limit
    theoretical_arrival: int | None  # of its rate: when the next job would begin in an even line


def pause(tx: Tx, handler: str, *, by: str | None) -> Pause:
    """From the commit on no job of the handler is claimed; what runs goes on. The first pause stands."""
    _read(tx, _locked)
    tx.execute(_insert, handler_=handler)
    tx.execute(_pause, handler_=handler, now=tx.now, by=by)
    return next(found for found in pauses(tx) if found.handler == handler)


def resume(tx: Tx, handler: str) -> bool:
    """Jobs of the handler are claimed again, and the sweep lets out what is parked; False where it was not paused."""
    _read(tx, _locked)
    was_paused = bool(tx.execute(_resume, handler_=handler))
    tx.execute(_tidy)
    return was_paused


def configure(tx: Tx, limits: Mapping[str, Limit]) -> None:
    """These handlers are limited so, in all processes from the commit on; those that are not named stay as they are."""
    there = _read(tx, _locked)
    for handler, limit in limits.items():
        found = there.get(handler)
        if limit == (found.limit if found else Limit()):
            continue
        tx.execute(_insert, handler_=handler)
        rate, even_at = limit.rate, found.theoretical_arrival if found else None
        starts, period_us = (rate.starts, rate.period_us) if rate else (None, None)
        if rate is not None and even_at is not None:  # what a slower rate has used up is not this one's
            even_at = min(even_at, tx.now + rate.burst * rate.interval_us)
        values = {"concurrency_": limit.concurrency, "starts_": starts, "period_": period_us, "even_": even_at}
        tx.execute(_set, handler_=handler, **values)
    tx.execute(_tidy)


def exist(tx: Tx) -> bool:
    """Whether any handler has one."""
    row = tx.one(_any)
    return row is not None and bool(row[0])


def all_limits(tx: Tx) -> dict[str, HandlerLimits]:
    """The gates there are, by their handlers' names."""
    return _read(tx, _all)


def pauses(tx: Tx) -> list[Pause]:
    return [gate.pause for gate in all_limits(tx).values() if gate.pause is not None]


def admit(tx: Tx, line: Sequence[Candidate], *, limit: int, deaths: int) -> list[str]:
    """Of jobs that wait at gates, in order, the ids of those that may begin: at most `limit`, none of more `deaths`.

    Those whose gate is closed are parked. Whoever is let through has to be claimed in the same commit.
    """
    through: list[str] = []
    refused: dict[str, list[str]] = {}
    there = _read(tx, _locked)
    for name in dict.fromkeys(one.handler for one in line):
        if (gate := there.get(name)) is None:
            continue
        entry = _Entry(tx, gate)
        for one in line:
            if one.handler != name:
                continue
            if (reason := entry.refuses(one)) is not None:
                refused.setdefault(reason, []).append(one.id)
            elif len(through) < limit and one.crash_count <= deaths:
                entry.let_in(one)
                through.append(one.id)
        entry.write()
    for reason, ids in refused.items():
        tx.execute(_park, ids=as_list(ids), parked_=reason, change=tx.change)
    return through


def at_gate_now(tx: Tx, job_id: str) -> list[Candidate]:
    """The job, where it is in line and its handler has a gate."""
    return [Candidate(*row) for row in tx.all(_one, id_=job_id)]


class _Entry:
    """A gate, while it is locked: what may pass, and what has."""

    def __init__(self, tx: Tx, gate: HandlerLimits) -> None:
        self._tx = tx
        self._gate = gate
        self._places, self._starts, self._promised = _room(tx, gate)
        row = tx.one(_first, handler_=gate.handler)
        self._first: int = row[0] if row else sys.maxsize  # the most urgent of those that are parked already
        self._let_in = 0

    def refuses(self, one: Candidate) -> str | None:
        if self._gate.pause is not None:
            return PAUSED
        kept = 0 if one.is_reserved else self._promised
        if self._places <= kept:
            return CONCURRENCY
        if self._starts <= kept:
            return RATE
        if not one.is_reserved and one.priority >= self._first:  # others were here before, and are let out very soon
            return RATE if self._gate.limit.concurrency is None else CONCURRENCY
        return None

    def let_in(self, one: Candidate) -> None:
        self._places -= 1
        self._starts -= 1
        self._promised -= one.is_reserved
        self._let_in += 1

    def write(self) -> None:
        gate, now = self._gate, self._tx.now
        if gate.limit.rate is not None and self._let_in:
            even_at = gate.limit.rate.after(gate.theoretical_arrival, now, self._let_in)
            self._tx.execute(_started, handler_=gate.handler, even_=even_at)


def _room(tx: Tx, gate: HandlerLimits) -> tuple[int, int, int]:
    """How many more may run, how many may begin, and how many of both are promised."""
    limit = gate.limit
    places = starts = sys.maxsize
    if limit.concurrency is not None:
        places = limit.concurrency - _count(tx, _running, gate.handler)
    if limit.rate is not None:
        starts = limit.rate.free(gate.theoretical_arrival, tx.now)
    return places, starts, _count(tx, _promised, gate.handler)


def handlers_with_blocked(tx: Tx) -> list[str]:
    """The handlers that have parked jobs."""
    found: list[str] = []
    while (row := tx.one(_next, after_=found[-1] if found else "")) and row[0] is not None:
        found.append(row[0])
    return found


def unpaused_with_blocked(tx: Tx) -> tuple[list[str], int | None]:
    """Those of which some may be let out, and in how many microseconds a rate may allow the next, if that is known."""
    found: list[str] = []
    waits: list[int] = []
    handlers = handlers_with_blocked(tx)
    there = all_limits(tx) if handlers else {}
    for handler in handlers:
        gate = there.get(handler)
        if gate is None:
            found.append(handler)
        elif gate.pause is None:
            places, starts, kept = _room(tx, gate)
            rate = gate.limit.rate
            if min(places, starts) > kept:
                found.append(handler)
                if rate is not None:  # one more may begin by then
                    waits.append(rate.interval_us)
            elif rate is not None and places > kept:
                waits.append(rate.wait_us(gate.theoretical_arrival, tx.now) or max(rate.interval_us, RESERVED_US))
    return found, min(waits, default=None)


def unblock(tx: Tx, handler: str, *, limit: int) -> list[Job]:
    """Parked jobs of the handler wait in line again, as nobody has delivered them: at most `limit`, the first first."""
    gate = _read(tx, _locked).get(handler)
    statement = _let_out_freely
    if gate is not None:
        if gate.pause is not None:
            return []
        places, starts, kept = _room(tx, gate)
        limit, statement = min(limit, min(places, starts) - kept), _let_out_promised
    if limit <= 0:
        return []
    rows = tx.all(statement, handler_=handler, limit_=limit, change=tx.change)
    return sorted(map(from_row, rows), key=lambda job: (job.priority, job.due_at, job.id))


def blocked(tx: Tx) -> dict[str, int]:
    """How many jobs are parked, by why they are."""
    return {row[0]: row[1] for row in tx.all(_parked)}


def _count(tx: Tx, statement: sa.Select[Any], handler: str) -> int:
    row = tx.one(statement, handler_=handler)
    return row[0] if row else 0


def _read(tx: Tx, statement: object) -> dict[str, HandlerLimits]:
    found = {}
    for handler, paused_at, paused_by, concurrency, starts, period_us, even_at in tx.all(statement):
        rate = Rate(starts, period_us) if starts is not None else None
        pause = Pause(handler, paused_at, paused_by) if paused_at is not None else None
        found[handler] = HandlerLimits(handler, pause, Limit(concurrency, rate), even_at)
    return found
