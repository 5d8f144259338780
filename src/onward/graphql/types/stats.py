"""The history of handlers, and the errors of failed jobs. For admins."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Annotated, TypeVar

import strawberry

from onward.graphql.base import check_number, public_error
from onward.graphql.context import Info, of
from onward.graphql.inputs import aware
from onward.graphql.reading import given, read_in
from onward.graphql.resolvers import query
from onward.graphql.types.enums import StatsStep
from onward.graphql.types.filter import names
from onward.jobs import model, sketch
from onward.jobs import stats as history
from onward.jobs.stats import Behind, Span, TooMuch, WrongRange
from onward.storage.transaction import Tx

T = TypeVar("T")
MAX_PARTS = 50
MAX_INT = 2**31 - 1  # of GraphQL; a greater number would be an error
From = Annotated[datetime, strawberry.argument(name="from", description="The start of the time.")]
To = Annotated[datetime, strawberry.argument(description="The end of the time, which is not part of it.")]
Named = Annotated[
    list[str] | None,
    strawberry.argument(description="Any of these handlers; `*` stands for any characters, as in `email.*`."),
]
Step = Annotated[
    StatsStep, strawberry.argument(description="The time that each row is of; a time without any job has no row.")
]
Together = Annotated[
    bool,
    strawberry.argument(description="One row for all handlers together in place of one for each; its handler is `*`."),
]
Parts = Annotated[
    int,
    strawberry.argument(description="The number of equal parts of the time, of whole hours each, 50 at most."),
]


@strawberry.type(description="Percentiles of times, in seconds, each at most 5 % off; null where there was no time.")
class Percentiles:
    p50: float | None
    p95: float | None
    p99: float | None


@strawberry.type(description="What the jobs of a handler did in some time.")
class HandlerStats:
    handler: str
    from_: datetime = strawberry.field(
        name="from",
        description="As asked for, or earlier: minutes are kept for 24 hours, hours for 35 days, and days for 400.",
    )
    to: datetime = strawberry.field(description="As asked for, or a little later.")
    enqueued: int = strawberry.field(description="Accepted jobs.")
    started: int = strawberry.field(description="Attempts that have begun.")
    succeeded: int
    failed: int = strawberry.field(description="Jobs that have failed for good.")
    cancelled: int
    retried: int = strawberry.field(description="Failed attempts that another one follows.")
    wait: Percentiles = strawberry.field(description="From due to start, of attempts that have begun.")
    run: Percentiles = strawberry.field(description="From start to end, of attempts that have ended.")


@strawberry.type(description="Failed jobs of a handler with the same error.")
class Failure:
    handler: str
    code: str
    message: str = strawberry.field(description="The beginning of the message, in one line.")
    count: int
    first_at: datetime
    last_at: datetime
    trend: list[int] = strawberry.field(
        description="The number in each of the `parts` of the time, of which the last may be shorter."
    )


@query
async def stats(
    info: Info,
    from_: From,
    to: To,
    *,
    handler: Named = strawberry.UNSET,
    step: Step = StatsStep.TOTAL,
    together: Together = False,
) -> list[HandlerStats]:
    span, names = _asked(from_, to, given(handler))

    def look(tx: Tx) -> list[HandlerStats]:
        return [
            HandlerStats(
                handler=one.handler,
                from_=model.to_datetime(one.span.begin),
                to=model.to_datetime(one.span.end),
                **{name: _int(n) for name, n in one.counts.items()},
                wait=_percentiles(one.sums.waits),
                run=_percentiles(one.sums.runs),
            )
            for one in history.stats(tx, span, handler=names, step=step, together=together)
        ]

    return await _read(info, look)


@query
async def failures(
    info: Info, from_: From, to: To, handler: Named = strawberry.UNSET, parts: Parts = 1
) -> list[Failure]:
    span, names = _asked(from_, to, given(handler))
    check_number("parts", parts, MAX_PARTS, least=1)

    def look(tx: Tx) -> list[Failure]:
        return [
            Failure(
                handler=one.handler,
                code=one.code,
                message=one.message,
                count=_int(one.group.n),
                first_at=model.to_datetime(one.group.first_at),
                last_at=model.to_datetime(one.group.last_at),
                trend=list(map(_int, one.trend)),
            )
            for one in history.failed(tx, span, handler=names, parts=parts)
        ]

    return await _read(info, look)


def _asked(begin: datetime, end: datetime, handler: list[str] | None) -> tuple[Span, tuple[str, ...]]:
    """Return the time and the handlers. Raises GraphQLError INVALID."""
    return Span(model.to_us(aware(begin)), model.to_us(aware(end))), names(handler, "handler")


async def _read(info: Info, look: Callable[[Tx], list[T]]) -> list[T]:
    """Read the history for an admin; nobody else gets a row. Raises GraphQLError."""
    if not info.context.viewer.visible.everything:
        return []
    try:
        return await read_in(await of(info), look)
    except TooMuch as error:
        raise public_error(_sentence(error), "ANSWER_TOO_LARGE") from None
    except WrongRange as error:
        raise public_error(_sentence(error), "INVALID") from None
    except Behind:
        words = "The history is not up to date yet: ask again in a minute."
        raise public_error(words, "UNAVAILABLE") from None


def _int(n: int) -> int:
    return min(n, MAX_INT)


def _sentence(error: Exception) -> str:
    words = str(error)
    return f"{words[0].upper()}{words[1:]}."


def _percentiles(times: Mapping[int, int]) -> Percentiles:
    return Percentiles(**sketch.percentiles(times))
