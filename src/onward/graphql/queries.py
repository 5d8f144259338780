"""The queries."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, TypeVar, cast

import strawberry
from graphql import GraphQLInterfaceType
from strawberry import UNSET, relay

from onward.graphql.base import check_number, public_error
from onward.graphql.context import Info, of
from onward.graphql.ids import is_job_id, kind
from onward.graphql.reading import given, read_in, read_page
from onward.graphql.resolvers import query
from onward.graphql.types.batch import Batch, newest
from onward.graphql.types.filter import JobFilter, filtered
from onward.graphql.types.job import Job
from onward.graphql.types.node import Node
from onward.graphql.types.page import JobConnection, ShownPage
from onward.graphql.types.stats import Failure, HandlerStats, failures, stats
from onward.graphql.types.system import System, Viewer
from onward.graphql.types.worker import Worker, workers
from onward.graphql.viewer import Viewer as Caller
from onward.jobs import ledger, model, pages
from onward.jobs import workers as processes
from onward.jobs.batches import Batch as FoundBatch
from onward.storage.transaction import Tx

T = TypeVar("T")
MAX_COUNT = 100_000


async def read(info: Info, function: Callable[[Tx], T]) -> T:
    """Read the ledger in the caller's turn. Raises GraphQLError UNAVAILABLE."""
    return await read_in(await of(info), function)


@query
async def job(info: Info, id: strawberry.ID) -> model.Job | None:
    """Return the job; None if there is none that the viewer may see. Raises GraphQLError."""
    if not is_job_id(id):
        return None
    found = await read(info, lambda tx: ledger.get(tx, id))
    return found if found is not None and info.context.viewer.visible.sees(found) else None


@query
async def node(info: Info, id: strawberry.ID) -> Any:
    """Find the object of an id, by the type of the schema whose ids begin like it. Raises GraphQLError."""
    named = kind(id)
    if named == "job":
        return await job(info, id)
    schema = info.schema._schema  # noqa: SLF001 - graphql-core's schema has no public name in Strawberry
    interface = cast("GraphQLInterfaceType", schema.type_map["Node"])
    for type_ in schema.get_implementations(interface).objects:
        found = type_.extensions["strawberry-definition"].origin
        if named is not None and issubclass(found, Node) and found.kind == named:
            return await found.find(info, id)
    return None


@query
async def jobs(  # noqa: PLR0917 - arguments of the contract, which come by name
    info: Info,
    first: Annotated[int | None, strawberry.argument(description="So many from the front: 50, at most 200.")] = UNSET,
    after: Annotated[str | None, strawberry.argument(description="Only what comes after this cursor.")] = UNSET,
    last: Annotated[int | None, strawberry.argument(description="So many from the end; not with `first`.")] = UNSET,
    before: Annotated[str | None, strawberry.argument(description="Only what comes before this cursor.")] = UNSET,
    filter: JobFilter | None = UNSET,
) -> ShownPage:
    return ShownPage(
        await read_page(
            info,
            filtered(given(filter), info.context),
            first=given(first),
            after=given(after),
            last=given(last),
            before=given(before),
        )
    )


@query
async def job_count(
    info: Info,
    filter: JobFilter | None = UNSET,
    limit: Annotated[int, strawberry.argument(description="Count no further; 100,000 at most.")] = 10_000,
) -> int:
    check_number("limit", limit, MAX_COUNT, least=1)
    wanted, visible = filtered(given(filter), info.context), info.context.viewer.visible
    n, beyond = 0, ""
    async with info.context.meter.reading:
        for _ in range(MAX_COUNT // pages.EXAMINED):
            look = partial(pages.count, visible=visible, filter=wanted, limit=limit - n, beyond=beyond)
            counted = await read(info, look)
            n += counted.n
            if counted.beyond is None:
                return n
            beyond = counted.beyond
    words = "Too many jobs would have to be looked at for their parameters: narrow the filter, as by `createdAfter`."
    raise public_error(words, "INVALID")


@query
async def viewer(info: Info) -> Caller:
    return info.context.viewer


@query
async def system(info: Info) -> System:  # noqa: ARG001 - the wrapper looks at it
    return System()


@strawberry.type
class Query:
    node: Any = strawberry.field(
        resolver=node,
        graphql_type=relay.Node | None,
        description="A job or any other object with an id; null if there is none that you may see.",
    )
    job: model.Job | None = strawberry.field(
        resolver=job, graphql_type=Job | None, description="Null if there is none that you may see."
    )
    jobs: ShownPage = strawberry.field(
        resolver=jobs, graphql_type=JobConnection, description="The jobs that you may see, newest first."
    )
    batches: list[FoundBatch] = strawberry.field(
        resolver=newest,
        graphql_type=list[Batch],
        description="The batches that no other one holds, newest first. For admins.",
    )
    job_count: int = strawberry.field(
        resolver=job_count, description="The number of jobs that match and that you may see, counted up to `limit`."
    )
    workers: list[processes.Worker] = strawberry.field(
        resolver=workers,
        graphql_type=list[Worker],
        description="The processes that accept and run jobs, oldest first. For admins.",
    )
    viewer: Caller = strawberry.field(resolver=viewer, graphql_type=Viewer)
    system: System = strawberry.field(resolver=system)
    stats: list[HandlerStats] = strawberry.field(
        resolver=stats, description="What the jobs of each handler did in a time, by time and name. For admins."
    )
    failures: list[Failure] = strawberry.field(
        resolver=failures,
        description="The errors of jobs that failed in a time: the 1,000 most frequent, in this order. For admins.",
    )
