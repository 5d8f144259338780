"""Stages the chunks of batches that handlers dispatch, ahead of the end of their step."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from onward.handlers.base import BatchRequest, JobRequest
from onward.jobs import dispatched
from onward.jobs.batch_making import STAGE, Making
from onward.jobs.model import Job, NewJob
from onward.storage.lock_order import LAST
from onward.storage.writer import Writer


class BatchStage:
    """The ledger, for batches that are being made."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    def begin(
        self, request: BatchRequest, job: Job, prepare: Callable[[JobRequest], NewJob], *, owner: str | None
    ) -> Making:
        """Return a batch that a running job dispatches; nothing of it is made yet."""
        ids, ms = self._writer.database.ids, job.attempts[-1].started_at // 1000
        return Making(request, prepare=prepare, new_id=lambda kind: ids.next(kind, ms), owner=owner, job=job.id)

    def write(self, making: Making) -> None:
        """Stage chunks if there are enough for a commit, in a thread that may block. Raises Unavailable."""
        if len(making.pending) >= STAGE:
            self._writer.run_sync(partial(dispatched.stage, chunks=making.take(), batch_id=making.id), LAST)

    def discard(self, making: Making) -> None:
        """Forget what was staged of a batch that is not accepted, soon."""
        if making.is_long:
            self._writer.post(partial(dispatched.discard, batch_id=making.id), LAST)
