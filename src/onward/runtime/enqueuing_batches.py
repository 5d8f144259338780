"""Accepts batches for code outside GraphQL.

A batch is accepted in one commit. Its first jobs are rows with that commit; the many others were staged before it, and
become rows afterwards, in short commits: by this process, and by maintenance if this process ends, or if the commit is
that of a caller.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from onward.arguments import check_argument
from onward.dispatch.dispatcher import Dispatcher
from onward.handlers.base import BatchRequest, Handler, JobRequest
from onward.jobs import batches, dispatched, idempotency
from onward.jobs.base import KeyReused
from onward.jobs.batch_making import STAGE, Making
from onward.jobs.dispatched import Insert
from onward.jobs.model import EVERYTHING, Job, NewJob
from onward.storage import lock_order
from onward.storage.base import StorageError
from onward.storage.lock_order import ALONE, LAST, ROWS
from onward.storage.transaction import Tx
from onward.storage.writer import Writer

if TYPE_CHECKING:
    from onward.jobs.options import Options


class Key:
    """An idempotency key of a batch, and the digest of all that it covers."""

    def __init__(self, options: Options, key: str) -> None:
        self.names = {"viewer": options.subject or "", "mutation": "enqueue a batch", "key": key}
        self._digest = hashlib.sha256()
        self.add(options.as_json())

    @classmethod
    def of(cls, options: Options, key: str | None) -> Key | None:
        return None if key is None else cls(options, key)

    def add(self, covered: Mapping[str, Any]) -> None:
        """Cover one more piece of the input."""
        self._digest.update(idempotency.fingerprint(covered).encode())

    @property
    def fingerprint(self) -> str:
        return self._digest.hexdigest()


class BatchEnqueuer:
    """Accepts, cancels and retries batches."""

    def __init__(
        self,
        *,
        handlers: Mapping[str, Handler],
        dispatcher: Dispatcher,
        writer: Writer,
        prepare: Callable[[JobRequest, Options], NewJob],
        accept: Insert,
        deliver: Callable[[list[Job]], Awaitable[None]],
    ) -> None:
        self._handlers = handlers
        self._dispatcher = dispatcher
        self._writer = writer
        self._prepare = prepare
        self._accept = accept
        self._deliver = deliver
        self._expanding: asyncio.Task[None] | None = None
        self._more = False  # chunks were published since the last look at them began
        self._left: set[str] = set()  # chunks that cannot become jobs

    async def enqueue(self, request: BatchRequest, options: Options, key: str | None) -> str:
        """Accept the batch, hand its first jobs over, and return its id."""
        known = Key.of(options, key)
        making = self._making(request, options, await self._writer.database.read(lambda tx: tx.now), known)
        order = ROWS if known is None else lock_order.key(*known.names.values())
        try:
            for _ in making:
                if len(making.pending) >= STAGE:
                    await self._stage(making)
                await asyncio.sleep(0)
            while making.pending:
                await self._stage(making)
            if known is not None:
                known.add(making.shape)
            accept = partial(_accepted, making=making, insert=self._accept, key=known)
            batch_id, accepted = await self._writer.run(accept, order)
        except BaseException:
            self._writer.post(partial(dispatched.discard, batch_id=making.id), LAST)
            raise
        await self._deliver(accepted)
        if accepted and making.is_long:
            self._expand()
        return batch_id

    async def _stage(self, making: Making) -> None:
        await self._writer.run(partial(dispatched.stage, chunks=making.take(), batch_id=making.id), ROWS)

    def accept_at_once(
        self, tx: Tx, *, request: BatchRequest, options: Options, key: str | None, insert: Insert
    ) -> str:
        """Accept the batch in one transaction, and return its id."""
        known = Key.of(options, key)
        making = self._making(request, options, tx.now, known)
        for _ in making:
            if len(making.pending) >= STAGE:
                dispatched.stage(tx, making.take(), making.id)
        while making.pending:
            dispatched.stage(tx, making.take(), making.id)
        if known is not None:
            known.add(making.shape)
        return _accepted(tx, making, insert, known)[0]

    def _making(self, request: BatchRequest, options: Options, now: int, key: Key | None) -> Making:
        """Return the batch to be made; the key learns of each job that it covers."""
        ids = self._writer.database.ids

        def prepare(child: JobRequest) -> NewJob:
            new = self._prepare(child, options)
            if key is not None:
                params = self._handlers[child.handler].given(child.params)  # as for the key of a single job
                key.add({"handler": child.handler, "params": params})
            return replace(new, id=ids.next("job", now // 1000))

        return Making(request, prepare=prepare, new_id=lambda kind: ids.next(kind, now // 1000), owner=options.subject)

    def _expand(self) -> None:
        """Make jobs of all chunks that are stored, in a task."""
        self._more = True
        if self._expanding is None or self._expanding.done():
            self._expanding = asyncio.create_task(self._expand_all(), name="batch")

    async def _expand_all(self) -> None:
        while self._more:
            self._more = False
            with suppress(StorageError):  # left to maintenance
                its = self._dispatcher
                # Also the chunks of steps, whose jobs may be unique.
                await dispatched.expand_all(
                    self._writer, its.accept_later, its.dispatch_new, enqueuer=its, left=self._left
                )

    def close(self) -> None:
        """Leave the rest of a long batch to maintenance."""
        if self._expanding is not None:
            self._expanding.cancel()

    async def cancel(self, batch_id: str, reason: str | None) -> None:
        """Cancel the batch: its children are cancelled soon. Raises NotFound, BatchConflict, Unavailable."""
        _check_id(batch_id)
        await self._writer.run(partial(batches.cancel, batch_id=batch_id, reason=reason, visible=EVERYTHING), ALONE)

    async def retry(self, batch_id: str) -> None:
        """Retry what has failed in a finished batch. Raises NotFound, BatchConflict, Unavailable."""
        _check_id(batch_id)
        await self._writer.run(partial(batches.retry, batch_id=batch_id, visible=EVERYTHING), ALONE)


def _accepted(tx: Tx, making: Making, insert: Insert, key: Key | None) -> tuple[str, list[Job]]:
    """Accept the batch, or find the key's earlier one; return its id, and the jobs that were accepted with it."""
    if key is None:
        return making.id, making.accept(tx, insert)
    before = replayed(tx, key.names, key.fingerprint, "the batch")
    if before is not None:
        dispatched.discard(tx, making.id)
        return str(before["batch"]), []
    accepted = making.accept(tx, insert)
    idempotency.remember(tx, **key.names, fingerprint=key.fingerprint, reference={"batch": making.id})
    return making.id, accepted


def replayed(tx: Tx, names: Mapping[str, str], fingerprint: str, what: str) -> dict[str, Any] | None:
    """Return the reference of an earlier use of an idempotency key; None if it is new. Raises KeyReused."""
    try:
        with tx.brief_waits():  # a caller's transaction may hold the key for long
            return idempotency.replay(tx, **names, fingerprint=fingerprint)
    except KeyReused as error:
        words = f"{what}: the idempotency key {names['key']!r} was used before, with other parameters or options"
        raise KeyReused(f"{words}: take a new key for a new job") from error


def _check_id(batch_id: str) -> None:
    check_argument("batch_id", batch_id, "a batch's id, as enqueue returns it", str)
