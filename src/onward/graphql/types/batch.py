"""Jobs that belong together, and how many of them are in which state."""

from __future__ import annotations

from datetime import datetime
from functools import partial
from typing import Annotated, Any

import strawberry
from strawberry import UNSET
from strawberry.dataloader import DataLoader

from onward.graphql.base import check_number, public_error
from onward.graphql.context import Context, Info, of
from onward.graphql.ids import kind
from onward.graphql.reading import MAX_PAGE, batches_by_id, given, jobs_by_id, read_in
from onward.graphql.resolvers import query
from onward.graphql.types.enums import BatchState
from onward.graphql.types.job import Job
from onward.graphql.types.node import Node
from onward.graphql.types.system import StatusCount
from onward.jobs import batch_children, batches, model
from onward.jobs.states import JobStatus

COUNTED_AT_ONCE = 10  # batches by one read of the ledger; each may have 100,000 children

Counts = dict[JobStatus, int]


def counts_by_batch(context: Context) -> DataLoader[batches.Batch, Counts]:
    """Return a loader of the numbers of children, for `context.once`."""
    return DataLoader(partial(_counts_of, context), max_batch_size=COUNTED_AT_ONCE)


async def _counts_of(context: Context, wanted: list[batches.Batch]) -> list[Counts]:
    known = [found for batch in wanted if (found := context.services.batches.counts_of(batch)) is not None]
    if len(known) == len(wanted):
        return known
    return await read_in(context, lambda tx: [batch_children.counts(tx, batch) for batch in wanted])


@query
async def counts(info: Info, root: strawberry.Parent[batches.Batch]) -> list[StatusCount]:
    found = await info.context.once(counts_by_batch).load(root)
    return [StatusCount(status=status, count=found[status]) for status in JobStatus]


def retries_by_batch(context: Context) -> DataLoader[batches.Batch, bool]:
    """Return a loader of whether batches can be retried, likewise."""
    return DataLoader(partial(_can_retry, context), max_batch_size=COUNTED_AT_ONCE)


async def _can_retry(context: Context, wanted: list[batches.Batch]) -> list[bool]:
    return await read_in(context, lambda tx: [batches.why_not_retried(tx, batch) is None for batch in wanted])


@query
async def can_retry(info: Info, root: strawberry.Parent[batches.Batch]) -> bool:
    return root.done and await info.context.once(retries_by_batch).load(root)


@query
async def then(info: Info, root: strawberry.Parent[batches.Batch]) -> model.Job | None:
    return None if root.next_job is None else await info.context.once(jobs_by_id).load(root.next_job)


@query
async def job(info: Info, root: strawberry.Parent[batches.Batch]) -> model.Job | None:
    return None if root.job is None else await info.context.once(jobs_by_id).load(root.job)


@strawberry.type(description="Jobs that belong together; see `Job.batch`.")
class Batch(Node):
    """Describes `onward.jobs.batches.Batch`."""

    kind = "batch"

    done: bool = strawberry.field(description="True if all children are over, and what follows them is accepted.")
    state: BatchState
    reason: str | None = strawberry.field(
        description="Why it was cancelled: in the words of the one who did, or that a job of the batch has failed."
    )
    total: int = strawberry.field(description="The number of children: jobs, and batches in the batch.")
    counts: list[StatusCount] = strawberry.field(
        resolver=counts,
        description="The number of children of each status; that of a batch in the batch is its `then`'s.",
    )
    job: Any = strawberry.field(
        resolver=job, graphql_type=Job | None, description="The job whose handler dispatched it, if one did."
    )
    then: Any = strawberry.field(
        resolver=then,
        graphql_type=Job | None,
        description="The job that has followed; where a child has stopped the batch, that of its failure.",
    )
    can_retry_batch: bool = strawberry.field(
        resolver=can_retry,
        description="True if `retryBatch` has something to do: the batch is over, `then` has not succeeded, and"
        " something in it has failed, or it was stopped or cancelled.",
    )
    created_at: datetime
    finished_at: datetime | None

    @classmethod
    async def find(cls, info: Any, id: str) -> Any | None:
        return await info.context.once(batches_by_id).load(id)

    @classmethod
    def is_type_of(cls, obj: Any, _info: Any) -> bool:
        return isinstance(obj, batches.Batch)


@query
async def newest(
    info: Info,
    first: Annotated[int, strawberry.argument(description="So many; at most 200.")] = 20,
    after: Annotated[strawberry.ID | None, strawberry.argument(description="Only those older than this one.")] = UNSET,
) -> list[batches.Batch]:
    check_number("first", first, MAX_PAGE)
    older = given(after)
    if older is not None and kind(older) != "batch":
        raise public_error("`after` must be the id of a batch.", "INVALID")
    if not info.context.viewer.visible.everything:
        return []
    return await read_in(await of(info), lambda tx: batches.newest(tx, first, after=older))
