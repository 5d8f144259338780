"""Workers that die."""

from __future__ import annotations

import asyncio
import time

from onward.jobs.model import Job
from onward.jobs.states import JobStatus
from onward.testing.harness import Harness
from onward.testing.workload import notes

S = JobStatus
RESCUE_S = 15.0


class Deaths:
    async def test_a_killed_worker_s_job_is_claimed_again_and_goes_on_with_its_step(self, stand: Harness) -> None:
        """Within 15 s of SIGKILL another worker has it; the lost claim is told as LEASE_LOST and not charged."""
        (worker,) = stand.workers
        job = await stand.accept("law.steps_wait", folder=str(stand.folder))
        await stand.noted("second")
        await stand.start_worker()
        worker.kill()
        killed = time.monotonic()
        await stand.noted("second", 2, within_s=RESCUE_S)
        assert time.monotonic() - killed < RESCUE_S
        stand.say("go")
        done = await stand.done(job)
        assert (done.status, done.counted_attempts, done.crash_count) == (S.SUCCEEDED, 1, 1)
        assert [(attempt.counts_as_attempt, attempt.error and attempt.error.code) for attempt in done.attempts] == [
            (False, "LEASE_LOST"),
            (True, None),
        ]
        assert [note.word for note in notes(stand.folder)] == ["first", "second", "second", "third"]

    async def test_jobs_that_waited_at_a_killed_worker_run_elsewhere(self, stand: Harness) -> None:
        """More than it could run at once had been delivered to it; none is lost."""
        (worker,) = stand.workers
        one = {"handler": "law.deaf", "params": {"folder": str(stand.folder)}}
        jobs = await stand.request([one] * 20)
        await stand.noted("begun")
        worker.kill()
        stand.say("go")
        await stand.start_worker()
        assert {(await stand.done(job, RESCUE_S)).status for job in jobs} == {S.SUCCEEDED}

    async def test_a_job_that_kills_its_process_is_poison_and_its_neighbours_are_charged_nothing(
        self, stand: Harness
    ) -> None:
        """FAILED, code POISON, after three deaths; who ran beside it succeeds with one charged attempt."""
        neighbour = await stand.accept("law.wait", folder=str(stand.folder / "."))
        await stand.noted("begun")
        deadly = await stand.accept("law.exit", folder=str(stand.folder))
        poisoned = await self._supervised(stand, deadly)
        assert poisoned.status is S.FAILED
        assert poisoned.error is not None
        assert poisoned.error.code == "POISON"
        assert len(poisoned.attempts) == 3
        assert [attempt.counts_as_attempt for attempt in poisoned.attempts] == [False] * 3
        assert sum(note.job == deadly.id for note in notes(stand.folder)) == 3
        stand.say("go")
        beside = await self._supervised(stand, neighbour)
        assert (beside.status, beside.counted_attempts) == (S.SUCCEEDED, 1)
        assert [attempt.counts_as_attempt for attempt in beside.attempts] == [False] * (len(beside.attempts) - 1) + [
            True
        ]
        stand.say("mended")
        await stand.retry(deadly)
        mended = await stand.done(deadly)
        assert (mended.status, mended.result) == (S.SUCCEEDED, "survived")

    async def _supervised(self, stand: Harness, job: Job) -> Job:
        """The job at its end; whenever the worker is dead meanwhile, another one is started."""
        async with asyncio.timeout(60):
            while not (found := await stand.get(job.id)).done:
                await stand.ready()
                await asyncio.sleep(0.02)
        return found
