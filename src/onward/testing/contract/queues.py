"""Queues that only some processes take."""

from __future__ import annotations

from onward.jobs.states import JobStatus
from onward.testing.harness import Harness
from onward.testing.waiting import until
from onward.testing.workload import QUEUE, notes

S = JobStatus
EACH = 5


class Queues:
    async def test_jobs_of_a_queue_run_only_where_it_is_taken(self, harness: Harness) -> None:
        """Without such a process they wait, and no other job waits for them."""
        await harness.no_worker()
        folder = str(harness.folder)
        dispatcher = harness.front.dispatcher
        try:
            others = await harness.start_worker(queues="default")
            waiting = await harness.accept("conformance.queued", folder=folder)
            beside = await harness.accept("conformance.note", folder=folder)
            assert (await harness.done(beside)).status is S.SUCCEEDED

            async def says_why() -> bool:
                found = dispatcher.waiting_for(await harness.get(waiting.id), await dispatcher.health())
                return found == f"a worker that takes the queue {QUEUE}"

            await until(says_why)
            assert (await harness.get(waiting.id)).attempts == ()
            taking = await harness.start_worker(queues=QUEUE)
            wanted = [
                {"handler": name, "params": {"folder": folder}} for name in ("conformance.queued", "conformance.note")
            ]
            jobs = await harness.request(wanted * EACH)
            for job in (waiting, *jobs):
                assert (await harness.done(job)).status is S.SUCCEEDED
            ran = {(note.word, note.pid) for note in notes(harness.folder)}
            assert ran == {("queued", taking.pid), ("ran", others.pid)}
            assert len(notes(harness.folder)) == 2 + 2 * EACH, "each ran once"
        finally:
            await harness.no_worker()
