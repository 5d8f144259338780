"""Jobs that are retried by hand."""

from __future__ import annotations

import pytest

from onward.jobs import commands
from onward.jobs.base import Conflict
from onward.jobs.model import Job, JobFilter
from onward.jobs.states import JobStatus
from onward.storage.transaction import Tx
from onward.testing.harness import ALL, Harness
from onward.testing.workload import notes

S = JobStatus


class ManualRetries:
    async def _failed(self, harness: Harness) -> Job:
        job = await harness.done(await harness.accept("conformance.steps", folder=str(harness.folder)))
        assert job.status is S.FAILED
        return job

    async def test_a_retry_goes_on_with_the_step_that_failed(self, harness: Harness) -> None:
        """The finished step is not run again; the job gets a fresh budget of attempts, whose numbers go on."""
        job = await self._failed(harness)
        harness.say("fixed")
        waiting = await harness.retry(job)
        assert (waiting.status, waiting.error, waiting.finished_at, waiting.counted_attempts) == (
            S.QUEUED,
            None,
            None,
            0,
        )
        done = await harness.done(job)
        assert (done.status, done.result, done.run) == (S.SUCCEEDED, "second", 2)
        assert [note.word for note in notes(harness.folder)] == ["first", "second", "second", "third"]
        assert [attempt.number for attempt in done.attempts] == [1, 2]

    async def test_a_retry_from_the_start_runs_every_step_again(self, harness: Harness) -> None:
        """Finished steps run again, too."""
        job = await self._failed(harness)
        harness.say("fixed")
        await harness.retry(job, from_start=True)
        assert (await harness.done(job)).status is S.SUCCEEDED
        assert [note.word for note in notes(harness.folder)] == ["first", "second", "first", "second", "third"]

    async def test_a_retry_has_a_fresh_budget_of_attempts(self, harness: Harness) -> None:
        """A job without attempts left gets its full budget again."""
        job = await harness.done(await harness.accept("conformance.fail", folder=str(harness.folder), times=99))
        await harness.retry(job)
        again = await harness.done(job)
        assert again.status is S.FAILED
        assert len(again.attempts) == 2 * job.max_attempts
        assert again.counted_attempts == job.max_attempts

    async def test_a_cancelled_job_can_be_retried(self, harness: Harness) -> None:
        """A cancelled job runs like a new one."""
        now = await harness.front.database.read(lambda tx: tx.now)
        job = await harness.cancel(
            await harness.accept("conformance.note", run_at=now + 60_000_000, folder=str(harness.folder)), "by mistake"
        )
        await harness.retry(job)
        done = await harness.done(job)
        assert (done.status, done.reason) == (S.SUCCEEDED, None)

    async def test_only_failed_and_cancelled_jobs_can_be_retried(self, harness: Harness) -> None:
        """The answer is a conflict for a running job and for one that succeeded."""
        job = await harness.accept("conformance.wait", folder=str(harness.folder))
        await harness.noted("started")
        with pytest.raises(Conflict):
            await harness.retry(job)
        harness.say("go")
        await harness.done(job)
        with pytest.raises(Conflict):
            await harness.retry(job)

    async def test_a_bulk_retry_takes_the_oldest_first(self, harness: Harness) -> None:
        """Of three failed jobs, the two oldest run again."""
        before = await harness.front.database.read(lambda tx: tx.now)
        failed = [await self._failed(harness) for _ in range(3)]
        harness.say("fixed")
        only = JobFilter(status=(S.FAILED,), handler=("conformance.ste*",), created_after=before - 1)
        route = harness.front.dispatcher.route

        def retry(tx: Tx) -> list[Job]:
            oldest = commands.retryable(tx, filter=only, limit=2, visible=ALL).ids
            return commands.retry_each(tx, oldest, visible=ALL, route=route)

        retried = await harness.front.writer.run(retry)
        assert [job.id for job in retried] == [job.id for job in failed[:2]]
        await harness.front.dispatcher.deliver(retried, after_response=harness.front.dispatcher.defer)
        assert {(await harness.done(job)).status for job in retried} == {S.SUCCEEDED}
        assert (await harness.get(failed[2].id)).status is S.FAILED
