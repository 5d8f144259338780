"""The change feed misses no committed change, however commits overlap."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa

from onward.jobs import change_feed, commands, ledger
from onward.jobs.change_feed import ChangeFeed, SlowConsumer, Subscription, any_job
from onward.jobs.model import Job, Visible
from onward.jobs.position import Position
from onward.jobs.states import JobStatus
from onward.jobs.timings import Timings
from onward.storage.base import Unavailable
from onward.storage.engine import Database
from onward.storage.revision import Revision
from onward.storage.tables import jobs
from onward.storage.transaction import Tx
from onward.storage.writer import Writer
from onward.testing.waiting import until
from tests.ledgers import accept, route, writing

S = JobStatus
ALL = Visible(everything=True)


@pytest.fixture
async def changes(writer: Writer, anyio_backend: str) -> AsyncIterator[ChangeFeed]:
    made = ChangeFeed(writer.database)
    made.start()
    yield made
    await made.close()


def cancel(tx: Tx, job_id: str) -> Any:
    return commands.cancel(tx, job_id, reason=None, visible=ALL)


async def test_a_change_is_seen_without_any_wake_up(writer: Writer, changes: ChangeFeed) -> None:
    """Changes of other processes cause no wake-up."""
    job = await writer.run(accept)
    async with changes.watch_job(job.id) as subscription, asyncio.timeout(5):
        await writer.run(lambda tx: cancel(tx, job.id))
        assert (await anext(subscription)).status is S.CANCELLED


async def test_a_change_between_subscribing_and_reading_is_not_missed(writer: Writer, changes: ChangeFeed) -> None:
    """The subscription comes first, and so gets the change."""
    for _ in range(20):
        job = await writer.run(accept)
        async with changes.watch_job(job.id) as subscription, asyncio.timeout(5):
            await writer.run(lambda tx, job=job: cancel(tx, job.id))  # type: ignore[misc]
            # On PostgreSQL an open transaction of another database lets earlier changes be seen again.
            while (await anext(subscription)).status is not S.CANCELLED:
                pass


async def test_a_commit_that_began_before_others_and_ended_after_them_is_not_missed(
    postgres_ledger: str, anyio_backend: str
) -> None:
    """PostgreSQL's commits do not end in the order of their numbers."""
    with writing(postgres_ledger) as slow, writing(postgres_ledger) as quick:
        early, late = await quick.run(accept), await quick.run(accept)
        changes = ChangeFeed(quick.database)
        changes.start()
        go, entered = asyncio.Event(), asyncio.Event()
        loop = asyncio.get_running_loop()

        def holds_on(tx: Tx) -> None:
            cancel(tx, early.id)
            loop.call_soon_threadsafe(entered.set)
            asyncio.run_coroutine_threadsafe(go.wait(), loop).result(10)

        async with changes.watch_all() as subscription, asyncio.timeout(10):
            slowly = asyncio.create_task(slow.run(holds_on))
            await entered.wait()
            await quick.run(lambda tx: cancel(tx, late.id))
            assert (await _cancelled(subscription)).id == late.id
            go.set()
            await slowly
            assert (await _cancelled(subscription)).id == early.id
        await changes.close()


async def _cancelled(subscription: AsyncIterator[Job]) -> Job:
    """Return the next changed job. Its acceptance may be reported again while another transaction is open."""
    while (seen := await anext(subscription)).status is not S.CANCELLED:
        pass
    return seen


async def test_every_version_seen_is_above_the_one_before(writer: Writer, changes: ChangeFeed) -> None:
    """Versions in between may be left out; the last one is seen."""
    jobs = [await writer.run(accept) for _ in range(5)]
    seen: dict[str, list[int]] = {job.id: [] for job in jobs}
    ready = asyncio.Event()

    async def read() -> None:
        async with changes.watch_all() as subscription:
            ready.set()
            async for job in subscription:
                seen[job.id].append(job.version)
                if all(versions and versions[-1] == 21 for versions in seen.values()):
                    return

    async with asyncio.timeout(20):
        reading = asyncio.create_task(read())
        await ready.wait()
        for job in jobs * 10:
            await writer.run(lambda tx, job=job: cancel(tx, job.id))  # type: ignore[misc]
            await writer.run(lambda tx, job=job: _again(tx, job.id))  # type: ignore[misc]
        await reading
    assert all(versions == sorted(set(versions)) for versions in seen.values())


def _again(tx: Tx, job_id: str) -> None:
    commands.retry(tx, job_id, from_start=False, visible=ALL, route=route)


