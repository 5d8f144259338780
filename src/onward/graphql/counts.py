"""The number of jobs of each status, read from the ledger at most twice a second for each viewer; and the backlog."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Generic, TypeVar

from onward.jobs import due, ledger
from onward.jobs.due import Backlog
from onward.jobs.model import Visible
from onward.jobs.states import TERMINAL, JobStatus
from onward.storage.engine import Database

MAX_AGE_S = 0.5
MAX_VIEWERS = 1_000

T = TypeVar("T")


class Kept(Generic[T]):
    """The shared result of a read; that of a slow read is kept for longer."""

    def __init__(self, read: Callable[[], Awaitable[T]]) -> None:
        self._read = read
        self._task: asyncio.Task[T] | None = None
        self._until = 0.0

    async def get(self) -> T:
        """Read, unless a read is under way or was a short while ago. Raises what the read raises."""
        now = time.monotonic()
        if self._task is None or (self._task.done() and now > self._until):
            self._until = now + MAX_AGE_S
            self._task = asyncio.create_task(self._take())
        return await asyncio.shield(self._task)

    async def _take(self) -> T:
        began = time.monotonic()
        found = await self._read()
        now = time.monotonic()
        self._until = max(self._until, now + due.KEPT_TIMES * (now - began))
        return found


class Counts:
    """Counts that are up to half a second old, and older if their read is slow; concurrent callers share one read."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._anonymous: dict[str, Kept[int]] = {}  # by handler
        self._backlog: Kept[list[Backlog]] = Kept(partial(database.read, due.backlog))
        self._kept: OrderedDict[Visible, tuple[float, asyncio.Task[Mapping[JobStatus, int]]]] = OrderedDict()

    async def of(self, visible: Visible) -> Mapping[JobStatus, int]:
        """Return the counts of the viewer's jobs. Raises Unavailable."""
        asked, task = self._kept.get(visible, (0.0, None))
        now = time.monotonic()
        if task is None or now - asked > MAX_AGE_S or (task.done() and task.exception() is not None):
            task = asyncio.create_task(self._read(visible))
            self._kept[visible] = now, task
            self._kept.move_to_end(visible)
            if len(self._kept) > MAX_VIEWERS:
                self._kept.popitem(last=False)
        return await asyncio.shield(task)

    async def open_anonymous(self, handler: str, most: int) -> int:
        """Count the handler's unfinished jobs without an owner, up to `most`. Raises Unavailable.

        Reads all unfinished jobs, of which other handlers may have any number.
        """
        counted = await self.of(Visible(owner=None, everything=True))
        if sum(n for status, n in counted.items() if status not in TERMINAL) < most:
            return 0
        if (kept := self._anonymous.get(handler)) is None:
            read = partial(ledger.count_open_anonymous, handler=handler, most=most)
            kept = self._anonymous[handler] = Kept(partial(self._database.read, read))
        return await kept.get()

    async def backlog(self) -> Sequence[Backlog]:
        """Return the queued jobs of each handler, of all viewers. Raises Unavailable."""
        return await self._backlog.get()

    async def _read(self, visible: Visible) -> Mapping[JobStatus, int]:
        return await self._database.read(lambda tx: ledger.counts(tx, visible=visible))
