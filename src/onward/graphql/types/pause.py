"""A handler that is paused."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import strawberry

from onward.graphql.base import unavailable
from onward.graphql.context import Info
from onward.graphql.resolvers import query
from onward.jobs import concurrency
from onward.storage.base import Unavailable


@strawberry.type(description="A paused handler: its jobs wait until it is resumed; jobs that were running go on.")
class PausedHandler:
    """Describes `onward.jobs.concurrency.Pause`."""

    handler: str
    since: datetime
    by: str | None = strawberry.field(
        description="The person who paused it: a viewer's id, or a user of the server's terminal."
    )

    @classmethod
    def is_type_of(cls, obj: Any, _info: Any) -> bool:
        return isinstance(obj, concurrency.Pause)


@query
async def pauses(info: Info) -> list[concurrency.Pause]:
    if not info.context.viewer.visible.everything:
        return []
    try:
        return await info.context.read(concurrency.pauses)
    except Unavailable as error:
        raise unavailable() from error
