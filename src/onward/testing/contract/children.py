"""Jobs that handlers dispatch."""

from __future__ import annotations

from onward.jobs import dispatched, ledger
from onward.jobs.states import JobStatus
from onward.testing.harness import Harness
from onward.testing.waiting import until
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
        assert (done.status, done.result, done.owner, done.parent) == (S.SUCCEEDED, "child", parent.owner, parent.id)

    async def test_many_dispatched_jobs_run_once_each(self, harness: Harness) -> None:
        """The jobs need more than one transaction, and each is accepted with the parent's outcome."""
        count = dispatched.CHUNK + 20
        folder = str(harness.folder)
        parent = await harness.done(await harness.accept("conformance.parent_of_many", folder=folder, children=count))
        await until(lambda: len(notes(harness.folder)) >= count, 60)
        first, last = [await harness.get(job_id) for job_id in parent.result]
        assert first.created_at == last.created_at == parent.finished_at
        assert first.parent == last.parent == parent.id
        ran = [note.job for note in notes(harness.folder)]
        assert (len(ran), len(set(ran)), {first.id, last.id} - set(ran)) == (count, count, set())

    async def test_a_step_that_fails_dispatches_nothing(self, harness: Harness) -> None:
        """The id that `dispatch` returned belongs to no job."""
        parent = await harness.done(await harness.accept("conformance.parent", folder=str(harness.folder), fails=True))
        assert parent.status is S.FAILED
        noted = notes(harness.folder)[0]
        assert await harness.front.database.read(lambda tx: ledger.get(tx, noted.word)) is None
