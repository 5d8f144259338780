"""A piece of a job's output."""

from __future__ import annotations

import strawberry
from strawberry.scalars import JSON


@strawberry.type(description="A piece of a job's output, as its handler emitted it: text, or any other JSON.")
class JobChunk:
    """Describes `onward.jobs.model.JobChunk`."""

    offset: int = strawberry.field(
        description="Counts the chunks of the job, from 0 over all attempts. A gap says that older chunks were dropped:"
        " the newest 10,000 of a job are kept, and 4 MB."
    )
    attempt: int = strawberry.field(
        description="The attempt that emitted it. Its chunks of a step take the place of those that an earlier attempt"
        " has emitted in the same step."
    )
    step: str = strawberry.field(description="The step that emitted it.")
    data: JSON
