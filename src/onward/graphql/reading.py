"""Reads of the ledger for resolvers, in the caller's turn and within what an answer may hold."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeVar

from strawberry.dataloader import DataLoader
from strawberry.types.unset import UnsetType

from onward.graphql.base import check_number, public_error, unavailable
from onward.graphql.context import Context, Info
from onward.graphql.ids import job_id_of
from onward.graphql.meter import Meter
from onward.jobs import batches, log_lines, model, pages
from onward.storage.base import Unavailable
from onward.storage.transaction import Tx

T = TypeVar("T")
PAGE = 50
MAX_PAGE = 200


async def read_in(context: Context, function: Callable[[Tx], T]) -> T:
    """Read the ledger in the caller's turn. Raises GraphQLError UNAVAILABLE."""
    try:
        return await context.read(function)
    except Unavailable as error:
        raise unavailable() from error


def unread(meter: Meter) -> frozenset[str]:
    """Return the large columns that the operation does not show; none if its fields are not known."""
    left = {"steps", "result"} - meter.fields - ({"result"} if "output" in meter.fields else set())
    if "sendAgain" not in meter.fields:
        left.add("params")
    return frozenset(left) if meter.fields else frozenset()


def given(value: T | UnsetType | None) -> T | None:
    """Return the argument; None if it was left out, because a default of None would be printed in the schema."""
    return None if isinstance(value, UnsetType) else value


async def read_within(context: Context, function: Callable[[Tx, pages.Allowance], T]) -> T:
    """Read jobs, or what they keep, within what the answer may still hold. Raises GraphQLError."""
    meter = context.meter
    async with meter.reading:
        try:
            return await read_in(context, lambda tx: function(tx, meter.pages))
        except pages.PageTooLarge:
            raise meter.too_large() from None


async def read_page(
    info: Info,
    filter: model.JobFilter,
    *,
    first: int | None,
    after: str | None,
    last: int | None = None,
    before: str | None = None,
    parent: str | None = None,
) -> pages.Page:
    """Read a page of jobs that the viewer may see, of a parent's where one is given. Raises GraphQLError."""
    if first is not None and last is not None:
        raise public_error("Ask for `first` or for `last`, not for both.", "INVALID")
    for name, count in (("first", first), ("last", last)):
        if count is not None:
            check_number(name, count, MAX_PAGE)
    first = PAGE if first is None and last is None else first
    newer, older = job_id_of(before), job_id_of(after)
    visible, without = info.context.viewer.visible, unread(info.context.meter)

    def look(tx: Tx, most: pages.Allowance) -> pages.Page:
        return pages.page(
            tx,
            visible=visible,
            filter=filter,
            first=first,
            last=last,
            after=older,
            before=newer,
            parent=parent,
            most=most,
            without=without,
        )

    return await read_within(info.context, look)


async def read_log_lines(info: Info, job_id: str, last: int | None) -> list[model.JobLogLine]:
    """Read the newest log lines of a job that the viewer may see. Raises GraphQLError."""
    last = PAGE if last is None else last
    check_number("last", last, log_lines.MAX_LINES)
    return await read_within(info.context, lambda tx, most: log_lines.newest(tx, job_id, last, most=most))


def jobs_by_id(context: Context) -> DataLoader[str, model.Job | None]:
    """Return a loader of jobs, for `context.once`; it gives None for one that the viewer may not see."""
    return DataLoader(partial(_read_jobs, context), max_batch_size=MAX_PAGE)


async def _read_jobs(context: Context, ids: list[str]) -> list[model.Job | None]:
    visible, without = context.viewer.visible, unread(context.meter)
    found = await read_within(context, lambda tx, most: pages.named(tx, ids, most=most, without=without))
    return [job if (job := found.get(job_id)) is not None and visible.sees(job) else None for job_id in ids]


def batches_by_id(context: Context) -> DataLoader[str, batches.Batch | None]:
    """Return a loader of batches, likewise."""
    return DataLoader(partial(_read_batches, context), max_batch_size=MAX_PAGE)


async def _read_batches(context: Context, ids: list[str]) -> list[batches.Batch | None]:
    visible = context.viewer.visible
    found = await read_in(context, lambda tx: [batches.get(tx, batch_id) for batch_id in ids])
    return [batch if batch is not None and visible.sees_jobs_of(batch.owner) else None for batch in found]
