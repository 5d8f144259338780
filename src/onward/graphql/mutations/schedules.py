"""createSchedule, pauseSchedule, resumeSchedule, runSchedule and deleteSchedule, for admins."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import strawberry
from strawberry.scalars import JSON

from onward.dispatch.schedules import Shown
from onward.graphql.context import Info
from onward.graphql.enqueue import MutationError, written
from onward.graphql.inputs import scalar_input
from onward.graphql.reading import unread
from onward.graphql.resolvers import mutation
from onward.graphql.types.enums import ScheduleMissed, ScheduleOverlap, UserErrorCode
from onward.graphql.types.job import Job
from onward.graphql.types.schedule import Schedule, jobs_of, schedule
from onward.graphql.types.user_error import UserError
from onward.handlers.base import InvalidParameters
from onward.jobs import model
from onward.jobs.base import ScheduleRefused
from onward.storage.lock_order import ALONE
from onward.storage.transaction import Tx


@scalar_input
@strawberry.input
class CreateScheduleInput:
    name: str = strawberry.field(description="Of this schedule alone, those of the settings included.")
    handler: str = strawberry.field(description="The handler's full name, as in `email.welcome`.")
    params: JSON | None = strawberry.field(description="The handler's parameters: an object, checked now.")
    cron: str = strawberry.field(
        description="Minute, hour, day of month, month and day of week, as in `30 7 * * MON-FRI`."
    )
    time_zone: str | None = strawberry.field(description="The time zone of `cron`, as in Europe/Berlin; UTC if absent.")
    overlap: ScheduleOverlap | None = strawberry.field(description="ALLOW if absent.")
    missed: ScheduleMissed | None = strawberry.field(description="RUN_ONCE if absent.")


@scalar_input
@strawberry.input
class ScheduleNameInput:
    name: str = strawberry.field(description="The schedule's name.")


@strawberry.type
class SchedulePayload:
    schedule: Schedule | None = strawberry.field(
        default=None, description="The schedule after the change; one that is deleted as it was."
    )
    job: model.Job | None = strawberry.field(
        default=None, graphql_type=Job | None, description="The job that `runSchedule` has accepted."
    )
    errors: list[UserError] = strawberry.field(default_factory=list)


def check_admin(info: Info) -> None:
    """Raise MutationError unless the caller is an admin."""
    if not info.context.viewer.visible.everything:
        words = "Only admins make, change and run schedules."
        raise MutationError(UserError(code=UserErrorCode.NOT_ALLOWED, message=words, path=None))


def refused(error: ScheduleRefused) -> MutationError:
    path = list(error.path) or None
    return MutationError(UserError(code=UserErrorCode(error.code), message=str(error), path=path))


async def changed(info: Info, change: Callable[[Tx], tuple[Shown, model.Job | None]]) -> SchedulePayload:
    """Run the change in a transaction of its own, and answer with its outcome. Raises MutationError."""

    def write(tx: Tx) -> tuple[Shown, model.Job | None, dict[str, model.Job]] | MutationError:
        try:
            shown, job = change(tx)
        except ScheduleRefused as error:
            return refused(error)
        return shown, job, jobs_of(tx, [shown], unread(info.context.meter))

    shown, job, jobs = await written(info.context, write, ALONE)
    return SchedulePayload(schedule=schedule(shown, jobs), job=job)


@mutation(SchedulePayload)
async def create_schedule(info: Info, input: CreateScheduleInput) -> SchedulePayload | None:
    check_admin(info)
    params: Any = {} if input.params is None else input.params
    if not isinstance(params, dict):
        raise MutationError(UserError.invalid("params", 'Parameters are an object, as in {"order": "A-17"}.'))
    schedules, by = info.context.services.schedules, info.context.viewer.subject
    try:
        entry = schedules.entry(
            input.name,
            input.handler,
            params,
            input.cron,
            time_zone=input.time_zone,
            overlap=input.overlap,
            missed=input.missed,
        )
    except ScheduleRefused as error:
        raise refused(error) from error
    except InvalidParameters as error:
        code = UserErrorCode.INVALID
        wrong = (
            UserError(code=code, message=message, path=["params", *place.split(".")] if place else ["params"])
            for place, message in error.errors
        )
        raise MutationError(*wrong) from error
    return await changed(info, lambda tx: (schedules.create(tx, entry, by=by), None))


@mutation(SchedulePayload)
async def pause_schedule(info: Info, input: ScheduleNameInput) -> SchedulePayload | None:
    check_admin(info)
    schedules, by = info.context.services.schedules, info.context.viewer.subject
    return await changed(info, lambda tx: (schedules.pause(tx, input.name, by=by), None))


@mutation(SchedulePayload)
async def resume_schedule(info: Info, input: ScheduleNameInput) -> SchedulePayload | None:
    check_admin(info)
    schedules = info.context.services.schedules
    return await changed(info, lambda tx: (schedules.resume(tx, input.name), None))


@mutation(SchedulePayload)
async def run_schedule(info: Info, input: ScheduleNameInput) -> SchedulePayload | None:
    check_admin(info)
    services, trace = info.context.services, info.context.trace

    def run(tx: Tx) -> tuple[Shown, model.Job]:
        shown, new = services.schedules.new_job(tx, input.name)
        return shown, services.dispatcher.accept(tx, replace(new, trace=trace))

    payload = await changed(info, run)
    if payload.job is not None and not payload.job.replayed:
        services.dispatcher.count([payload.job])
        await info.context.accept(payload.job)
    return payload


@mutation(SchedulePayload)
async def delete_schedule(info: Info, input: ScheduleNameInput) -> SchedulePayload | None:
    check_admin(info)
    schedules = info.context.services.schedules
    return await changed(info, lambda tx: (schedules.delete(tx, input.name), None))
