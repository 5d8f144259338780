"""retryJob: a failed or cancelled job runs again."""

from __future__ import annotations

import strawberry

from onward.graphql.context import Info
from onward.graphql.enqueue import MutationError, check_open_jobs, written
from onward.graphql.inputs import scalar_input
from onward.graphql.mutations.cancel_job import check_id, conflict, no_such_job
from onward.graphql.resolvers import mutation
from onward.graphql.types.job import Job
from onward.graphql.types.user_error import UserError
from onward.jobs import commands, model
from onward.jobs.base import Conflict, NotFound
from onward.storage.lock_order import ALONE
from onward.storage.transaction import Tx


@scalar_input
@strawberry.input
class RetryJobInput:
    id: strawberry.ID
    from_start: bool = strawberry.field(default=False, description="Run succeeded steps again, too.")


@strawberry.type
class RetryJobPayload:
    job: model.Job | None = strawberry.field(default=None, graphql_type=Job | None)
    errors: list[UserError] = strawberry.field(default_factory=list)


@mutation(RetryJobPayload)
async def retry_job(info: Info, input: RetryJobInput) -> RetryJobPayload | None:
    visible, route = info.context.viewer.visible, info.context.services.dispatcher.route

    def retry(tx: Tx) -> model.Job | Conflict | MutationError:
        try:
            check_open_jobs(info.context, tx)
            return commands.retry(tx, input.id, from_start=input.from_start, visible=visible, route=route)
        except NotFound:
            return MutationError(no_such_job())
        except Conflict as found:
            return found
        except MutationError as refused:
            return refused

    check_id(input.id)
    outcome: model.Job | Conflict = await written(info.context, retry, ALONE)
    if isinstance(outcome, Conflict):
        return RetryJobPayload(job=outcome.job, errors=[conflict(outcome)])
    await info.context.accept(outcome)
    return RetryJobPayload(job=outcome)
