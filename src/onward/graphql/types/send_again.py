"""A job as the mutation that makes another one like it."""

from __future__ import annotations

from typing import Any

import strawberry
from strawberry.scalars import JSON

from onward.graphql.context import Info
from onward.graphql.generated.given import input_of, secrets_of
from onward.graphql.resolvers import query
from onward.jobs import model


@strawberry.type(description="A mutation, and the input with which it makes a job like the one that is there.")
class SendAgain:
    mutation: str
    input: JSON = strawberry.field(description="The job's parameters, by the names of the schema; without secret ones.")
    secret: list[str] = strawberry.field(description="The fields of the input that are secret, and so are left out.")


@query
def send_again(info: Info, root: strawberry.Parent[model.Job]) -> Any:
    """Return it to admins; None for parameters of another version, which the mutation may not have."""
    handler = info.context.services.handlers.get(root.handler)
    if not info.context.viewer.visible.everything or handler is None or handler.mutation is None:
        return None
    if root.params_version != handler.version:
        return None
    return SendAgain(
        mutation=handler.mutation.name, input=JSON(input_of(handler, root.params)), secret=secrets_of(handler)
    )
