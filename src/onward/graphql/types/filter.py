"""Filters of jobs."""

from __future__ import annotations

from datetime import datetime

import strawberry

from onward.graphql.base import public_error
from onward.graphql.inputs import aware
from onward.graphql.types.enums import JobStatus
from onward.graphql.viewer import MAX_SUBJECT_LENGTH
from onward.jobs import model
from onward.jobs.error_text import one_line
from onward.text.visibility import is_plain

PATTERNS = 20
PATTERN_LENGTH = 200


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

    def model(self) -> model.JobFilter:
        """Return the ledger's filter. Raises GraphQLError INVALID."""
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
        )


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


def filtered(given: JobFilter | None) -> model.JobFilter:
    return given.model() if given else model.JobFilter()
