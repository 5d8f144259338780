"""Services that deliver again: jobs that a broker lost or never got, and jobs that a limit held back.

To deliver a job twice does no harm: its second delivery finds it claimed.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import partial

from onward.backends.base import Delivery, Health
from onward.dispatch.dispatcher import Dispatcher
from onward.jobs import blocked, due, key_limits
from onward.jobs.leases import Lease
from onward.jobs.model import Job
from onward.jobs.timings import Timings
from onward.jobs.waiting import first_taker
from onward.maintenance.agenda import Agenda
from onward.maintenance.service import Service
from onward.storage.batches import ShortCommits, in_batches
from onward.storage.lock_order import LAST
from onward.storage.transaction import Tx
from onward.storage.writer import Writer
from onward.telemetry import logger

PAGE = 500
ROWS = 2_000  # that one commit changes at most
COMMITS_OF_KEYS = 20  # after which handlers' limits are looked at again
PATIENCE = 2  # so many times the grace of the leading process
EMPTY_LOOKS = 3  # so often in a row a broker has to say that it holds nothing, before it is not believed


class Unconfirmed:
    """Deliveries that could not be confirmed, as of jobs that another transaction has locked.

    Made again at each look, they would fill the queue, and each of the messages keeps a worker waiting for the lock.
    """

    def __init__(self, grace_s: float) -> None:
        self._grace_s = grace_s
        self._until: dict[tuple[str, str, int], float] = {}

    def without(self, deliveries: Sequence[Delivery], identity: str) -> list[Delivery]:
        """Leave out those that the broker of that identity was given within the grace."""
        now = time.monotonic()
        self._until = {which: until for which, until in self._until.items() if until > now}
        return [one for one in deliveries if (identity, one.job_id, one.fencing_token) not in self._until]

    def add(self, deliveries: Sequence[Delivery], identity: str) -> None:
        """Note that the broker of that identity was given these just now."""
        until = time.monotonic() + self._grace_s
        self._until |= {(identity, one.job_id, one.fencing_token): until for one in deliveries}


class Redelivery(Service):
    """Delivers the jobs of one backend that its broker does not have."""

    name = "redelivery"

    def __init__(self, backend: str, writer: Writer, dispatcher: Dispatcher, timings: Timings) -> None:
        self._backend = backend
        self._writer = writer
        self._dispatcher = dispatcher
        self._grace_us = round(timings.delivery_grace_s * 1_000_000)
        self._unconfirmed = Unconfirmed(timings.delivery_grace_s)
        self._interval_s = timings.tick_interval_s
        self._empty_looks = 0  # in a row, at which the broker held nothing
        self._log = logger("maintenance")

    async def run_once(self) -> float:
        health = self._dispatcher.health_of(self._backend)
        if health.reachable:
            if await self._has_lost_all(health):
                await self._invalidate_deliveries()
            return max(self._interval_s, due.pause_s(await self._deliver(health.identity)))
        return self._interval_s

    async def _has_lost_all(self, health: Health) -> bool:
        """Return whether the broker has held nothing at several looks, while jobs wait that it was given long ago."""
        looks = self._empty_looks + 1 if health.depth == 0 else 0
        self._empty_looks = looks % EMPTY_LOOKS
        if looks < EMPTY_LOOKS:
            return False
        depth, age_us = await self._writer.database.read(partial(due.waiting, backend=self._backend))
        return depth > 0 and (age_us or 0) > self._grace_us

    async def _invalidate_deliveries(self) -> None:
        now = await self._writer.database.read(lambda tx: tx.now)
        jobs = await in_batches(
            self._writer, partial(due.invalidate_deliveries, backend=self._backend, before=now), most=ROWS
        )
        self._log.warning("the broker holds nothing of what it was given; delivering again", jobs=jobs)

    async def _deliver(self, identity: str) -> float:
        """Deliver all; return the seconds that the last look took, which reads a backlog that was delivered whole."""
        undelivered = partial(
            due.undelivered, backend=self._backend, identity=identity, grace_us=self._grace_us, limit=PAGE
        )
        while True:
            began = time.monotonic()
            rows = await self._writer.database.read(undelivered)
            took_s = time.monotonic() - began
            deliveries = self._unconfirmed.without(
                [Delivery(job.id, job.handler, job.priority, job.fencing_token, resumes=job.resumes) for job in rows],
                identity,
            )
            if not deliveries or not await deliver(
                self._writer,
                self._dispatcher,
                self._backend,
                deliveries,
                identity=identity,
                unconfirmed=self._unconfirmed,
            ):
                return took_s
            self._log.info("delivered again", backend=self._backend, jobs=len(deliveries))
            if len(rows) < PAGE:
                return took_s


class OwnRedelivery(Redelivery):
    """Does the same in a process that takes the backend's jobs, for a leading one that does not know the backend.

    That may be a process of another release, or of other handlers. One that knows the backend has delivered before.
    """

    name = "redelivery where jobs are taken"
    everywhere = True

    def __init__(self, backend: str, writer: Writer, dispatcher: Dispatcher, timings: Timings, *, lease: Lease) -> None:
        super().__init__(backend, writer, dispatcher, timings)
        self._lease = lease
        self._grace_us *= PATIENCE
        self._interval_s = timings.reconcile_interval_s

    async def run_once(self) -> float:
        if not self._lease.leads:
            taker = await self._writer.database.read(partial(first_taker, destination=self._backend))
            if taker == self._lease.id:
                return await super().run_once()
        self._empty_looks = 0
        return self._interval_s


class BlockedJobs(Service):
    """Delivers jobs that a limit or a pause of their handler held back, or the limit of their key, once they may begin.

    Jobs that get a place of their key are delivered as those that an end of a job lets begin.
    """

    name = "blocked jobs"

    def __init__(self, writer: Writer, dispatcher: Dispatcher, timings: Timings) -> None:
        self._writer = writer
        self._dispatcher = dispatcher
        self._soonest_s = timings.min_tick_s
        self._agenda = Agenda(writer.database, timings)
        self._after: Mapping[tuple[str, int], str] = {}  # where to go on with limits by key that have changed

    async def run_once(self) -> float:
        if not self._agenda.is_due():
            return self._agenda.pause_s
        handlers, wait_us, key_us = await self._writer.database.read(_may_begin)
        for handler in handlers:
            commits = ShortCommits(self._writer, most=PAGE, order=LAST)
            while jobs := await commits.run(partial(_unblock, handler=handler)):
                for backend, deliveries in self._dispatcher.by_backend(jobs).items():
                    identity = self._dispatcher.health_of(backend).identity
                    await deliver(self._writer, self._dispatcher, backend, deliveries, identity=identity)
                await commits.rest()
        if key_us == 0:
            key_us = await self._look_at_keys()
        waits = [wait for wait in (wait_us, key_us) if wait is not None]
        self._agenda.schedule(max(min(waits) / 1_000_000, self._soonest_s) if waits else None)
        return self._agenda.pause_s

    async def _look_at_keys(self) -> int | None:
        """Look at the keys that are due; return in how many microseconds the next one is."""
        commits = ShortCommits(self._writer, most=PAGE, order=LAST)
        for _ in range(COMMITS_OF_KEYS):  # of many keys with a rate, there is always one that is due
            looked = await commits.run(partial(key_limits.look, after=self._after))
            self._after = looked.after
            if not looked.n:
                break
            await commits.rest()
        return await self._writer.database.read(key_limits.next_look_us)

    def stand_by(self) -> None:
        self._agenda.forget()


def _may_begin(tx: Tx) -> tuple[list[str], int | None, int | None]:
    return *blocked.admissible_handlers(tx), key_limits.next_look_us(tx)


def _unblock(tx: Tx, limit: int, handler: str) -> list[Job]:
    return blocked.unblock(tx, handler, limit)


async def deliver(
    writer: Writer,
    dispatcher: Dispatcher,
    backend: str,
    deliveries: Sequence[Delivery],
    *,
    identity: str,
    unconfirmed: Unconfirmed | None = None,
) -> bool:
    """Deliver and confirm at once, so that the next look finds others; return False on failure.

    `unconfirmed` gets the deliveries if any of them cannot be confirmed.
    """
    if not await dispatcher.send(backend, deliveries):
        return False
    if dispatcher.backends[backend].runs_elsewhere:
        waits = [(delivery.job_id, delivery.fencing_token) for delivery in deliveries]
        confirmed = await writer.run(partial(due.confirm, waits=waits, identity=identity), LAST)
        if unconfirmed is not None and confirmed < len(waits):
            unconfirmed.add(deliveries, identity)
    return True
