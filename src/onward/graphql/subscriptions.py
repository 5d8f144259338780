"""Subscriptions to changes of jobs."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from typing import Annotated

import strawberry
from strawberry import UNSET

from onward.graphql.base import public_error, unavailable
from onward.graphql.context import Info
from onward.graphql.ids import is_job_id
from onward.graphql.queries import given
from onward.graphql.types.filter import JobFilter, filtered
from onward.graphql.types.job import Job
from onward.jobs import ledger, model, pages
from onward.jobs.change_feed import SlowConsumer
from onward.storage.base import Unavailable
from onward.storage.transaction import Tx

MAX_INSIDE = 10_000  # jobs that a subscription knows to be inside its filter
MAX_KNOWN_AT_START = 1_000


@contextmanager
def public_errors() -> Iterator[None]:
    """Raise the errors that end a subscription as public errors."""
    try:
        yield
    except Unavailable as error:
        raise unavailable() from error
    except SlowConsumer as error:
        raise public_error(
            "Changes are taken too slowly. Subscribe again, perhaps with a filter.", "LAGGING"
        ) from error


async def job_updated(
    info: Info,
    id: strawberry.ID,
    after_version: Annotated[int | None, strawberry.argument(description="The last version that you have.")] = UNSET,
) -> AsyncGenerator[model.Job, None]:
    if not is_job_id(id):
        raise public_error("There is no such job.", "NOT_FOUND")
    parts, visible, have = info.context.services, info.context.viewer.visible, given(after_version)
    # Watch before reading, so that no change is missed in between.
    with public_errors():
        async with parts.changes.watch_job(id) as watch:
            job = await parts.database.read(lambda tx: ledger.get(tx, id))
            if job is None or not visible.sees(job):
                raise public_error("There is no such job.", "NOT_FOUND")
            latest = 0
            while True:
                if job.version > latest:
                    latest = job.version
                    if job.done or have is None or latest > have:
                        yield job
                    if job.done:
                        return
                job = await anext(watch)


async def jobs_updated(info: Info, filter: JobFilter | None = UNSET) -> AsyncGenerator[model.Job, None]:
    wanted, visible, parts = filtered(given(filter)), info.context.viewer.visible, info.context.services
    with public_errors():
        async with parts.changes.watch_all() as watch:
            # Only a status can change, so only a filter by status can be left.
            known = await parts.database.read(lambda tx: _known(tx, wanted, visible)) if wanted.status else []
            inside = OrderedDict.fromkeys(known)
            async for job in watch:
                if not visible.sees(job):
                    continue
                if wanted.matches(job):
                    if wanted.status:
                        inside[job.id] = None
                        inside.move_to_end(job.id)
                        if len(inside) > MAX_INSIDE:
                            inside.popitem(last=False)
                    yield job
                elif job.id in inside:
                    del inside[job.id]
                    yield job


def _known(tx: Tx, wanted: model.JobFilter, visible: model.Visible) -> list[str]:
    """Return the newest jobs inside the filter, oldest first."""
    return pages.ids(tx, visible=visible, filter=wanted, limit=MAX_KNOWN_AT_START, newest=True)[::-1]


@strawberry.type
class Subscription:
    job_updated: AsyncGenerator[model.Job, None] = strawberry.subscription(
        resolver=job_updated,
        graphql_type=Job,
        description="The job's present state, then each change; ends with the terminal one. `afterVersion` resumes.",
    )
    jobs_updated: AsyncGenerator[model.Job, None] = strawberry.subscription(
        resolver=jobs_updated,
        graphql_type=Job,
        description="Jobs as they change, without their present state; a job that leaves the filter is sent once more.",
    )
