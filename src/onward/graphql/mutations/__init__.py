"""The mutations of the contract, a file each."""

from __future__ import annotations

import strawberry

from onward.graphql.mutations.cancel_job import CancelJobPayload, cancel_job
from onward.graphql.mutations.pause_handler import (
    PauseHandlerPayload,
    ResumeHandlerPayload,
    pause_handler,
    resume_handler,
)
from onward.graphql.mutations.retry_job import RetryJobPayload, retry_job
from onward.graphql.mutations.retry_jobs import RetryJobsPayload, retry_jobs


@strawberry.type(
    description="Each of these answers as soon as its work is safely accepted; the job it gives tells the rest."
)
class Mutation:
    cancel_job: CancelJobPayload | None = strawberry.mutation(
        resolver=cancel_job, description="The job stops: at once where it waits, at its next pause where it runs."
    )
    retry_job: RetryJobPayload | None = strawberry.mutation(
        resolver=retry_job,
        description="A failed or cancelled job runs again, from the step it failed in or from the start.",
    )
    retry_jobs: RetryJobsPayload | None = strawberry.mutation(
        resolver=retry_jobs, description="Failed and cancelled jobs that match run again, the oldest first."
    )
    pause_handler: PauseHandlerPayload | None = strawberry.mutation(
        resolver=pause_handler,
        description="No job of the handler begins any more, in any process, until it is resumed. For admins.",
    )
    resume_handler: ResumeHandlerPayload | None = strawberry.mutation(
        resolver=resume_handler, description="The handler's jobs begin again, those that waited first. For admins."
    )