async def test_a_slow_subscriber_gets_an_error(
    writer: Writer, changes: ChangeFeed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The queue of a subscriber has a bound."""
    monkeypatch.setattr(change_feed, "MAX_PENDING", 10)
    async with changes.watch_all() as subscription, asyncio.timeout(10):
        for _ in range(12):
            await writer.run(accept)
        await until(lambda: subscription._overflow)
        with pytest.raises(SlowConsumer):
            await _drained(subscription)


async def test_the_jobs_of_a_slow_subscriber_have_a_bound_in_bytes(
    writer: Writer, changes: ChangeFeed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whole jobs are kept, and thousands of large ones would fill the memory."""
    monkeypatch.setattr(change_feed, "MAX_PENDING_BYTES", 5_000)
    async with changes.watch_all() as subscription, asyncio.timeout(10):
        for _ in range(10):
            job = await writer.run(lambda tx: accept(tx, steps=("s" * 1_000,)))
            while (await anext(subscription)).id != job.id:
                pass
        await writer.run(accept)
        await until(lambda: bool(subscription._pending))  # of a read before
        for _ in range(10):
            await writer.run(lambda tx: accept(tx, steps=("s" * 1_000,)))
        await until(lambda: subscription._overflow)
        assert not subscription._pending
        with pytest.raises(SlowConsumer):
            await _drained(subscription)


async def test_a_subscriber_gets_all_that_one_read_finds_however_large_it_is(
    writer: Writer, changes: ChangeFeed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The subscriber has no turn before the last of them, nor need the next change find her ready."""
    monkeypatch.setattr(change_feed, "MAX_PENDING_BYTES", 5_000)
    async with changes.watch_all() as subscription, asyncio.timeout(10):
        large = await writer.run(lambda tx: [accept(tx, steps=("s" * 1_000,)) for _ in range(10)])
        await until(lambda: len(subscription._pending) == len(large))
        later = await writer.run(accept)
        await until(lambda: later.id in subscription._pending)
        found = {(await anext(subscription)).id for _ in (*large, later)}
    assert found == {job.id for job in (*large, later)}


async def test_changes_of_several_reads_that_begin_at_one_position_have_the_bound(
    writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A position names eight open transactions: while there are more, all reads begin at the same one."""
    monkeypatch.setattr(change_feed, "MAX_PENDING_BYTES", 5_000)
    position = Position("ledger", 1)
    subscription = Subscription(lambda: position, any_job)
    for read in (1, 2, 3):
        assert not subscription._overflow
        subscription.put(await writer.run(accept), position, 4_000, read)
    assert subscription._overflow


async def test_only_jobs_that_a_subscriber_may_see_are_read(
    writer: Writer, changes: ChangeFeed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A subscription to a viewer's own jobs does not make the process read everybody's."""
    read: list[str] = []

    def noted(tx: Tx, ids: Sequence[str]) -> list[Any]:
        read.extend(ids)
        return ledger.rows(tx, ids)

    monkeypatch.setattr(change_feed, "rows", noted)
    async with changes.watch_all(Visible(owner="ann")) as subscription, asyncio.timeout(10):
        his = await writer.run(lambda tx: accept(tx, owner="ben"))
        mine = await writer.run(lambda tx: accept(tx, owner="ann"))
        assert (await anext(subscription)).id == mine.id
        assert set(read) == {mine.id}
        async with changes.watch_all() as all_jobs:
            await writer.run(lambda tx: cancel(tx, his.id))
            while (await anext(all_jobs)).id != his.id:
                pass
    assert his.id in read


async def test_changes_for_many_subscriptions_leave_others_their_turns(writer: Writer, changes: ChangeFeed) -> None:
    """Until all have got their changes, no position is beyond those of the read before."""
    turns, at = 0, list[int]()
    positions: list[Position] = []

    def slowly(_job: Job) -> bool:
        at.append(turns)
        time.sleep(0.003)  # as a filter of many patterns for hundreds of subscriptions
        return True

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async def read(subscription: Subscription) -> None:
        async for _ in subscription:
            positions.append(subscription.position)  # noqa: PERF401 - it never ends

    async with AsyncExitStack() as stack, asyncio.timeout(20):
        several = [await stack.enter_async_context(changes.watch_all(wanted=slowly)) for _ in range(10)]
        before = several[0].position
        tasks = [asyncio.create_task(count()), *(asyncio.create_task(read(one)) for one in several)]
        await writer.run(lambda tx: [accept(tx) for _ in range(5)])
        await until(lambda: len(positions) >= 50 and changes._put_since is None)
        for task in tasks:
            task.cancel()
    assert len(set(at)) > 20
    assert all(position.end <= before.end for position in positions[:5])


async def test_a_feed_that_closes_while_it_gives_changes_out_claims_none_that_it_has_not_given(
    writer: Writer, changes: ChangeFeed
) -> None:
    """A client that resumes at its last position after a restart gets them."""

    def slowly(_job: Job) -> bool:
        time.sleep(0.003)
        return True

    async with AsyncExitStack() as stack, asyncio.timeout(20):
        several = [await stack.enter_async_context(changes.watch_all(wanted=slowly)) for _ in range(10)]
        before = several[0].position
        await writer.run(lambda tx: [accept(tx) for _ in range(5)])
        await until(lambda: changes._put_since is not None)
        await changes.close()
        assert all(one.position.end <= before.end for one in several)


async def _drained(subscription: Subscription) -> None:
    async for _ in subscription:
        pass


async def test_an_outage_of_the_ledger_is_survived(
    writer: Writer, changes: ChangeFeed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Changes that are committed meanwhile are seen afterwards."""
    job = await writer.run(accept)
    read, asked = Database.read, asyncio.Event()

    async def away(_database: Database, _fn: Any) -> Any:
        asked.set()
        raise Unavailable("away")

    async with changes.watch_job(job.id) as subscription, asyncio.timeout(10):
        monkeypatch.setattr(Database, "read", away)
        await asked.wait()
        await writer.run(lambda tx: cancel(tx, job.id))
        monkeypatch.setattr(Database, "read", read)
        assert (await anext(subscription)).status is S.CANCELLED


async def test_without_subscriptions_the_ledger_is_not_read(
    writer: Writer, changes: ChangeFeed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even an occasional read is left out."""
    job = await writer.run(accept)
    async with changes.watch_job(job.id):
        pass
    await asyncio.sleep(0.1)  # reads in progress end
    reads = []
    read = Database.read

    async def counted(database: Database, fn: Any) -> Any:
        if database is writer.database:
            reads.append(fn)
        return await read(database, fn)

    monkeypatch.setattr(Database, "read", counted)
    changes.wake()
    await asyncio.sleep(0.3)  # there is no condition to wait for: nothing should happen
    assert reads == []
    assert await writer.run(lambda tx: ledger.get(tx, job.id)) == job


async def test_a_sqlite_ledger_that_has_not_changed_is_not_read(
    sqlite_ledger: str, anyio_backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The number of commits is enough to know it, and a later change is still seen."""
    timings = Timings(change_poll_s=0.002, quiet_after_s=math.inf, recheck_s=3600.0, change_recheck_s=3600.0)
    looks, reads = 0, 0
    has_changed, read = Revision.has_changed, Database.read

    def look(revision: Revision) -> bool:
        nonlocal looks
        looks += 1
        return has_changed(revision)

    async def counted(database: Database, fn: Any) -> Any:
        nonlocal reads
        reads += 1
        return await read(database, fn)

    monkeypatch.setattr(Revision, "has_changed", look)
    with writing(sqlite_ledger) as writer:
        job = await writer.run(accept)
        changes = ChangeFeed(writer.database, timings)
        changes.start()
        async with changes.watch_job(job.id) as subscription, asyncio.timeout(30):
            await until(lambda: looks > 2)
            monkeypatch.setattr(Database, "read", counted)
            await until(lambda: looks > 50)
            assert reads <= 1  # one that was under way
            await writer.run(lambda tx: cancel(tx, job.id))
            assert (await anext(subscription)).status is S.CANCELLED
        await changes.close()


async def test_a_quiet_ledger_tells_of_a_change_between_two_looks(ledger_url: str, anyio_backend: str) -> None:
    """The look for commits wakes the reader, which therefore has no reason to wake up by itself."""
    timings = Timings(
        change_poll_s=0.002, quiet_after_s=-1.0, quiet_poll_s=3600.0, recheck_s=3600.0, change_recheck_s=3600.0
    )
    with writing(ledger_url) as writer:
        jobs = [await writer.run(accept) for _ in range(2)]
        changes = ChangeFeed(writer.database, timings)
        changes.start()
        async with changes.watch_all() as subscription, asyncio.timeout(30):
            for job in jobs:
                await writer.run(lambda tx, job=job: cancel(tx, job.id))  # type: ignore[misc]
                while (await anext(subscription)).id != job.id:
                    pass
        await changes.close()


async def test_a_commit_while_the_first_subscription_begins_is_seen_soon(
    ledger_url: str, anyio_backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The wake-up is dropped, and the next look of an earlier subscription is far away."""
    timings = Timings(
        change_poll_s=0.002, quiet_after_s=-1.0, quiet_poll_s=3600.0, recheck_s=3600.0, change_recheck_s=3600.0
    )
    with writing(ledger_url) as writer, writing(ledger_url) as other:
        job = await other.run(accept)
        changes, loop = ChangeFeed(writer.database, timings), asyncio.get_running_loop()
        changes.start()
        async with changes.watch_all():
            await until(lambda: changes._looking is not None and changes._looking.when() > loop.time() + 1_000)
        read, reads = writer.database.read, 0

        async def interrupted(function: Any) -> Any:
            nonlocal reads
            reads += 1
            if reads > 1:
                return await read(function)
            found = await read(function)
            await other.run(lambda tx: cancel(tx, job.id))
            changes._woken.set()  # a wake-up of the earlier subscription, which comes late
            await until(lambda: reads > 1 and not changes._woken.is_set())
            return found

        monkeypatch.setattr(writer.database, "read", interrupted)
        async with changes.watch_job(job.id) as subscription, asyncio.timeout(30):
            assert (await anext(subscription)).status is S.CANCELLED
        await changes.close()


async def test_a_subscription_after_the_close_watches_nothing(
    ledger_url: str, anyio_backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody would end its watch of the file, nor its timer."""
    watched: list[object] = []
    with writing(ledger_url) as writer:
        changes = ChangeFeed(writer.database)
        changes.start()
        monkeypatch.setattr(writer.database, "watch", watched.append)
        await changes.close()
        async with changes.watch_all():
            assert changes._looking is None
        assert not watched
        await changes.close()


async def test_changes_that_could_not_be_read_are_read_again_without_a_further_commit(
    postgres_ledger: str, anyio_backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    timings = Timings(
        change_poll_s=0.002, quiet_after_s=-1.0, quiet_poll_s=3600.0, recheck_s=3600.0, change_recheck_s=3600.0
    )
    monkeypatch.setattr(change_feed, "ERROR_PAUSE_S", 0.01)
    with writing(postgres_ledger) as writer:
        job = await writer.run(accept)
        changes = ChangeFeed(writer.database, timings)
        changes.start()
        read, failures = writer.database.read, iter(range(3))  # the commit and the thread wake the reader twice

        async def fails_at_first(function: Any) -> Any:
            if next(failures, None) is not None:
                raise Unavailable("the connection was lost")
            return await read(function)

        async with changes.watch_all() as subscription, asyncio.timeout(30):
            monkeypatch.setattr(writer.database, "read", fails_at_first)
            await writer.run(lambda tx: cancel(tx, job.id))
            assert (await anext(subscription)).id == job.id
        await changes.close()


async def test_subscribers_see_changes_in_a_restored_dump(postgres_ledger: str, anyio_backend: str) -> None:
    """The transactions that changed the jobs have higher numbers than the new server's."""
    with writing(postgres_ledger) as writer:
        old = [await writer.run(accept) for _ in range(3)]
        await writer.run(lambda tx: tx.execute(sa.text("UPDATE _ledger.jobs SET changed = changed + 1000000000")))
        await writer.run(change_feed.renumber)
        changes = ChangeFeed(writer.database)
        changes.start()
        async with changes.watch_all() as subscription, asyncio.timeout(5):
            new = await writer.run(accept)
            assert (await anext(subscription)).id == new.id
            await writer.run(lambda tx: cancel(tx, old[0].id))
            assert (await anext(subscription)).id == old[0].id
        await changes.close()


async def test_a_change_of_a_present_commit_keeps_its_number(postgres_ledger: str, anyio_backend: str) -> None:
    """A later change of the same transaction keeps it, too."""
    with writing(postgres_ledger) as writer:
        before = await writer.run(accept)

        def both(tx: Tx) -> tuple[str, int]:
            job = accept(tx)
            change_feed.renumber(tx)
            return job.id, tx.change

        job_id, change = await writer.run(both)
        found = await writer.database.read(lambda tx: dict(map(tuple, tx.all(sa.select(jobs.c.id, jobs.c.changed)))))
        assert found[job_id] == change
        assert 0 < found[before.id] < change


async def test_a_long_transaction_of_somebody_else_has_no_change_read_twice(
    postgres_ledger: str, anyio_backend: str
) -> None:
    """Each read would else begin where that transaction began, and cost more and more."""
    reads = []
    with writing(postgres_ledger) as writer, psycopg.connect(postgres_ledger) as other:
        other.execute("SELECT pg_current_xact_id()")
        feed = ChangeFeed(writer.database)
        async with feed.watch_all():
            for _ in range(3):
                await writer.run(accept)
                _, feed._seen, known = await writer.database.read(feed._poll)
                reads.append(len(known))
    assert reads == [1, 1, 1]
