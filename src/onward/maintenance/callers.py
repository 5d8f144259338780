"""Services for jobs that came with a caller's transaction: nobody else learns of its commit."""

from __future__ import annotations

from functools import partial

from onward.backends.base import Delivery
from onward.dispatch.dispatcher import Dispatcher
from onward.jobs import due, ledger
from onward.jobs.timings import Timings
from onward.maintenance.redelivery import Unconfirmed, deliver
from onward.maintenance.service import Service
from onward.storage.batches import in_batches
from onward.storage.revision import Revision
from onward.storage.writer import Writer

PAGE = 500
COUNTERS = 1_000  # that one commit adds up at most


class CallersJobs(Service):
    """Delivers such jobs to one backend that runs them elsewhere."""

    name = "jobs of callers' transactions"

    def __init__(self, backend: str, writer: Writer, dispatcher: Dispatcher, timings: Timings) -> None:
        self._backend = backend
        self._writer = writer
        self._dispatcher = dispatcher
        self._unconfirmed = Unconfirmed(timings.delivery_grace_s)
        self._revision = Revision(writer.database, timings.recheck_s)
        self._interval_s = timings.commit_check_s

    async def run_once(self) -> float:
        health = self._dispatcher.health_of(self._backend)
        if health.reachable and self._revision.has_changed():
            rows = await self._writer.database.read(partial(due.unsent, backend=self._backend, limit=PAGE))
            deliveries = self._unconfirmed.without(
                [Delivery(job.id, job.handler, job.priority, job.fencing_token) for job in rows], health.identity
            )
            if (
                deliveries
                and await deliver(
                    self._writer,
                    self._dispatcher,
                    self._backend,
                    deliveries,
                    identity=health.identity,
                    unconfirmed=self._unconfirmed,
                )
                and len(rows) == PAGE
            ):
                self._revision.forget()  # there may be more
        return self._interval_s

    def stand_by(self) -> None:
        self._revision.forget()


class CallersCounters(Service):
    """Adds up the counters of jobs that such transactions have left, so that there are few of them to read."""

    name = "counters of callers' transactions"

    def __init__(self, writer: Writer, timings: Timings) -> None:
        self._writer = writer
        self._revision = Revision(writer.database, timings.change_recheck_s)
        self._interval_s = timings.reconcile_interval_s

    async def run_once(self) -> float:
        if self._revision.has_changed():
            try:
                if await self._writer.database.read(ledger.has_unfolded_counts):
                    await in_batches(self._writer, ledger.fold_counts, most=COUNTERS)
            except BaseException:
                self._revision.forget()
                raise
        return self._interval_s

    def stand_by(self) -> None:
        self._revision.forget()
