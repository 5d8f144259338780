"""The states of batches that subscriptions follow: each is read and counted once for all of a process."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from onward.graphql.fair_queue import FairSlots
from onward.graphql.meter import Meter
from onward.jobs import batch_children, batches
from onward.jobs.batches import Batch
from onward.jobs.states import JobStatus
from onward.storage.engine import Database
from onward.storage.revision import Revision
from onward.storage.transaction import Tx

POLL_S = 0.25  # between two reads of a batch, or four times as long as one takes, its wait for a turn included
RECHECK_S = 2.0  # though nothing in the ledger seems to have changed

Counted = tuple[Batch | None, dict[JobStatus, int]]
"""A batch, None if there is none, and the number of its children of each status."""


class Followed:
    """One batch for all that follow it."""

    def __init__(self, database: Database, slot: FairSlots, batch_id: str) -> None:
        self.followers = 0
        self.newest: Counted = (None, {})
        self._database = database
        self._slot = slot
        self._read = partial(_counted, batch_id=batch_id)
        self._revision = Revision(database, RECHECK_S)
        self._reading: asyncio.Task[Counted] | None = None
        self._next_at = 0.0

    async def look(self, meter: Meter) -> Counted:
        """Return the newest state, a moment old at most; it is read in the turn of the meter's caller.

        Raises Unavailable.
        """
        if self._reading is None:
            if time.monotonic() < self._next_at or not self._revision.has_changed():
                return self.newest
            self._reading = asyncio.create_task(self._look(meter))
        return await asyncio.shield(self._reading)

    def close(self) -> None:
        """Read no more, since nobody follows; a read that waits for its turn is not begun."""
        if self._reading is not None:
            self._reading.cancel()

    async def _look(self, meter: Meter) -> Counted:
        began = time.monotonic()
        begin = partial(self._database.begin_read, self._read)
        try:
            self.newest = await self._slot.run(meter.caller, partial(meter.shares.reads.run, meter.caller, begin))
        except BaseException:
            self._revision.forget()
            raise
        finally:
            now = time.monotonic()
            self._next_at, self._reading = now + max(POLL_S, 4 * (now - began)), None
        return self.newest


class BatchStates:
    """The batches that are followed at the moment."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._slot = FairSlots(1)  # large batches take long to count: all together leave queries their slots
        self._followed: dict[str, Followed] = {}

    @contextmanager
    def follow(self, batch_id: str) -> Iterator[Followed]:
        """Follow a batch that the viewer is known to see."""
        followed = self._followed.setdefault(batch_id, Followed(self._database, self._slot, batch_id))
        followed.followers += 1
        try:
            yield followed
        finally:
            followed.followers -= 1
            if not followed.followers:
                del self._followed[batch_id]
                followed.close()

    def counts_of(self, batch: Batch) -> dict[JobStatus, int] | None:
        """Return the numbers that belong to a batch which was just looked at; None for any other."""
        followed = self._followed.get(batch.id)
        return followed.newest[1] if followed is not None and followed.newest[0] is batch else None


def _counted(tx: Tx, *, batch_id: str) -> Counted:
    found = batches.get(tx, batch_id)
    return found, {} if found is None else batch_children.counts(tx, found)
