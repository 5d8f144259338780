"""The one loop that is outbox, scheduler and rescue: delivers whatever is due and not claimed.

Every process has one; the process that leads acts. Rows that were never confirmed, delayed jobs and retries whose time
has come, jobs whose broker forgot them: all are found by a look at the ledger, and to deliver one twice does no harm.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import suppress
from functools import partial

import structlog

from onward.backends.base import Delivery, Health
from onward.dispatch.dispatcher import Dispatcher
from onward.jobs import blocked, due, recovery, row
from onward.jobs.leases import Lease
from onward.jobs.schedule import Schedule
from onward.jobs.timings import Timings
from onward.maintenance.retention import Retention
from onward.storage.base import StorageError
from onward.storage.transaction import Tx
from onward.storage.writer import Writer

PAGE = 500
EMPTY_LOOKS = 3  # so often in a row the broker has to say that it holds nothing, before it is not believed
ROWS = 2_000  # that one commit changes


class Maintenance:
    """Keeps everything that is accepted on its way."""

    def __init__(
        self,
        *,
        writer: Writer,
        lease: Lease,
        dispatcher: Dispatcher,
        schedule: Schedule,
        retention: Retention,
        timings: Timings = Timings(),
    ) -> None:
        self._timings = timings
        self._grace_us = round(timings.delivery_grace_s * 1_000_000)
        self._writer = writer
        self._lease = lease
        self._dispatcher = dispatcher
        self._schedule = schedule
        self._retention = retention
        self._empty: dict[str, int] = {}  # looks in a row at which the broker held nothing
        self._looked_about = 0.0
        self._since: int | None = None  # from which commit on to look about; None looks at everything
        self._pruned = time.monotonic()
        self._task: asyncio.Task[None] | None = None
        self._log = structlog.get_logger("sweep")

    async def start(self) -> None:
        """What waits goes where the settings of now send it, and the loop runs. Raises Unavailable."""
        places, _ = await self._writer.database.read(partial(due.destinations, since=None))
        await self._reroute(places)
        self._task = asyncio.create_task(self._loop(), name="sweep")

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _loop(self) -> None:
        while True:
            pause = self._timings.tick_interval_s
            try:
                if self._lease.leads:
                    pause = await self.once()
                else:
                    self._schedule.forget()
                    self._since = None
            except StorageError:
                self._log.warning("the ledger cannot be swept")
            except Exception:  # noqa: BLE001 - the loop goes on, whatever it was
                self._log.exception("sweep failed")
            await asyncio.sleep(pause)

    async def once(self) -> float:
        """Everything that is due is on its way; how many seconds until the next look."""
        if time.monotonic() - self._looked_about > self._timings.reconcile_interval_s:
            self._looked_about = time.monotonic()
            await self._isolate_failure(self._reconcile)
        await self._isolate_failure(self._tick)
        pause = min(await self._promote(), self._schedule.wait_s)
        pause = min(pause, await self._unblock())
        for name, backend in self._dispatcher.backends.items():
            if backend.runs_elsewhere:
                await self._deliver(name)
        if time.monotonic() - self._pruned > self._retention.every_s:
            self._pruned = time.monotonic()
            await self._isolate_failure(partial(self._retention.prune, self._writer))
        return pause

    async def _isolate_failure(self, part: Callable[[], Awaitable[object]]) -> None:
        """The part was tried; what it raised holds up no delivery and no rescue. Raises StorageError."""
        try:
            await part()
        except StorageError:
            raise
        except Exception:  # noqa: BLE001 - a defect of the part's, which the next look meets again
            self._log.exception("a part of the sweep failed")

    async def _tick(self) -> None:
        ticked = await self._schedule.tick(self._writer)
        self._dispatcher.count(ticked)
        await self._dispatcher.deliver(ticked, after_response=self._dispatcher.defer)

    async def _reconcile(self) -> None:
        """What was accepted by a process with other settings, or taken by one that was buried, is on its way again."""
        places, since = await self._writer.database.read(partial(due.destinations, since=self._since))
        await self._reroute(places)
        here = {name for name, backend in self._dispatcher.backends.items() if not backend.runs_elsewhere}
        promised = {runner for backend, _, runner in places if runner is not None and backend in here}
        if await self._writer.database.read(partial(recovery.orphaned_runners, assigned=promised)):
            released = await self._writer.run(partial(recovery.release_orphans, assigned=promised))
            self._log.warning("a process took jobs after its lease was lost", jobs=released)
        self._since = since

    async def _reroute(self, places: Collection[row.Destination]) -> None:
        for backend, handler in sorted({(backend, handler) for backend, handler, _ in places}):
            new = self._dispatcher.route(handler)
            if new != backend:
                moved = await self._by_pages(partial(due.reroute, old=backend, handler=handler, new=new))
                self._log.info("jobs go elsewhere by the settings of now", handler=handler, backend=new, jobs=moved)

    async def _by_pages(self, change: Callable[..., int]) -> int:
        """How many rows have changed, in as many commits as that takes: others get their turn in between."""
        changed = 0
        while page := await self._writer.run(partial(change, limit=ROWS)):
            changed += page
        return changed

    async def _promote(self) -> float:
        """Jobs whose time has come are queued; seconds until the next one's, a tick at most."""
        latest_s = self._timings.tick_interval_s
        while True:
            wait_us = await self._writer.database.read(_until_next)
            if wait_us is None or wait_us > 0:
                return latest_s if wait_us is None else min(latest_s, wait_us / 1_000_000 + 0.001)
            route = self._dispatcher.route
            jobs = await self._writer.run(partial(due.promote_due, route=route, limit=PAGE))
            await self._dispatcher.deliver(jobs, after_response=self._dispatcher.defer)
            if not jobs:
                return latest_s

    async def _unblock(self) -> float:
        """What was parked at a gate that is open now is on its way; seconds until a rate opens one, a tick at most."""
        handlers, wait_us = await self._writer.database.read(blocked.admissible_handlers)
        for handler in handlers:
            while jobs := await self._writer.run(partial(blocked.unblock, handler=handler, limit=PAGE)):
                for name, deliveries in self._dispatcher.by_backend(jobs).items():
                    await self._send(name, deliveries, self._dispatcher.broker(name).identity)
        latest_s = self._timings.tick_interval_s
        return latest_s if wait_us is None else min(max(wait_us / 1_000_000, self._timings.min_tick_s), latest_s)

    async def _deliver(self, name: str) -> None:
        health = self._dispatcher.broker(name)
        if not health.reachable:
            return
        if await self._forgot(name, health):
            now = await self._writer.database.read(lambda tx: tx.now)
            doubted = await self._by_pages(partial(due.invalidate_deliveries, backend=name, before=now))
            self._log.warning("the broker holds nothing of what it was given; delivering again", jobs=doubted)
        while True:
            rows = await self._writer.database.read(
                partial(due.undelivered, backend=name, identity=health.identity, grace_us=self._grace_us, limit=PAGE)
            )
            deliveries = [
                Delivery(job.id, job.handler, job.priority, job.fencing_token, resumes=job.resumes) for job in rows
            ]
            if not deliveries or not await self._send(name, deliveries, health.identity):
                return
            self._log.info("delivered again", backend=name, jobs=len(deliveries))
            if len(rows) < PAGE:
                return

    async def _send(self, name: str, deliveries: Sequence[Delivery], identity: str) -> bool:
        """Delivered and confirmed at once, so that the next look finds others; False where it failed."""
        if not await self._dispatcher.send(name, deliveries):
            return False
        if self._dispatcher.backends[name].runs_elsewhere and identity:
            waits = [(delivery.job_id, delivery.fencing_token) for delivery in deliveries]
            await self._writer.run(partial(due.confirm, waits=waits, identity=identity))
        return True

    async def _forgot(self, name: str, health: Health) -> bool:
        """Whether the broker holds nothing, look after look, while jobs wait that were delivered to it long ago."""
        looks = self._empty.get(name, 0) + 1 if health.depth == 0 else 0
        self._empty[name] = looks % EMPTY_LOOKS
        if looks < EMPTY_LOOKS:
            return False
        depth, age_us = await self._writer.database.read(partial(due.waiting, backend=name))
        return depth > 0 and (age_us or 0) > self._grace_us


def _until_next(tx: Tx) -> int | None:
    at = due.next_due(tx)
    return None if at is None else at - tx.now
