"""pauseHandler and resumeHandler: an admin holds a handler's jobs back, and lets them go on."""

from __future__ import annotations

import strawberry

from gql.acceptance import Refused, written
from gql.context import Info
from gql.inputs import leaves
from gql.types.enums import UserErrorCode
from gql.types.pause import PausedHandler
from gql.types.user_error import UserError
from jobs import gates


@leaves
@strawberry.input
class PauseHandlerInput:
    handler: str = strawberry.field(description="Its whole name, as in `email.welcome`.")


@strawberry.type
class PauseHandlerPayload:
    paused: gates.Pause | None = strawberry.field(
        default=None, graphql_type=PausedHandler | None, description="The first pause stands, however often one asks."
    )
    errors: list[UserError] = strawberry.field(default_factory=list)


@leaves
@strawberry.input
class ResumeHandlerInput:
    handler: str = strawberry.field(description="Its whole name, as in `email.welcome`.")


@strawberry.type
class ResumeHandlerPayload:
    handler: str | None = strawberry.field(default=None, description="The handler, which is not paused now.")
    errors: list[UserError] = strawberry.field(default_factory=list)


def check_admin(info: Info) -> None:
    """Raises Refused."""
    if not info.context.viewer.visible.everything:
        words = "Only admins pause and resume handlers."
        raise Refused(UserError(code=UserErrorCode.NOT_ALLOWED, message=words, path=None))


def not_found() -> Refused:
    words = "There is no such handler; system { handlers } lists them."
    return Refused(UserError(code=UserErrorCode.NOT_FOUND, message=words, path=["handler"]))


async def pause_handler(info: Info, input: PauseHandlerInput) -> PauseHandlerPayload | None:
    try:
        check_admin(info)
        if input.handler not in info.context.parts.handlers:
            raise not_found()
        by = info.context.viewer.id
        return PauseHandlerPayload(paused=await written(info.context, lambda tx: gates.pause(tx, input.handler, by=by)))
    except Refused as refused:
        return PauseHandlerPayload(errors=refused.errors)


async def resume_handler(info: Info, input: ResumeHandlerInput) -> ResumeHandlerPayload | None:
    try:
        check_admin(info)
        # Also one that this release has no more: what waits for it shall end with words.
        there = await written(info.context, lambda tx: gates.resume(tx, input.handler))
        if not there and input.handler not in info.context.parts.handlers:
            raise not_found()
        return ResumeHandlerPayload(handler=input.handler)
    except Refused as refused:
        return ResumeHandlerPayload(errors=refused.errors)
