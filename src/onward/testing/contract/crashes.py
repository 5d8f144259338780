"""Workers that die."""

from __future__ import annotations

import asyncio
import os

from onward.jobs.model import Job
from onward.jobs.states import JobStatus
from onward.testing.contract.ends import notices_of
from onward.testing.harness import TIMINGS, Harness
from onward.testing.workload import notes

S = JobStatus
RESCUE_S = 45.0  # 15 s on a machine that does nothing else


def is_up(pid: int) -> bool:
    """True if there is a process of that pid."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


class Crashes:
    async def test_a_killed_worker_s_job_is_claimed_again_and_resumes_its_step(self, harness: Harness) -> None:
        """After SIGKILL another worker claims the job; the lost claim is LEASE_LOST and is not counted."""
        (worker,) = harness.workers
        job = await harness.accept("conformance.steps_wait", folder=str(harness.folder))
        await harness.noted("second")
        await harness.start_worker()
        worker.kill()
        await harness.noted("second", 2, within_s=RESCUE_S)
        harness.say("go")
        done = await harness.done(job)
        assert (done.status, done.counted_attempts, done.crash_count) == (S.SUCCEEDED, 1, 1)
        assert [(attempt.counts_as_attempt, attempt.error and attempt.error.code) for attempt in done.attempts] == [
            (False, "LEASE_LOST"),
            (True, None),
        ]
        assert [note.word for note in notes(harness.folder)] == ["first", "second", "second", "third"]

    async def test_jobs_that_waited_in_a_killed_worker_run_elsewhere(self, harness: Harness) -> None:
        """More jobs were delivered to the worker than it could run at once; none is lost."""
        (worker,) = harness.workers
        one = {"handler": "conformance.deaf", "params": {"folder": str(harness.folder)}}
        jobs = await harness.request([one] * 20)
        await harness.noted("started")
        worker.kill()
        harness.say("go")
        await harness.start_worker()
        assert {(await harness.done(job, RESCUE_S)).status for job in jobs} == {S.SUCCEEDED}

    async def test_a_job_that_kills_its_process_is_poison_and_counts_against_no_other(self, harness: Harness) -> None:
        """FAILED, code POISON, after three crashes; its neighbour succeeds with one counted attempt."""
        neighbour = await harness.accept("conformance.wait", folder=str(harness.folder / "."))
        await harness.noted("started")
        deadly = await harness.accept("conformance.exit", folder=str(harness.folder))
        poisoned = await self._supervised(harness, deadly)
        assert poisoned.status is S.FAILED
        assert poisoned.error is not None
        assert poisoned.error.code == "POISON"
        assert len(poisoned.attempts) == 3
        (notice,) = await notices_of(harness, poisoned)
        assert (notice.created_at, notice.params["code"]) == (poisoned.finished_at, "POISON")
        assert (await harness.done(notice)).status is S.SUCCEEDED
        assert [attempt.counts_as_attempt for attempt in poisoned.attempts] == [False] * 3
        assert sum(note.job == deadly.id for note in notes(harness.folder)) == 3
        harness.say("go")
        beside = await self._supervised(harness, neighbour)
        assert (beside.status, beside.counted_attempts) == (S.SUCCEEDED, 1)
        assert [attempt.counts_as_attempt for attempt in beside.attempts] == [False] * (len(beside.attempts) - 1) + [
            True
        ]
        harness.say("fixed")
        await harness.retry(deadly)
        fixed = await harness.done(deadly)
        assert (fixed.status, fixed.result) == (S.SUCCEEDED, "survived")

    async def test_a_handler_that_holds_the_interpreter_s_lock_is_not_dead(self, harness: Harness) -> None:
        """A process that is silent for longer than a lease still lives, and no other one takes its job."""
        job = await harness.accept(
            "conformance.hold", folder=str(harness.folder), seconds=1.5 * TIMINGS.lease_timeout_s
        )
        await harness.noted("started")
        await harness.start_worker()  # or a claim that was taken from the first would come back to it
        done = await harness.done(job)
        assert (done.status, done.crash_count, len(done.attempts)) == (S.SUCCEEDED, 0, 1)
        assert harness.count("started") == 1

    async def test_a_handler_with_a_process_of_its_own_is_killed_with_its_job(self, harness: Harness) -> None:
        """The handler runs as any other does, in a process apart from the worker's; a cancel kills that process."""
        (worker,) = harness.workers
        done = await harness.done(await harness.accept("conformance.apart", folder=str(harness.folder)))
        assert (done.status, done.progress and done.progress.completed) == (S.SUCCEEDED, 1)
        assert done.result not in (None, worker.pid)
        stuck = await harness.accept("conformance.apart", folder=str(harness.folder), waits=True)
        await harness.noted("started", 2)
        await harness.cancel(stuck)
        assert (await harness.done(stuck)).status is S.CANCELLED
        pid = notes(harness.folder)[-1].pid
        await harness.comes_true(lambda: not is_up(pid))

    async def _supervised(self, harness: Harness, job: Job) -> Job:
        """Wait for the job's end; start another worker whenever one has died."""
        async with asyncio.timeout(60):
            while not (found := await harness.get(job.id)).done:
                await harness.ready()
                await asyncio.sleep(0.02)
        return found
