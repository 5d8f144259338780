"""retryJobs: many failed or cancelled jobs run again."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Protocol

import strawberry
from graphql import GraphQLError

from onward.graphql.context import Context, Info
from onward.graphql.enqueue import MutationError, open_jobs_capacity, unavailable
from onward.graphql.ids import cursor, job_id_of
from onward.graphql.resolvers import mutation
from onward.graphql.types.enums import UserErrorCode
from onward.graphql.types.filter import JobFilter
from onward.graphql.types.user_error import UserError
from onward.jobs import model
from onward.jobs.bulk import Bulk, BulkRetry
from onward.storage.base import Unavailable

MAX_JOBS = 10_000
BULK_TIMEOUT_S = 8.0  # below the usual time limit of a mutation, so that its caller learns what was done


AFTER = "Go on behind this job: the `endCursor` of the answer before. So each job is looked at once, in its order."
END_CURSOR = "The job that was looked at last, oldest first; null if no further one matches, or none was looked at."


@strawberry.input
class RetryJobsInput:
    filter: JobFilter
    limit: int = strawberry.field(default=1000, description="The most jobs to retry, 1 to 10,000.")
    after: str | None = strawberry.field(default=None, description=AFTER)


@strawberry.type
class RetryJobsPayload:
    count: int = strawberry.field(default=0, description="The number of retried jobs, also where `errors` has one.")
    errors: list[UserError] = strawberry.field(
        default_factory=list,
        description="RATE_LIMITED: your limit of unfinished jobs stopped it; UNAVAILABLE: time or the ledger did.",
    )
    end_cursor: str | None = strawberry.field(default=None, description=END_CURSOR)


class BulkPayload(Protocol):
    """The payload of a bulk mutation."""

    errors: list[UserError]


def matching(filter: JobFilter, limit: int, context: Context) -> model.JobFilter:
    """Return the model of a bulk mutation's filter. Raises MutationError, also for a limit out of bounds."""
    if not 0 < limit <= MAX_JOBS:
        raise MutationError(UserError.invalid("limit", f"A limit must be between 1 and {MAX_JOBS:,}."))
    try:
        return filter.model(context)
    except GraphQLError as error:
        code = UserErrorCode((error.extensions or {})["code"])
        raise MutationError(UserError(code=code, message=error.message, path=["filter"])) from error


def beyond(after: str | None) -> str:
    """Return the id of the job to go on behind. Raises MutationError."""
    try:
        return job_id_of(after) or ""
    except GraphQLError as error:
        raise MutationError(UserError.invalid("after", error.message)) from error


def end_cursor(bulk: Bulk) -> str | None:
    return None if bulk.is_over or not bulk.beyond else cursor(bulk.beyond)


@mutation(RetryJobsPayload)
async def retry_jobs(info: Info, input: RetryJobsInput) -> RetryJobsPayload | None:
    """Retry jobs in small batches, a commit each, with turns for other callers in between.

    What was retried stays retried and is counted, also where a later batch fails or the viewer may open no more.
    """
    context, payload, until = info.context, RetryJobsPayload(), time.monotonic() + BULK_TIMEOUT_S
    with errors_in(payload):
        retries = BulkRetry(
            writer=context.services.writer,
            wanted=matching(input.filter, input.limit, context),
            visible=context.viewer.visible,
            route=context.services.dispatcher.route,
            left=input.limit,
            beyond=beyond(input.after),
            capacity=partial(open_jobs_capacity, context),
        )
        payload.end_cursor = input.after  # unless a job is looked at
        while retries.left > 0 and not retries.is_full and time.monotonic() < until:
            again = await retries.next()
            await context.accept(*again)
            payload.count += len(again)
            payload.end_cursor = end_cursor(retries)
        if retries.is_full:
            payload.errors = [_full(payload.count, context.services.open_jobs)]
        elif retries.left > 0:
            payload.errors = [unfinished("retried")]
    return payload


@contextmanager
def errors_in(payload: BulkPayload) -> Iterator[None]:
    """Put an error that ends a bulk mutation into its payload, beside the count of what was done before."""
    try:
        yield
    except MutationError as refused:
        payload.errors = refused.errors
    except Unavailable as error:
        payload.errors = [unavailable(error)]


def unfinished(done: str) -> UserError:
    """Return the error of a bulk mutation whose time is over."""
    message = f"Not all were {done} within {BULK_TIMEOUT_S:g} s. Send it again for the rest."
    return UserError(code=UserErrorCode.UNAVAILABLE, message=message, path=None)


def _full(retried: int, most: int) -> UserError:
    jobs = "1 job was" if retried == 1 else f"{retried:,} jobs were"
    message = (
        f"{jobs} retried, and then you had {most:,} unfinished jobs, which is the limit. Wait for some, or cancel them,"
        " and send it again for the rest."
    )
    return UserError(code=UserErrorCode.RATE_LIMITED, message=message, path=None)
