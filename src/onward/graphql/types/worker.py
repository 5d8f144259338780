"""A process of the installation."""

from __future__ import annotations

from datetime import datetime
from functools import partial
from typing import Annotated, Any

import strawberry
from strawberry.dataloader import DataLoader

from onward.graphql.base import check_number, unavailable
from onward.graphql.context import Context, Info
from onward.graphql.reading import PAGE, read_within, unread
from onward.graphql.resolvers import query
from onward.graphql.types.job import Job
from onward.jobs import model, pages
from onward.jobs import workers as processes
from onward.storage.base import Unavailable
from onward.storage.transaction import Tx

READ_AT_ONCE = 10  # processes whose jobs one read of the ledger gives


def jobs_by_worker(context: Context) -> DataLoader[tuple[str, int], list[model.Job]]:
    """Return a loader of the jobs that a process runs, by its id and their largest number, for `context.once`."""
    return DataLoader(partial(_read_jobs, context), max_batch_size=READ_AT_ONCE)


async def _read_jobs(context: Context, wanted: list[tuple[str, int]]) -> list[list[model.Job]]:
    without = unread(context.meter)

    def look(tx: Tx, most: pages.Allowance) -> tuple[dict[str, list[str]], dict[str, model.Job]]:
        longest = processes.longest_running(tx, [id_ for id_, _ in wanted], max(first for _, first in wanted))
        ids = [job_id for found in longest.values() for job_id in found]
        return longest, pages.named(tx, ids, most=most, without=without)

    longest, found = await read_within(context, look)
    return [[found[job_id] for job_id in longest.get(id_, [])[:first] if job_id in found] for id_, first in wanted]


@query
async def jobs(
    info: Info,
    root: strawberry.Parent[processes.Worker],
    first: Annotated[int, strawberry.argument(description="So many; at most 50.")],
) -> list[model.Job]:
    check_number("first", first, PAGE)
    return await info.context.once(jobs_by_worker).load((root.id, first))


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
    jobs: Any = strawberry.field(
        resolver=jobs, graphql_type=list[Job], description="The jobs that it runs, the longest running first."
    )
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
