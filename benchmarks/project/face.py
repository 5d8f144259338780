"""Mutations that begin the benchmark's own jobs, so that a measurement starts at the answer to a request."""

import strawberry

from onward.graphql.context import Info
from onward.graphql.enqueue import accept


async def begin(info: Info, handler: str, **params: object) -> strawberry.ID:
    accepted = await accept(info.context, mutation=handler, handler=handler, params=params, given=params)
    assert accepted.job is not None  # noqa: S101 - without an idempotency key there is always a job
    return strawberry.ID(accepted.job.id)


@strawberry.type
class Mutation:
    @strawberry.mutation
    async def stamp(self, info: Info, path: str) -> strawberry.ID:
        return await begin(info, "bench.stamp", path=path)

    @strawberry.mutation
    async def pause(self, info: Info, seconds: float) -> strawberry.ID:
        return await begin(info, "bench.pause", seconds=seconds)
