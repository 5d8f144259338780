"""The service that looks at batches which no process looks at any more."""

from __future__ import annotations

from functools import partial

from onward.jobs import batches
from onward.jobs.batch_keeper import BatchKeeper
from onward.jobs.position import Snapshot
from onward.jobs.timings import Timings
from onward.maintenance.service import Service
from onward.storage.revision import Revision
from onward.storage.writer import Writer


class UnfinishedBatches(Service):
    """Has this process look at batches whose children have ended anywhere: by a cancel, or before a crash."""

    name = "batches"

    def __init__(self, writer: Writer, keeper: BatchKeeper, timings: Timings) -> None:
        self._database = writer.database
        self._keeper = keeper
        self._revision = Revision(writer.database, timings.change_recheck_s)
        self._interval_s = timings.tick_interval_s
        self._since: Snapshot | None = None  # what was seen at the last look; None looks at every unfinished batch

    async def run_once(self) -> float:
        self._keeper.look_at_left()
        if self._revision.has_changed():
            try:
                found, self._since = await self._database.read(partial(batches.unattended, since=self._since))
            except BaseException:
                self._revision.forget()
                raise
            for batch_id in found:
                self._keeper.look(batch_id)
        return self._interval_s

    def stand_by(self) -> None:
        self._since = None
        self._revision.forget()
        self._keeper.forget_left()
