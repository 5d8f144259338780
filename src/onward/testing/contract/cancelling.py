"""Cancelled jobs."""

from __future__ import annotations

import pytest

from onward.jobs.base import Conflict
from onward.jobs.states import JobStatus, StepStatus
from onward.testing.harness import Harness

S = JobStatus


class Cancelling:
    async def test_a_waiting_job_is_cancelled_at_once_and_never_runs(self, harness: Harness) -> None:
        """CANCELLED with the reason; a worker that comes later leaves it alone."""
        await harness.no_worker()
        job = await harness.accept("conformance.note", folder=str(harness.folder))
        cancelled = await harness.cancel(job, "changed my mind")
        assert (cancelled.status, cancelled.reason) == (S.CANCELLED, "changed my mind")
        assert cancelled.finished_at is not None
        other = await harness.accept("conformance.note", folder=str(harness.folder))
        await harness.start_worker()
        await harness.done(other)
        assert harness.count("ran") == 1
        assert await harness.get(job.id) == cancelled

    async def test_a_scheduled_job_is_cancelled_and_does_not_run_at_its_time(self, harness: Harness) -> None:
        """A cancelled job does not run when its time comes."""
        now = await harness.front.database.read(lambda tx: tx.now)
        job = await harness.accept("conformance.note", run_at=now + 400_000, folder=str(harness.folder))
        later = await harness.accept("conformance.note", run_at=now + 800_000, folder=str(harness.folder))
        assert (await harness.cancel(job)).status is S.CANCELLED
        await harness.done(later)
        assert harness.count("ran") == 1

    @pytest.mark.parametrize("handler", ["conformance.wait", "conformance.wait_plain"])
    async def test_a_running_job_is_stopped(self, harness: Harness, handler: str) -> None:
        """An async handler stops at its await, a plain one at its next check: CANCELLED within a second."""
        job = await harness.accept(handler, folder=str(harness.folder))
        await harness.noted("started")
        assert (await harness.cancel(job)).status is S.CANCELLING
        done = await harness.done(job, within_s=1.5)
        assert done.status is S.CANCELLED
        assert done.steps[0].status is StepStatus.CANCELLED
        assert (harness.count("ended"), done.error, len(done.attempts)) == (0, None, 1)

    async def test_a_job_is_stopped_between_its_steps(self, harness: Harness) -> None:
        """The plain step that does not check ends and is kept; the next step does not begin."""
        job = await harness.accept("conformance.steps_wait_plain", folder=str(harness.folder))
        await harness.noted("second")
        await harness.cancel(job)
        harness.say("go")
        done = await harness.done(job)
        assert done.status is S.CANCELLED
        assert harness.count("third") == 0
        assert [step.status for step in done.steps][0::2] == [StepStatus.SUCCEEDED, StepStatus.CANCELLED]

    @pytest.mark.parametrize(("fails", "status"), [(False, S.SUCCEEDED), (True, S.FAILED)])
    async def test_a_job_that_ends_while_cancelling_keeps_its_outcome(
        self, harness: Harness, *, fails: bool, status: JobStatus
    ) -> None:
        """A plain function that does not check succeeds, or fails for good, in spite of the cancel."""
        job = await harness.accept("conformance.deaf", folder=str(harness.folder))
        await harness.noted("started")
        if fails:
            harness.say("fail")
        assert (await harness.cancel(job)).status is S.CANCELLING
        await self._until_told(harness)
        harness.say("go")
        assert (await harness.done(job)).status is status

    async def _until_told(self, harness: Harness) -> None:
        """Wait until the worker knows of all earlier cancels: it has stopped a job that was cancelled later."""
        other = await harness.accept("conformance.beside", folder=str(harness.folder))
        await harness.noted("beside")
        await harness.cancel(other)
        await harness.is_now(other, S.CANCELLED)

    async def test_a_finished_job_cannot_be_cancelled(self, harness: Harness) -> None:
        """The answer is a conflict, with the job's present state."""
        job = await harness.done(await harness.accept("conformance.note", folder=str(harness.folder)))
        with pytest.raises(Conflict) as caught:
            await harness.cancel(job)
        assert caught.value.job == job

    async def test_a_job_that_waits_for_its_next_attempt_is_cancelled(self, harness: Harness) -> None:
        """A cancelled job is not retried."""
        job = await harness.accept("conformance.fail", folder=str(harness.folder), times=99)
        await harness.is_now(job, S.RETRYING, S.FAILED)
        waiting = await harness.is_now(job, S.RETRYING)
        cancelled = await harness.cancel(waiting)
        done = await harness.done(job)
        assert cancelled.status in (S.CANCELLED, S.CANCELLING)
        assert done.status is S.CANCELLED
