"""retryJobs: many failed or cancelled jobs run again."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

import strawberry
from graphql import GraphQLError

from onward.graphql.context import Context, Info
from onward.graphql.enqueue import MutationError, open_jobs_left, written
from onward.graphql.types.enums import UserErrorCode
from onward.graphql.types.filter import JobFilter
from onward.graphql.types.user_error import UserError
from onward.jobs import commands, model
from onward.storage.lock_order import ALONE
from onward.storage.transaction import Tx

MAX_RETRIES = 10_000
BATCH = 50  # jobs that one commit retries; at most about a tenth of a second of the ledger's only writer
PAUSE = 0.25  # of the time of a batch, in which other processes get the database's lock
BULK_RETRY_TIMEOUT_S = 8.0  # below the usual time limit of a mutation, so that its caller learns what was retried


@strawberry.input
class RetryJobsInput:
    filter: JobFilter
    limit: int = strawberry.field(default=1000, description="The most jobs to retry, 1 to 10,000.")


@strawberry.type
class RetryJobsPayload:
    count: int = strawberry.field(default=0, description="The number of retried jobs.")
    errors: list[UserError] = strawberry.field(default_factory=list)


def checked(input: RetryJobsInput) -> model.JobFilter:
    """Return the filter's model. Raises MutationError."""
    if not 0 < input.limit <= MAX_RETRIES:
        raise MutationError(UserError.invalid("limit", f"A limit is between 1 and {MAX_RETRIES:,}."))
    try:
        return input.filter.model()
    except GraphQLError as error:
        raise MutationError(UserError.invalid("filter", error.message)) from error


async def retry_jobs(info: Info, input: RetryJobsInput) -> RetryJobsPayload | None:
    """Retry jobs in small batches, a commit each, with turns for other callers in between.

    What was retried stays retried and is counted, also where a later batch fails.
    """
    payload, until = RetryJobsPayload(), time.monotonic() + BULK_RETRY_TIMEOUT_S
    try:
        retries = Retries(info.context, checked(input), input.limit)
        while retries.left > 0 and (started := time.monotonic()) < until:
            again = await retries.next()
            info.context.accepted.extend(again)
            payload.count += len(again)
            await asyncio.sleep((time.monotonic() - started) * PAUSE)
        if retries.left > 0:
            payload.errors = [_unfinished()]
    except MutationError as refused:
        payload.errors = refused.errors
    return payload


def _unfinished() -> UserError:
    message = f"Not all were retried within {BULK_RETRY_TIMEOUT_S:g} s. Send it again for the rest."
    return UserError(code=UserErrorCode.UNAVAILABLE, message=message, path=None)


@dataclass(slots=True)
class Retries:
    """The rest of a bulk retry. Each job is looked at once, however soon it fails again."""

    context: Context
    filter: model.JobFilter
    left: int
    beyond: str = ""

    async def next(self) -> list[model.Job]:
        """Retry the next batch. Raises MutationError."""
        ids, again = await written(self.context, self._retry, ALONE)
        self.left = self.left - len(ids) if len(ids) == BATCH else 0
        self.beyond = ids[-1] if ids else ""
        return again

    def _retry(self, tx: Tx) -> tuple[list[str], list[model.Job]] | MutationError:
        visible, route = self.context.viewer.visible, self.context.services.dispatcher.route
        try:
            most = min(self.left, BATCH, open_jobs_left(self.context, tx))
        except MutationError as refused:
            return ([], []) if self.beyond else refused  # the first ones have used up the limit
        ids = commands.retryable(tx, filter=self.filter, limit=most, visible=visible, beyond=self.beyond)
        return ids, commands.retry_each(tx, ids, visible=visible, route=route)
