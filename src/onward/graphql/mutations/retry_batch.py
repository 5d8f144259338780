"""retryBatch: what has failed in a finished batch runs again, and then the job that follows it."""

from __future__ import annotations

import strawberry

from onward.graphql.context import Info
from onward.graphql.enqueue import MutationError, open_jobs_capacity, written
from onward.graphql.inputs import scalar_input
from onward.graphql.mutations.cancel_batch import check_batch_id, conflict, no_such_batch
from onward.graphql.resolvers import mutation
from onward.graphql.types.batch import Batch
from onward.graphql.types.enums import UserErrorCode
from onward.graphql.types.user_error import UserError
from onward.handlers.batch import MAX_CHILDREN
from onward.jobs import batch_children, batches
from onward.jobs.base import BatchConflict, NotFound
from onward.storage.lock_order import ALONE
from onward.storage.transaction import Tx


@scalar_input
@strawberry.input
class RetryBatchInput:
    id: strawberry.ID


@strawberry.type
class RetryBatchPayload:
    batch: batches.Batch | None = strawberry.field(default=None, graphql_type=Batch | None)
    errors: list[UserError] = strawberry.field(default_factory=list)


@mutation(RetryBatchPayload)
async def retry_batch(info: Info, input: RetryBatchInput) -> RetryBatchPayload | None:
    context, visible = info.context, info.context.viewer.visible

    def retry(tx: Tx) -> batches.Batch | BatchConflict | MutationError:
        try:
            batch = batches.visible_batch(tx, input.id, visible)
            left = min(max(open_jobs_capacity(context, tx), 0), MAX_CHILDREN)
            # One at least: that which follows.
            if batch.done and max(batch_children.count_retried(tx, batch.id, most=left + 1), 1) > left:
                return _too_many(context.services.open_jobs)
            return batches.retry(tx, batch.id, visible=visible)
        except NotFound:
            return no_such_batch()
        except BatchConflict as conflict:
            return conflict

    check_batch_id(input.id)
    outcome: batches.Batch | BatchConflict = await written(context, retry, ALONE)
    if isinstance(outcome, BatchConflict):
        return RetryBatchPayload(batch=outcome.batch, errors=[conflict(outcome)])
    context.services.keeper.look(outcome.id)
    return RetryBatchPayload(batch=outcome)


def _too_many(most: int) -> MutationError:
    words = f"With these you would have more than {most:,} unfinished jobs, which is the limit. Wait for some."
    return MutationError(UserError(code=UserErrorCode.RATE_LIMITED, message=words, path=None))
