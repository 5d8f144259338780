"""A page of jobs, in Relay's form of a connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import TypeVar

import strawberry

from onward.graphql.ids import cursor
from onward.graphql.types.job import Job
from onward.jobs import model, pages

T = TypeVar("T")


@strawberry.type(description="The bounds of a page, and whether there are more.")
class PageInfo:
    has_next_page: bool
    has_previous_page: bool
    start_cursor: str | None
    end_cursor: str | None


@strawberry.type
class JobEdge:
    cursor: str
    node: model.Job = strawberry.field(graphql_type=Job)


async def in_turns(items: Iterable[T]) -> AsyncIterator[T]:
    """Yield the items, and let other work run between them."""
    for item in items:
        yield item
        await asyncio.sleep(0)


def edges(root: strawberry.Parent[pages.Page]) -> AsyncIterator[JobEdge]:
    return in_turns(JobEdge(cursor=cursor(job.id), node=job) for job in root.jobs)


def page_info(root: strawberry.Parent[pages.Page]) -> PageInfo:
    return PageInfo(
        has_next_page=root.has_next,
        has_previous_page=root.has_previous,
        start_cursor=cursor(root.jobs[0].id) if root.jobs else None,
        end_cursor=cursor(root.jobs[-1].id) if root.jobs else None,
    )


def nodes(root: strawberry.Parent[pages.Page]) -> AsyncIterator[model.Job]:
    return in_turns(root.jobs)


@strawberry.type(description="A page of jobs, newest first.")
class JobConnection:
    """Describes `onward.jobs.pages.Page`."""

    edges: AsyncIterator[JobEdge] = strawberry.field(resolver=edges, graphql_type=list[JobEdge])
    nodes: AsyncIterator[model.Job] = strawberry.field(
        resolver=nodes, graphql_type=list[Job], description="The jobs of `edges`, without cursors."
    )
    page_info: PageInfo = strawberry.field(resolver=page_info)
