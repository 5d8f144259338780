"""How long finished jobs and idempotency keys are kept."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from functools import partial

import sqlalchemy as sa

from onward.jobs import idempotency
from onward.jobs.states import JobStatus
from onward.storage.tables import jobs, marks
from onward.storage.transaction import Tx
from onward.storage.writer import Writer

PAGE = 200
KEYS_BATCH = 2_000  # that one commit forgets
MARKS_S = 86_400

_p = sa.bindparam
_old = (
    sa.select(jobs.c.id, jobs.c.owner, jobs.c.status)
    .where(jobs.c.finished_at.is_not(None), jobs.c.finished_at < _p("before"))
    .order_by(jobs.c.finished_at)
    .limit(_p("limit_", type_=sa.Integer))
)
_marks = sa.delete(marks).where(marks.c.mark < _p("before"))
_drop = sa.delete(jobs).where(jobs.c.id == _p("id_"), jobs.c.status == _p("status_"))


@dataclass(frozen=True, slots=True)
class Retention:
    """None keeps for ever."""

    jobs: timedelta | None
    keys: timedelta | None
    every_s: float = 60.0

    async def prune(self, writer: Writer) -> int:
        """Finished jobs that are old enough are gone, a small batch a commit, so that nobody waits for it. How many."""
        gone = 0
        while self.jobs is not None:
            age_us = self.jobs // timedelta(microseconds=1)
            if not await writer.database.read(partial(_any, age_us=age_us)):
                break
            gone += await writer.run(partial(_prune, age_us=age_us))
        # Of writers that are no more: those that are leave a new one every second.
        await writer.run(lambda tx: tx.execute(_marks, before=str(tx.now // 1_000_000 - MARKS_S)))
        if self.keys is not None:
            keys_us = self.keys // timedelta(microseconds=1)
            while await writer.run(lambda tx: idempotency.prune(tx, before=tx.now - keys_us, limit=KEYS_BATCH)):
                pass
        return gone


def _any(tx: Tx, age_us: int) -> bool:
    return tx.one(_old, before=tx.now - age_us, limit_=1) is not None


def _prune(tx: Tx, age_us: int) -> int:
    gone = 0
    for job_id, owner, status in tx.all(_old, before=tx.now - age_us, limit_=PAGE):
        if tx.execute(_drop, id_=job_id, status_=status):
            tx.count(owner, JobStatus(status), -1)
            gone += 1
    return gone
