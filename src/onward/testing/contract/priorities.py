"""Jobs that go before others."""

from __future__ import annotations

from onward.jobs.states import JobStatus
from onward.testing.harness import Harness
from onward.testing.workload import notes

S = JobStatus
LINE = 400
SLOTS = 64  # as many as any worker of a rig begins at once


class Priorities:
    async def test_an_urgent_job_passes_a_long_line_and_one_that_can_wait_lets_it_pass(self, stand: Harness) -> None:
        """Whenever they were accepted; also where it is delivered again, and where its time has only come now."""
        await stand.no_worker()
        folder = str(stand.folder)
        patient = await stand.accept("law.note", priority=1, folder=folder)
        line = await stand.request([{"handler": "law.note", "params": {"folder": folder}}] * LINE)
        now = await stand.front.database.read(lambda tx: tx.now)
        urgent = [
            await stand.accept("law.note", priority=-1, folder=folder),
            await stand.accept("law.note", priority=-1, run_at=now + 300_000, folder=folder),
        ]
        await stand.is_now(urgent[-1], S.QUEUED)
        await stand.start_worker()
        for job in (patient, *urgent, line[-1]):
            await stand.done(job, 60)
        order = [note.job for note in notes(stand.folder)]
        assert max(order.index(job.id) for job in urgent) < SLOTS
        assert order.index(patient.id) > LINE - SLOTS
