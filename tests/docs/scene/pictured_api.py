"""A mutation that accepts a job of any handler of the scene."""

import json

import strawberry

from onward.graphql.context import Info
from onward.graphql.enqueue import accept
from onward.graphql.types.job import Job
from onward.jobs import model


@strawberry.type
class StagePayload:
    job: model.Job | None = strawberry.field(default=None, graphql_type=Job | None)


async def stage(info: Info, handler: str, params: str) -> StagePayload | None:
    given = json.loads(params)
    accepted = await accept(info.context, mutation="stage", handler=handler, params=given, given=given)
    return StagePayload(job=accepted.job)


@strawberry.type
class Mutation:
    stage: StagePayload | None = strawberry.mutation(resolver=stage)
