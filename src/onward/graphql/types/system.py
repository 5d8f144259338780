"""The server, and the caller."""

from __future__ import annotations

from datetime import datetime

import strawberry

from onward.graphql.base import unavailable
from onward.graphql.context import Info
from onward.graphql.reading import read_within, unread
from onward.graphql.resolvers import query
from onward.graphql.types.backlog import HandlerLimit, HandlerQueue, limits, waiting
from onward.graphql.types.enums import JobStatus
from onward.graphql.types.job import Job
from onward.graphql.types.pause import PausedHandler, pauses
from onward.graphql.types.schedule import Schedule, schedules
from onward.graphql.types.sent_email import Letter, sent_emails
from onward.graphql.viewer import Viewer as Caller
from onward.jobs import concurrency, model, pages, schedule_rows
from onward.jobs.schedule_rows import Row
from onward.mail import mailbox
from onward.storage.base import Unavailable
from onward.storage.transaction import Tx
from onward.text.queues import split


@strawberry.type(description="The caller.")
class Viewer:
    """Describes `onward.graphql.viewer.Viewer`."""

    subject: strawberry.ID | None = strawberry.field(name="id", description="Null where the server is open to all.")
    roles: list[str]

    @classmethod
    def is_type_of(cls, obj: object, _info: object) -> bool:
        return isinstance(obj, Caller)


@strawberry.type(description="A backend's health, as this process sees it.")
class QueueHealth:
    backend: str
    queue: str = strawberry.field(description="The queue of jobs that it is asked about.")
    reachable: bool
    depth: int | None = strawberry.field(description="The number of waiting messages, if the backend knows it.")
    oldest_age_ms: int | None


@strawberry.type
class StatusCount:
    status: JobStatus
    count: int


@strawberry.type(description="A recurring job of `[schedule]` in the settings.")
class Recurring:
    name: str
    handler: str
    cron: str
    timezone: str
    next_at: datetime | None = strawberry.field(
        description="Null until the process that makes recurring jobs has read the entry."
    )
    last_at: datetime | None = strawberry.field(description="The tick of the newest job.")
    last_job: model.Job | None = strawberry.field(graphql_type=Job | None)


@query
async def version(info: Info) -> str:
    return info.context.services.version


@query
async def backend(info: Info) -> str:
    return info.context.services.backend


@query
async def handlers(info: Info) -> list[str]:
    return sorted(info.context.services.handlers)


@query
async def queues(info: Info) -> list[QueueHealth]:
    health = await info.context.services.dispatcher.health()
    # Depth and age are figures of everybody's jobs.
    whole = info.context.viewer.visible.everything
    return [
        QueueHealth(
            backend=split(name)[0],
            queue=split(name)[1],
            reachable=found.reachable,
            depth=found.depth if whole else None,
            oldest_age_ms=round(found.oldest_age_s * 1000) if whole and found.oldest_age_s is not None else None,
        )
        for name, found in sorted(health.items())
    ]


@query
async def counts(info: Info) -> list[StatusCount]:
    try:
        found = await info.context.services.counts.of(info.context.viewer.visible)
    except Unavailable as error:
        raise unavailable() from error
    return [StatusCount(status=status, count=found.get(status, 0)) for status in JobStatus]


@query
async def schedule(info: Info) -> list[Recurring]:
    entries = info.context.services.schedules.entries.values()
    if not entries or not info.context.viewer.visible.everything:
        return []

    def look(tx: Tx, most: pages.Allowance) -> tuple[dict[str, Row], dict[str, model.Job]]:
        rows = schedule_rows.rows(tx)
        ids = [row.last_job for row in rows.values() if row.last_job]
        return rows, pages.named(tx, ids, most=most, without=unread(info.context.meter))

    rows, jobs = await read_within(info.context, look)
    found = []
    for entry in entries:
        row = rows.get(entry.name)
        found.append(
            Recurring(
                name=entry.name,
                handler=entry.new.handler,
                cron=entry.cron,
                timezone=entry.zone.key,
                next_at=model.to_datetime(row.next_at) if row and row.paused_at is None else None,
                last_at=model.to_datetime(row.last_at) if row and row.last_at is not None else None,
                last_job=jobs.get(row.last_job) if row and row.last_job else None,
            )
        )
    return found


@strawberry.type(description="The server.")
class System:
    version: str = strawberry.field(resolver=version)
    backend: str = strawberry.field(resolver=backend, description="The backend of new jobs without a route.")
    handlers: list[str] = strawberry.field(resolver=handlers, description="The names of all handlers.")
    queues: list[QueueHealth] = strawberry.field(resolver=queues)
    counts: list[StatusCount] = strawberry.field(
        resolver=counts, description="The number of jobs of each status; may be a second old."
    )
    paused: list[concurrency.Pause] = strawberry.field(
        resolver=pauses,
        graphql_type=list[PausedHandler],
        description="The paused handlers. For admins.",
    )
    waiting: list[HandlerQueue] = strawberry.field(
        resolver=waiting,
        description="The waiting jobs of each handler that has any, by its name. May be a second old; where many"
        " are queued, 20 times as old as they take to count. For admins.",
    )
    limits: list[HandlerLimit] = strawberry.field(
        resolver=limits, description="The limits of all handlers that have one, by the handler's name. For admins."
    )
    schedules: list[Schedule] = strawberry.field(
        resolver=schedules,
        description="The schedules of the settings, and those made at run time, by name. For admins.",
    )
    schedule: list[Recurring] = strawberry.field(
        resolver=schedule,
        description="The recurring jobs of the settings. For admins.",
        deprecation_reason="`schedules` has those made at run time, too.",
    )
    letters: list[mailbox.SentEmail] | None = strawberry.field(
        resolver=sent_emails,
        graphql_type=list[Letter] | None,
        description="The newest messages, in development if they go into files; else null.",
    )
