"""Paused and limited handlers."""

from __future__ import annotations

import asyncio
from functools import partial

from onward.jobs import concurrency
from onward.jobs.states import JobStatus
from onward.testing.harness import AT_ONCE, IN_A_SECOND, Harness
from onward.testing.waiting import until
from onward.testing.workload import notes

S = JobStatus
PAUSED = "conformance.linger"
MANY = 20
SECOND_US = 1_000_000


async def _waits_for(harness: Harness, job_id: str) -> str | None:
    dispatcher = harness.front.dispatcher
    return dispatcher.waiting_for(await harness.get(job_id), await dispatcher.health())


class Concurrency:
    async def test_a_paused_handler_starts_no_job_until_it_is_resumed(self, harness: Harness) -> None:
        """Running jobs go on, and so do other handlers' jobs; a further delivery begins nothing."""
        folder = str(harness.folder)
        running = await harness.accept("conformance.wait", folder=folder)
        await harness.noted("started")
        for handler in ("conformance.wait", PAUSED):
            await harness.front.writer.run(partial(concurrency.pause, handler=handler, by=None))
        jobs = await harness.request([{"handler": PAUSED, "params": {"folder": folder}}] * MANY)
        retried = await harness.accept("conformance.wait", folder=folder)
        other = await harness.accept("conformance.note", folder=folder)
        assert (await harness.done(other)).status is S.SUCCEEDED
        harness.say("go")
        assert (await harness.done(running)).status is S.SUCCEEDED

        async def all_parked() -> bool:
            return {(await harness.get(job.id)).blocked for job in (*jobs, retried)} == {concurrency.PAUSED}

        await until(all_parked)
        await harness.deliver_again(jobs[0], 3)
        assert await _waits_for(harness, jobs[-1].id) == f"the handler {PAUSED} to be resumed"
        assert harness.count("started") == 1
        for handler in ("conformance.wait", PAUSED):
            await harness.front.writer.run(partial(concurrency.resume, handler=handler))
        for job in (*jobs, retried):
            done = await harness.done(job)
            assert (done.status, len(done.attempts)) == (S.SUCCEEDED, 1)
        assert harness.count("started") == MANY + 2

    async def test_the_concurrency_limit_holds_over_all_processes(self, harness: Harness) -> None:
        """The limit holds for any number of waiting jobs and any priority; all of them run in the end."""
        await harness.start_worker()
        folder = str(harness.folder)
        # One request each: jobs of one request may run one after another.
        jobs = await asyncio.gather(*(harness.accept("conformance.limited", folder=folder) for _ in range(MANY)))
        for job in jobs:
            assert (await harness.done(job)).status is S.SUCCEEDED
        running = most = 0
        for note in notes(harness.folder):
            running += {"started": 1, "ended": -1}[note.word]
            most = max(most, running)
        assert most <= AT_ONCE
        assert harness.count("ended") == MANY

    async def test_the_slots_of_a_killed_worker_s_jobs_become_free(self, harness: Harness) -> None:
        """Waiting jobs name the limit, and run in the next worker."""
        (worker,) = harness.workers
        folder = str(harness.folder)
        jobs = [await harness.accept("conformance.limited", folder=folder, waits=True) for _ in range(AT_ONCE + 2)]
        await harness.noted("started", AT_ONCE)

        async def limit_is_named() -> bool:
            words = f"its turn: at most {AT_ONCE} of conformance.limited run at once"
            return [await _waits_for(harness, job.id) for job in jobs].count(words) == 2

        await until(limit_is_named)
        worker.kill()
        harness.say("go")
        await harness.start_worker()
        for job in jobs:
            assert (await harness.done(job)).status is S.SUCCEEDED

    async def test_no_period_has_more_starts_than_the_rate_allows(self, harness: Harness) -> None:
        """The limit holds for any window of the ledger's clock; all jobs run in the end."""
        await harness.start_worker()
        many = IN_A_SECOND + MANY
        jobs = await harness.request(
            [{"handler": "conformance.rated", "params": {"folder": str(harness.folder)}}] * many
        )
        starts = sorted([(await harness.done(job)).attempts[-1].started_at for job in jobs])
        assert all(last - first >= SECOND_US for first, last in zip(starts, starts[IN_A_SECOND:], strict=False))
        assert harness.count("ran") == many
