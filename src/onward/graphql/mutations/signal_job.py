"""signalJob: the signal that a job waits for between two steps, or will wait for."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import strawberry
from strawberry.scalars import JSON

from onward.graphql.context import Info
from onward.graphql.enqueue import Accepted, Key, MutationError, check_key, reused, unavailable, written
from onward.graphql.inputs import scalar_input
from onward.graphql.mutations.cancel_job import check_id, conflict, no_such_job
from onward.graphql.resolvers import mutation
from onward.graphql.types.enums import UserErrorCode
from onward.graphql.types.job import Job
from onward.graphql.types.user_error import UserError
from onward.handlers.base import InvalidParameters
from onward.jobs import idempotency, ledger, model, waits
from onward.jobs.base import Conflict, JobsError, KeyReused, NotAllowed, OtherPayload, UnknownSignal
from onward.storage import lock_order
from onward.storage.base import Unavailable
from onward.storage.lock_order import ALONE
from onward.storage.transaction import Tx


@scalar_input
@strawberry.input
class SignalJobInput:
    id: strawberry.ID
    name: str = strawberry.field(description="The name of the signal, as `wait { name }` shows it.")
    payload: JSON | None = strawberry.field(
        default=None, description="A value that fits the JSON Schema which `wait { schema }` shows."
    )
    idempotency_key: str | None = None


@strawberry.type
class SignalJobPayload:
    job: model.Job | None = strawberry.field(
        default=None, graphql_type=Job | None, description="The job; null for those who may signal it and not see it."
    )
    errors: list[UserError] = strawberry.field(default_factory=list)


@mutation(SignalJobPayload)
async def signal_job(info: Info, input: SignalJobInput) -> SignalJobPayload | None:
    context, viewer = info.context, info.context.viewer
    sender = waits.Sender(viewer.visible, viewer.roles, viewer.subject)
    check_id(input.id)
    check_key(input.idempotency_key)
    key = _key(input, viewer.subject or "")
    stored = await _stored(info, input, sender)
    route = context.services.dispatcher.route

    def signal(tx: Tx) -> model.Job | MutationError | None:
        try:
            before: Accepted[Any] | None = None if key is None else key.replay(tx, None)
            if before is not None:
                return before.job
            if isinstance(stored, Exception):
                raise stored
            job = waits.signal(tx, input.id, input.name, stored, route=route, sender=sender)
            if key is not None:
                key.remember(tx, Accepted(job), None)
        except (JobsError, InvalidParameters) as error:
            refused = _refused(error)
        else:
            return job
        if key is not None:
            raise refused  # which rolls the key back
        return refused

    # A key is locked before the job.
    job = await written(context, signal, lock_order.job(input.id) if key is None else ALONE)
    if job is None or not sender.visible.sees(job):
        return SignalJobPayload()
    await context.accept(job)
    return SignalJobPayload(job=job)


async def _stored(info: Info, input: SignalJobInput, sender: waits.Sender) -> str | JobsError | InvalidParameters:
    """Return the payload as it is stored, or the error. Raises MutationError if the ledger does not answer."""
    try:
        job = await info.context.read(partial(ledger.get, job_id=input.id))
        handlers = info.context.services.handlers
        return waits.checked(job, input.name, input.payload, handlers=handlers, sender=sender)
    except Unavailable as error:
        raise MutationError(unavailable(error)) from error
    except (JobsError, InvalidParameters) as error:
        return error


def _key(input: SignalJobInput, viewer: str) -> Key | None:
    if input.idempotency_key is None:
        return None
    given = {"id": input.id, "name": input.name, "payload": input.payload}
    return Key(viewer, "signalJob", input.idempotency_key, idempotency.fingerprint(given))


def _refused(error: JobsError | InvalidParameters) -> MutationError:
    match error:
        case InvalidParameters():
            return MutationError(*(_invalid(path, words) for path, words in error.errors))
        case KeyReused():
            return MutationError(reused())
        case Conflict():
            path = ["payload"] if isinstance(error, OtherPayload) else ["id"]
            return MutationError(replace(conflict(error), path=path))
        case NotAllowed() | UnknownSignal():
            code = UserErrorCode.NOT_ALLOWED if isinstance(error, NotAllowed) else UserErrorCode.NOT_FOUND
            return MutationError(UserError(code=code, message=_sentence(str(error)), path=["name"]))
    return MutationError(no_such_job())


def _invalid(path: str, words: str) -> UserError:
    return UserError(code=UserErrorCode.INVALID, message=words, path=path.split("."))


def _sentence(words: str) -> str:
    return f"{words[:1].upper()}{words[1:]}."
