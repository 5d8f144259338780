"""The service that deletes old finished jobs, idempotency keys and counters, and then shrinks the file."""

from __future__ import annotations

import time
from datetime import timedelta
from functools import partial
from typing import NamedTuple

import sqlalchemy as sa

from onward.jobs import batches, chunks, dispatched, idempotency, ledger, log_lines, uniqueness, waits
from onward.jobs.states import JobStatus
from onward.jobs.timings import Timings
from onward.maintenance.ledger_clock import LedgerClock
from onward.maintenance.service import Service
from onward.storage.batches import in_batches, in_slices
from onward.storage.tables import jobs, marks
from onward.storage.transaction import Tx
from onward.storage.writer import Writer

# At most, in one commit: jobs, small rows (keys and marks), and pages of a file.
JOBS, ROWS, PAGES = 200, 2_000, 256
OWNERS, FORGOTTEN = 1_000, 100  # owners of one look, and owners whose counters one commit deletes
MARKS_S = STAGED_S = 86_400

_p = sa.bindparam
_old = (
    sa.select(jobs.c.id, jobs.c.owner, jobs.c.status, jobs.c.handler, jobs.c.unique_key)
    .where(jobs.c.finished_at.is_not(None), jobs.c.finished_at < _p("before"), batches.is_in_none(jobs.c.batch))
    .order_by(jobs.c.finished_at)
    .limit(_p("limit_", type_=sa.Integer))
)
_old_marks = sa.select(marks.c.writer).where(marks.c.mark < _p("before")).limit(_p("limit_", type_=sa.Integer))
_marks = sa.delete(marks).where(marks.c.writer.in_(_old_marks), marks.c.mark < _p("before"))
_drop = sa.delete(jobs).where(jobs.c.id == _p("id_"), jobs.c.status == _p("status_"))


class Retention(NamedTuple):
    """Retention of finished jobs and idempotency keys; None keeps them for ever."""

    jobs: timedelta | None
    keys: timedelta | None


class Cleaner(Service):
    """Deletes rows that are older than their retention, a small batch a commit."""

    name = "cleaner"

    def __init__(
        self,
        writer: Writer,
        retention: Retention,
        timings: Timings = Timings(),
        clock: LedgerClock | None = None,
    ) -> None:
        self._writer = writer
        self._retention = retention
        self._clock = clock or LedgerClock()
        self._interval_s = timings.clean_interval_s
        self._next_at = time.monotonic() + self._interval_s
        self._owner = ""  # the last owner of the look before, after whom the next one goes on

    async def run_once(self) -> float:
        # Also before anything is to be deleted: the clock is compared with that look.
        is_trusted = await self._clock.is_trusted(self._writer.database)
        if time.monotonic() >= self._next_at:
            if is_trusted:
                await self.prune()
            self._next_at = time.monotonic() + self._interval_s
        return max(self._next_at - time.monotonic(), 0.0)

    def stand_by(self) -> None:
        self._next_at = time.monotonic() + self._interval_s

    async def prune(self) -> int:
        """Delete old rows, and return the number of jobs among them. Raises Unavailable."""
        gone = 0
        if self._retention.jobs is not None:
            age_us = _us(self._retention.jobs)
            await in_batches(self._writer, partial(_prune_batches, age_us=age_us), most=JOBS)  # then their children
            gone = await in_batches(self._writer, partial(_prune, age_us=age_us), most=JOBS)
        await self._forget_owners()
        await in_batches(self._writer, _forget_staged, most=JOBS)
        # Of writers that are no more: those that are leave a new one every second.
        await in_batches(self._writer, _prune_marks, most=ROWS)
        if self._retention.keys is not None:
            keys_us = _us(self._retention.keys)
            await in_batches(self._writer, partial(_prune_keys, age_us=keys_us), most=ROWS)
        await in_batches(self._writer, self._writer.database.driver.give_back_space, most=PAGES)
        return gone

    async def _forget_owners(self) -> None:
        """Delete the counters of the next owners who have no job left; begin again after the last owner."""
        look = partial(ledger.idle_owners, after=self._owner, limit=OWNERS)
        idle, self._owner = await self._writer.database.read(look)
        async for _ in in_slices(self._writer, idle, ledger.forget_owners, most=FORGOTTEN):
            pass


def _us(age: timedelta) -> int:
    return age // timedelta(microseconds=1)


def _prune(tx: Tx, limit: int, age_us: int) -> int:
    gone, keys = [], []
    old = {row[0]: row for row in tx.all(_old, before=tx.now - age_us, limit_=limit)}
    for job_id in sorted(log_lines.deletable(tx, chunks.deletable(tx, list(old)))):  # as `lock_order` says
        _, owner, status, handler, key = old[job_id]
        if tx.execute(_drop, id_=job_id, status_=status):
            tx.count(owner, JobStatus(status), -1)
            gone.append(job_id)
            if key is not None:
                keys.append((handler, key, job_id))
    uniqueness.forget(tx, keys)
    chunks.delete(tx, gone)
    log_lines.delete(tx, gone)
    if gone:
        waits.forget(tx, gone)
    return len(gone)


def _prune_batches(tx: Tx, limit: int, age_us: int) -> int:
    return batches.prune(tx, limit, before=tx.now - age_us)


def _forget_staged(tx: Tx, limit: int) -> int:
    return dispatched.forget_staged(tx, limit, before=f"job_{tx.now // 1000 - STAGED_S * 1000:012x}")


def _prune_keys(tx: Tx, limit: int, age_us: int) -> int:
    return idempotency.prune(tx, limit, before=tx.now - age_us)


def _prune_marks(tx: Tx, limit: int) -> int:
    return tx.execute(_marks, before=str(tx.now // 1_000_000 - MARKS_S), limit_=limit)
