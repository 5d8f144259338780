"""cancelJob: a waiting job is cancelled, a running one is asked to stop."""

from __future__ import annotations

import strawberry
from pydantic import BaseModel

from onward.graphql.context import Info
from onward.graphql.enqueue import MutationError, written
from onward.graphql.ids import is_job_id
from onward.graphql.inputs import scalar_input
from onward.graphql.resolvers import mutation
from onward.graphql.types.enums import UserErrorCode
from onward.graphql.types.job import Job
from onward.graphql.types.user_error import UserError
from onward.graphql.validation import Reason, checked
from onward.jobs import commands, model
from onward.jobs.base import Conflict, NotFound
from onward.storage import lock_order
from onward.storage.transaction import Tx


class Values(BaseModel):
    reason: Reason | None


@scalar_input
@strawberry.input
class CancelJobInput:
    id: strawberry.ID
    reason: str | None = strawberry.field(description="One line of at most 500 characters.")


@strawberry.type
class CancelJobPayload:
    job: model.Job | None = strawberry.field(default=None, graphql_type=Job | None)
    errors: list[UserError] = strawberry.field(default_factory=list)


def no_such_job() -> UserError:
    return UserError(code=UserErrorCode.NOT_FOUND, message="There is no such job.", path=["id"])


def check_id(id_: str) -> None:
    """Raise MutationError unless it is a job's id."""
    if not is_job_id(id_):
        raise MutationError(no_such_job())


def conflict(found: Conflict) -> UserError:
    message = str(found)
    return UserError(code=UserErrorCode.CONFLICT, message=f"{message[:1].upper()}{message[1:]}.", path=["id"])


@mutation(CancelJobPayload)
async def cancel_job(info: Info, input: CancelJobInput) -> CancelJobPayload | None:
    visible = info.context.viewer.visible

    def cancel(tx: Tx) -> model.Job | Conflict | MutationError:
        try:
            return commands.cancel(tx, input.id, reason=values.reason, visible=visible)
        except NotFound:
            return MutationError(no_such_job())
        except Conflict as found:
            return found

    values = checked(Values, reason=input.reason)
    check_id(input.id)
    outcome: model.Job | Conflict = await written(info.context, cancel, lock_order.job(input.id))
    if isinstance(outcome, Conflict):
        return CancelJobPayload(job=outcome.job, errors=[conflict(outcome)])
    if outcome.done:
        info.context.services.metrics.finished(outcome.handler, outcome.status.value)
        if outcome.batch is not None:
            info.context.services.keeper.look(outcome.batch)
    return CancelJobPayload(job=outcome)
