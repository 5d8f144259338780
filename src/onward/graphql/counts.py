"""The number of jobs of each status, read from the ledger at most twice a second for each viewer; and the backlog."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence

from onward.jobs import due, ledger
from onward.jobs.due import Backlog
from onward.jobs.model import Visible
from onward.jobs.states import TERMINAL, JobStatus
from onward.storage.engine import Database

MAX_AGE_S = 0.5
MAX_VIEWERS = 1_000


class Counts:
    """Counts that are up to half a second old; concurrent callers share one read."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._anonymous: dict[str, tuple[float, asyncio.Task[int]]] = {}  # by handler
        self._backlog: asyncio.Task[list[Backlog]] | None = None
        self._backlog_until = 0.0
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
        """Count the handler's unfinished jobs without an owner, up to `most`. Raises Unavailable."""
        counted = await self.of(Visible(owner=None, everything=True))
        if sum(n for status, n in counted.items() if status not in TERMINAL) < most:
            return 0
        asked, task = self._anonymous.get(handler, (0.0, None))
        now = time.monotonic()
        if task is None or (task.done() and now - asked > MAX_AGE_S):
            read = self._database.read(lambda tx: ledger.count_open_anonymous(tx, handler, most))
            task = asyncio.ensure_future(read)
            self._anonymous[handler] = now, task
        return await asyncio.shield(task)

    async def backlog(self) -> Sequence[Backlog]:
        """Return the queued jobs of each handler, of all viewers: the older, the longer they take to count.

        Raises Unavailable.
        """
        now = time.monotonic()
        if self._backlog is None or (self._backlog.done() and now > self._backlog_until):
            self._backlog_until = now + MAX_AGE_S
            self._backlog = asyncio.create_task(self._read_backlog())
        return await asyncio.shield(self._backlog)

    async def _read_backlog(self) -> list[Backlog]:
        began = time.monotonic()
        found = await self._database.read(due.backlog)
        now = time.monotonic()
        self._backlog_until = max(self._backlog_until, now + due.KEPT_TIMES * (now - began))
        return found

    async def _read(self, visible: Visible) -> Mapping[JobStatus, int]:
        return await self._database.read(lambda tx: ledger.counts(tx, visible=visible))
