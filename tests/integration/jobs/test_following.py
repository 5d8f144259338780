"""A subscriber's changes, where those of the feed and the reads of the ledger overtake one another."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import sqlalchemy as sa

from onward.jobs import change_feed, commands, row
from onward.jobs.change_feed import ChangeFeed
from onward.jobs.following import READ_BYTES, follow
from onward.jobs.model import Job, JobError, JobFilter, Visible
from onward.jobs.param_filter import param_filter
from onward.jobs.position import Snapshot
from onward.jobs.states import JobStatus
from onward.storage.tables import jobs
from onward.storage.transaction import Tx
from onward.storage.writer import Writer
from onward.testing.waiting import until
from tests.ledgers import accept, route

ALL = Visible(everything=True)
QUEUED = JobFilter(status=(JobStatus.QUEUED,))
_fail = sa.update(jobs).where(jobs.c.id == sa.bindparam("id_")).values(status="FAILED", error=sa.bindparam("error_"))


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
    watched: list[Any] = []

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


@pytest.mark.parametrize("of", ["others", "another handler"])
async def test_jobs_outside_the_subscription_take_no_room_of_a_slow_subscriber(
    writer: Writer, anyio_backend: str, monkeypatch: pytest.MonkeyPatch, of: str
) -> None:
    """A viewer is neither told that others were busy, nor does she lose her own change by it."""
    monkeypatch.setattr(change_feed, "MAX_PENDING", 10)
    mine = {"owner": "ann", "handler": "conformance.job"}
    further = {**mine, "owner": "ben"} if of == "others" else {**mine, "handler": "conformance.other"}
    feed = ChangeFeed(writer.database)  # it is not started: the test gives its changes
    first, last = [await writer.run(lambda tx: accept(tx, **mine)) for _ in range(2)]
    visible, wanted = Visible(owner="ann"), JobFilter(handler=("conformance.job",), status=(JobStatus.QUEUED,))
    async with asyncio.timeout(30), aclosing(follow(feed, writer.database.read, visible=visible, filter=wanted)) as own:
        coming = asyncio.create_task(anext(own))
        await until(lambda: bool(feed._all))
        (subscription,) = feed._all
        subscription.put(first, feed._position())
        assert (await coming)[0] == first
        for _ in range(50):
            subscription.put(await writer.run(lambda tx: accept(tx, **further)), feed._position())
        left = await writer.run(lambda tx: cancelled(tx, last.id))
        subscription.put(left, feed._position())
        assert (await anext(own))[0] == left


async def test_missed_jobs_are_read_a_few_at_once_where_they_are_large(writer: Writer, anyio_backend: str) -> None:
    """Without the columns that nobody asks for they are as small as others."""
    since = (await writer.database.read(Snapshot.of)).position
    jobs = [await writer.run(lambda tx: accept(tx, steps=("s" * READ_BYTES,))) for _ in range(3)]
    feed = ChangeFeed(writer.database)
    reads = 0

    async def read(function: Callable[[Tx], Any]) -> Any:
        nonlocal reads
        reads += 1
        return await writer.database.read(function)

    async def missed(without: frozenset[str]) -> list[Job]:
        stream = follow(feed, read, visible=ALL, since=since, without=without)
        async with asyncio.timeout(30), aclosing(stream):
            return [(await anext(stream))[0] for _ in jobs]

    assert [job.id for job in await missed(frozenset())] == [job.id for job in jobs]
    whole, reads = reads, 0
    found = await missed(frozenset({"steps", "params", "result"}))
    assert ([job.id for job in found], [job.steps for job in found]) == ([job.id for job in jobs], [()] * 3)
    assert (whole, reads) == (1 + len(jobs), 2), "one for what has changed, and then one for each, or for all"


async def test_a_retry_takes_a_job_out_of_a_filter_by_its_error(writer: Writer, anyio_backend: str) -> None:
    """The job is sent once more, with the change that makes it leave."""

    def fail(tx: Tx) -> None:
        error = row.encode_error(JobError("BUSY", "no", retryable=True, step=None, occurred_at=tx.now))
        tx.execute(_fail, id_=job.id, error_=error)

    job, other = await writer.run(accept), await writer.run(accept)
    await writer.run(fail)
    feed = ChangeFeed(writer.database)  # it is not started: the test gives its changes
    changes: list[Job] = []

    async def read(function: Callable[[Tx], Any]) -> Any:
        known = await writer.database.read(function)
        if not changes:
            changes.append(await writer.run(lambda tx: cancelled(tx, other.id)))
            changes.append(await writer.run(lambda tx: retried(tx, job.id)))
            (subscription,) = feed._all
            for change in changes:
                subscription.put(change, feed._position())
        return known

    stream = follow(feed, read, visible=ALL, filter=JobFilter(error_code=("BUSY",)))
    async with asyncio.timeout(30), aclosing(stream):
        assert (await anext(stream))[0] == changes[1]


async def test_a_filter_by_a_parameter_follows_the_jobs_that_have_it(writer: Writer, anyio_backend: str) -> None:
    """Missed ones too; a job whose parameters are replaced is sent once more."""
    ordered, other = await writer.run(accept), await writer.run(accept)
    _params = sa.update(jobs).where(jobs.c.id == sa.bindparam("id_")).values(params=sa.bindparam("params_"))
    await writer.run(lambda tx: tx.execute(_params, id_=ordered.id, params_='{"order":"A-17"}'))
    since = (await writer.database.read(Snapshot.of)).position
    missed = [await writer.run(lambda tx, one=one: cancelled(tx, one.id)) for one in (ordered, other)]  # type: ignore[misc]
    feed = ChangeFeed(writer.database)  # it is not started: the test gives its changes
    wanted = JobFilter(params=(param_filter("order", ["A-17"]),))
    without = frozenset({"params", "steps", "result"})
    stream = follow(feed, writer.database.read, visible=ALL, filter=wanted, since=since, without=without)
    async with asyncio.timeout(30), aclosing(stream):
        assert (await anext(stream))[0].id == missed[0].id
        (subscription,) = feed._all
        put = partial(_put, subscription, feed)
        put(missed[1], {})
        put(missed[0], {"order": "A-18"})
        assert (await anext(stream))[0].id == missed[0].id
        put(missed[0], {"order": "A-18"}, 2)
        put(missed[1], {"order": "A-17"}, 2)
        assert (await anext(stream))[0].id == missed[1].id


def _put(subscription: Any, feed: ChangeFeed, job: Job, params: dict[str, Any], later: int = 1) -> None:
    subscription.put(replace(job, version=job.version + later, params=params), feed._position())
