"""Jobs that wait between two steps: for a time, or for a signal."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest

from onward.handlers.base import InvalidParameters
from onward.jobs.base import Conflict, NotFound
from onward.jobs.model import Job
from onward.jobs.states import JobStatus, StepStatus
from onward.testing.harness import Harness
from onward.testing.workload import SOON, Approval, notes

S = JobStatus
YES = Approval(approved=True, comment="well done")
JOBS = 40  # more than any worker has slots


def _waits_for(name: str, job: Job) -> bool:
    return job.wait is not None and job.wait.name == name


class Waits:
    async def _waiting(self, harness: Harness, handler: str = "conformance.approval") -> Job:
        return await harness.is_now(await harness.accept(handler, folder=str(harness.folder)), S.WAITING)

    async def test_a_job_sleeps_between_two_steps(self, harness: Harness) -> None:
        """The job is WAITING until its time has come; the next step gets the result of the one before."""
        job = await harness.done(await harness.accept("conformance.rest", folder=str(harness.folder)))
        assert (job.status, job.result) == (S.SUCCEEDED, {"folder": str(harness.folder)})
        assert [note.word for note in notes(harness.folder)] == ["drafting", "draft", "report"]
        _, sleep, report = job.steps
        assert (sleep.name, sleep.status) == ("sleep", StepStatus.SUCCEEDED)
        assert (report.started_at or 0) - (sleep.started_at or 0) >= SOON.total_seconds() * 1_000_000
        assert job.counted_attempts == 1

    async def test_a_signal_ends_a_wait_with_its_typed_payload(self, harness: Harness) -> None:
        """Nobody holds the job meanwhile; the step after the wait gets a value of the declared class."""
        waiting = await self._waiting(harness)
        assert (waiting.runner, waiting.wait and waiting.wait.name) == (None, "approval")
        assert [step.status for step in waiting.steps] == [
            StepStatus.SUCCEEDED,
            StepStatus.RUNNING,
            StepStatus.PENDING,
        ]
        await harness.signal(waiting, "approval", YES)
        job = await harness.done(waiting)
        assert (job.status, job.result, job.wait) == (S.SUCCEEDED, "Approval True well done", None)
        assert [note.word for note in notes(harness.folder)] == ["drafting", "draft", "publish"]

    async def test_a_signal_may_come_before_its_wait(self, harness: Harness) -> None:
        """The signal is kept, and ends the wait as soon as that begins."""
        job = await harness.accept("conformance.approval", folder=str(harness.folder), waits=True)
        await harness.noted("drafting")
        await harness.signal(job, "approval", YES)
        harness.say("go")
        assert (await harness.done(job)).result == "Approval True well done"

    async def test_waits_follow_one_another(self, harness: Harness) -> None:
        """A sleep and two signals, one of them without a payload."""
        job = await harness.accept("conformance.several", folder=str(harness.folder))
        for name, payload in (("seen", None), ("approval", YES)):
            await harness.until(job, partial(_waits_for, name))
            await harness.signal(job, name, payload)
        assert (await harness.done(job)).result == "Approval True well done"
        assert harness.count("draft") == 1

    async def test_a_wait_without_a_signal_fails_at_its_timeout(self, harness: Harness) -> None:
        """The code is WAIT_TIMEOUT; a retry waits again, and does not repeat the step before."""
        job = await harness.done(await harness.accept("conformance.deadline", folder=str(harness.folder)))
        assert (job.status, job.error and job.error.code) == (S.FAILED, "WAIT_TIMEOUT")
        with pytest.raises(Conflict):
            await harness.signal(job, "approval", YES)
        await harness.retry(job)
        await harness.is_now(job, S.WAITING, S.FAILED)
        again = await harness.done(job)
        assert (again.status, again.run, harness.count("draft")) == (S.FAILED, 2, 1)

    async def test_a_default_takes_the_place_of_a_signal_at_the_timeout(self, harness: Harness) -> None:
        """The job goes on with the payload that `otherwise` names."""
        job = await harness.done(await harness.accept("conformance.default", folder=str(harness.folder)))
        assert (job.status, job.result) == (S.SUCCEEDED, "Approval False late")

    async def test_a_waiting_step_is_cancelled_at_once_and_waits_again_at_a_retry(self, harness: Harness) -> None:
        """The step before the wait is not run again."""
        waiting = await self._waiting(harness)
        cancelled = await harness.cancel(waiting)
        assert (cancelled.status, cancelled.wait) == (S.CANCELLED, None)
        with pytest.raises(Conflict):
            await harness.signal(waiting, "approval", YES)
        await harness.retry(cancelled)
        await harness.is_now(waiting, S.WAITING)
        await harness.signal(waiting, "approval", YES)
        assert (await harness.done(waiting)).status is S.SUCCEEDED
        assert (harness.count("draft"), harness.count("publish")) == (1, 1)

    async def test_a_signal_belongs_to_its_run(self, harness: Harness) -> None:
        """One that came in an earlier run does not end the wait of a later one."""
        job = await harness.accept("conformance.approval", folder=str(harness.folder), waits=True)
        await harness.noted("drafting")
        await harness.signal(job, "approval", YES)
        await harness.cancel(job)
        await harness.done(job)
        harness.say("go")
        await harness.retry(job)
        waiting = await harness.is_now(job, S.WAITING, S.SUCCEEDED)
        assert waiting.status is S.WAITING

    async def test_of_two_signals_at_once_one_counts(self, harness: Harness) -> None:
        """The other one is a conflict; the one that counts may come any number of times."""
        waiting = await self._waiting(harness)
        answers = [Approval(approved=True), Approval(approved=False)]
        sent = [harness.signal(waiting, "approval", answer) for answer in answers]
        found = await asyncio.gather(*sent, return_exceptions=True)
        assert [isinstance(one, Conflict) for one in found if one is not None] == [True]
        won = answers[found.index(None)]
        assert (await harness.done(waiting)).result == f"Approval {won.approved} "
        await asyncio.gather(*(harness.signal(waiting, "approval", won) for _ in range(5)))
        assert harness.count("publish") == 1

    async def test_a_wrong_signal_is_refused(self, harness: Harness) -> None:
        """A payload of another type, and a name that the handler does not wait for; the job waits on."""
        waiting = await self._waiting(harness)
        with pytest.raises(InvalidParameters) as wrong:
            await harness.signal(waiting, "approval", {"approved": "yes", "by": 1})
        assert sorted(path for path, _ in wrong.value.errors) == ["payload.approved", "payload.by"]
        with pytest.raises(NotFound):
            await harness.signal(waiting, "approved", YES)
        assert (await harness.get(waiting.id)).status is S.WAITING

    async def test_a_wait_outlives_every_process(self, harness: Harness) -> None:
        """No worker runs while the signal comes; the next one goes on with the job."""
        waiting = await self._waiting(harness)
        await harness.no_worker()
        await harness.signal(waiting, "approval", YES)
        await harness.start_worker()
        assert (await harness.done(waiting)).result == "Approval True well done"
        assert harness.count("draft") == 1

    async def test_waiting_jobs_hold_no_slot(self, harness: Harness) -> None:
        """More jobs wait than a worker runs at once, and another one runs beside them."""
        one = {"handler": "conformance.approval", "params": {"folder": str(harness.folder)}}
        jobs = await harness.request([one] * JOBS)
        for job in jobs:
            await harness.is_now(job, S.WAITING)
        beside = await harness.done(await harness.accept("conformance.note", folder=str(harness.folder)))
        assert beside.status is S.SUCCEEDED
