"""Filters of jobs."""

from __future__ import annotations

from datetime import datetime

import strawberry

from onward.graphql.base import public_error
from onward.graphql.inputs import aware
from onward.graphql.types.enums import JobStatus
from onward.jobs import model
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

    def model(self) -> model.JobFilter:
        """Return the ledger's filter. Raises GraphQLError INVALID."""
        handlers = self.handler or []
        if len(handlers) > PATTERNS:
            raise public_error(f"A filter must name at most {PATTERNS} handlers.", "INVALID")
        if not all(0 < len(name) <= PATTERN_LENGTH and is_plain(name) for name in handlers):
            raise public_error(
                f"A handler's name has 1 to {PATTERN_LENGTH} characters and no control characters.", "INVALID"
            )
        return model.JobFilter(
            status=tuple(self.status or ()),
            handler=tuple(handlers),
            created_after=None if self.created_after is None else model.to_us(aware(self.created_after)),
            created_before=None if self.created_before is None else model.to_us(aware(self.created_before)),
        )


def filtered(given: JobFilter | None) -> model.JobFilter:
    return given.model() if given else model.JobFilter()
