"""Handlers that are paused, and what of their jobs may begin."""

from __future__ import annotations

from functools import partial

from jobs import gates
from jobs.states import JobStatus
from testkit.stand import Stand
from testkit.waiting import until

S = JobStatus
PAUSED = "law.linger"
MANY = 20


async def _waits_for(stand: Stand, job_id: str) -> str | None:
    dispatcher = stand.front.dispatcher
    return dispatcher.waiting_for(await stand.get(job_id), await dispatcher.health())


class Gates:
    async def test_a_paused_handler_begins_no_job_and_all_of_them_once_it_is_resumed(self, stand: Stand) -> None:
        """What runs when it is paused goes on; other handlers' jobs do; and delivered again, nothing begins either."""
        folder = str(stand.folder)
        running = await stand.accept("law.wait", folder=folder)
        await stand.noted("begun")
        for handler in ("law.wait", PAUSED):
            await stand.front.writer.run(partial(gates.pause, handler=handler, by=None))
        jobs = await stand.request([{"handler": PAUSED, "params": {"folder": folder}}] * MANY)
        retried = await stand.accept("law.wait", folder=folder)
        other = await stand.accept("law.note", folder=folder)
        assert (await stand.done(other)).status is S.SUCCEEDED
        stand.say("go")
        assert (await stand.done(running)).status is S.SUCCEEDED

        async def all_parked() -> bool:
            return {(await stand.get(job.id)).parked for job in (*jobs, retried)} == {gates.PAUSED}

        await until(all_parked)
        await stand.deliver_again(jobs[0], 3)
        assert await _waits_for(stand, jobs[-1].id) == f"the handler {PAUSED} to be resumed"
        assert stand.count("begun") == 1
        for handler in ("law.wait", PAUSED):
            await stand.front.writer.run(partial(gates.resume, handler=handler))
        for job in (*jobs, retried):
            done = await stand.done(job)
            assert (done.status, len(done.attempts)) == (S.SUCCEEDED, 1)
        assert stand.count("begun") == MANY + 2
