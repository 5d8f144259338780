"""drainWorker: an admin has a worker process end, after it has finished or handed back its jobs."""

from __future__ import annotations

import strawberry

from onward.graphql.context import Info
from onward.graphql.enqueue import MutationError, written
from onward.graphql.ids import kind
from onward.graphql.inputs import scalar_input
from onward.graphql.resolvers import mutation
from onward.graphql.types.enums import UserErrorCode
from onward.graphql.types.user_error import UserError
from onward.graphql.types.worker import Worker
from onward.jobs import workers
from onward.jobs.base import NotFound, WorkerRefused
from onward.storage.lock_order import PROCESSES
from onward.storage.transaction import Tx


@scalar_input
@strawberry.input
class WorkerIdInput:
    id: strawberry.ID


@strawberry.type
class WorkerPayload:
    worker: workers.Worker | None = strawberry.field(default=None, graphql_type=Worker | None)
    errors: list[UserError] = strawberry.field(default_factory=list)


def no_such_worker() -> MutationError:
    words = "There is no such worker; `workers` lists them."
    return MutationError(UserError(code=UserErrorCode.NOT_FOUND, message=words, path=["id"]))


@mutation(WorkerPayload)
async def drain_worker(info: Info, input: WorkerIdInput) -> WorkerPayload | None:
    if not info.context.viewer.visible.everything:
        words = "Only admins drain workers."
        raise MutationError(UserError(code=UserErrorCode.NOT_ALLOWED, message=words, path=None))
    if kind(input.id) != "runner":
        raise no_such_worker()

    def drain(tx: Tx) -> workers.Worker | WorkerRefused | MutationError:
        try:
            return workers.drain(tx, input.id)
        except NotFound:
            return no_such_worker()
        except WorkerRefused as refused:
            return refused

    found: workers.Worker | WorkerRefused = await written(info.context, drain, PROCESSES)
    if isinstance(found, WorkerRefused):
        message = str(found)
        error = UserError(code=UserErrorCode.CONFLICT, message=f"{message[:1].upper()}{message[1:]}.", path=["id"])
        return WorkerPayload(worker=found.worker, errors=[error])
    return WorkerPayload(worker=found)
