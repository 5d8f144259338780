"""Follows the changes of jobs, or the output of one: what a subscriber has missed, then the rest as it comes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from functools import partial
from typing import Any, Protocol

from onward.jobs import chunks, ledger, pages, row
from onward.jobs.base import NotFound
from onward.jobs.catch_up import catch_up
from onward.jobs.change_feed import ChangeFeed
from onward.jobs.model import Job, JobChunk, JobFilter, Visible
from onward.jobs.position import Position
from onward.storage.transaction import Tx

MAX_INSIDE = 10_000  # jobs that a subscription knows to be inside its filter
MAX_KNOWN_AT_START = 1_000
READ_AT_ONCE = 50  # jobs that a subscriber has missed
READ_BYTES = 250_000  # of their large columns, which are kept while the subscriber reads slowly
EVERY_JOB = JobFilter()

Changes = AsyncGenerator[tuple[Job, Position], None]
"""Changed jobs, each with the position of a subscriber that has got it and all before it."""


class Read(Protocol):
    """Runs a function on the ledger, as `Database.read` does."""

    def __call__(self, function: Callable[[Tx], Any], /) -> Awaitable[Any]: ...


async def follow(
    feed: ChangeFeed,
    read: Read,
    *,
    visible: Visible,
    filter: JobFilter = EVERY_JOB,
    ids: frozenset[str] | None = None,
    since: Position | None = None,
    without: frozenset[str] = frozenset(),
) -> Changes:
    """Yield the jobs as they change; those that leave the filter, too, and first what has changed since a position.

    A job may come twice, and never an older version after a newer one. Columns `without` of missed jobs are not read.
    Of missed jobs those are left out whose parameters do not match now. Raises UnknownPosition and TooFarBehind at the
    start, SlowConsumer, and what `read` raises.
    """
    if filter.params:
        without -= {"params"}
    # In any state: a job that leaves the filter is sent, too.
    async with feed.watch_all(visible, filter.allows) if ids is None else feed.watch_jobs(ids) as watch:
        sender = _ChangeFilter(filter)
        if filter.can_be_left:
            sender.set_known(await read(partial(_known, filter=filter, visible=visible, ids=ids)))
        if since is not None:
            async with aclosing(_missed(read, since, filter, visible, ids, without)) as missed:
                async for job, position in missed:
                    sender.add_missed(job)
                    yield job, position
        async for job in watch:
            if visible.sees(job) and sender.is_to_send(job):
                yield job, watch.position


async def follow_output(
    feed: ChangeFeed, read: Read, job_id: str, *, visible: Visible, after: int | None = None, of_call: bool = False
) -> AsyncGenerator[JobChunk, None]:
    """Yield the job's chunks behind an offset, or from the first one kept, in order; end when the job is over.

    No more than a page is read ahead of a slow reader. Raises NotFound if the viewer sees no such job, Unavailable when
    the feed ends, and what `read` raises.
    """
    async with feed.watch_output(job_id, -1 if after is None else max(after, -1), of_call=of_call) as watch:
        while True:
            watch.begin_read()
            page = await read(partial(chunks.page, job_id=job_id, after=watch.read_to, visible=visible))
            if page is None:
                raise NotFound(f"there is no job {job_id}")
            for chunk in page.chunks:
                yield chunk
                watch.read_to = chunk.offset
            if page.is_last:
                if page.done:
                    return
                await watch.wait()


class _ChangeFilter:
    """Chooses the changes to send: those of jobs inside a filter, and the one with which a job leaves it.

    A change that came in while the ledger was read may be older than what was read: it is passed over, since the newer
    one, which comes after it, may be that with which the job leaves the filter.
    """

    def __init__(self, filter: JobFilter) -> None:
        self._filter = filter
        self._inside: OrderedDict[str, int] = OrderedDict()  # the newest version of each job that was seen
        self._sent: dict[str, int] = {}  # the versions of missed jobs

    def set_known(self, versions: dict[str, int]) -> None:
        """Take note of jobs that are inside, and of their versions in the ledger."""
        self._inside = OrderedDict(versions)

    def add_missed(self, job: Job) -> None:
        """Take note of a missed job, which is sent wherever it is."""
        self._sent[job.id] = job.version
        self._matches(job)

    def is_to_send(self, job: Job) -> bool:
        """Return whether the change of the job is to be sent."""
        if job.version <= self._sent.get(job.id, 0) or job.version < self._inside.get(job.id, 0):
            return False
        self._sent.pop(job.id, None)  # the changes that come in now are newer and newer
        return self._matches(job)

    def _matches(self, job: Job) -> bool:
        if not self._filter.matches(job):
            # Of those that cannot be left none is inside.
            return self._inside.pop(job.id, None) is not None
        if self._filter.can_be_left:
            self._inside[job.id] = job.version
            self._inside.move_to_end(job.id)
            if len(self._inside) > MAX_INSIDE:
                self._inside.popitem(last=False)
        return True


async def _missed(  # noqa: PLR0917 - private
    read: Read,
    since: Position,
    filter: JobFilter,
    visible: Visible,
    ids: frozenset[str] | None,
    without: frozenset[str],
) -> Changes:
    """Read the jobs that have changed since, each with the position after it.

    One whose status is outside of the filter is among them: it may have left the filter meanwhile.
    """
    found = await read(partial(catch_up, since=since, visible=visible, filter=filter, ids=ids))
    missed = found.ids
    start = 0
    while start < len(missed):
        jobs = await read(partial(_some, ids=missed[start : start + READ_AT_ONCE], without=without))
        for at, job in enumerate(jobs, start):
            if job is not None and filter.allows_params(job):
                yield job, found.after(at)
        start += len(jobs)


def _some(tx: Tx, ids: list[str], without: frozenset[str]) -> list[Job | None]:
    """Return the first of the jobs, as many as are not too large together; None for one that was pruned."""
    some = pages.fitting(tx, ids, bytes=READ_BYTES, without=without)
    found = {job.id: job for job in map(row.decode, ledger.rows(tx, some, without))}
    return [found.get(job_id) for job_id in some]


def _known(tx: Tx, filter: JobFilter, visible: Visible, ids: frozenset[str] | None) -> dict[str, int]:
    """Return the versions of the newest jobs inside the filter, oldest first; of `ids` all that are inside."""
    limit = MAX_KNOWN_AT_START if ids is None else len(ids)
    return pages.versions(tx, visible=visible, filter=filter, limit=limit, among=ids)
