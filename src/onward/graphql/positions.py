"""The `change` of jobs: a position in the ledger, opaque to clients, from which a subscription goes on."""

from __future__ import annotations

from collections.abc import Awaitable

from graphql import GraphQLError, OperationType

from onward.graphql.base import public_error, unavailable
from onward.graphql.context import Info
from onward.jobs.position import BadToken, Position
from onward.storage.base import Unavailable

FIELD = "change"
NOWHERE = Position("", 0).token(0)
"""The position of who sees no job: the ledger's own tells how many commits there were."""


def token(info: Info, changed: int | None = None) -> str | Awaitable[str]:
    """Return the `change` of a job whose last commit is `changed`, or of a page.

    In the answer to a query that of a job stays the same while the job does, so that no cache changes for it.
    """
    if info.context.viewer.is_nobody:
        return NOWHERE
    position = info.context.position
    if position is None:
        return _awaited(info, changed)
    if changed is not None and info.operation.operation is not OperationType.SUBSCRIPTION:
        position = position.near(changed)
    return position.token(changed or 0)


async def _awaited(info: Info, changed: int | None) -> str:
    try:
        await info.context.take_position()
    except Unavailable as error:
        raise unavailable() from error
    found = token(info, changed)
    assert isinstance(found, str)  # noqa: S101 - there is a position now
    return found


def position_of(change: str | None) -> Position | None:
    """Return the position of a `change`. Raises GraphQLError BAD_CHANGE."""
    try:
        return None if change is None else Position.of(change)
    except BadToken:
        raise unknown_change() from None


def unknown_change() -> GraphQLError:
    """The error for a `change` that is not of this ledger."""
    words = "This change is unknown here: load the jobs again, and go on from their change."
    return public_error(words, "BAD_CHANGE")
