"""Services that queue jobs whose time has come: delayed jobs and retries, and the jobs of the schedule."""

from __future__ import annotations

from functools import partial

from onward.dispatch.dispatcher import Dispatcher
from onward.jobs import due
from onward.jobs.schedule import Schedule
from onward.jobs.timings import Timings
from onward.maintenance.agenda import Agenda
from onward.maintenance.service import Service
from onward.storage.batches import ShortCommits
from onward.storage.lock_order import LAST
from onward.storage.transaction import Tx
from onward.storage.writer import Writer

PAGE = 500


class DelayedJobs(Service):
    """Queues and delivers the jobs that are due."""

    name = "delayed jobs"

    def __init__(self, writer: Writer, dispatcher: Dispatcher, timings: Timings) -> None:
        self._writer = writer
        self._dispatcher = dispatcher
        self._agenda = Agenda(writer.database, timings)

    async def run_once(self) -> float:
        if not self._agenda.is_due():
            return self._agenda.pause_s
        commits = ShortCommits(self._writer, most=PAGE, order=LAST, pause=0.25)
        while True:
            wait_us = await self._writer.database.read(_until_next)
            if wait_us is None or wait_us > 0:
                self._agenda.schedule(None if wait_us is None else wait_us / 1_000_000 + 0.001)
                return self._agenda.pause_s
            jobs = await commits.run(partial(due.promote_due, route=self._dispatcher.route))
            await self._dispatcher.deliver(jobs, after_response=self._dispatcher.defer)
            if not jobs:
                return self._agenda.pause_s
            await commits.rest()

    def stand_by(self) -> None:
        self._agenda.forget()


class RecurringJobs(Service):
    """Accepts and delivers the jobs of the schedule's ticks."""

    name = "recurring jobs"

    def __init__(self, writer: Writer, dispatcher: Dispatcher, schedule: Schedule, timings: Timings) -> None:
        self._writer = writer
        self._dispatcher = dispatcher
        self._schedule = schedule
        self._latest_s = timings.tick_interval_s

    async def run_once(self) -> float:
        jobs = await self._schedule.tick(self._writer)
        self._dispatcher.count(jobs)
        await self._dispatcher.deliver(jobs, after_response=self._dispatcher.defer)
        return min(self._schedule.wait_s, self._latest_s)

    def stand_by(self) -> None:
        self._schedule.forget()


def _until_next(tx: Tx) -> int | None:
    at = due.next_due(tx)
    return None if at is None else at - tx.now
