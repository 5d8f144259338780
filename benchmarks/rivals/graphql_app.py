"""Strawberry's GraphQLRouter with BackgroundTasks, or with Dramatiq's `send` if BENCH_REDIS is set."""

import os
import uuid

import strawberry
from fastapi import BackgroundTasks, FastAPI
from strawberry.extensions import ParserCache, ValidationCache
from strawberry.fastapi import GraphQLRouter
from strawberry.types import Info
from work import process


@strawberry.input
class ProcessItemInput:
    item: str


@strawberry.type
class Job:
    id: strawberry.ID
    status: str


@strawberry.type
class UserError:
    code: str
    message: str


@strawberry.type
class ProcessItemPayload:
    job: Job
    replayed: bool
    errors: list[UserError]


@strawberry.type
class Query:
    version: str = "1"


async def run(item: str) -> None:
    process(item)


def accepted() -> ProcessItemPayload:
    job = Job(id=strawberry.ID(uuid.uuid4().hex), status="QUEUED")
    return ProcessItemPayload(job=job, replayed=False, errors=[])


@strawberry.type
class InProcess:
    @strawberry.mutation
    async def process_item(self, info: Info, input: ProcessItemInput) -> ProcessItemPayload:
        later: BackgroundTasks = info.context["background_tasks"]
        later.add_task(run, input.item)
        return accepted()


@strawberry.type
class Sent:
    @strawberry.mutation
    async def process_item(self, input: ProcessItemInput) -> ProcessItemPayload:
        from dramatiq_app import process_item

        process_item.send(input.item)
        return accepted()


app = FastAPI()
mutation = Sent if os.environ.get("BENCH_REDIS") else InProcess
schema = strawberry.Schema(query=Query, mutation=mutation, extensions=[ParserCache, ValidationCache])
app.include_router(GraphQLRouter(schema), prefix="/graphql")
