"""Commands on many jobs: small batches, a commit each, with turns for other writers in between."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field

from onward.jobs import commands
from onward.jobs.model import Job, JobFilter, Visible
from onward.jobs.pages import Found
from onward.storage.batches import ShortCommits
from onward.storage.transaction import Tx
from onward.storage.writer import Writer

BATCH = 50  # jobs that one commit changes at most


def unlimited(_tx: Tx) -> int:
    return sys.maxsize


@dataclass(slots=True, kw_only=True)
class Bulk(ABC):
    """The rest of a bulk command, oldest jobs first. Each job is looked at once, however soon it changes again.

    `left` is the number of jobs to change at most; `pause` is the part of a batch's time in which others get the
    database's lock.
    """

    writer: Writer
    wanted: JobFilter
    visible: Visible
    left: int
    pause: float = 0.25
    beyond: str = ""  # only jobs whose ids come after it; later, the job that was looked at last
    is_full: bool = False  # the viewer's limit left some out
    is_over: bool = False  # every job that matches was looked at
    _commits: ShortCommits = field(init=False)

    def __post_init__(self) -> None:
        self._commits = ShortCommits(self.writer, most=BATCH, pause=self.pause)

    async def next(self) -> list[Job]:
        """Change the next batch, and return its jobs; after the last one `left` is 0. Raises Unavailable."""
        found, changed, self.is_full = await self._commits.run(self._change)
        self.is_over = found.beyond is None
        self.left = 0 if self.is_over else self.left - len(found.ids)
        self.beyond = found.beyond or self.beyond
        if self.left > 0 and not self.is_full:
            await self._commits.rest()
        return changed

    @abstractmethod
    def _change(self, tx: Tx, limit: int) -> tuple[Found, list[Job], bool]:
        """Change a batch; return what was looked at, the changed jobs, and whether the viewer's limit left some out."""


@dataclass(slots=True, kw_only=True)
class BulkRetry(Bulk):
    """Retries failed and cancelled jobs. `capacity` gives the number of jobs that may still become unfinished."""

    route: Callable[[str, str], str]
    capacity: Callable[[Tx], int] = unlimited

    def _change(self, tx: Tx, limit: int) -> tuple[Found, list[Job], bool]:
        most, capacity = min(self.left, limit), max(self.capacity(tx), 0)
        # One more than the capacity, which shows whether the capacity or the jobs have ended.
        found = commands.retryable(
            tx, filter=self.wanted, limit=min(most, capacity + 1), visible=self.visible, beyond=self.beyond
        )
        is_full = len(found.ids) > capacity
        if is_full:
            ids = found.ids[:capacity]
            found = Found(ids, ids[-1] if ids else self.beyond)
        return found, commands.retry_each(tx, found.ids, visible=self.visible, route=self.route), is_full


@dataclass(slots=True, kw_only=True)
class BulkCancel(Bulk):
    """Cancels waiting jobs, and requests the end of running ones."""

    reason: str | None = None

    def _change(self, tx: Tx, limit: int) -> tuple[Found, list[Job], bool]:
        most = min(self.left, limit)
        found = commands.cancellable(tx, filter=self.wanted, limit=most, visible=self.visible, beyond=self.beyond)
        return found, commands.cancel_each(tx, found.ids, reason=self.reason, visible=self.visible), False
