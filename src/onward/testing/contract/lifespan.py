"""The lifespan of the project around the jobs of a process."""

from __future__ import annotations

from onward.jobs.states import JobStatus
from onward.testing.harness import DRAIN_S, Harness
from onward.testing.workload import notes

S = JobStatus
SLACK_S = 5.0


class Lifespan:
    async def test_the_lifespan_is_entered_before_the_first_job(self, harness: Harness) -> None:
        """The job waits already when the process starts; the lifespan takes a moment."""
        await harness.no_worker()
        job = await harness.accept("conformance.resources", folder=str(harness.folder))
        await harness.start_worker()
        done = await harness.done(job)
        assert (done.status, done.result) == (S.SUCCEEDED, True)

    async def test_the_lifespan_is_left_after_the_last_job(self, harness: Harness) -> None:
        """SIGTERM while the job runs: what the lifespan has opened is closed once the job has ended, and once."""
        (worker,) = harness.workers
        job = await harness.accept("conformance.resources", folder=str(harness.folder))
        await harness.noted("started")
        await worker.stop(DRAIN_S + SLACK_S)
        done = await harness.done(job)
        assert (done.status, done.result) == (S.SUCCEEDED, True)
        assert [(note.word, note.pid) for note in notes(harness.folder)] == [
            ("started", worker.pid),
            ("ended", worker.pid),
            ("left", worker.pid),
        ]
