"""Handlers that are paused, or limited."""

from __future__ import annotations

import asyncio
from functools import partial

from onward.jobs import concurrency
from onward.jobs.states import JobStatus
from onward.testing.harness import AT_ONCE, IN_A_SECOND, Harness
from onward.testing.waiting import until
from onward.testing.workload import notes

S = JobStatus
PAUSED = "law.linger"
MANY = 20
SECOND_US = 1_000_000


async def _waits_for(stand: Harness, job_id: str) -> str | None:
    dispatcher = stand.front.dispatcher
    return dispatcher.waiting_for(await stand.get(job_id), await dispatcher.health())


class Gates:
    async def test_a_paused_handler_begins_no_job_and_all_of_them_once_it_is_resumed(self, stand: Harness) -> None:
        """What runs when it is paused goes on; other handlers' jobs do; and delivered again, nothing begins either."""
        folder = str(stand.folder)
        running = await stand.accept("law.wait", folder=folder)
        await stand.noted("begun")
        for handler in ("law.wait", PAUSED):
            await stand.front.writer.run(partial(concurrency.pause, handler=handler, by=None))
        jobs = await stand.request([{"handler": PAUSED, "params": {"folder": folder}}] * MANY)
        retried = await stand.accept("law.wait", folder=folder)
        other = await stand.accept("law.note", folder=folder)
        assert (await stand.done(other)).status is S.SUCCEEDED
        stand.say("go")
        assert (await stand.done(running)).status is S.SUCCEEDED

        async def all_parked() -> bool:
            return {(await stand.get(job.id)).blocked for job in (*jobs, retried)} == {concurrency.PAUSED}

        await until(all_parked)
        await stand.deliver_again(jobs[0], 3)
        assert await _waits_for(stand, jobs[-1].id) == f"the handler {PAUSED} to be resumed"
        assert stand.count("begun") == 1
        for handler in ("law.wait", PAUSED):
            await stand.front.writer.run(partial(concurrency.resume, handler=handler))
        for job in (*jobs, retried):
            done = await stand.done(job)
            assert (done.status, len(done.attempts)) == (S.SUCCEEDED, 1)
        assert stand.count("begun") == MANY + 2

    async def test_no_more_of_a_handler_run_at_once_than_may_in_all_processes(self, stand: Harness) -> None:
        """However many wait, and in however much of a hurry they are; all of them run in the end."""
        await stand.start_worker()
        folder = str(stand.folder)
        # By as many requests: those of one may run one after another.
        jobs = await asyncio.gather(*(stand.accept("law.limited", folder=folder) for _ in range(MANY)))
        for job in jobs:
            assert (await stand.done(job)).status is S.SUCCEEDED
        running = most = 0
        for note in notes(stand.folder):
            running += {"begun": 1, "ended": -1}[note.word]
            most = max(most, running)
        assert most <= AT_ONCE
        assert stand.count("ended") == MANY

    async def test_the_places_of_a_killed_worker_s_jobs_come_free(self, stand: Harness) -> None:
        """What waited for them says so, and runs in the next worker."""
        (worker,) = stand.workers
        folder = str(stand.folder)
        jobs = [await stand.accept("law.limited", folder=folder, waits=True) for _ in range(AT_ONCE + 2)]
        await stand.noted("begun", AT_ONCE)

        async def told() -> bool:
            words = f"its turn: at most {AT_ONCE} of law.limited run at once"
            return [await _waits_for(stand, job.id) for job in jobs].count(words) == 2

        await until(told)
        worker.kill()
        stand.say("go")
        await stand.start_worker()
        for job in jobs:
            assert (await stand.done(job)).status is S.SUCCEEDED

    async def test_no_more_of_a_handler_begin_in_a_time_than_may(self, stand: Harness) -> None:
        """Whenever that time begins, by the ledger's clock; all of them run in the end."""
        await stand.start_worker()
        many = IN_A_SECOND + MANY
        jobs = await stand.request([{"handler": "law.rated", "params": {"folder": str(stand.folder)}}] * many)
        begun = sorted([(await stand.done(job)).attempts[-1].started_at for job in jobs])
        assert all(last - first >= SECOND_US for first, last in zip(begun, begun[IN_A_SECOND:], strict=False))
        assert stand.count("ran") == many
