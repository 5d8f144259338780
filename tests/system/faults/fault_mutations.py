"""The mutation that starts any handler: a module for [gql] of the campaign's project."""

from datetime import datetime
from typing import Any

import strawberry
from strawberry.scalars import JSON

from onward.graphql.context import Info
from onward.graphql.enqueue import MutationError, accept
from onward.graphql.types.job import Job
from onward.graphql.types.user_error import UserError
from onward.jobs import model


@strawberry.type
class ActPayload:
    """A payload like those of the library."""

    job: model.Job | None = strawberry.field(default=None, graphql_type=Job | None)
    replayed: bool = False
    errors: list[UserError] = strawberry.field(default_factory=list)


async def act(
    info: Info, handler: str, params: JSON, key: str | None = None, run_at: datetime | None = None
) -> ActPayload | None:
    """Accept a job of that handler, as every mutation does."""
    values: dict[str, Any] = params  # type: ignore[assignment]
    try:
        accepted = await accept(
            info.context,
            mutation="act",
            handler=handler,
            params=values,
            given={"handler": handler, "params": values},
            key=key,
            run_at=run_at,
        )
    except MutationError as refused:
        return ActPayload(errors=refused.errors)
    return ActPayload(job=accepted.job, replayed=accepted.replayed)


@strawberry.type
class Mutation:
    """The additions to the schema."""

    act: ActPayload | None = strawberry.mutation(resolver=act)
