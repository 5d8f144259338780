"""Workers that are stopped by SIGTERM, and frozen workers."""

from __future__ import annotations

from onward.jobs.states import JobStatus
from onward.testing.harness import DRAIN_S, Harness
from onward.testing.processes import Worker
from onward.testing.waiting import until
from onward.testing.workload import notes

S = JobStatus
SLACK_S = 5.0


async def _renamed(harness: Harness, worker: Worker, known: set[str]) -> bool:
    """Return whether the worker takes part again, under another id."""
    return await harness.runners(worker) not in (known, set())


class Stops:
    async def test_a_job_that_ends_within_the_drain_deadline_is_finished(self, harness: Harness) -> None:
        """SIGTERM while the job runs: it ends a little later, and its outcome is kept."""
        (worker,) = harness.workers
        job = await harness.accept("conformance.linger", folder=str(harness.folder))
        await harness.noted("started")
        worker.process.terminate()
        done = await harness.done(job)
        await worker.gone(DRAIN_S + SLACK_S)
        assert (done.status, len(done.attempts), done.result) == (S.SUCCEEDED, 1, worker.pid)

    async def test_a_job_that_does_not_end_is_handed_back_without_an_attempt(self, harness: Harness) -> None:
        """The process ends within the deadline and five seconds, and the next one resumes the job's step."""
        (worker,) = harness.workers
        job = await harness.accept("conformance.steps_wait", folder=str(harness.folder))
        await harness.noted("second")
        assert await worker.stop(DRAIN_S + SLACK_S) < DRAIN_S + SLACK_S
        waiting = await harness.get(job.id)
        assert (waiting.status, waiting.counted_attempts, waiting.crash_count) == (S.QUEUED, 0, 0)
        assert [attempt.counts_as_attempt for attempt in waiting.attempts] == [False]
        harness.say("go")
        await harness.start_worker()
        done = await harness.done(job)
        assert done.status is S.SUCCEEDED
        assert [attempt.counts_as_attempt for attempt in done.attempts] == [False, True]
        assert [note.word for note in notes(harness.folder)] == ["first", "second", "second", "third"]

    async def test_an_error_during_a_shutdown_counts_as_no_attempt(self, harness: Harness) -> None:
        """A handler that raises its own error when the drain stops it is handed back all the same."""
        (worker,) = harness.workers
        job = await harness.accept("conformance.sulk", folder=str(harness.folder))
        await harness.noted("started")
        await worker.stop(DRAIN_S + SLACK_S)
        waiting = await harness.get(job.id)
        assert (waiting.status, waiting.counted_attempts) == (S.QUEUED, 0)
        harness.say("go")
        await harness.start_worker()
        assert (await harness.done(job)).status is S.SUCCEEDED

    async def test_a_hanging_thread_does_not_keep_the_process_alive(self, harness: Harness) -> None:
        """A plain function that never checks: the process ends all the same, and the job waits again."""
        (worker,) = harness.workers
        job = await harness.accept("conformance.deaf", folder=str(harness.folder))
        await harness.noted("started")
        await worker.stop(DRAIN_S + SLACK_S)
        waiting = await harness.is_now(job, S.QUEUED)
        assert waiting.counted_attempts == 0
        harness.say("go")
        await harness.start_worker()
        assert (await harness.done(job)).status is S.SUCCEEDED

    async def test_a_worker_frozen_past_its_lease_can_change_nothing(self, harness: Harness) -> None:
        """Another worker has claimed its job meanwhile; the outcome of the woken worker is ignored."""
        (frozen,) = harness.workers
        job = await harness.accept("conformance.wait", folder=str(harness.folder))
        await harness.noted("started")
        known = await harness.runners(frozen)
        await harness.freeze(frozen)
        other = await harness.start_worker()
        await harness.noted("started", 2)
        running = await harness.is_now(job, S.RUNNING)
        harness.say(f"go-{frozen.pid}")
        frozen.wake()
        await until(lambda: _renamed(harness, frozen, known))
        assert frozen.is_up
        assert await harness.get(job.id) == running
        harness.say("go")
        done = await harness.done(job)
        assert (done.status, done.result) == (S.SUCCEEDED, other.pid)
        assert [(attempt.counts_as_attempt, attempt.error and attempt.error.code) for attempt in done.attempts] == [
            (False, "LEASE_LOST"),
            (True, None),
        ]
        again = await harness.accept("conformance.note", folder=str(harness.folder))
        assert (await harness.done(again)).status is S.SUCCEEDED
        assert await harness.get(job.id) == done
