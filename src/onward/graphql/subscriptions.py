"""Subscriptions to changes of jobs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager
from functools import partial
from typing import Annotated

import strawberry
from strawberry import UNSET

from onward.graphql.base import public_error, unavailable
from onward.graphql.batch_states import POLL_S
from onward.graphql.context import Info
from onward.graphql.ids import is_job_id, kind
from onward.graphql.positions import position_of, unknown_change
from onward.graphql.queries import read
from onward.graphql.reading import MAX_PAGE, batches_by_id, given, unread
from onward.graphql.resolvers import subscription
from onward.graphql.types.batch import Batch
from onward.graphql.types.filter import JobFilter, filtered
from onward.graphql.types.job import Job
from onward.graphql.types.job_chunk import JobChunk
from onward.jobs import batches, ledger, model
from onward.jobs.base import NotFound
from onward.jobs.catch_up import MAX_CHANGES, TooFarBehind, UnknownPosition
from onward.jobs.change_feed import SlowConsumer
from onward.jobs.following import follow, follow_output
from onward.storage.base import Unavailable

MAX_IDS = MAX_PAGE  # a page of jobs is followed by one subscription


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
    except TooFarBehind as error:
        words = (
            f"More than {MAX_CHANGES} jobs have changed since: load the jobs again, and go on from the page's change."
        )
        raise public_error(words, "LAGGING") from error
    except UnknownPosition as error:
        raise unknown_change() from error
    except NotFound as error:
        raise public_error("There is no such job.", "NOT_FOUND") from error


@subscription
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
            job = await info.context.read(lambda tx: ledger.get(tx, id))
            if job is None or not visible.sees(job):
                raise public_error("There is no such job.", "NOT_FOUND")
            latest = 0
            while True:
                if job.version > latest:
                    latest = job.version
                    if job.done or have is None or latest > have:
                        info.context.position = watch.position
                        yield job
                    if job.done:
                        return
                job = await anext(watch)


@subscription
async def jobs_updated(
    info: Info,
    filter: JobFilter | None = UNSET,
    ids: Annotated[
        list[strawberry.ID] | None,
        strawberry.argument(
            description=f"These jobs alone, {MAX_IDS} at most; one that you may not see is passed over."
        ),
    ] = UNSET,
    after_change: Annotated[
        str | None,
        strawberry.argument(
            description="The `change` of a job or page: the jobs that have changed since then are sent first. LAGGING"
            " and BAD_CHANGE say that it is too old, or not of this ledger: load the jobs again."
        ),
    ] = UNSET,
) -> AsyncGenerator[model.Job, None]:
    context = info.context
    wanted, chosen = filtered(given(filter), context), _chosen(given(ids))
    since = position_of(given(after_change))
    following = follow(
        context.services.changes,
        partial(read, info),
        visible=context.viewer.visible,
        filter=wanted,
        ids=chosen,
        since=since,
        without=unread(context.meter),
    )
    with public_errors():
        async with aclosing(following) as changes:
            async for job, position in changes:
                context.position = position
                yield job


@subscription
async def job_output(
    info: Info,
    id: strawberry.ID,
    after: Annotated[
        int | None, strawberry.argument(description="The offset of the last chunk that you have; none for all.")
    ] = UNSET,
) -> AsyncGenerator[model.JobChunk, None]:
    if not is_job_id(id):
        raise public_error("There is no such job.", "NOT_FOUND")
    context = info.context
    following = follow_output(
        context.services.changes, context.read, str(id), visible=context.viewer.visible, after=given(after)
    )
    with public_errors():
        async with aclosing(following) as chunks:
            async for chunk in chunks:
                yield chunk


@subscription
async def batch_updated(info: Info, id: strawberry.ID) -> AsyncGenerator[batches.Batch, None]:
    context, seen = info.context, None
    if kind(id) != "batch" or await context.once(batches_by_id).load(str(id)) is None:
        raise public_error("There is no such batch.", "NOT_FOUND")
    with public_errors(), context.services.batches.follow(str(id)) as followed:
        while True:
            found = await followed.look(context.meter)
            batch = found[0]
            if batch is None:
                raise public_error("There is no such batch.", "NOT_FOUND")
            if found != seen:
                seen = found
                yield batch
            if batch.done:
                return
            await asyncio.sleep(POLL_S)


def _chosen(ids: list[strawberry.ID] | None) -> frozenset[str] | None:
    """Return the ids that can be a job's; None if all jobs are meant. Raises GraphQLError INVALID."""
    if ids is None:
        return None
    if len(ids) > MAX_IDS:
        raise public_error(f"`ids` must name at most {MAX_IDS} jobs.", "INVALID")
    return frozenset(str(id_) for id_ in ids if is_job_id(id_))


@strawberry.type
class Subscription:
    batch_updated: AsyncGenerator[batches.Batch, None] = strawberry.subscription(
        resolver=batch_updated,
        graphql_type=Batch,
        description="The batch's present state, then its changes, a few each second; ends when its children are over.",
    )
    job_updated: AsyncGenerator[model.Job, None] = strawberry.subscription(
        resolver=job_updated,
        graphql_type=Job,
        description="The job's present state, then each change; ends with the terminal one. `afterVersion` resumes.",
    )
    jobs_updated: AsyncGenerator[model.Job, None] = strawberry.subscription(
        resolver=jobs_updated,
        graphql_type=Job,
        description="Jobs as they change, without their present state; a job that leaves the filter is sent once more."
        " `afterChange` resumes: what has changed since comes first, also a job that may have left the filter by"
        " its status. A job may be sent twice, never an older version after a newer one.",
    )
    job_output: AsyncGenerator[model.JobChunk, None] = strawberry.subscription(
        resolver=job_output,
        graphql_type=JobChunk,
        description="The job's output as it comes, from the chunk after `after` on; ends with the job. After a cut,"
        " `after` resumes: no chunk is missed, and none comes twice. A retry by hand begins a new run: subscribe again"
        " for its chunks.",
    )
