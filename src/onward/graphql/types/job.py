"""An accepted piece of work, and its state."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import strawberry
from strawberry.scalars import JSON

from onward.graphql.context import Info
from onward.graphql.types.enums import JobStatus, StepStatus
from onward.graphql.types.node import Node
from onward.jobs import model
from onward.jobs.states import WAITING


@strawberry.type(description="How far it is, in units of the handler's own.")
class Progress:
    completed: int
    total: int | None
    message: str | None


@strawberry.type(description="Why an attempt failed, in the handler's own words or a neutral sentence.")
class JobError:
    code: str
    message: str
    retryable: bool = strawberry.field(description="Whether another attempt could help.")
    step: str | None
    occurred_at: datetime


@strawberry.type(description="One piece of a job. A step that has succeeded is never run again.")
class JobStep:
    name: str
    index: int
    status: StepStatus
    started_at: datetime | None
    finished_at: datetime | None
    result: JSON | None


@strawberry.type(description="One time that a worker took the job up.")
class JobAttempt:
    number: int
    counts_as_attempt: bool = strawberry.field(
        name="charged", description="Whether it counts towards `maxAttempts`; lost workers do not."
    )
    backend: str
    worker: str
    started_at: datetime
    finished_at: datetime | None
    error: JobError | None


async def waiting_for(root: strawberry.Parent[model.Job], info: Info) -> str | None:
    if root.status not in WAITING and root.blocked is None:
        return None
    dispatcher = info.context.services.dispatcher
    return dispatcher.waiting_for(root, await dispatcher.health())


@strawberry.type(description="A piece of work that was accepted, and what became of it so far.")
class Job(Node):
    """Describes `onward.jobs.model.Job`, whose times are integer microseconds."""

    handler: str = strawberry.field(description="What does it, as in `email.welcome`.")
    status: JobStatus
    done: bool = strawberry.field(description="Whether the status is a terminal one.")
    backend: str = strawberry.field(description="The way it takes to where it runs.")
    version: int = strawberry.field(description="Grows by one with each change that can be seen here.")
    progress: Progress | None
    steps: list[JobStep]
    attempts: list[JobAttempt]
    max_attempts: int
    created_at: datetime
    run_at: datetime | None = strawberry.field(
        description="Not before then, if that was asked for; `waitingFor` tells of the next attempt."
    )
    started_at: datetime | None
    finished_at: datetime | None
    result: JSON | None
    error: JobError | None = strawberry.field(description="Why it failed, or why its last attempt did.")
    can_cancel: bool
    can_retry: bool

    waiting_for: str | None = strawberry.field(
        resolver=waiting_for,
        description="Why it is not running: waiting for its time, for a free worker, for the backend to answer,"
        " for its handler to be resumed, for its turn under the handler's limits; or for a thread, where it runs.",
    )

    @classmethod
    def is_type_of(cls, obj: Any, _info: Any) -> bool:
        return isinstance(obj, model.Job)
