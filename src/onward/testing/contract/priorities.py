"""Priorities."""

from __future__ import annotations

from onward.jobs.states import JobStatus
from onward.testing.harness import Harness
from onward.testing.workload import notes

S = JobStatus
LINE = 400
SLOTS = 64  # as many as a worker of any backend runs at once


class Priorities:
    async def test_jobs_of_a_higher_priority_run_before_a_long_queue(self, harness: Harness) -> None:
        """The time of acceptance makes no difference, nor does a second delivery or a `run_at` that has just come."""
        await harness.no_worker()
        folder = str(harness.folder)
        patient = await harness.accept("conformance.note", priority=1, folder=folder)
        line = await harness.request([{"handler": "conformance.note", "params": {"folder": folder}}] * LINE)
        now = await harness.front.database.read(lambda tx: tx.now)
        urgent = [
            await harness.accept("conformance.note", priority=-1, folder=folder),
            await harness.accept("conformance.note", priority=-1, run_at=now + 300_000, folder=folder),
        ]
        await harness.is_now(urgent[-1], S.QUEUED)
        if not harness.embedded:  # on a busy machine a part is delivered again, later than the patient job
            for job in (*line, *urgent):
                await harness.until(job, lambda found: found.delivered_to is not None, 60)
        await harness.start_worker()
        for job in (patient, *urgent, line[-1]):
            await harness.done(job, 60)
        order = [note.job for note in notes(harness.folder)]
        assert max(order.index(job.id) for job in urgent) < SLOTS
        assert order.index(patient.id) > LINE - SLOTS
