"""cancelBatch: the children of a batch are cancelled as single jobs are, and nothing follows them."""

from __future__ import annotations

import strawberry

from onward.graphql.context import Info
from onward.graphql.enqueue import MutationError, written
from onward.graphql.ids import kind
from onward.graphql.inputs import scalar_input
from onward.graphql.mutations.cancel_job import Values
from onward.graphql.resolvers import mutation
from onward.graphql.types.batch import Batch
from onward.graphql.types.enums import UserErrorCode
from onward.graphql.types.user_error import UserError
from onward.graphql.validation import checked
from onward.jobs import batches
from onward.jobs.base import BatchConflict, NotFound
from onward.storage.lock_order import ALONE
from onward.storage.transaction import Tx


@scalar_input
@strawberry.input
class CancelBatchInput:
    id: strawberry.ID
    reason: str | None = strawberry.field(description="One line of at most 500 characters.")


@strawberry.type
class CancelBatchPayload:
    batch: batches.Batch | None = strawberry.field(default=None, graphql_type=Batch | None)
    errors: list[UserError] = strawberry.field(default_factory=list)


def no_such_batch() -> MutationError:
    return MutationError(UserError(code=UserErrorCode.NOT_FOUND, message="There is no such batch.", path=["id"]))


def check_batch_id(id_: str) -> None:
    """Raise MutationError unless it is a batch's id."""
    if kind(id_) != "batch":
        raise no_such_batch()


def conflict(found: BatchConflict) -> UserError:
    message = str(found)
    return UserError(code=UserErrorCode.CONFLICT, message=f"{message[:1].upper()}{message[1:]}.", path=["id"])


@mutation(CancelBatchPayload)
async def cancel_batch(info: Info, input: CancelBatchInput) -> CancelBatchPayload | None:
    visible = info.context.viewer.visible

    def cancel(tx: Tx) -> batches.Batch | BatchConflict | MutationError:
        try:
            return batches.cancel(tx, input.id, reason=values.reason, visible=visible)
        except NotFound:
            return no_such_batch()
        except BatchConflict as found:
            return found

    values = checked(Values, reason=input.reason)
    check_batch_id(input.id)
    outcome: batches.Batch | BatchConflict = await written(info.context, cancel, ALONE)
    if isinstance(outcome, BatchConflict):
        return CancelBatchPayload(batch=outcome.batch, errors=[conflict(outcome)])
    info.context.services.keeper.look(outcome.id)
    return CancelBatchPayload(batch=outcome)
