"""A process of the installation."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import strawberry

from onward.graphql.base import unavailable
from onward.graphql.context import Info
from onward.graphql.resolvers import query
from onward.jobs import workers as processes
from onward.storage.base import Unavailable


@strawberry.type(description="A process that accepts or runs jobs, by its newest sign of life.")
class Worker:
    """Describes `onward.jobs.workers.Worker`."""

    id: strawberry.ID
    name: str = strawberry.field(description="Its machine and process id, as in `worker` of an attempt.")
    role: str = strawberry.field(
        description="`worker`: one of `onward worker`; `api`: answers requests, and runs jobs where its backend does;"
        " `dramatiq`: one of Dramatiq's own command line; `isolated`: runs jobs whose processes died; `unknown`: one of"
        " an older release."
    )
    version: str = strawberry.field(description="Its release; empty for one that does not say.")
    started_at: datetime
    running: int = strawberry.field(description="The number of jobs that it runs.")
    memory_bytes: float | None = strawberry.field(description="Its resident memory at its newest sign of life.")
    queues: list[str] | None = strawberry.field(
        description="The queues whose jobs it runs, by name; `default` is that of jobs without one. Null for a process"
        " of an older release, which does not say."
    )
    draining: bool = strawberry.field(description="True if it begins no further job, or is to do so within a second.")

    @classmethod
    def is_type_of(cls, obj: Any, _info: Any) -> bool:
        return isinstance(obj, processes.Worker)


@query
async def workers(info: Info) -> list[processes.Worker]:
    if not info.context.viewer.visible.everything:
        return []
    try:
        return await info.context.read(processes.all_workers)
    except Unavailable as error:
        raise unavailable() from error
