"""Many failed or cancelled jobs run again: small batches, a commit each, with turns for other writers in between."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field

from onward.jobs import commands
from onward.jobs.model import Job, JobFilter, Visible
from onward.storage.batches import ShortCommits
from onward.storage.transaction import Tx
from onward.storage.writer import Writer

BATCH = 50  # jobs that one commit retries at most


def unlimited(_tx: Tx) -> int:
    return sys.maxsize


@dataclass(slots=True)
class BulkRetry:
    """The rest of a bulk retry, oldest jobs first. Each job is looked at once, however soon it fails again.

    `capacity` gives the number of jobs that may still become unfinished; `pause` is the part of a batch's time in which
    others get the database's lock.
    """

    writer: Writer
    wanted: JobFilter
    visible: Visible
    route: Callable[[str, str], str]
    left: int
    capacity: Callable[[Tx], int] = unlimited
    pause: float = 0.25
    is_full: bool = False  # the capacity was too small for all jobs
    _beyond: str = ""
    _commits: ShortCommits = field(init=False)

    def __post_init__(self) -> None:
        self._commits = ShortCommits(self.writer, most=BATCH, pause=self.pause)

    async def next(self) -> list[Job]:
        """Retry the next batch, and return its jobs; after the last one `left` is 0. Raises Unavailable."""
        most = min(self.left, self._commits.limit)
        ids, retried, self.is_full = await self._commits.run(self._retry)
        self.left = self.left - len(ids) if len(ids) == most or self.is_full else 0
        self._beyond = ids[-1] if ids else ""
        if self.left > 0 and not self.is_full:
            await self._commits.rest()
        return retried

    def _retry(self, tx: Tx, limit: int) -> tuple[list[str], list[Job], bool]:
        """Retry a batch; return the ids, the retried jobs, and whether the limit of open jobs left some out."""
        most, capacity = min(self.left, limit), max(self.capacity(tx), 0)
        # One more than the capacity, which shows whether the capacity or the jobs have ended.
        ids = commands.retryable(
            tx, filter=self.wanted, limit=min(most, capacity + 1), visible=self.visible, beyond=self._beyond
        )
        is_full = len(ids) > capacity
        ids = ids[:capacity]
        return ids, commands.retry_each(tx, ids, visible=self.visible, route=self.route), is_full
