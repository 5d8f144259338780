"""Jobs that somebody retries."""

from __future__ import annotations

import pytest

from onward.jobs import commands
from onward.jobs.base import Conflict
from onward.jobs.model import Job, JobFilter
from onward.jobs.states import JobStatus
from onward.testing.harness import ALL, Harness
from onward.testing.workload import notes

S = JobStatus


class ManualRetries:
    async def _failed(self, stand: Harness) -> Job:
        job = await stand.done(await stand.accept("law.steps", folder=str(stand.folder)))
        assert job.status is S.FAILED
        return job

    async def test_a_retry_goes_on_with_the_step_that_failed(self, stand: Harness) -> None:
        """The finished step is not run again; a fresh budget of attempts, their numbers go on."""
        job = await self._failed(stand)
        stand.say("mended")
        waiting = await stand.retry(job)
        assert (waiting.status, waiting.error, waiting.finished_at, waiting.counted_attempts) == (
            S.QUEUED,
            None,
            None,
            0,
        )
        done = await stand.done(job)
        assert (done.status, done.result, done.run) == (S.SUCCEEDED, "second", 2)
        assert [note.word for note in notes(stand.folder)] == ["first", "second", "second", "third"]
        assert [attempt.number for attempt in done.attempts] == [1, 2]

    async def test_a_retry_from_the_start_runs_every_step_again(self, stand: Harness) -> None:
        """Also those that had finished."""
        job = await self._failed(stand)
        stand.say("mended")
        await stand.retry(job, from_start=True)
        assert (await stand.done(job)).status is S.SUCCEEDED
        assert [note.word for note in notes(stand.folder)] == ["first", "second", "first", "second", "third"]

    async def test_a_retry_has_a_fresh_budget_of_attempts(self, stand: Harness) -> None:
        """A job that used up its attempts gets as many again."""
        job = await stand.done(await stand.accept("law.fail", folder=str(stand.folder), times=99))
        await stand.retry(job)
        again = await stand.done(job)
        assert again.status is S.FAILED
        assert len(again.attempts) == 2 * job.max_attempts
        assert again.counted_attempts == job.max_attempts

    async def test_a_cancelled_job_can_be_retried(self, stand: Harness) -> None:
        """It runs as if nothing had been."""
        now = await stand.front.database.read(lambda tx: tx.now)
        job = await stand.cancel(
            await stand.accept("law.note", run_at=now + 60_000_000, folder=str(stand.folder)), "by mistake"
        )
        await stand.retry(job)
        done = await stand.done(job)
        assert (done.status, done.reason) == (S.SUCCEEDED, None)

    async def test_only_failed_and_cancelled_jobs_can_be_retried(self, stand: Harness) -> None:
        """Conflict for one that runs, and for one that succeeded."""
        job = await stand.accept("law.wait", folder=str(stand.folder))
        await stand.noted("begun")
        with pytest.raises(Conflict):
            await stand.retry(job)
        stand.say("go")
        await stand.done(job)
        with pytest.raises(Conflict):
            await stand.retry(job)

    async def test_many_are_retried_at_once_the_oldest_first(self, stand: Harness) -> None:
        """Of three that failed, the two oldest run again."""
        before = await stand.front.database.read(lambda tx: tx.now)
        failed = [await self._failed(stand) for _ in range(3)]
        stand.say("mended")
        only = JobFilter(status=(S.FAILED,), handler=("law.ste*",), created_after=before - 1)
        route = stand.front.dispatcher.route
        retried = await stand.front.writer.run(
            lambda tx: commands.retry_many(tx, filter=only, limit=2, visible=ALL, route=route)
        )
        assert [job.id for job in retried] == [job.id for job in failed[:2]]
        await stand.front.dispatcher.deliver(retried, after_response=stand.front.dispatcher.defer)
        assert {(await stand.done(job)).status for job in retried} == {S.SUCCEEDED}
        assert (await stand.get(failed[2].id)).status is S.FAILED
