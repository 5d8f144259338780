"""Ends batches whose children are over, and goes through the children of those that are stopped, cancelled or retried.

A process looks at a batch when one of its children has ended there, and the leading one looks at those that no other
process looks at any more (`maintenance.batches`). To look twice, or in two processes, does no harm.

What a look has to do may fail, as in an outage. Nothing in the ledger would change then, so the leading process
remembers such batches, and looks at them until it has succeeded.
"""

from __future__ import annotations

import asyncio
import time
from functools import partial

from onward.jobs import batches, refused
from onward.jobs.batches import Batch, BatchState
from onward.jobs.dispatched import JobEnqueuer
from onward.jobs.states import RETRYABLE
from onward.storage.base import StorageError
from onward.storage.batches import ShortCommits
from onward.storage.lock_order import ALONE
from onward.storage.writer import Writer
from onward.telemetry import logger
from onward.telemetry.metrics import Metrics

LOOKS_AT_ONCE = 2  # reads of the ledger
CHILDREN = 200  # that one commit changes at most
REST = 4  # times as long as a look took, until the next one at the same batch
MIN_REST_S = 0.005
ERROR_PAUSE_S = 60.0  # until a batch is looked at again after an error other than an outage

B = BatchState


class BatchKeeper:
    """The batches that one process looks at, each in a task."""

    def __init__(self, writer: Writer, enqueuer: JobEnqueuer, metrics: Metrics) -> None:
        self._writer = writer
        self._enqueuer = enqueuer
        self._metrics = metrics
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._again: set[str] = set()
        self._left: dict[str, float] = {}  # batches that could not go on, and when to look again
        self._slots = asyncio.Semaphore(LOOKS_AT_ONCE)
        self._closed = False
        self._log = logger("batches")

    def look(self, batch_id: str) -> None:
        """Look at the batch soon: something has happened to it that is committed. From the event loop; cheap."""
        self._again.add(batch_id)
        if batch_id not in self._tasks and not self._closed:
            self._tasks[batch_id] = asyncio.create_task(self._keep(batch_id), name="batch")

    def look_at_left(self) -> None:
        """Look again at the batches that could not go on here. From the event loop."""
        now = time.monotonic()
        for batch_id in [batch_id for batch_id, at in self._left.items() if at <= now]:
            del self._left[batch_id]
            self.look(batch_id)

    def forget_left(self) -> None:
        """Leave the batches that could not go on here to the process that leads: it has looked at them, too."""
        self._left.clear()

    def close(self) -> None:
        """Leave the rest to maintenance."""
        self._closed = True
        for task in self._tasks.values():
            task.cancel()

    async def _keep(self, batch_id: str) -> None:
        try:
            while batch_id in self._again:
                self._again.discard(batch_id)
                began = time.monotonic()
                await self._look(batch_id)
                # Many children end while this waits, and one look is enough for all of them.
                await asyncio.sleep(max((time.monotonic() - began) * REST, MIN_REST_S))
        except StorageError:
            self._left[batch_id] = time.monotonic()
            self._log.debug("a batch is left to maintenance", id=batch_id)  # of an outage the ledger's writer warns
        except Exception:  # noqa: BLE001 - maintenance looks again
            self._left[batch_id] = time.monotonic() + ERROR_PAUSE_S
            self._log.exception("a batch cannot go on", id=batch_id)
        finally:
            self._again.discard(batch_id)
            del self._tasks[batch_id]

    async def _look(self, batch_id: str) -> None:
        async with self._slots:
            batch, to = await self._writer.database.read(partial(batches.look, batch_id=batch_id))
        if batch is None:
            return
        if to is not None:
            await self._advance(batch)
        elif batch.state in (B.STOPPING, B.CANCELLING):
            await self._cancel_children(batch)
        elif batch.state is B.RETRYING:
            await self._retry_children(batch)

    async def _advance(self, batch: Batch) -> None:
        its = self._enqueuer
        accept, route = partial(refused.accept, insert=its.accept_later, enqueuer=its), its.route
        following = await self._writer.run(lambda tx: batches.advance(tx, batch.id, accept=accept, route=route), ALONE)
        # A `then` that runs again was counted as accepted when it followed for the first time.
        self._enqueuer.dispatch([job for job in following if job.run > 1])
        self._enqueuer.dispatch_new([job for job in following if job.run == 1])
        self._again.add(batch.id)  # it may be STOPPING now
        if batch.parent is not None:
            self.look(batch.parent)

    async def _cancel_children(self, batch: Batch) -> None:
        for nested in await self._writer.database.read(partial(batches.nested_to_cancel, batch=batch)):
            cancel = partial(batches.cancel_nested, batch_id=nested, reason=batches.reason_of_children(batch))
            await self._writer.run(cancel, ALONE)
            self.look(nested)
        commits, some = ShortCommits(self._writer, most=CHILDREN), False
        while (cancelled := await commits.run(partial(batches.cancel_children, batch=batch))) is not None:
            for job in cancelled:
                if job.done:
                    self._metrics.finished(job.handler, job.status.value)
            some = some or bool(cancelled)
            await commits.rest()
        if some:
            self._again.add(batch.id)

    async def _retry_children(self, batch: Batch) -> None:
        for nested in await self._writer.database.read(partial(batches.nested_to_retry, batch=batch)):
            await self._writer.run(partial(batches.retry_nested, batch_id=nested), ALONE)
            self.look(nested)
        route = self._enqueuer.route
        for status in sorted(RETRYABLE):
            commits, after = ShortCommits(self._writer, most=CHILDREN), -1
            while True:
                retry = partial(batches.retry_children, batch_id=batch.id, status=status, after=after, route=route)
                found = await commits.run(retry)
                self._enqueuer.dispatch(found.jobs)
                if found.last is None:
                    break
                after = found.last
                await commits.rest()
        await self._writer.run(partial(batches.reopen, batch_id=batch.id, retried=batch.retried), ALONE)
        self._again.add(batch.id)
