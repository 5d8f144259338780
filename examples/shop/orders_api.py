"""confirmOrder: the mutation that accepts a job of `orders.confirm`."""

import strawberry
from pydantic import BaseModel, Field

from onward.graphql.context import Info
from onward.graphql.enqueue import MutationError, accept
from onward.graphql.types.job import Job
from onward.graphql.types.user_error import UserError
from onward.graphql.validation import checked
from onward.handlers.types import Email, Text
from onward.jobs import model

MAX_ITEMS = 20


class Values(BaseModel):
    order: Text
    email: Email
    items: list[Text] = Field(min_length=1, max_length=MAX_ITEMS)


@strawberry.input
class ConfirmOrderInput:
    order: str
    email: str
    items: list[str] = strawberry.field(description=f"1 to {MAX_ITEMS} of them.")
    idempotency_key: str | None = strawberry.field(description="The same key and input: the same job.")


@strawberry.type
class ConfirmOrderPayload:
    job: model.Job | None = strawberry.field(default=None, graphql_type=Job | None)
    replayed: bool = strawberry.field(default=False, description="Whether the key had made this job before.")
    errors: list[UserError] = strawberry.field(default_factory=list)


async def confirm_order(info: Info, input: ConfirmOrderInput) -> ConfirmOrderPayload | None:
    given = {"order": input.order, "email": input.email, "items": input.items}
    try:
        accepted = await accept(
            info.context,
            mutation="confirmOrder",
            handler="orders.confirm",
            params=checked(Values, **given).model_dump(),
            given=given,
            key=input.idempotency_key,
        )
    except MutationError as refused:
        return ConfirmOrderPayload(errors=refused.errors)
    return ConfirmOrderPayload(job=accepted.job, replayed=accepted.replayed)


@strawberry.type
class Mutation:
    confirm_order: ConfirmOrderPayload | None = strawberry.mutation(
        resolver=confirm_order, description="The job `orders.confirm`: reserve the items and notify the buyer."
    )
