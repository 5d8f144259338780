"""processItem: the job `steps.process_item`."""

from __future__ import annotations

from datetime import datetime

import strawberry
from pydantic import BaseModel

from onward.graphql.context import Info
from onward.graphql.enqueue import MutationError, accept
from onward.graphql.inputs import scalar_input
from onward.graphql.types.job import Job
from onward.graphql.types.user_error import UserError
from onward.graphql.validation import Text, checked
from onward.jobs import model


class Values(BaseModel):
    item: Text


@scalar_input
@strawberry.input
class ProcessItemInput:
    item: str = strawberry.field(description="The text, of 1 to 10,000 characters.")
    idempotency_key: str | None = strawberry.field(description="The same key with the same input gives the same job.")
    run_at: datetime | None = strawberry.field(description="The earliest start; at most a year ahead.")


@strawberry.type
class ProcessItemPayload:
    job: model.Job | None = strawberry.field(default=None, graphql_type=Job | None)
    replayed: bool = strawberry.field(default=False, description="True if the key had made this job before.")
    errors: list[UserError] = strawberry.field(default_factory=list)


async def process_item(info: Info, input: ProcessItemInput) -> ProcessItemPayload | None:
    try:
        values = checked(Values, item=input.item)
        accepted = await accept(
            info.context,
            mutation="processItem",
            handler="steps.process_item",
            params={"item": values.item},
            given={"item": input.item, "runAt": input.run_at and input.run_at.isoformat()},
            key=input.idempotency_key,
            run_at=input.run_at,
        )
    except MutationError as refused:
        return ProcessItemPayload(errors=refused.errors)
    return ProcessItemPayload(job=accepted.job, replayed=accepted.replayed)


@strawberry.type
class Mutation:
    process_item: ProcessItemPayload | None = strawberry.mutation(
        resolver=process_item, description="Process a text by the job `steps.process_item`: validate, analyse, store."
    )
