"""The service that adds up the figures of commits, and deletes old rows of the history."""

from __future__ import annotations

import time
from datetime import timedelta
from functools import partial

from onward.jobs import history_rows
from onward.jobs.stats_step import KEPT_US, StatsStep
from onward.jobs.timings import Timings
from onward.maintenance.ledger_clock import LedgerClock
from onward.maintenance.service import Service
from onward.storage.batches import ShortCommits, in_batches
from onward.storage.revision import Revision
from onward.storage.writer import Writer

COMMITS, ROWS = 2_000, 2_000  # at most, in one commit: those whose figures are added up, and rows that are deleted
US = timedelta(microseconds=1)


class History(Service):
    """Keeps the history small: figures are added up within seconds, and each row is deleted in its time.

    Errors are kept no longer than finished jobs (`kept`).
    """

    name = "history"

    def __init__(
        self, writer: Writer, kept: timedelta | None, timings: Timings, clock: LedgerClock | None = None
    ) -> None:
        self._writer = writer
        self._clock = clock or LedgerClock()
        self._revision = Revision(writer.database, timings.change_recheck_s)
        self._commits = ShortCommits(writer, most=COMMITS)
        self._interval_s = timings.history_interval_s
        self._clean_interval_s = timings.clean_interval_s
        self._clean_at = time.monotonic() + self._clean_interval_s
        longest = KEPT_US[StatsStep.HOUR]
        self._failures_us = longest if kept is None else min(kept // US, longest)

    async def run_once(self) -> float:
        if self._revision.has_changed():
            try:
                await self.add_up()
            except BaseException:
                self._revision.forget()
                raise
        if time.monotonic() >= self._clean_at:
            self._clean_at = time.monotonic() + self._clean_interval_s
            if await self._clock.is_trusted(self._writer.database):
                await in_batches(self._writer, partial(history_rows.prune, failures_us=self._failures_us), most=ROWS)
        return self._interval_s

    async def add_up(self) -> None:
        """Add up the figures of all commits. Raises Unavailable."""
        more = await self._writer.database.read(history_rows.any_figures)
        while more:
            limit = self._commits.limit
            more = await self._commits.run(history_rows.add_up) >= limit
            await self._commits.rest()

    def stand_by(self) -> None:
        self._revision.forget()
        self._clean_at = time.monotonic() + self._clean_interval_s
