"""The maintenance of a ledger: each service in a task of its own, nearly all in the one process that leads."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence

from onward.cancellation import end_tasks
from onward.dispatch.dispatcher import Dispatcher
from onward.jobs.batch_keeper import BatchKeeper
from onward.jobs.leases import Lease
from onward.jobs.schedule import Schedule
from onward.jobs.timings import Timings, to_next_tick
from onward.maintenance.batches import UnfinishedBatches
from onward.maintenance.callers import CallersCounters, CallersJobs
from onward.maintenance.cleaner import Cleaner, Retention
from onward.maintenance.history import History
from onward.maintenance.ledger_clock import LedgerClock
from onward.maintenance.recovery import Recovery
from onward.maintenance.redelivery import BlockedJobs, OwnRedelivery, Redelivery
from onward.maintenance.scheduler import DelayedJobs, RecurringJobs
from onward.maintenance.service import Service
from onward.storage.base import StorageError
from onward.storage.writer import Writer
from onward.telemetry import logger


class Maintenance:
    """Runs the services, most of them while this process leads; every process has one."""

    def __init__(
        self,
        *,
        writer: Writer,
        lease: Lease,
        dispatcher: Dispatcher,
        keeper: BatchKeeper,
        schedule: Schedule,
        retention: Retention,
        takes: Collection[str] = (),
        timings: Timings = Timings(),
    ) -> None:
        """`takes` are the destinations whose jobs this process runs."""
        self._lease = lease
        self._interval_s = timings.tick_interval_s
        clock = LedgerClock()
        self._recovery = Recovery(writer, dispatcher, timings)
        self.services: Sequence[Service] = (
            DelayedJobs(writer, dispatcher, timings),
            RecurringJobs(writer, dispatcher, schedule, timings),
            BlockedJobs(writer, dispatcher, timings),
            *(
                service(name, writer, dispatcher, timings)
                for name, backend in dispatcher.backends.items()
                if backend.runs_elsewhere
                for service in (Redelivery, CallersJobs)
            ),
            *(
                OwnRedelivery(name, writer, dispatcher, timings, lease=lease)
                for name in takes
                if dispatcher.backends[name].runs_elsewhere
            ),
            CallersCounters(writer, timings),
            self._recovery,
            UnfinishedBatches(writer, keeper, timings),
            History(writer, retention.jobs, timings, clock),
            Cleaner(writer, retention, timings, clock),
        )
        self._tasks: list[asyncio.Task[None]] = []
        self._log = logger("maintenance")

    async def start(self) -> None:
        """Reroute waiting jobs by the present settings, and start the services. Raises Unavailable."""
        self._tasks = [asyncio.create_task(self._show_loop(), name="event loop")]
        await self._recovery.reroute_all()
        self._tasks += [asyncio.create_task(self._repeat(service), name=service.name) for service in self.services]

    async def close(self) -> None:
        """Stop the services. May be called twice, and without a start."""
        await end_tasks(self._tasks)

    async def _show_loop(self) -> None:
        """Show the lease that no handler blocks the event loop; by itself, since a service may be busy for long."""
        while True:
            self._lease.note_loop_runs()
            await asyncio.sleep(to_next_tick(self._interval_s))

    async def _repeat(self, service: Service) -> None:
        while True:
            pause_s = self._interval_s
            try:
                if self._lease.leads or service.everywhere:
                    pause_s = await service.run_once()
                else:
                    service.stand_by()
            except StorageError:
                # Of an outage the ledger's writer warns, once.
                self._log.debug("the ledger cannot be reached", service=service.name)
            except Exception:  # noqa: BLE001 - one service's defect stops neither it nor the others
                self._log.exception("maintenance failed", service=service.name)
            await asyncio.sleep(pause_s if pause_s < self._interval_s else to_next_tick(pause_s))
