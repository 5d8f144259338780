"""Jobs that handlers dispatch."""

from __future__ import annotations

from onward.jobs import ledger
from onward.jobs.states import JobStatus
from onward.testing.harness import Harness
from onward.testing.workload import notes

S = JobStatus


class Children:
    async def test_a_dispatched_job_runs_once_its_parent_has_succeeded(self, harness: Harness) -> None:
        """The child has the id that `dispatch` returned, and is accepted with the parent's outcome, not before."""
        parent = await harness.done(await harness.accept("conformance.parent", folder=str(harness.folder), fails=False))
        child = await harness.get(parent.result)
        assert parent.finished_at is not None
        assert child.created_at == parent.finished_at
        done = await harness.done(child)
        assert (done.status, done.result, done.owner) == (S.SUCCEEDED, "child", parent.owner)

    async def test_a_step_that_fails_dispatches_nothing(self, harness: Harness) -> None:
        """There is no job with the id that `dispatch` returned."""
        parent = await harness.done(await harness.accept("conformance.parent", folder=str(harness.folder), fails=True))
        assert parent.status is S.FAILED
        noted = notes(harness.folder)[0]
        assert await harness.front.database.read(lambda tx: ledger.get(tx, noted.word)) is None
