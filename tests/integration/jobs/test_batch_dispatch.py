"""Batches that handlers dispatch: from the event loop, from a thread, and not from a process of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
import sqlalchemy as sa

from onward.handlers.base import Handler, JobContext, JobRequest, Permanent, Retry, batch, handler
from onward.jobs import batches as its_batches
from onward.jobs.base import NotFound
from onward.jobs.dispatched import CHUNK
from onward.jobs.model import Job, NewJob, Visible
from onward.jobs.states import JobStatus
from onward.storage.tables import batches, dispatched, jobs
from onward.storage.writer import Writer
from onward.testing.waiting import until
from tests.ledgers import new_job
from tests.runners import Node, node

S = JobStatus
ONCE = Retry(max_attempts=1)
COUNT = CHUNK * 6


def children() -> Iterator[JobRequest]:
    yield from [JobRequest("test.child", {})] * COUNT


def gone() -> Iterator[JobRequest]:
    yield from children()
    raise Permanent("the source is gone", code="GONE")


@handler("test.loop", retry=ONCE)
async def on_loop(job: JobContext) -> str:
    return job.dispatch(batch(children()))


@handler("test.thread", retry=ONCE)
def in_thread(job: JobContext) -> str:
    return job.dispatch(batch(children()))


@handler("test.caught", retry=ONCE)
def caught(job: JobContext) -> str:
    try:
        job.dispatch(batch(gone()))
    except Permanent:
        return job.dispatch(batch([JobRequest("test.child", {})]))
    return ""


@handler("test.fails", retry=ONCE)
def fails(job: JobContext) -> None:
    job.dispatch(batch(gone()))


@handler("test.fails_later", retry=ONCE)
async def fails_later(job: JobContext) -> None:
    job.dispatch(batch(children()))
    raise Permanent("after the dispatch", code="LATER")


@handler("test.for_others", retry=ONCE)
async def for_others(job: JobContext, *, owner: str | None) -> str:
    return job.dispatch(batch([JobRequest("test.child", {})]), owner=owner)


@asynccontextmanager
async def a_node(writer: Writer, its: Handler) -> AsyncIterator[Node]:
    """Open a node whose children have ids of their own."""
    async with node(writer, its) as one:
        ids = writer.database.ids

        def prepare_child(parent: Job, handler: str, *_: Any) -> NewJob:
            return new_job(handler, id=ids.next("job", 0), parent=parent.id)

        one.enqueuer.prepare_child = prepare_child  # type: ignore[method-assign, assignment]
        yield one


async def counted(writer: Writer, table: sa.Table) -> int:
    return int(await writer.database.read(lambda tx: tx.scalar(sa.select(sa.func.count()).select_from(table))) or 0)


@pytest.mark.parametrize("its", [on_loop, in_thread], ids=lambda one: one.name)
async def test_a_batch_is_accepted_with_the_end_of_the_step(writer: Writer, its: Handler) -> None:
    async with a_node(writer, its) as one:
        done = await one.run(its)
        assert done.status is S.SUCCEEDED

        async def all_made() -> bool:
            return await counted(writer, jobs) == 1 + COUNT

        await until(all_made)
    row = await writer.database.read(lambda tx: tx.one(sa.select(batches.c.id, batches.c.job, batches.c.total)))
    assert tuple(row or ()) == (done.result, done.id, COUNT)
    parents = await writer.database.read(lambda tx: tx.scalars(sa.select(jobs.c.batch).distinct()))
    assert set(parents) == {None, done.result}


@pytest.mark.parametrize(("given", "owner", "other"), [("bob", "bob", "ada"), (None, "ada", "bob")])
async def test_a_batch_belongs_to_the_owner_that_it_is_dispatched_with(
    writer: Writer, given: str | None, owner: str, other: str
) -> None:
    """Without one it belongs to the owner of the job that dispatches it."""
    async with a_node(writer, for_others) as one:
        job = await one.accept(for_others, {"owner": given}, owner="ada")
        await one.start(job)
        batch_id = (await one.get(job)).result
    found = await writer.database.read(partial(its_batches.get, batch_id=batch_id))
    assert found is not None
    assert found.owner == owner
    cancel = partial(its_batches.cancel, batch_id=batch_id, reason=None)
    with pytest.raises(NotFound):
        await writer.run(partial(cancel, visible=Visible(owner=other)))
    assert (await writer.run(partial(cancel, visible=Visible(owner=owner)))).id == batch_id


@pytest.mark.parametrize("its", [fails, fails_later], ids=lambda one: one.name)
async def test_a_step_that_fails_dispatches_no_batch(writer: Writer, its: Handler) -> None:
    """All that was staged of it is deleted."""
    async with a_node(writer, its) as one:
        assert (await one.run(its)).status is S.FAILED

        async def none_left() -> bool:
            return await counted(writer, dispatched) == 0

        await until(none_left)
        assert (await counted(writer, jobs), await counted(writer, batches)) == (1, 0)


async def test_a_batch_that_could_not_be_made_is_none_though_the_handler_goes_on(writer: Writer) -> None:
    async with a_node(writer, caught) as one:
        done = await one.run(caught)
        assert (await counted(writer, batches), await counted(writer, jobs)) == (1, 2)
        found = await writer.database.read(lambda tx: tx.scalar(sa.select(batches.c.id)))
        assert found == done.result
