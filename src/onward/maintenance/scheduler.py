"""Services for the times of jobs: they are due, they expire, the schedule makes them."""

from __future__ import annotations

import time
from collections.abc import Mapping

from onward.dispatch.dispatcher import Dispatcher
from onward.jobs import due, expiry, schedule_rows, waits
from onward.jobs.model import Job
from onward.jobs.schedule import LOCKED, Schedule, until_next
from onward.jobs.states import JobStatus
from onward.jobs.timings import Timings
from onward.maintenance.agenda import Agenda
from onward.maintenance.ledger_clock import LedgerClock
from onward.maintenance.service import Service
from onward.storage.batches import ShortCommits, in_batches
from onward.storage.lock_order import LAST
from onward.storage.transaction import Tx
from onward.storage.writer import Writer
from onward.telemetry import logger

PAGE = 500
LOCKED_PAUSE_S = 0.02
LEFT_PAUSE_S = 0.5
SET_BACK_S = 60.0  # a clock that is set back by less makes a schedule wait for as long
ROWS = 500  # that one commit changes at most


class DelayedJobs(Service):
    """Queues and delivers the jobs that are due or whose wait is over, and cancels those that have expired."""

    name = "delayed jobs"

    def __init__(self, writer: Writer, dispatcher: Dispatcher, timings: Timings) -> None:
        self._writer = writer
        self._dispatcher = dispatcher
        self._agenda = Agenda(writer.database, timings)
        self._left: set[str] = set()  # jobs whose waits another transaction keeps from their end, for a moment
        self._left_until = 0.0

    async def run_once(self) -> float:
        if not self._agenda.is_due():
            return self._agenda.pause_s
        commits = ShortCommits(self._writer, most=PAGE, order=LAST, pause=0.25)
        if time.monotonic() > self._left_until:
            self._left.clear()
            self._left_until = time.monotonic() + LEFT_PAUSE_S
        while True:
            wait_us = await self._writer.database.read(_until_next)
            if wait_us is None or wait_us > 0:
                self._agenda.schedule(None if wait_us is None else wait_us / 1_000_000 + 0.001)
                return self._agenda.pause_s
            over, jobs, left = await commits.run(self._at_their_times)
            self._left.update(left)
            self._dispatcher.count_ended(over)
            await self._dispatcher.deliver(jobs, after_response=self._dispatcher.defer)
            if not over and not jobs and not left:
                return self._agenda.pause_s
            await commits.rest()

    def stand_by(self) -> None:
        self._agenda.forget()

    def _at_their_times(self, tx: Tx, limit: int) -> tuple[list[Job], list[Job], list[str]]:
        """Cancel what has expired, end waits and queue what is due, at most `limit` jobs.

        Returns the jobs that are over, those that are QUEUED, and the ids of those whose wait is left for later.
        """
        expired = expiry.expire_due(tx, limit)
        waited = waits.end_due(tx, limit - len(expired), enqueuer=self._dispatcher, exclude=self._left)
        jobs = due.promote_due(tx, limit - len(expired) - len(waited), route=self._dispatcher.route)
        over = [*expired, *(job for job in waited if job.done)]
        jobs += [job for job in waited if job.status is JobStatus.QUEUED]
        return over, jobs, [job.id for job in waited if job.status is JobStatus.WAITING]


class RecurringJobs(Service):
    """Accepts and delivers the jobs of the schedules' ticks."""

    name = "recurring jobs"

    def __init__(self, writer: Writer, dispatcher: Dispatcher, schedule: Schedule, timings: Timings) -> None:
        self._writer = writer
        self._dispatcher = dispatcher
        self._schedule = schedule
        self._clock = LedgerClock()
        self._is_set_back = False
        self._agenda = Agenda(writer.database, timings)
        self._problems: dict[str, str] = {}  # those that the log has, by schedule

    async def run_once(self) -> float:
        if not self._agenda.is_due():
            return self._agenda.pause_s
        now, wait_us = await self._writer.database.read(lambda tx: (tx.now, until_next(tx)))
        if self._clock.moved_s(now) < -SET_BACK_S:
            self._is_set_back = True
        if self._is_set_back:  # the next ticks that were recorded before may be far ahead
            self._schedule.forget()
            await in_batches(self._writer, schedule_rows.look_again, most=ROWS)
            self._is_set_back = False
        soonest_s = LOCKED_PAUSE_S
        if not self._schedule.known or (wait_us is not None and wait_us <= 0):
            async for made in self._schedule.tick(self._writer):
                if LOCKED in made.problems.values():  # each look waits for a moment, and so do others of this process
                    soonest_s = LEFT_PAUSE_S
                self._warn(made.problems)
                self._dispatcher.count(made.jobs)
                self._dispatcher.count_ended(made.cancelled)
                await self._dispatcher.deliver(made.jobs, after_response=self._dispatcher.defer)
            wait_us = await self._writer.database.read(until_next)
        # One that is due still is locked by somebody who changes it.
        self._agenda.schedule(None if wait_us is None else max(wait_us / 1_000_000, soonest_s))
        return self._agenda.pause_s

    def stand_by(self) -> None:
        self._schedule.forget()
        self._agenda.forget()

    def _warn(self, problems: Mapping[str, str]) -> None:
        """Log each problem of a schedule once."""
        for name, problem in problems.items():
            if self._problems.get(name) != problem:
                self._problems[name] = problem
                logger("maintenance").warning("a schedule's tick is left for later", schedule=name, problem=problem)


def _until_next(tx: Tx) -> int | None:
    times = [at for at in (due.next_due(tx), expiry.next_expiry(tx)) if at is not None]
    return min(times) - tx.now if times else None
