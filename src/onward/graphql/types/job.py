"""An accepted piece of work, and its state."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import strawberry
from strawberry import UNSET
from strawberry.scalars import JSON

from onward.graphql.context import Info
from onward.graphql.positions import token
from onward.graphql.reading import batches_by_id, given, jobs_by_id, read_log_lines, read_page
from onward.graphql.resolvers import query
from onward.graphql.types.enums import JobStatus, LogLevel, StepStatus
from onward.graphql.types.node import Node
from onward.graphql.types.page import JobConnection, ShownPage
from onward.graphql.types.send_again import SendAgain, send_again
from onward.graphql.value_resolver import DIRECT, InfoResolver
from onward.jobs import model
from onward.jobs.states import UNCLAIMED

if TYPE_CHECKING:
    from onward.graphql.types.batch import Batch


@strawberry.type(description="The progress of a job, in the handler's own units.")
class Progress:
    completed: int
    total: int | None
    message: str | None


@strawberry.type(description="The error of an attempt: the handler's own message, or a neutral one.")
class JobError:
    code: str
    message: str
    retryable: bool = strawberry.field(description="True if another attempt could succeed.")
    step: str | None
    occurred_at: datetime


@strawberry.type(description="A step of a job. A step that has succeeded never runs again.")
class JobStep:
    name: str
    index: int
    status: StepStatus
    started_at: datetime | None
    finished_at: datetime | None
    result: JSON | None


@strawberry.type(description="One attempt of a worker to run the job.")
class JobAttempt:
    number: int
    counts_as_attempt: bool = strawberry.field(
        name="charged", description="True if it counts towards `maxAttempts`; attempts of lost workers do not."
    )
    backend_name: str = strawberry.field(name="backend")
    worker: str
    started_at: datetime
    finished_at: datetime | None
    error: JobError | None


@strawberry.type(description="A log line of a job, from its handler or from Onward, while one of its steps ran.")
class JobLogLine:
    """Describes `onward.jobs.model.JobLogLine`, whose time is in microseconds."""

    time: datetime
    level: LogLevel
    logger: str = strawberry.field(description="The name of the logger.")
    attempt: int
    step: str = strawberry.field(description="The step that ran.")
    text: str = strawberry.field(
        description="The message, with the job's secret parameters struck out; below it, on lines of their own, a"
        " traceback. Escape control characters where you show it."
    )


@query
def schema(info: Info, root: strawberry.Parent[model.JobWait]) -> Any:
    handler = info.context.services.handlers.get(root.handler)
    wait = None if handler is None else handler.wait(root.name)
    return None if wait is None else wait.schema


@strawberry.type(description="What a WAITING job waits for: a signal, or a time.")
class JobWait:
    """Describes `onward.jobs.model.JobWait`, whose times are integer microseconds."""

    name: str = strawberry.field(description="The name of the signal, and of the step.")
    since: datetime
    until: datetime | None = strawberry.field(description="The end of its time; null without a time limit.")
    schema: JSON | None = strawberry.field(
        resolver=schema,
        graphql_type=JSON | None,
        description="The JSON Schema of the signal's payload; null where it waits for a time.",
    )


# No coroutines where there is nothing to wait for: where the client leaves before they begin, Python warns of them.
@query
def waiting_for(info: Info, root: strawberry.Parent[model.Job]) -> Any:
    if root.status not in (*UNCLAIMED, JobStatus.WAITING) and root.blocked is None:
        return None
    return _waiting_for(info, root)


async def _waiting_for(info: Info, job: model.Job) -> str | None:
    dispatcher = info.context.services.dispatcher
    return dispatcher.waiting_for(job, await dispatcher.health())


@query
def change(info: Info, root: strawberry.Parent[model.Job]) -> Any:
    return token(info, root.changed)


@query
def parent(info: Info, root: strawberry.Parent[model.Job]) -> Any:
    return None if root.parent is None else info.context.once(jobs_by_id).load(root.parent)


@query
def batch(info: Info, root: strawberry.Parent[model.Job]) -> Any:
    return None if root.batch is None else info.context.once(batches_by_id).load(root.batch)


@query
def log_lines(
    info: Info,
    root: strawberry.Parent[model.Job],
    last: Annotated[int | None, strawberry.argument(description="So many from the end: 50, at most 1,000.")] = UNSET,
) -> Any:
    return read_log_lines(info, root.id, given(last)) if info.context.viewer.visible.everything else None


@query
async def children(
    info: Info,
    root: strawberry.Parent[model.Job],
    first: Annotated[int | None, strawberry.argument(description="So many from the front: 50, at most 200.")] = UNSET,
    after: Annotated[str | None, strawberry.argument(description="Only what comes after this cursor.")] = UNSET,
    status: Annotated[list[JobStatus] | None, strawberry.argument(description="Any of these statuses.")] = UNSET,
) -> Any:
    wanted = model.JobFilter(status=tuple(given(status) or ()))
    return ShownPage(await read_page(info, wanted, first=given(first), after=given(after), parent=root.id))


@strawberry.type(description="An accepted job, and its state.")
class Job(Node):
    """Describes `onward.jobs.model.Job`, whose times are integer microseconds."""

    handler: str = strawberry.field(description="The handler's name, as in `email.welcome`.")
    status: JobStatus
    done: bool = strawberry.field(description="True if the status is terminal.")
    backend_name: str = strawberry.field(name="backend", description="The backend that delivers the job.")
    queue: str = strawberry.field(description="The queue of the job: only processes that take it run the job.")
    version: int = strawberry.field(
        description="Grows with each visible change: of two states of a job, the one with the greater version is newer."
    )
    change: str = strawberry.field(
        resolver=change,
        graphql_type=str,
        metadata={DIRECT: InfoResolver(lambda job, info: token(info, job.changed))},
        description="Opaque; the newest change of this job. With it `jobsUpdated(afterChange:)` misses nothing that has"
        " changed since this answer. Keep that of the subscription's last message, and before there is one that of the"
        " page. Which of two states is newer, `version` tells.",
    )
    progress: Progress | None
    steps: list[JobStep]
    attempts: list[JobAttempt]
    max_attempts: int
    counted_attempts: int = strawberry.field(
        name="chargedAttempts",
        description="The attempts that count towards `maxAttempts`; a retry by hand begins to count anew.",
    )
    created_at: datetime
    run_at: datetime | None = strawberry.field(
        description="The requested earliest start; `waitingFor` says when the next attempt is due."
    )
    expires_at: datetime | None = strawberry.field(
        description="Unless its first attempt has begun by then, the job is cancelled, with the code EXPIRED."
    )
    started_at: datetime | None
    finished_at: datetime | None
    result: JSON | None
    error: JobError | None = strawberry.field(description="The error of the job, or of its last attempt.")
    reason: str | None = strawberry.field(
        description="Why it was cancelled: in the words of the one who did, or that a job of its batch has failed."
    )
    can_cancel: bool
    can_retry: bool
    owner: strawberry.ID | None = strawberry.field(
        description="The viewer whose job it is, by id; null for a job of nobody's."
    )
    limit_key: str | None = strawberry.field(
        description="The key of its handler's limit, as in `crm:acme`: the limit's name, and the parameter's value."
    )

    send_again: SendAgain | None = strawberry.field(
        resolver=send_again,
        graphql_type=SendAgain | None,
        description="For admins: the mutation that the job's handler declares, filled as for this job. Null where it"
        " declares none, or has other parameters by now.",
    )
    wait: JobWait | None = strawberry.field(description="What a WAITING job waits for.")
    waiting_for: str | None = strawberry.field(
        resolver=waiting_for,
        description="Why it is not running: waiting for its time, for a signal, for a free worker, for one that takes"
        " its queue, for the backend to answer, for its handler to be resumed, for its turn under the limits of its"
        " handler or key; or for a thread, where it runs.",
    )

    parent: Any = strawberry.field(
        resolver=parent,
        graphql_type=Annotated["Job", strawberry.lazy("onward.graphql.types.job")] | None,
        description="The job whose handler dispatched it; null also if you may not see that one.",
    )
    batch: Any = strawberry.field(
        resolver=batch,
        graphql_type=Annotated["Batch", strawberry.lazy("onward.graphql.types.batch")] | None,
        description="The batch that it is a child of.",
    )
    children: Any = strawberry.field(
        resolver=children,
        graphql_type=JobConnection,
        description="The jobs that its handler has dispatched, newest first.",
    )

    log_lines: Any = strawberry.field(
        resolver=log_lines,
        graphql_type=list[JobLogLine] | None,
        description="What its handler and Onward have logged while it ran, over all its attempts, the oldest line"
        " first. The newest 1,000 lines of a job are kept, up to 256 kB. For admins, since lines and tracebacks show"
        " the inside of the application; null for others.",
    )

    @classmethod
    def is_type_of(cls, obj: Any, _info: Any) -> bool:
        return isinstance(obj, model.Job)
