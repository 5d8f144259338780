"""The log lines of jobs in the ledger, in pieces: those of a commit together.

A piece is written under the job's claim, with the commit that there is anyway. The newest lines are kept, up to a
number and a size.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

import orjson
import sqlalchemy as sa

from onward.jobs import chunks, ledger
from onward.jobs.log_level import LogLevel
from onward.jobs.model import Job, JobLogLine
from onward.jobs.pages import Allowance, PageTooLarge
from onward.storage.sql import as_list, in_array, insert_new
from onward.storage.tables import log_lines as table
from onward.storage.transaction import Tx

MAX_LINES, MAX_BYTES = 1_000, 256_000  # that are kept of a job, and up to one piece more

_p = sa.bindparam
_job = table.c.job == _p("job_")
_key = sa.tuple_(table.c.claim, table.c.number)
_insert = insert_new(table)
_newest_first = (table.c.claim.desc(), table.c.number.desc())
_later = (
    sa.select(
        table,
        (sa.func.sum(table.c.lines).over(order_by=_newest_first) - table.c.lines).label("later_lines"),
        (sa.func.sum(table.c.size).over(order_by=_newest_first) - table.c.size).label("later_bytes"),
    )
    .where(_job)
    .subquery()
)
_too_old = sa.or_(_later.c.later_lines >= _p("lines_"), _later.c.later_bytes >= _p("bytes_"))
_drop = sa.delete(table).where(_job, _key.in_(sa.select(_later.c.claim, _later.c.number).where(_too_old)))
_read = (
    sa.select(_later.c.attempt, _later.c.shift, _later.c.data)
    .where(sa.not_(_too_old))
    .order_by(_later.c.claim, _later.c.number)
)
_count = sa.select(table.c.job, sa.func.count()).where(in_array(table.c.job, "ids")).group_by(table.c.job)
_delete = sa.delete(table).where(in_array(table.c.job, "ids"))


class Piece(NamedTuple):
    """Lines on their way into the ledger, as JSON."""

    number: int  # of the first of them in the attempt
    lines: int
    data: str

    @property
    def size(self) -> int:
        """Bytes of the data in UTF-8."""
        return len(self.data.encode())


class LogBatch(NamedTuple):
    """Pieces that are about to be written by the attempt that began with the fencing token `claim`."""

    claim: int = 0
    pieces: tuple[Piece, ...] = ()
    drops: bool = False  # there may be too many lines with them

    def append(self, tx: Tx, job: Job) -> None:
        """Insert the pieces in a transaction that has found the job's claim to hold.

        Those that an earlier commit has inserted, whose answer was lost, stay as they are.
        """
        if not self.pieces:
            return
        for piece in self.pieces:
            tx.insert(
                _insert,
                {
                    "job": job.id,
                    "claim": self.claim,
                    "number": piece.number,
                    "attempt": job.attempt,
                    "lines": piece.lines,
                    "size": piece.size,
                    "shift": tx.clock_shift,
                    "data": piece.data,
                },
            )
        if self.drops:
            tx.execute(_drop, job_=job.id, lines_=MAX_LINES, bytes_=MAX_BYTES)

    def append_under_claim(self, tx: Tx, job: Job) -> bool:
        """Do the same if the job's claim still holds; return False if it does not."""
        if not ledger.lock_claim(tx, job):
            return False
        self.append(tx, job)
        return True


NO_LINES = LogBatch()


def newest(tx: Tx, job_id: str, limit: int, *, most: Allowance | None = None) -> list[JobLogLine]:
    """Return the newest lines of the job, the oldest of them first.

    What they hold is taken from the allowance `most`. Raises PageTooLarge.
    """
    rows = tx.all(_read, job_=job_id, lines_=min(limit, MAX_LINES), bytes_=MAX_BYTES)
    if most is not None:
        most.bytes -= sum(len(data) for _, _, data in rows)
        if most.bytes < 0:
            raise PageTooLarge
    lines = [
        JobLogLine(at + shift, LogLevel(level), logger, attempt, step, text)
        for attempt, shift, data in rows
        for at, level, logger, step, text in orjson.loads(data)
    ]
    return lines[-limit:] if limit else []


def deletable(tx: Tx, ids: Sequence[str]) -> Sequence[str]:
    """Return the first of the jobs: as many, at least one, as have not too many rows for one commit."""
    return chunks.first_of(ids, {job_id: int(n) for job_id, n in tx.all(_count, ids=as_list(ids))}) if ids else ids


def delete(tx: Tx, ids: Collection[str]) -> None:
    """Delete the log lines of jobs, in the commit that deletes them."""
    if ids:
        tx.execute(_delete, ids=as_list(ids))
