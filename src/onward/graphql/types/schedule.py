"""A schedule: its rule, its state, and its next ticks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated

import strawberry

from onward.dispatch.schedules import Shown
from onward.graphql.base import check_number, public_error
from onward.graphql.context import Context, Info
from onward.graphql.reading import read_within, unread
from onward.graphql.resolvers import query
from onward.graphql.types.enums import ScheduleMissed, ScheduleOverlap
from onward.graphql.types.job import Job
from onward.jobs import ledger, model, pages, row
from onward.storage.transaction import Tx

MAX_SHOWN = 200
After = Annotated[str, strawberry.argument(description="Only those whose names come after this one.")]
First = Annotated[int, strawberry.argument(description=f"So many, by name; at most {MAX_SHOWN}.")]


@strawberry.type(description="A schedule of the settings, or one made at run time: each tick makes one job.")
class Schedule:
    name: str
    handler: str
    cron: str
    time_zone: str
    overlap: ScheduleOverlap
    missed: ScheduleMissed
    from_settings: bool = strawberry.field(
        description="True if it is a table of settings.toml, where alone it is made, changed and removed."
    )
    made_at: datetime | None = strawberry.field(description="Null for one of the settings.")
    made_by: str | None = strawberry.field(description="A viewer's id, or a user of the server's terminal.")
    next_at: datetime | None = strawberry.field(
        description="Null while it is paused, and until the process that makes recurring jobs has read the settings."
    )
    upcoming: list[datetime] = strawberry.field(description="The next five ticks; none while it is paused.")
    paused_at: datetime | None
    paused_by: str | None = strawberry.field(description="As `madeBy`.")
    last_at: datetime | None = strawberry.field(description="The tick of the newest job.")
    last_job: model.Job | None = strawberry.field(
        graphql_type=Job | None, description="The job of the newest tick, while it is kept."
    )
    skipped_at: datetime | None = strawberry.field(
        description="The newest tick without a job, because the last job was not over."
    )
    problem: str | None = strawberry.field(
        description="Why its ticks wait: the process that makes recurring jobs does not know its handler, say."
    )


def jobs_of(tx: Tx, shown: Sequence[Shown], without: frozenset[str] = frozenset()) -> dict[str, model.Job]:
    """Return the last jobs of these schedules by their ids, with the columns `without` empty."""
    ids = [one.last_job for one in shown if one.last_job is not None]
    return {job.id: job for job in map(row.decode, ledger.rows(tx, ids, without))} if ids else {}


def schedule(shown: Shown, jobs: Mapping[str, model.Job], *, upcoming: bool = True) -> Schedule:
    """Return the schedule for an answer; without its next ticks unless they are asked for."""
    return Schedule(
        name=shown.name,
        handler=shown.handler,
        cron=shown.cron,
        time_zone=shown.time_zone,
        overlap=shown.overlap,
        missed=shown.missed,
        from_settings=shown.from_settings,
        made_at=_time(shown.made_at),
        made_by=shown.made_by,
        next_at=_time(shown.next_at),
        upcoming=[model.to_datetime(at) for at in shown.upcoming] if upcoming else [],
        paused_at=_time(shown.paused_at),
        paused_by=shown.paused_by,
        last_at=_time(shown.last_at),
        last_job=jobs.get(shown.last_job) if shown.last_job else None,
        skipped_at=_time(shown.skipped_at),
        problem=shown.problem,
    )


@query
async def schedules(info: Info, first: First = MAX_SHOWN, after: After = "") -> list[Schedule]:
    check_number("first", first, MAX_SHOWN)
    if "\0" in after:  # which PostgreSQL refuses, and no name has
        raise public_error("`after` must be the name of a schedule (got one with a NUL character).", "INVALID")
    context = info.context
    if not context.viewer.visible.everything:
        return []
    found, jobs = await read_within(context, lambda tx, most: _read(context, tx, first, after, most))
    meter = context.meter
    upcoming = not meter.fields or "upcoming" in meter.fields
    made = []
    for one in found:
        made.append(schedule(one, jobs, upcoming=upcoming))
        if meter.is_due():
            await meter.rest()
    return made


def _read(
    context: Context, tx: Tx, first: int, after: str, most: pages.Allowance
) -> tuple[list[Shown], dict[str, model.Job]]:
    found, fields = context.services.schedules.page(tx, first=first, after=after), context.meter.fields
    ids = [one.last_job for one in found if one.last_job is not None] if not fields or "lastJob" in fields else []
    return found, pages.named(tx, ids, most=most, without=unread(context.meter)) if ids else {}


def _time(at: int | None) -> datetime | None:
    return None if at is None else model.to_datetime(at)
