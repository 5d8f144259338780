"""Schedules made at run time: their ticks, and what pauses, runs and deletes them."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any
from uuid import uuid4

from onward.dispatch.schedules import Shown
from onward.jobs import pages
from onward.jobs.base import ScheduleRefused
from onward.jobs.model import Job, JobFilter
from onward.jobs.schedule_choices import ScheduleOverlap
from onward.jobs.states import JobStatus
from onward.storage.lock_order import ALONE
from onward.storage.transaction import Tx
from onward.testing.harness import ALL, Harness
from onward.testing.waiting import until
from onward.testing.workload import notes

EACH_SECOND = "* * * * * *"
EACH_YEAR = "0 0 1 1 *"
SECOND_US = 1_000_000
NOTE, WAIT = "conformance.note", "conformance.wait"


class Scheduled:
    """A schedule of a test, whose jobs are told from others by the test's folder and by their parameters."""

    def __init__(self, harness: Harness, handler: str, params: dict[str, Any]) -> None:
        self.name = f"conformance-{uuid4().hex}"
        self._harness = harness
        self._handler = handler
        self._params = {"folder": str(harness.folder), **params}

    async def create(self, cron: str, overlap: ScheduleOverlap) -> None:
        schedules, writer = self._harness.front.schedules, self._harness.front.writer
        entry = schedules.entry(self.name, self._handler, self._params, cron, overlap=overlap)
        await writer.run(lambda tx: schedules.create(tx, entry, by=None), ALONE)

    async def pause(self) -> None:
        schedules = self._harness.front.schedules
        await self._harness.front.writer.run(lambda tx: schedules.pause(tx, self.name, by="ada"), ALONE)

    async def resume(self) -> None:
        schedules = self._harness.front.schedules
        await self._harness.front.writer.run(lambda tx: schedules.resume(tx, self.name), ALONE)

    async def delete(self) -> None:
        schedules = self._harness.front.schedules
        await self._harness.front.writer.run(lambda tx: schedules.delete(tx, self.name), ALONE)

    async def run_now(self) -> Job:
        """Accept a job of the schedule and deliver it."""
        schedules, dispatcher = self._harness.front.schedules, self._harness.front.dispatcher

        def accept(tx: Tx) -> Job:
            _, new = schedules.new_job(tx, self.name)
            return dispatcher.accept(tx, new)

        job = await self._harness.front.writer.run(accept, ALONE)
        await dispatcher.deliver([job], after_response=dispatcher.defer)
        return job

    async def shown(self) -> Shown:
        return await self._harness.front.database.read(partial(self._harness.front.schedules.get, name=self.name))

    async def jobs(self) -> list[Job]:
        """Return the jobs that the schedule has made."""
        look = partial(pages.page, visible=ALL, filter=JobFilter(handler=(self._handler,)), first=200)
        page = await self._harness.front.database.read(look)
        return [job for job in page.jobs if self._params.items() <= job.params.items()]

    async def made(self, count: int) -> None:
        """Wait until the schedule has made at least so many jobs."""

        async def enough() -> bool:
            return len(await self.jobs()) >= count

        await until(enough)


@asynccontextmanager
async def _scheduled(
    harness: Harness,
    handler: str = NOTE,
    cron: str = EACH_SECOND,
    overlap: ScheduleOverlap = ScheduleOverlap.ALLOW,
    **params: Any,
) -> AsyncIterator[Scheduled]:
    """Make a schedule, which is deleted at the end."""
    made = Scheduled(harness, handler, params)
    await made.create(cron, overlap)
    try:
        yield made
    finally:
        with suppress(ScheduleRefused):
            await made.delete()


class Schedules:
    async def test_each_tick_of_a_schedule_is_one_job(self, harness: Harness) -> None:
        """Whichever process makes it, the job has the time of its tick, and runs once."""
        async with _scheduled(harness) as schedule:
            await schedule.made(3)
            await schedule.pause()
            jobs = await schedule.jobs()
        for job in jobs:
            await harness.done(job)
        ticks = [job.run_at or 0 for job in jobs]
        assert (len(set(ticks)), {at % SECOND_US for at in ticks}) == (len(jobs), {0})
        assert Counter(note.job for note in notes(harness.folder)) == Counter(job.id for job in jobs)

    async def test_a_paused_schedule_makes_no_job_until_it_is_resumed(self, harness: Harness) -> None:
        """Another schedule with the same ticks goes on meanwhile."""
        async with _scheduled(harness, text="paused") as paused, _scheduled(harness, text="other") as other:
            await paused.made(1)
            await paused.pause()
            before = len(await paused.jobs())
            await other.made(len(await other.jobs()) + 2)
            assert len(await paused.jobs()) == before
            assert (await paused.shown()).paused_by == "ada"
            await paused.resume()
            await paused.made(before + 1)

    async def test_a_schedule_that_is_run_now_makes_one_job_and_keeps_its_ticks(self, harness: Harness) -> None:
        """A pause of its ticks makes no difference."""
        async with _scheduled(harness, cron=EACH_YEAR) as schedule:
            before = await schedule.shown()
            job = await harness.done(await schedule.run_now())
            assert (job.status, job.run_at) == (JobStatus.SUCCEEDED, None)
            assert await schedule.shown() == before
            await schedule.pause()
            await harness.done(await schedule.run_now())
            assert (len(await schedule.jobs()), harness.count("ran")) == (2, 2)

    async def test_a_deleted_schedule_makes_no_more_jobs(self, harness: Harness) -> None:
        """The jobs that it has made stay, and run."""
        async with _scheduled(harness, text="deleted") as deleted, _scheduled(harness, text="other") as other:
            await deleted.made(1)
            await deleted.delete()
            jobs = await deleted.jobs()
            await other.made(len(await other.jobs()) + 2)
            assert len(await deleted.jobs()) == len(jobs)
        for job in jobs:
            assert (await harness.done(job)).status is JobStatus.SUCCEEDED

    async def test_a_tick_is_skipped_while_the_last_job_is_not_over(self, harness: Harness) -> None:
        """The ticks after its end make jobs again."""
        async with _scheduled(harness, WAIT, overlap=ScheduleOverlap.SKIP) as schedule:
            await harness.noted("started")

            async def skipped() -> bool:
                return (await schedule.shown()).skipped_at is not None

            await until(skipped)
            (job,) = await schedule.jobs()
            harness.say("go")
            await harness.done(job)
            await schedule.made(2)
        for job in await schedule.jobs():
            await harness.done(job)
