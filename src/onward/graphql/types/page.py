"""A page of jobs, in Relay's form of a connection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import strawberry
from strawberry.relay import PageInfo

from onward.graphql.context import Info
from onward.graphql.ids import cursor
from onward.graphql.positions import token
from onward.graphql.resolvers import query
from onward.graphql.value_resolver import DIRECT, InfoResolver
from onward.jobs import model, pages

if TYPE_CHECKING:
    from onward.graphql.types.job import Job

Shown: TypeAlias = Annotated["Job", strawberry.lazy("onward.graphql.types.job")]  # which has pages of its children


@strawberry.type
class JobEdge:
    cursor: str
    node: model.Job = strawberry.field(graphql_type=Shown)


class ShownPage:
    """A page with all fields of its type as plain attributes."""

    def __init__(self, page: pages.Page) -> None:
        self.nodes = page.jobs
        self._page = page

    @property
    def edges(self) -> list[JobEdge]:
        return [JobEdge(cursor=cursor(job.id), node=job) for job in self.nodes]

    @property
    def page_info(self) -> PageInfo:
        page = self._page
        return PageInfo(
            has_next_page=page.has_next,
            has_previous_page=page.has_previous,
            start_cursor=None if page.start is None else cursor(page.start),
            end_cursor=None if page.end is None else cursor(page.end),
        )


@query
def change(info: Info) -> Any:
    return token(info)


@strawberry.type(description="A page of jobs, newest first.")
class JobConnection:
    """Describes `ShownPage`."""

    edges: list[JobEdge]
    nodes: list[model.Job] = strawberry.field(
        graphql_type=list[Shown], description="The jobs of `edges`, without cursors."
    )
    page_info: PageInfo
    change: str = strawberry.field(
        resolver=change,
        graphql_type=str,
        metadata={DIRECT: InfoResolver(lambda _page, info: token(info))},
        description="The newest change that the page knows of, for `jobsUpdated(afterChange:)`; also of an empty one.",
    )
