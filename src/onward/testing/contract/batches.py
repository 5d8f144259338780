"""Batches: jobs that belong together, and the job that follows when all of them are over."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from onward.jobs import batch_children, batches, pages
from onward.jobs.batch_making import STAGE
from onward.jobs.batches import Batch, BatchState
from onward.jobs.dispatched import CHUNK
from onward.jobs.model import EVERYTHING, Job, JobFilter
from onward.jobs.states import JobStatus
from onward.storage.lock_order import ALONE
from onward.testing.harness import AT_ONCE, Harness
from onward.testing.waiting import until

S = JobStatus


class Batches:
    async def test_what_follows_a_batch_runs_once_with_its_results_in_order(self, harness: Harness) -> None:
        """The children need more than one transaction, and one of them fails."""
        does = [""] * (CHUNK + 10)
        does[7] = "fails"
        batch, follower = await _finished(harness, "conformance.batch", does=does)
        expected: list[Any] = [*range(len(does))]
        expected[7] = "FAILED"
        assert (batch.state, follower.result) == (BatchState.DONE, expected)
        assert (harness.count("part"), len(await _followers(harness, batch))) == (len(does), 1)

    async def test_a_child_that_fails_stops_its_batch(self, harness: Harness) -> None:
        """Children that do not run are cancelled, the one that runs ends, and `on_failure` runs in place of `then`."""
        does = ["fails", "limited", "limited", "limited"]
        accepted = await harness.accept("conformance.batch", folder=str(harness.folder), does=does, stops=True)
        parent = await harness.done(accepted)
        await _child(harness, parent.result, "conformance.limited", S.CANCELLED)
        harness.say("go")
        batch = await _over(harness, parent.result)
        follower = await harness.done(await harness.get(str(batch.next_job)))
        assert (batch.state, follower.handler) == (BatchState.STOPPED, "conformance.cleanup")
        assert (harness.count("cleanup"), harness.count("total")) == (1, 0)
        assert harness.count("started") == harness.count("ended") <= AT_ONCE

    async def test_a_batch_may_hold_batches(self, harness: Harness) -> None:
        """The place of a batch in the results is that of its `then`; one without has no result."""
        parent = await harness.done(await harness.accept("conformance.batch_of_batches", folder=str(harness.folder)))
        await harness.noted("part", 5)
        assert harness.count("total") == 0
        harness.say("go")
        batch = await _over(harness, parent.result)
        follower = await harness.done(await harness.get(str(batch.next_job)))
        assert follower.result == [0, None, 1, [0, 1]]
        assert (batch.total, harness.count("part"), harness.count("total")) == (4, 5, 2)

    async def test_an_empty_batch_is_followed_at_once(self, harness: Harness) -> None:
        batch, follower = await _finished(harness, "conformance.batch", does=[])
        assert (batch.total, follower.result, follower.created_at) == (0, [], batch.created_at)

    async def test_a_cancelled_batch_is_followed_by_nothing(self, harness: Harness) -> None:
        """Waiting children are cancelled, and running ones are stopped."""
        parent = await harness.done(
            await harness.accept("conformance.batch", folder=str(harness.folder), does=["waits"] * 3, stops=True)
        )
        await harness.noted("part")
        cancel = partial(batches.cancel, batch_id=parent.result, reason="no more", visible=EVERYTHING)
        await harness.front.writer.run(cancel, ALONE)
        batch = await _over(harness, parent.result)
        found = await harness.front.database.read(partial(batch_children.counts, batch=batch))
        assert (batch.state, batch.next_job, found[S.CANCELLED]) == (BatchState.CANCELLED, None, 3)
        assert (harness.count("total"), harness.count("cleanup")) == (0, 0)

    async def test_a_retried_batch_runs_what_has_failed_and_then_what_follows(self, harness: Harness) -> None:
        batch, _ = await _finished(harness, "conformance.batch", does=["", "fails", ""], stops=True)
        assert batch.state is BatchState.STOPPED
        ran = harness.count("part")
        harness.say("fixed")
        retry = partial(batches.retry, batch_id=batch.id, visible=EVERYTHING)
        await harness.front.writer.run(retry, ALONE)
        batch = await _over(harness, batch.id)
        follower = await harness.done(await harness.get(str(batch.next_job)))
        assert (batch.state, follower.result) == (BatchState.DONE, [0, 1, 2])
        assert (harness.count("total"), harness.count("cleanup")) == (1, 1)
        assert harness.count("part") > ran

    async def test_a_child_that_is_cancelled_is_over(self, harness: Harness) -> None:
        """No runner has anything to do with the end of a child that waits."""
        parent = await harness.done(
            await harness.accept("conformance.batch", folder=str(harness.folder), does=["", ""], later=True)
        )
        for _ in range(2):
            await harness.cancel(await _child(harness, parent.result, "conformance.part", S.SCHEDULED))
        batch = await _over(harness, parent.result)
        follower = await harness.done(await harness.get(str(batch.next_job)))
        assert (batch.state, follower.result) == (BatchState.DONE, ["CANCELLED", "CANCELLED"])

    @pytest.mark.slow
    async def test_a_batch_whose_maker_is_killed_is_made_once(self, harness: Harness) -> None:
        """Of the children that the dead process has staged, none becomes a job."""
        count = CHUNK * (STAGE + 2)
        parent = await harness.accept("conformance.batch_breaks_off", folder=str(harness.folder), children=count)
        await harness.noted("making")
        await until(lambda: not harness.workers[0].is_up, 20)
        await harness.ready()
        parent = await harness.done(parent, within_s=40)
        batch = await _over(harness, parent.result)
        follower = await harness.done(await harness.get(str(batch.next_job)))
        assert (parent.attempt, follower.result) == (2, [*range(count)])
        assert (harness.count("part"), harness.count("total")) == (count, 1)


async def _finished(harness: Harness, handler: str, **given: Any) -> tuple[Batch, Job]:
    """Have a job dispatch a batch; return the batch once it is over, and the job that has followed, likewise."""
    parent = await harness.done(await harness.accept(handler, folder=str(harness.folder), **given))
    batch = await _over(harness, parent.result)
    return batch, await harness.done(await harness.get(str(batch.next_job)))


async def _followers(harness: Harness, batch: Batch) -> list[Job]:
    """Return the jobs that have followed the batch, whether they have run or not."""
    wanted = JobFilter(handler=("conformance.total", "conformance.cleanup"))
    look = partial(pages.page, visible=EVERYTHING, filter=wanted, first=50, parent=batch.job)
    return list((await harness.front.database.read(look)).jobs)


async def _over(harness: Harness, batch_id: str) -> Batch:
    found: list[Batch] = []

    async def look() -> bool:
        batch = await harness.front.database.read(partial(batches.get, batch_id=batch_id))
        found[:] = [batch] if batch is not None and batch.done else []
        return bool(found)

    await until(look, 20)
    return found[0]


async def _child(harness: Harness, batch_id: str, handler: str, status: JobStatus) -> Job:
    """Wait for a job of the handler in that status, in the batch."""
    found: list[Job] = []
    wanted = JobFilter((status,), (handler,))

    async def look() -> bool:
        page = await harness.front.database.read(partial(pages.page, visible=EVERYTHING, filter=wanted, first=50))
        found[:] = [job for job in page.jobs if job.batch == batch_id]
        return bool(found)

    await until(look, 20)
    return found[0]
