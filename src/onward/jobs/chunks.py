"""The output of a job in the ledger: chunks, numbered from 0 over all its attempts and runs.

They are written under the job's claim, one after another. So whoever has read an offset has seen all before it, and a
later read begins where an earlier one ended. The newest are kept, a number and a size of them, and up to a third more;
a gap in the offsets says that older ones were dropped.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import orjson
import sqlalchemy as sa

from onward.jobs import ledger
from onward.jobs.model import Job, JobChunk, Visible
from onward.jobs.states import TERMINAL, JobStatus
from onward.storage.sql import as_list, in_array, insert_new
from onward.storage.tables import jobs
from onward.storage.tables import output as table
from onward.storage.transaction import Tx

MAX_CHUNKS, MAX_BYTES = 10_000, 4_000_000  # the newest of a job that are kept
SPARE = 4 / 3  # of both, until older ones are deleted: once in a while, and not at each write
PAGE_CHUNKS, PAGE_BYTES = 100, 250_000  # that are read at once; the last chunk of a page may pass its size
COUNTED_AT_ONCE = 2_000  # chunks that are deleted in one commit, unless a single job has more

_p = sa.bindparam
_job = table.c.job == _p("job_")
_newest = sa.select(sa.func.max(table.c.offset)).where(table.c.job == jobs.c.id).correlate(jobs).scalar_subquery()
_insert = insert_new(table)
_kept = sa.select(
    sa.func.coalesce(sa.func.max(table.c.offset) + 1, 0),
    sa.func.count(),
    sa.cast(sa.func.coalesce(sa.func.sum(table.c.size), 0), sa.BigInteger),
).where(_job)
_from_the_end = (
    sa.select(
        table.c.offset,
        sa.func.sum(table.c.size).over(order_by=table.c.offset.desc()).label("total"),
        sa.func.row_number().over(order_by=table.c.offset.desc()).label("number"),
    )
    .where(_job)
    .subquery()
)
_first_left = sa.select(sa.func.min(_from_the_end.c.offset)).where(
    _from_the_end.c.total <= _p("bytes_"), _from_the_end.c.number <= _p("chunks_")
)
_drop = sa.delete(table).where(_job, table.c.offset < _p("before_"))
_state = sa.select(jobs.c.owner, jobs.c.status, _newest).where(ledger.ID)
_next = (
    sa.select(table.c.offset, table.c.attempt, table.c.step, table.c.size, table.c.data)
    .where(_job, table.c.offset.between(_p("from_"), _p("newest_")))
    .order_by(table.c.offset)
    .limit(_p("limit_", type_=sa.Integer))
    .subquery()
)
_before = (sa.func.sum(_next.c.size).over(order_by=_next.c.offset) - _next.c.size).label("before")
_sized = sa.select(_next, _before).subquery()
_page = (
    sa.select(_sized.c.offset, _sized.c.attempt, _sized.c.step, _sized.c.data)
    .where(_sized.c.before < _p("bytes_"))
    .order_by(_sized.c.offset)
)
_newest_of = sa.select(jobs.c.id, _newest).where(in_array(jobs.c.id, "ids"))
_count = sa.select(table.c.job, sa.func.count()).where(in_array(table.c.job, "ids")).group_by(table.c.job)
_delete = sa.delete(table).where(in_array(table.c.job, "ids"))


class Emitted(NamedTuple):
    """A chunk on its way into the ledger."""

    offset: int
    step: str
    size: int
    data: str


class Kept(NamedTuple):
    """The output of a job that is in the ledger."""

    upcoming: int = 0  # the offset of the next chunk
    chunks: int = 0
    bytes: int = 0


class Page(NamedTuple):
    """The next chunks of a job for one reader."""

    chunks: tuple[JobChunk, ...]
    is_last: bool  # there were no more when it was read
    done: bool  # the job was over, and so has all its chunks


def kept(tx: Tx, job_id: str) -> Kept:
    """Return the size of the job's output."""
    found = tx.one(_kept, job_=job_id)
    return Kept(*map(int, found)) if found else Kept()


def append(tx: Tx, job: Job, chunks: Sequence[Emitted], before: Kept) -> Kept:
    """Insert chunks, where the claim is known to hold; return the size of the job's output after them.

    `before` is the size before them. Chunks that an earlier commit has inserted, whose answer was lost, stay as they
    are.
    """
    if not chunks:
        return before
    for offset, step, size, data in chunks:
        values = {"job": job.id, "offset": offset, "attempt": job.attempt, "step": step, "size": size, "data": data}
        tx.insert(_insert, values)
    after = Kept(chunks[-1].offset + 1, before.chunks + len(chunks), before.bytes + sum(chunk.size for chunk in chunks))
    return _trimmed(tx, job.id) if after.chunks > MAX_CHUNKS * SPARE or after.bytes > MAX_BYTES * SPARE else after


def append_under_claim(tx: Tx, job: Job, chunks: Sequence[Emitted], before: Kept) -> Kept | None:
    """Do the same if the job's claim still holds; return None if it does not."""
    if not ledger.lock_claim(tx, job):
        return None
    return append(tx, job, chunks, before)


def _trimmed(tx: Tx, job_id: str) -> Kept:
    """Delete the oldest chunks of a job that has too many; return what is left."""
    first = tx.scalar(_first_left, job_=job_id, bytes_=MAX_BYTES, chunks_=MAX_CHUNKS)
    tx.execute(_drop, job_=job_id, before_=first)
    return kept(tx, job_id)


def page(tx: Tx, job_id: str, *, after: int, visible: Visible) -> Page | None:
    """Return the next chunks behind an offset, -1 for the first ones; None if the viewer sees no such job."""
    # The state is read first: a job that is over then has no chunk that the second statement does not find.
    found = tx.one(_state, id_=job_id)
    if found is None or not visible.sees_jobs_of(found[0]):
        return None
    newest = -1 if found[2] is None else int(found[2])
    rows: list[Any] = []
    if newest > after:
        bounds = {"from_": after + 1, "newest_": newest, "limit_": PAGE_CHUNKS, "bytes_": PAGE_BYTES}
        rows = tx.all(_page, job_=job_id, **bounds)
    chunks = tuple(JobChunk(offset, attempt, step, orjson.loads(data)) for offset, attempt, step, data in rows)
    return Page(chunks, not chunks or chunks[-1].offset >= newest, JobStatus(found[1]) in TERMINAL)


def newest(tx: Tx, ids: Collection[str]) -> dict[str, int]:
    """Return the newest offset of each of the jobs that has output."""
    return {job_id: int(offset) for job_id, offset in tx.all(_newest_of, ids=as_list(ids)) if offset is not None}


def deletable(tx: Tx, ids: Sequence[str]) -> Sequence[str]:
    """Return the first of the jobs: as many, at least one, as have not too many chunks for one commit."""
    return first_of(ids, {job_id: int(n) for job_id, n in tx.all(_count, ids=as_list(ids))}) if ids else ids


def first_of(ids: Sequence[str], counts: Mapping[str, int]) -> Sequence[str]:
    """Return the first of the jobs, likewise; `counts` has the rows of those that have any."""
    total = 0
    for at, job_id in enumerate(ids):
        total += counts.get(job_id, 0)
        if at and total > COUNTED_AT_ONCE:
            return ids[:at]
    return ids


def delete(tx: Tx, ids: Collection[str]) -> None:
    """Delete the output of jobs, in the commit that deletes them."""
    if ids:
        tx.execute(_delete, ids=as_list(ids))
