"""Jobs that somebody cancels."""

from __future__ import annotations

import pytest

from onward.jobs.base import Conflict
from onward.jobs.states import JobStatus, StepStatus
from onward.testing.harness import Harness

S = JobStatus


class Cancelling:
    async def test_a_waiting_job_is_cancelled_at_once_and_never_runs(self, stand: Harness) -> None:
        """CANCELLED with the reason; a worker that comes later leaves it alone."""
        await stand.no_worker()
        job = await stand.accept("law.note", folder=str(stand.folder))
        cancelled = await stand.cancel(job, "changed my mind")
        assert (cancelled.status, cancelled.reason) == (S.CANCELLED, "changed my mind")
        assert cancelled.finished_at is not None
        other = await stand.accept("law.note", folder=str(stand.folder))
        await stand.start_worker()
        await stand.done(other)
        assert stand.count("ran") == 1
        assert await stand.get(job.id) == cancelled

    async def test_a_scheduled_job_is_cancelled_and_does_not_run_at_its_time(self, stand: Harness) -> None:
        """Its time comes, and nothing happens."""
        now = await stand.front.database.read(lambda tx: tx.now)
        job = await stand.accept("law.note", run_at=now + 400_000, folder=str(stand.folder))
        later = await stand.accept("law.note", run_at=now + 800_000, folder=str(stand.folder))
        assert (await stand.cancel(job)).status is S.CANCELLED
        await stand.done(later)
        assert stand.count("ran") == 1

    @pytest.mark.parametrize("handler", ["law.wait", "law.wait_plain"])
    async def test_a_running_job_is_stopped(self, stand: Harness, handler: str) -> None:
        """An async handler at its await, a plain one at its next check: CANCELLED within a second."""
        job = await stand.accept(handler, folder=str(stand.folder))
        await stand.noted("begun")
        assert (await stand.cancel(job)).status is S.CANCELLING
        done = await stand.done(job, within_s=1.5)
        assert done.status is S.CANCELLED
        assert done.steps[0].status is StepStatus.CANCELLED
        assert (stand.count("ended"), done.error, len(done.attempts)) == (0, None, 1)

    async def test_a_job_is_stopped_between_its_steps(self, stand: Harness) -> None:
        """The plain step that does not check ends and is kept; the one after it does not begin."""
        job = await stand.accept("law.steps_wait_plain", folder=str(stand.folder))
        await stand.noted("second")
        await stand.cancel(job)
        stand.say("go")
        done = await stand.done(job)
        assert done.status is S.CANCELLED
        assert stand.count("third") == 0
        assert [step.status for step in done.steps][0::2] == [StepStatus.SUCCEEDED, StepStatus.CANCELLED]

    @pytest.mark.parametrize(("fails", "status"), [(False, S.SUCCEEDED), (True, S.FAILED)])
    async def test_a_job_that_ends_while_it_is_being_cancelled_is_what_it_came_to(
        self, stand: Harness, *, fails: bool, status: JobStatus
    ) -> None:
        """A plain function that does not check succeeds, or fails for good, although somebody wanted it cancelled."""
        job = await stand.accept("law.deaf", folder=str(stand.folder))
        await stand.noted("begun")
        if fails:
            stand.say("fail")
        assert (await stand.cancel(job)).status is S.CANCELLING
        await self._until_told(stand)
        stand.say("go")
        assert (await stand.done(job)).status is status

    async def _until_told(self, stand: Harness) -> None:
        """The worker knows of everything that was cancelled before: it has stopped what was cancelled after it."""
        other = await stand.accept("law.beside", folder=str(stand.folder))
        await stand.noted("beside")
        await stand.cancel(other)
        await stand.is_now(other, S.CANCELLED)

    async def test_a_job_that_is_over_cannot_be_cancelled(self, stand: Harness) -> None:
        """Conflict, with the job as it is."""
        job = await stand.done(await stand.accept("law.note", folder=str(stand.folder)))
        with pytest.raises(Conflict) as caught:
            await stand.cancel(job)
        assert caught.value.job == job

    async def test_a_job_that_waits_for_its_next_attempt_is_cancelled(self, stand: Harness) -> None:
        """It is not tried again."""
        job = await stand.accept("law.fail", folder=str(stand.folder), times=99)
        await stand.is_now(job, S.RETRYING, S.FAILED)
        waiting = await stand.is_now(job, S.RETRYING)
        cancelled = await stand.cancel(waiting)
        done = await stand.done(job)
        assert cancelled.status in (S.CANCELLED, S.CANCELLING)
        assert done.status is S.CANCELLED
