"""How many jobs of each status there are, asked of the ledger at most once a second and viewer."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Mapping

from onward.jobs import ledger
from onward.jobs.model import Visible
from onward.jobs.states import JobStatus
from onward.storage.engine import Database

MAX_AGE_S = 0.5
VIEWERS = 1_000


class Counts:
    """Answers that are up to half a second old; those who ask at once share one look."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._kept: OrderedDict[Visible, tuple[float, asyncio.Task[Mapping[JobStatus, int]]]] = OrderedDict()

    async def of(self, visible: Visible) -> Mapping[JobStatus, int]:
        """Raises Unavailable."""
        asked, task = self._kept.get(visible, (0.0, None))
        now = time.monotonic()
        if task is None or now - asked > MAX_AGE_S or (task.done() and task.exception() is not None):
            task = asyncio.create_task(self._look(visible))
            self._kept[visible] = now, task
            self._kept.move_to_end(visible)
            if len(self._kept) > VIEWERS:
                self._kept.popitem(last=False)
        return await asyncio.shield(task)

    async def _look(self, visible: Visible) -> Mapping[JobStatus, int]:
        return await self._database.read(lambda tx: ledger.counts(tx, visible=visible))
