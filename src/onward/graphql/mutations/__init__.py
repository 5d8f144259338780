"""The mutations of the contract, a file each."""

from __future__ import annotations

import strawberry

from onward.graphql.mutations.cancel_batch import CancelBatchPayload, cancel_batch
from onward.graphql.mutations.cancel_job import CancelJobPayload, cancel_job
from onward.graphql.mutations.cancel_jobs import CancelJobsPayload, cancel_jobs
from onward.graphql.mutations.drain_worker import WorkerPayload, drain_worker
from onward.graphql.mutations.pause_handler import (
    PauseHandlerPayload,
    ResumeHandlerPayload,
    pause_handler,
    resume_handler,
)
from onward.graphql.mutations.retry_batch import RetryBatchPayload, retry_batch
from onward.graphql.mutations.retry_job import RetryJobPayload, retry_job
from onward.graphql.mutations.retry_jobs import RetryJobsPayload, retry_jobs
from onward.graphql.mutations.schedules import (
    SchedulePayload,
    create_schedule,
    delete_schedule,
    pause_schedule,
    resume_schedule,
    run_schedule,
)
from onward.graphql.mutations.signal_job import SignalJobPayload, signal_job


@strawberry.type(
    description="Each of these answers as soon as its work is safely accepted; the job it gives tells the rest."
)
class Mutation:
    cancel_job: CancelJobPayload | None = strawberry.mutation(
        resolver=cancel_job, description="Cancel a job: a waiting one at once, a running one at its next check."
    )
    cancel_jobs: CancelJobsPayload | None = strawberry.mutation(
        resolver=cancel_jobs, description="Cancel matching jobs that are not over, oldest first, as `cancelJob` does."
    )
    retry_job: RetryJobPayload | None = strawberry.mutation(
        resolver=retry_job,
        description="Run a failed or cancelled job again, from the step that failed or from the start.",
    )
    retry_jobs: RetryJobsPayload | None = strawberry.mutation(
        resolver=retry_jobs, description="Run matching failed and cancelled jobs again, oldest first."
    )
    signal_job: SignalJobPayload | None = strawberry.mutation(
        resolver=signal_job,
        description="Send the signal that a job waits for, or will wait for. The same signal again changes nothing.",
    )
    cancel_batch: CancelBatchPayload | None = strawberry.mutation(
        resolver=cancel_batch,
        description="Cancel the children of a batch, as `cancelJob` does each; nothing follows them.",
    )
    retry_batch: RetryBatchPayload | None = strawberry.mutation(
        resolver=retry_batch,
        description="Run what has failed in a finished batch again, and then the job that follows it. A batch that was"
        " stopped or cancelled goes on so also where nothing in it is failed any more.",
    )
    pause_handler: PauseHandlerPayload | None = strawberry.mutation(
        resolver=pause_handler,
        description="Start no more jobs of the handler, in any process, until it is resumed. For admins.",
    )
    resume_handler: ResumeHandlerPayload | None = strawberry.mutation(
        resolver=resume_handler, description="Start the handler's jobs again, waiting ones first. For admins."
    )
    drain_worker: WorkerPayload | None = strawberry.mutation(
        resolver=drain_worker,
        description="Have a process of `onward worker` begin no further job, finish what runs or hand it back, and end,"
        " as at a deploy; its supervisor starts a new one. For admins.",
    )
    create_schedule: SchedulePayload | None = strawberry.mutation(
        resolver=create_schedule,
        description="Make a schedule that lasts until it is deleted. For admins.",
    )
    pause_schedule: SchedulePayload | None = strawberry.mutation(
        resolver=pause_schedule,
        description="Let no tick of the schedule make a job, in any process, until it is resumed. For admins.",
    )
    resume_schedule: SchedulePayload | None = strawberry.mutation(
        resolver=resume_schedule,
        description="Go on with the next tick; those of the pause are not made up. For admins.",
    )
    run_schedule: SchedulePayload | None = strawberry.mutation(
        resolver=run_schedule,
        description="Accept a job of the schedule now, paused or not; its ticks stay as they are. For admins.",
    )
    delete_schedule: SchedulePayload | None = strawberry.mutation(
        resolver=delete_schedule,
        description="Delete a schedule that was made at run time; its jobs stay. For admins.",
    )
