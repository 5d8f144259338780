"""The waiting jobs of each handler, and the limits that may hold them back. For admins."""

from __future__ import annotations

from datetime import datetime

import strawberry

from onward.graphql.base import unavailable
from onward.graphql.context import Info
from onward.graphql.resolvers import query
from onward.jobs import concurrency, key_limits, model
from onward.jobs.limits import Limit
from onward.storage.base import Unavailable
from onward.storage.transaction import Tx
from onward.text.queues import split


@strawberry.type(description="The due jobs of a handler that have not begun, in a queue of a backend.")
class HandlerQueue:
    handler: str
    backend: str
    queue: str
    depth: int = strawberry.field(description="The number of those that wait for a free worker.")
    oldest_at: datetime | None = strawberry.field(description="When the first of these was due.")
    blocked: int = strawberry.field(description="The number of those that a pause or a limit holds back.")


@strawberry.type(description="A limit of a handler, as the settings or its declaration have it.")
class HandlerLimit:
    handler: str
    key: str | None = strawberry.field(
        description="The limit's name if it holds for each value of a parameter by itself; null if it holds for all"
        " jobs of the handler together."
    )
    concurrency: int | None = strawberry.field(description="The most jobs that run at once.")
    starts: int | None = strawberry.field(description="The most jobs that begin in any `periodSeconds`.")
    period_seconds: int | None


@query
async def waiting(info: Info) -> list[HandlerQueue]:
    if not info.context.viewer.visible.everything:
        return []
    try:
        found = await info.context.services.counts.backlog()
    except Unavailable as error:
        raise unavailable() from error
    return [
        HandlerQueue(
            handler=one.handler,
            backend=split(one.destination)[0],
            queue=split(one.destination)[1],
            depth=one.depth,
            oldest_at=None if one.oldest is None else model.to_datetime(one.oldest),
            blocked=one.blocked,
        )
        for one in found
    ]


@query
async def limits(info: Info) -> list[HandlerLimit]:
    if not info.context.viewer.visible.everything:
        return []
    try:
        found = await info.context.read(_read)
    except Unavailable as error:
        raise unavailable() from error
    return [_limit(*one) for one in found]


def _read(tx: Tx) -> list[tuple[str, str, Limit]]:
    """Return each limit with its handler and the name of its key, which is empty without one."""
    of_handlers = [(handler, "", found.limit) for handler, found in concurrency.all_limits(tx).items()]
    by_key = [(handler, rule.name, rule.limit) for handler, rule in key_limits.all_rules(tx).items()]
    return sorted((one for one in (*of_handlers, *by_key) if one[2] != Limit()), key=lambda one: one[:2])


def _limit(handler: str, key: str, limit: Limit) -> HandlerLimit:
    rate = limit.rate
    return HandlerLimit(
        handler=handler,
        key=key or None,
        concurrency=limit.concurrency,
        starts=rate.starts if rate else None,
        period_seconds=rate.period_us // 1_000_000 if rate else None,
    )
