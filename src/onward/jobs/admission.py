"""Admission: decides which jobs of limited handlers may start now; the others become blocked.

A job that is unblocked by a limit takes a *reservation* along: a place that no other job may have. It is the number of
the job's fencing token, and so it lapses by itself when the job is claimed or blocked.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from onward.jobs import key_limits, overruns, row
from onward.jobs.concurrency import (
    CONCURRENCY,
    PAUSED,
    RATE,
    REQUEUED,
    HandlerLimits,
    free,
    has_limits,
    locked_limits,
    set_theoretical_arrival,
)
from onward.jobs.expiry import IN_TIME
from onward.jobs.ledger import ID
from onward.storage.sql import as_list
from onward.storage.tables import BY_HOLDER, BY_LIMIT, BY_RESERVATION, by_handler, held, jobs, promised, ready_row
from onward.storage.transaction import Tx

_p = sa.bindparam
# Locked before the limits are (`lock_order`).
_candidate = (
    sa.select(*row.columns(row.Candidate))
    .where(ID, ready_row, jobs.c.backend == _p("backend_"), IN_TIME, sa.or_(has_limits, jobs.c.limit_key.is_not(None)))
    .with_for_update()
)
_block = (
    sa.update(jobs)
    .where(jobs.c.id.in_(sa.select(free.c.id)), ready_row)
    .values({**REQUEUED, "parked": _p("reason_"), "promised": None})
)
# Also without the place of its key, which jobs of other handlers may share.
_block_shared = _block.values(placed=None)
_first_blocked = (
    sa.select(jobs.c.priority)
    .where(by_handler, jobs.c.handler == _p("handler_"))
    .order_by(jobs.c.priority, jobs.c.due_at)
    .limit(1)
    .with_hint(jobs, BY_LIMIT, "sqlite")
)
# One statement: between two, PostgreSQL may show the end of an attempt, and not the overrun that keeps its slot.
_count_running = (
    sa.select(sa.func.count() + overruns.count_of_handler)
    .select_from(jobs)
    .where(held, jobs.c.handler == _p("handler_"))
    .with_hint(jobs, BY_HOLDER, "sqlite")
)
_count_reserved = (
    sa.select(sa.func.count())
    .where(promised, jobs.c.handler == _p("handler_"))
    .with_hint(jobs, BY_RESERVATION, "sqlite")
)


@dataclass(slots=True)
class Capacity:
    """Free capacity of a handler: jobs that may run, jobs that may start by its rate, and reservations of both."""

    slots: int
    starts: int
    reserved: int

    @property
    def unreserved(self) -> int:
        return min(self.slots, self.starts) - self.reserved


def capacity(tx: Tx, limits: HandlerLimits) -> Capacity:
    """Return the capacity that a handler's limits leave at the moment."""
    limit = limits.limit
    slots = starts = sys.maxsize
    if limit.concurrency is not None:
        slots = limit.concurrency - (tx.scalar(_count_running, handler_=limits.handler) or 0)
    if limit.rate is not None:
        starts = limit.rate.free(limits.theoretical_arrival, tx.now)
    return Capacity(slots, starts, tx.scalar(_count_reserved, handler_=limits.handler) or 0)


def candidate(tx: Tx, job_id: str, *, backend: str) -> list[row.Candidate]:
    """Return the job, if it is in line there, and its handler has limits or it has a key."""
    return [row.Candidate._make(found) for found in tx.all(_candidate, id_=job_id, backend_=backend, now=tx.now)]


def admit(tx: Tx, line: Sequence[row.Candidate], *, limit: int, max_crashes: int) -> list[str]:
    """Decide which jobs of a line may start, and return their ids in order: at most `limit`.

    Jobs that their handler's limits refuse become blocked; those with more crashes than `max_crashes` are left as they
    are. The ids that are returned have to be claimed in the same transaction.
    """
    admitted: list[str] = []
    refused: dict[str, list[row.Candidate]] = {}
    present = locked_limits(tx)
    for handler in dict.fromkeys(job.handler for job in line):
        if (limits := present.get(handler)) is None:
            continue
        entry = _Admission(tx, limits)
        for job in line:
            if job.handler != handler:
                continue
            if (reason := entry.refuses(job)) is not None:
                refused.setdefault(reason, []).append(job)
            elif len(admitted) < limit and job.crash_count <= max_crashes:
                entry.admit(job)
                admitted.append(job.id)
        entry.write()
    for reason, those in refused.items():
        _refuse(tx, those, reason)
    return admitted


def _refuse(tx: Tx, refused: Sequence[row.Candidate], reason: str) -> None:
    """Block the jobs. They keep the places of their keys, but not for a pause where others could have them."""
    shared = [job for job in refused if reason == PAUSED and key_limits.is_shared(job.limit_key, job.handler)]
    for statement, those in ((_block, [job for job in refused if job not in shared]), (_block_shared, shared)):
        if those:
            tx.execute(statement, ids=as_list([job.id for job in those]), reason_=reason, change=tx.change)
    for job in shared:
        key_limits.note(tx, job.limit_key)


class _Admission:
    """A handler's limits while they are locked, less the admitted jobs."""

    def __init__(self, tx: Tx, limits: HandlerLimits) -> None:
        self._tx = tx
        self._limits = limits
        self._capacity = capacity(tx, limits)
        first: int | None = tx.scalar(_first_blocked, handler_=limits.handler)
        self._first_blocked = sys.maxsize if first is None else first  # the most urgent priority among them
        self._admitted = 0

    def refuses(self, job: row.Candidate) -> str | None:
        """Return the reason why the job may not start; None if it may."""
        if self._limits.pause is not None:
            return PAUSED
        reserved = 0 if job.is_reserved else self._capacity.reserved
        if self._capacity.slots <= reserved:
            return CONCURRENCY
        if self._capacity.starts <= reserved:
            return RATE
        if not job.is_reserved and job.priority >= self._first_blocked:  # blocked jobs go first, and their turn is near
            return RATE if self._limits.limit.concurrency is None else CONCURRENCY
        return None

    def admit(self, job: row.Candidate) -> None:
        self._capacity.slots -= 1
        self._capacity.starts -= 1
        self._capacity.reserved -= job.is_reserved
        self._admitted += 1

    def write(self) -> None:
        """Record the starts in the handler's rate."""
        rate = self._limits.limit.rate
        if rate is not None and self._admitted:
            arrival = rate.after(self._limits.theoretical_arrival, self._tx.now, self._admitted)
            set_theoretical_arrival(self._tx, self._limits.handler, arrival)
