"""Subscriptions to changes of jobs."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager
from functools import partial
from typing import Annotated

import strawberry
from strawberry import UNSET

from onward.graphql.base import public_error, unavailable
from onward.graphql.context import Info
from onward.graphql.ids import is_job_id
from onward.graphql.positions import position_of, unknown_change
from onward.graphql.queries import MAX_PAGE, given, read
from onward.graphql.types.filter import JobFilter, filtered
from onward.graphql.types.job import Job
from onward.jobs import ledger, model, pages
from onward.jobs.catch_up import MAX_CHANGES, TooFarBehind, UnknownPosition, catch_up
from onward.jobs.change_feed import SlowConsumer
from onward.jobs.position import Position
from onward.storage.base import Unavailable
from onward.storage.transaction import Tx

MAX_INSIDE = 10_000  # jobs that a subscription knows to be inside its filter
MAX_KNOWN_AT_START = 1_000
MAX_IDS = MAX_PAGE  # a page of jobs is followed by one subscription
READ_AT_ONCE = 50  # jobs that a subscriber has missed


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
                        info.context.position = watch.position
                        yield job
                    if job.done:
                        return
                job = await anext(watch)


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
    visible, context, changes = info.context.viewer.visible, info.context, info.context.services.changes
    wanted, chosen, since = filtered(given(filter)), _chosen(given(ids)), position_of(given(after_change))
    with public_errors():
        async with changes.watch_all() if chosen is None else changes.watch_jobs(chosen) as watch:
            passage = _Passage(wanted)
            if wanted.status:
                passage.know(await read(info, partial(_known, wanted=wanted, visible=visible, ids=chosen)))
            sent: dict[str, int] = {}  # the versions of missed jobs: what has come in meanwhile may be older
            if since is not None:
                async with aclosing(_missed(info, since, wanted, chosen)) as missed:
                    async for job, position in missed:
                        passage.lets_through(job)
                        sent[job.id], context.position = job.version, position
                        yield job
            async for job in watch:
                is_new = sent.get(job.id, 0) < job.version
                if visible.sees(job) and passage.lets_through(job) and is_new:
                    sent.pop(job.id, None)
                    context.position = watch.position
                    yield job


class _Passage:
    """Lets the jobs inside a filter through, and those that leave it once more."""

    def __init__(self, filter: model.JobFilter) -> None:
        self._filter = filter
        self._inside: OrderedDict[str, None] = OrderedDict()

    def know(self, ids: list[str]) -> None:
        """Take note of jobs that are inside."""
        self._inside = OrderedDict.fromkeys(ids)

    def lets_through(self, job: model.Job) -> bool:
        """Return whether the change of the job is to be sent."""
        if not self._filter.matches(job):
            # Only a status can change, so only a filter by status can be left.
            return self._inside.pop(job.id, job) is None
        if self._filter.status:
            self._inside[job.id] = None
            self._inside.move_to_end(job.id)
            if len(self._inside) > MAX_INSIDE:
                self._inside.popitem(last=False)
        return True


async def _missed(
    info: Info, since: Position, wanted: model.JobFilter, ids: frozenset[str] | None
) -> AsyncGenerator[tuple[model.Job, Position], None]:
    """Read the jobs that have changed since, each with the position after it. Raises what `catch_up` does.

    One whose status is outside of the filter is among them: it may have left the filter meanwhile.
    """
    visible = info.context.viewer.visible
    found, last = await read(info, partial(catch_up, since=since, visible=visible, filter=wanted, ids=ids))
    after = [*(position for _, position in found[1:]), last]
    for start in range(0, len(found), READ_AT_ONCE):
        some = [job_id for job_id, _ in found[start : start + READ_AT_ONCE]]
        jobs = await read(info, partial(ledger.get_many, ids=some))
        for at, job_id in enumerate(some, start):
            if job_id in jobs:  # else it was pruned
                yield jobs[job_id], after[at]


def _chosen(ids: list[strawberry.ID] | None) -> frozenset[str] | None:
    """Return the ids that can be a job's; None if all jobs are meant. Raises GraphQLError INVALID."""
    if ids is None:
        return None
    if len(ids) > MAX_IDS:
        raise public_error(f"`ids` must name at most {MAX_IDS} jobs.", "INVALID")
    return frozenset(str(id_) for id_ in ids if is_job_id(id_))


def _known(tx: Tx, wanted: model.JobFilter, visible: model.Visible, ids: frozenset[str] | None) -> list[str]:
    """Return the newest jobs inside the filter, oldest first; of `ids` all that are inside."""
    if ids is not None:
        return [job.id for job in ledger.get_many(tx, sorted(ids)).values() if wanted.matches(job)]
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
        description="Jobs as they change, without their present state; a job that leaves the filter is sent once more."
        " `afterChange` resumes: what has changed since comes first, also a job that may have left the filter. A job"
        " may be sent twice, never an older version after a newer one.",
    )
