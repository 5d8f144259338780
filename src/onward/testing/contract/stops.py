"""Workers that are told to stop, and workers that stand still."""

from __future__ import annotations

from onward.jobs.states import JobStatus
from onward.testing.harness import DRAIN_S, Harness
from onward.testing.processes import Worker
from onward.testing.waiting import until
from onward.testing.workload import notes

S = JobStatus
SLACK_S = 5.0


async def _renamed(stand: Harness, worker: Worker, known: set[str]) -> bool:
    """Whether the worker takes part again, under another name."""
    return await stand.runners(worker) not in (known, set())


class Stops:
    async def test_a_job_that_ends_within_the_drain_deadline_is_finished(self, stand: Harness) -> None:
        """SIGTERM while it runs; it ends a little later, and counts."""
        (worker,) = stand.workers
        job = await stand.accept("law.linger", folder=str(stand.folder))
        await stand.noted("begun")
        worker.process.terminate()
        done = await stand.done(job)
        await worker.gone(DRAIN_S + SLACK_S)
        assert (done.status, len(done.attempts), done.result) == (S.SUCCEEDED, 1, worker.pid)

    async def test_a_job_that_does_not_end_is_handed_back_charged_to_nobody(self, stand: Harness) -> None:
        """The process ends within the deadline and five seconds, and the job goes on with the step in the next one."""
        (worker,) = stand.workers
        job = await stand.accept("law.steps_wait", folder=str(stand.folder))
        await stand.noted("second")
        assert await worker.stop(DRAIN_S + SLACK_S) < DRAIN_S + SLACK_S
        waiting = await stand.get(job.id)
        assert (waiting.status, waiting.counted_attempts, waiting.crash_count) == (S.QUEUED, 0, 0)
        assert [attempt.counts_as_attempt for attempt in waiting.attempts] == [False]
        stand.say("go")
        await stand.start_worker()
        done = await stand.done(job)
        assert done.status is S.SUCCEEDED
        assert [attempt.counts_as_attempt for attempt in done.attempts] == [False, True]
        assert [note.word for note in notes(stand.folder)] == ["first", "second", "second", "third"]

    async def test_an_error_upon_being_stopped_is_charged_to_nobody(self, stand: Harness) -> None:
        """A handler that raises its own error when the drain stops it is handed back all the same."""
        (worker,) = stand.workers
        job = await stand.accept("law.sulk", folder=str(stand.folder))
        await stand.noted("begun")
        await worker.stop(DRAIN_S + SLACK_S)
        waiting = await stand.get(job.id)
        assert (waiting.status, waiting.counted_attempts) == (S.QUEUED, 0)
        stand.say("go")
        await stand.start_worker()
        assert (await stand.done(job)).status is S.SUCCEEDED

    async def test_a_thread_that_hangs_does_not_keep_the_process(self, stand: Harness) -> None:
        """A plain function that never checks: the process ends all the same, and the job waits again."""
        (worker,) = stand.workers
        job = await stand.accept("law.deaf", folder=str(stand.folder))
        await stand.noted("begun")
        await worker.stop(DRAIN_S + SLACK_S)
        waiting = await stand.is_now(job, S.QUEUED)
        assert waiting.counted_attempts == 0
        stand.say("go")
        await stand.start_worker()
        assert (await stand.done(job)).status is S.SUCCEEDED

    async def test_a_worker_that_stood_still_past_its_lease_can_change_nothing(self, stand: Harness) -> None:
        """Its job is another worker's after a while; what it has to say when it wakes is not heard."""
        (frozen,) = stand.workers
        job = await stand.accept("law.wait", folder=str(stand.folder))
        await stand.noted("begun")
        known = await stand.runners(frozen)
        await stand.freeze(frozen)
        other = await stand.start_worker()
        await stand.noted("begun", 2)
        running = await stand.is_now(job, S.RUNNING)
        stand.say(f"go-{frozen.pid}")
        frozen.wake()
        await until(lambda: _renamed(stand, frozen, known))
        assert frozen.is_up
        assert await stand.get(job.id) == running
        stand.say("go")
        done = await stand.done(job)
        assert (done.status, done.result) == (S.SUCCEEDED, other.pid)
        assert [(attempt.counts_as_attempt, attempt.error and attempt.error.code) for attempt in done.attempts] == [
            (False, "LEASE_LOST"),
            (True, None),
        ]
        again = await stand.accept("law.note", folder=str(stand.folder))
        assert (await stand.done(again)).status is S.SUCCEEDED
        assert await stand.get(job.id) == done
