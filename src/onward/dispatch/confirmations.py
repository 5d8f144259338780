"""Records in the ledger that brokers have got deliveries, some time after they did."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from onward.jobs import due
from onward.jobs.timings import Timings
from onward.storage.base import StorageError
from onward.storage.batches import in_slices
from onward.storage.lock_order import LAST
from onward.storage.writer import Writer

CONFIRMED = 500  # deliveries, by one commit at most
DELAY = 0.4  # of the grace, so that a slow commit is still in time
CLOSE_TIMEOUT_S = 1.0

Wait = tuple[str, int]
"""The id of a queued job, and its fencing token."""


class Confirmations:
    """Deliveries of the last moments, which are confirmed together.

    By then most of their jobs are claimed, and nothing has to be written for them: an update for each job would cost
    as much as to accept it. Deliveries that are not confirmed within the grace are made again, which does no harm.
    """

    def __init__(
        self, writer: Writer, spawn: Callable[[Coroutine[Any, Any, None]], object], timings: Timings = Timings()
    ) -> None:
        self._writer = writer
        self._spawn = spawn
        self._delay_s = timings.delivery_grace_s * DELAY
        self._waits: dict[str, list[Wait]] = {}  # by the identity of the broker
        self._timer: asyncio.TimerHandle | None = None

    def add(self, waits: Sequence[Wait], identity: str) -> None:
        """Note that the broker of that identity has the jobs. From the event loop; cheap."""
        self._waits.setdefault(identity, []).extend(waits)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._delay_s, self._begin)

    def _begin(self) -> None:
        self._timer = None
        self._spawn(self._confirm())

    async def _confirm(self) -> None:
        """Confirm all of them, in several commits if there are many."""
        noted, self._waits = self._waits, {}
        for identity, waits in noted.items():
            confirm = partial(due.confirm, identity=identity)
            with suppress(StorageError):
                async for _ in in_slices(self._writer, waits, confirm, most=CONFIRMED, order=LAST):
                    pass

    async def close(self) -> None:
        """Confirm what was delivered last, unless that takes long. May be called twice."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        with suppress(TimeoutError):
            await asyncio.wait_for(self._confirm(), CLOSE_TIMEOUT_S)
