"""retryJobs: many failed or cancelled jobs run again."""

from __future__ import annotations

import strawberry
from graphql import GraphQLError

from onward.graphql.context import Info
from onward.graphql.enqueue import MutationError, open_jobs_left, written
from onward.graphql.types.filter import JobFilter
from onward.graphql.types.user_error import UserError
from onward.jobs import commands, model
from onward.storage.transaction import Tx

MAX_RETRIES = 10_000


@strawberry.input
class RetryJobsInput:
    filter: JobFilter
    limit: int = strawberry.field(default=1000, description="The most jobs to retry, 1 to 10,000.")


@strawberry.type
class RetryJobsPayload:
    count: int = strawberry.field(default=0, description="The number of retried jobs.")
    errors: list[UserError] = strawberry.field(default_factory=list)


def checked(input: RetryJobsInput) -> model.JobFilter:
    """The filter. Raises MutationError."""
    if not 0 < input.limit <= MAX_RETRIES:
        raise MutationError(UserError.invalid("limit", f"A limit is between 1 and {MAX_RETRIES:,}."))
    try:
        return input.filter.model()
    except GraphQLError as error:
        raise MutationError(UserError.invalid("filter", error.message)) from error


async def retry_jobs(info: Info, input: RetryJobsInput) -> RetryJobsPayload | None:
    visible, route = info.context.viewer.visible, info.context.services.dispatcher.route

    def retry(tx: Tx) -> list[model.Job] | MutationError:
        try:
            limit = min(input.limit, open_jobs_left(info.context, tx))
        except MutationError as refused:
            return refused
        return commands.retry_many(tx, filter=wanted, limit=limit, visible=visible, route=route)

    try:
        wanted = checked(input)
        again = await written(info.context, retry)
    except MutationError as refused:
        return RetryJobsPayload(errors=refused.errors)
    info.context.accepted.extend(again)
    return RetryJobsPayload(count=len(again))
