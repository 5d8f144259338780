"""The results of a batch, as the handler of the job that follows it reads them."""

from __future__ import annotations

from functools import partial
from typing import Any

from onward.handlers.results import Page, Results, ResultsParameter
from onward.jobs import batch_children, batches
from onward.jobs.batches import Batch
from onward.jobs.model import Job
from onward.storage.engine import Database


class BatchPages:
    """Reads the children of a batch page by page. Raises Unavailable."""

    def __init__(self, database: Database, batch: Batch) -> None:
        self._database = database
        self._batch = batch

    def read(self, after: int) -> Page:
        return self._database.read_sync(partial(batch_children.results, batch=self._batch, after=after))

    async def read_async(self, after: int) -> Page:
        return await self._database.read(partial(batch_children.results, batch=self._batch, after=after))


async def results_of(database: Database, job: Job, parameter: ResultsParameter) -> Results[Any]:
    """Return the results of the batch that the job follows; empty ones if it follows none. Raises Unavailable."""
    batch = await database.read(partial(batches.followed, job_id=job.id))
    if batch is None:
        return Results()
    return Results(batch.total, BatchPages(database, batch), parameter.restore)
