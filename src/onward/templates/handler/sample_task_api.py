"""sampleTask: accept a job of `sample.task`."""

import strawberry
from pydantic import BaseModel

from onward.graphql.context import Info
from onward.graphql.enqueue import MutationError, accept
from onward.graphql.types.job import Job
from onward.graphql.types.user_error import UserError
from onward.graphql.validation import Text, checked
from onward.jobs import model


class Values(BaseModel):
    text: Text


@strawberry.input
class SampleTaskInput:
    text: str
    idempotency_key: str | None = strawberry.field(description="The same key and input: the same job.")


@strawberry.type
class SampleTaskPayload:
    job: model.Job | None = strawberry.field(default=None, graphql_type=Job | None)
    replayed: bool = strawberry.field(default=False, description="True if the key had already made this job.")
    errors: list[UserError] = strawberry.field(default_factory=list)


async def sample_task(info: Info, input: SampleTaskInput) -> SampleTaskPayload | None:
    try:
        values = checked(Values, text=input.text)
        accepted = await accept(
            info.context,
            mutation="sampleTask",
            handler="sample.task",
            params={"text": values.text},
            given={"text": input.text},
            key=input.idempotency_key,
        )
    except MutationError as refused:
        return SampleTaskPayload(errors=refused.errors)
    return SampleTaskPayload(job=accepted.job, replayed=accepted.replayed)


@strawberry.type
class Mutation:
    sample_task: SampleTaskPayload | None = strawberry.mutation(
        resolver=sample_task, description="The job `sample.task`."
    )
