"""A subscriber's changes, where those of the feed and the reads of the ledger overtake one another."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from typing import Any

import pytest

from onward.jobs import commands
from onward.jobs.change_feed import ChangeFeed, Subscription
from onward.jobs.following import follow
from onward.jobs.model import Job, JobFilter, Visible
from onward.jobs.position import Snapshot
from onward.jobs.states import JobStatus
from onward.storage.transaction import Tx
from onward.storage.writer import Writer
from onward.testing.waiting import until
from tests.ledgers import accept, route

ALL = Visible(everything=True)
QUEUED = JobFilter(status=(JobStatus.QUEUED,))


def cancelled(tx: Tx, job_id: str) -> Job:
    return commands.cancel(tx, job_id, reason=None, visible=ALL)


def retried(tx: Tx, job_id: str) -> Job:
    return commands.retry(tx, job_id, from_start=False, visible=ALL, route=route)


@pytest.mark.parametrize("chosen", [False, True], ids=["all", "ids"])
@pytest.mark.parametrize("resumes", [False, True], ids=["begins", "resumes"])
async def test_an_older_change_that_comes_late_hides_no_newer_one(
    writer: Writer, anyio_backend: str, *, resumes: bool, chosen: bool
) -> None:
    """The ledger was read with the third version; the feed brings the second one then, and the fourth."""
    job = await writer.run(accept)
    since = (await writer.database.read(Snapshot.of)).position if resumes else None
    old = await writer.run(lambda tx: cancelled(tx, job.id))
    now = await writer.run(lambda tx: retried(tx, job.id))
    feed = ChangeFeed(writer.database)  # it is not started: the test gives its changes
    watched: list[Subscription] = []

    async def read(function: Callable[[Tx], Any]) -> Any:
        if not watched:
            watched.extend(feed._jobs[job.id] if chosen else feed._all)
            watched[0].put(old, feed._position())
        return await writer.database.read(function)

    ids = frozenset({job.id}) if chosen else None
    async with (
        asyncio.timeout(30),
        aclosing(follow(feed, read, visible=ALL, filter=QUEUED, ids=ids, since=since)) as stream,
    ):
        if resumes:
            assert (await anext(stream))[0].version == now.version
        coming = asyncio.create_task(anext(stream))
        await until(lambda: bool(watched) and not watched[0]._pending)
        last = await writer.run(lambda tx: cancelled(tx, job.id))
        watched[0].put(last, feed._position())
        assert (await coming)[0].version == last.version
