"""Jobs that handlers dispatch."""

from __future__ import annotations

from onward.jobs import ledger
from onward.jobs.states import JobStatus
from onward.testing.harness import Harness
from onward.testing.workload import notes

S = JobStatus


class Children:
    async def test_a_dispatched_job_runs_once_its_parent_has_succeeded(self, stand: Harness) -> None:
        """Its id is the one that `dispatch` gave; it is accepted with the parent's outcome, not before."""
        parent = await stand.done(await stand.accept("law.parent", folder=str(stand.folder), fails=False))
        child = await stand.get(parent.result)
        assert parent.finished_at is not None
        assert child.created_at == parent.finished_at
        done = await stand.done(child)
        assert (done.status, done.result, done.owner) == (S.SUCCEEDED, "child", parent.owner)

    async def test_a_step_that_fails_dispatches_nothing(self, stand: Harness) -> None:
        """The id that `dispatch` gave stands for no job."""
        parent = await stand.done(await stand.accept("law.parent", folder=str(stand.folder), fails=True))
        assert parent.status is S.FAILED
        noted = notes(stand.folder)[0]
        assert await stand.front.database.read(lambda tx: ledger.get(tx, noted.word)) is None
