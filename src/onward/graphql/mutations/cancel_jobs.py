"""cancelJobs: many jobs are cancelled."""

from __future__ import annotations

import time

import strawberry

from onward.graphql.context import Info
from onward.graphql.mutations.retry_jobs import (
    AFTER,
    BULK_TIMEOUT_S,
    END_CURSOR,
    beyond,
    end_cursor,
    errors_in,
    matching,
    unfinished,
)
from onward.graphql.resolvers import mutation
from onward.graphql.types.filter import JobFilter
from onward.graphql.types.user_error import UserError
from onward.jobs.bulk import BulkCancel


@strawberry.input
class CancelJobsInput:
    filter: JobFilter
    limit: int = strawberry.field(default=1000, description="The most jobs to cancel, 1 to 10,000.")
    after: str | None = strawberry.field(default=None, description=AFTER)


@strawberry.type
class CancelJobsPayload:
    count: int = strawberry.field(
        default=0,
        description="The number of jobs that are cancelled, or asked to stop where they run; also where `errors` has"
        " one.",
    )
    errors: list[UserError] = strawberry.field(
        default_factory=list, description="UNAVAILABLE: time or the ledger stopped it."
    )
    end_cursor: str | None = strawberry.field(default=None, description=END_CURSOR)


@mutation(CancelJobsPayload)
async def cancel_jobs(info: Info, input: CancelJobsInput) -> CancelJobsPayload | None:
    """Cancel jobs in small batches, a commit each, with turns for other callers in between.

    What was cancelled stays cancelled and is counted, also where a later batch fails.
    """
    services, payload, until = info.context.services, CancelJobsPayload(), time.monotonic() + BULK_TIMEOUT_S
    with errors_in(payload):
        cancels = BulkCancel(
            writer=services.writer,
            wanted=matching(input.filter, input.limit, info.context),
            visible=info.context.viewer.visible,
            left=input.limit,
            beyond=beyond(input.after),
        )
        payload.end_cursor = input.after  # unless a job is looked at
        while cancels.left > 0 and time.monotonic() < until:
            cancelled = await cancels.next()
            payload.count += len(cancelled)
            payload.end_cursor = end_cursor(cancels)
            for job in cancelled:
                if job.done:
                    services.metrics.finished(job.handler, job.status.value)
            for batch in {job.batch for job in cancelled if job.done and job.batch is not None}:
                services.keeper.look(batch)
        if cancels.left > 0:
            payload.errors = [unfinished("cancelled")]
    return payload
