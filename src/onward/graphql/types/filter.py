"""Filters of jobs."""

from __future__ import annotations

from datetime import datetime

import strawberry
from strawberry.scalars import JSON

from onward.graphql.base import public_error
from onward.graphql.context import Context
from onward.graphql.inputs import aware
from onward.graphql.types.enums import JobStatus
from onward.graphql.viewer import MAX_SUBJECT_LENGTH
from onward.jobs import model
from onward.jobs.error_text import one_line
from onward.jobs.param_filter import MAX_FILTERS, ParamFilter, param_filter
from onward.text.visibility import is_plain

PATTERNS = 20
PATTERN_LENGTH = 200


@strawberry.input(description="A parameter of a job, as its handler declares it, and the values that it may have.")
class JobParamFilter:
    name: str = strawberry.field(
        description="The parameter's name, as in `item_id`; `address.city` is a member of the parameter `address`."
    )
    values: list[JSON | None] = strawberry.field(
        description="Any of these: texts, numbers, true, false or null, compared exactly. `5` is no text."
    )


@strawberry.input(description="Conditions that a job must all meet. An omitted or empty one matches every job.")
class JobFilter:
    status: list[JobStatus] | None = strawberry.field(description="Any of these statuses.")
    handler: list[str] | None = strawberry.field(
        description="Any of these names; `*` stands for any characters, as in `email.*`."
    )
    created_after: datetime | None
    created_before: datetime | None
    owner: strawberry.ID | None = strawberry.field(description="The viewer whose jobs they are, as in `viewer { id }`.")
    error_code: list[str] | None = strawberry.field(
        description="Any of these codes of `error`. It matches only jobs that are FAILED, RETRYING or CANCELLED.",
    )
    error_message: str | None = strawberry.field(
        description="The error's message as `Failure.message` has it: in one line, and of a longer one the first 200"
        " characters, not a part of them. It matches the same jobs."
    )
    finished_after: datetime | None
    finished_before: datetime | None
    batch: strawberry.ID | None = strawberry.field(description="The batch that they are children of.")
    run_after: datetime | None = strawberry.field(
        description="Their `runAt` is later. With this or `runBefore` it matches only jobs that are SCHEDULED."
    )
    run_before: datetime | None = strawberry.field(description="Their `runAt` is earlier.")
    params: list[JobParamFilter] | None = strawberry.field(
        description="For admins: their parameters have these values, all of them; secret ones match none. It has no"
        " index: a page looks at some 10,000 jobs, and may be short, or empty, where `hasNextPage` is true: go on with"
        " its cursor, and narrow it by `handler` or time."
    )

    def model(self, context: Context) -> model.JobFilter:
        """Return the ledger's filter. Raises GraphQLError INVALID and NOT_ALLOWED."""
        created_after, created_before = _span(self.created_after, self.created_before, "created")
        finished_after, finished_before = _span(self.finished_after, self.finished_before, "finished")
        run_after, run_before = _span(self.run_after, self.run_before, "run")
        return model.JobFilter(
            status=tuple(self.status or ()),
            handler=names(self.handler, "handler"),
            created_after=created_after,
            created_before=created_before,
            owner=None if self.owner is None else names([self.owner], "owner", MAX_SUBJECT_LENGTH)[0],
            error_code=names(self.error_code, "code"),
            error_message=None if self.error_message is None else one_line(self.error_message),
            finished_after=finished_after,
            finished_before=finished_before,
            batch=None if self.batch is None else names([self.batch], "batch")[0],
            run_after=run_after,
            run_before=run_before,
            params=_params(self.params or [], context),
        )


def _params(given: list[JobParamFilter], context: Context) -> tuple[ParamFilter, ...]:
    """Return the filters by parameters. Raises GraphQLError INVALID and NOT_ALLOWED."""
    if given and not context.viewer.visible.everything:  # a handler's parameters are not shown to owners of its jobs
        raise public_error("Only admins may filter by parameters.", "NOT_ALLOWED")
    if len(given) > MAX_FILTERS:
        raise public_error(f"A filter must name at most {MAX_FILTERS} parameters.", "INVALID")
    try:
        return tuple(param_filter(one.name, one.values, _secret_in(one.name, context)) for one in given)
    except ValueError as error:
        raise public_error(f"{str(error).capitalize()}.", "INVALID") from None


def _secret_in(name: str, context: Context) -> frozenset[str]:
    """Return the handlers that keep the parameter secret: older jobs of theirs may have it in the clear."""
    first = name.split(".", maxsplit=1)[0]
    return frozenset(one.name for one in context.services.handlers.values() if first in one.secret)


def _span(after: datetime | None, before: datetime | None, what: str) -> tuple[int | None, int | None]:
    """Return the times of a filter in microseconds. Raises GraphQLError INVALID."""
    begin, end = _us(after), _us(before)
    if after is not None and before is not None and model.to_us(after) > model.to_us(before):
        raise public_error(
            f"`{what}After` must be earlier than `{what}Before` (got {after.isoformat()} and {before.isoformat()}).",
            "INVALID",
        )
    return begin, end


def _us(time: datetime | None) -> int | None:
    return None if time is None else model.to_us(aware(time))


def names(given: list[str] | None, what: str, most: int = PATTERN_LENGTH) -> tuple[str, ...]:
    """Return the names of a filter's condition, each of at most so many characters. Raises GraphQLError INVALID."""
    found = tuple(given or ())
    if len(found) > PATTERNS:
        raise public_error(f"A filter must name at most {PATTERNS} {what}s.", "INVALID")
    if not all(0 < len(name) <= most and is_plain(name) for name in found):
        raise public_error(f"A filter's {what} has 1 to {most} characters and no control characters.", "INVALID")
    return found


def filtered(given: JobFilter | None, context: Context) -> model.JobFilter:
    """Return the ledger's filter of an argument. Raises GraphQLError INVALID and NOT_ALLOWED."""
    return given.model(context) if given else model.JobFilter()
