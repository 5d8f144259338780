"""pauseHandler and resumeHandler: an admin pauses a handler's jobs, and resumes them."""

from __future__ import annotations

import strawberry

from onward.graphql.context import Info
from onward.graphql.enqueue import MutationError, written
from onward.graphql.inputs import scalar_input
from onward.graphql.resolvers import mutation
from onward.graphql.types.enums import UserErrorCode
from onward.graphql.types.pause import PausedHandler
from onward.graphql.types.user_error import UserError
from onward.jobs import concurrency
from onward.storage.lock_order import LAST
from onward.text.visibility import is_plain


@scalar_input
@strawberry.input
class PauseHandlerInput:
    handler: str = strawberry.field(description="The handler's full name, as in `email.welcome`.")


@strawberry.type
class PauseHandlerPayload:
    paused: concurrency.Pause | None = strawberry.field(
        default=None,
        graphql_type=PausedHandler | None,
        description="The pause; a repeated request keeps the first one.",
    )
    errors: list[UserError] = strawberry.field(default_factory=list)


@scalar_input
@strawberry.input
class ResumeHandlerInput:
    handler: str = strawberry.field(description="The handler's full name, as in `email.welcome`.")


@strawberry.type
class ResumeHandlerPayload:
    handler: str | None = strawberry.field(default=None, description="The handler, which is not paused now.")
    errors: list[UserError] = strawberry.field(default_factory=list)


def check_admin(info: Info) -> None:
    """Raise MutationError unless the caller is an admin."""
    if not info.context.viewer.visible.everything:
        words = "Only admins pause and resume handlers."
        raise MutationError(UserError(code=UserErrorCode.NOT_ALLOWED, message=words, path=None))


def not_found() -> MutationError:
    words = "There is no such handler; system { handlers } lists them."
    return MutationError(UserError(code=UserErrorCode.NOT_FOUND, message=words, path=["handler"]))


@mutation(PauseHandlerPayload)
async def pause_handler(info: Info, input: PauseHandlerInput) -> PauseHandlerPayload | None:
    check_admin(info)
    if input.handler not in info.context.services.handlers:
        raise not_found()
    by = info.context.viewer.subject
    return PauseHandlerPayload(
        paused=await written(info.context, lambda tx: concurrency.pause(tx, input.handler, by=by), LAST)
    )


@mutation(ResumeHandlerPayload)
async def resume_handler(info: Info, input: ResumeHandlerInput) -> ResumeHandlerPayload | None:
    check_admin(info)
    if not is_plain(input.handler):  # which no handler's name is; PostgreSQL refuses NUL
        raise not_found()
    # Also a handler that this release no longer has, so that the jobs that wait for it can fail.
    there = await written(info.context, lambda tx: concurrency.resume(tx, input.handler), LAST)
    if not there and input.handler not in info.context.services.handlers:
        raise not_found()
    return ResumeHandlerPayload(handler=input.handler)
