"""The short form of a mutation that is written by hand: a ready payload, and one call."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any, TypeVar

import strawberry
from strawberry.utils.str_converters import to_camel_case

from onward.graphql.context import Info, of
from onward.graphql.enqueue import Accepted, Companion, MutationError, accept
from onward.graphql.inputs import aware
from onward.graphql.types.job import Job
from onward.graphql.types.user_error import UserError
from onward.jobs import model

Payload = TypeVar("Payload")
OPTIONS = ("idempotency_key", "run_at")


@strawberry.type(description="The job that a mutation has accepted, or the reasons why it has not.")
class JobPayload:
    job: model.Job | None = strawberry.field(default=None, graphql_type=Job | None)
    replayed: bool = strawberry.field(default=False, description="True if the job was there before.")
    errors: list[UserError] = strawberry.field(default_factory=list)


async def send(
    info: Info,
    handler: str,
    input: Any,
    *,
    params: Mapping[str, Any] | None = None,
    companion: Companion[Any] | None = None,
    payload: Callable[[Accepted[Any]], Payload] | None = None,
) -> Payload | JobPayload:
    """Accept a job of the handler for the mutation that is being resolved, and answer with its payload.

    The parameters are the fields of `input`, or `params`. `idempotency_key` and `run_at` are what they are in every
    mutation, if the input has them. `payload` makes the answer, which is a JobPayload otherwise. Raises MutationError;
    leave it to the schema, which turns it into the `errors` of the payload; in a schema of your own, to a Guard. There
    a JobPayload has them without one.
    """
    context = await of(info)
    values = {field.name: getattr(input, field.name) for field in fields(input)}
    values = {name: value for name, value in values.items() if value is not strawberry.UNSET}
    given = {name: value for name, value in values.items() if name not in OPTIONS}
    run_at = values.get("run_at")
    try:
        accepted: Accepted[Any] = await accept(
            context,
            mutation=info.field_name,
            handler=handler,
            params=given if params is None else params,
            given={**given, "runAt": run_at and run_at.isoformat()},
            key=values.get("idempotency_key"),
            run_at=run_at and aware(run_at),
            companion=companion,
            named=_camel,
        )
    except MutationError as refused:
        if payload is not None or not context.at_once:
            raise
        return JobPayload(errors=refused.errors)
    return JobPayload(job=accepted.job, replayed=accepted.replayed) if payload is None else payload(accepted)


def _camel(place: str) -> list[str]:
    return [to_camel_case(part) for part in place.split(".")] if place else ["input"]
