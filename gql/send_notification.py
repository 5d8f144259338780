"""sendNotification: the job `logging.write`."""

from __future__ import annotations

from datetime import datetime

import strawberry
from pydantic import BaseModel

from onward.graphql.context import Info
from onward.graphql.enqueue import MutationError, accept
from onward.graphql.inputs import scalar_input
from onward.graphql.types.job import Job
from onward.graphql.types.user_error import UserError
from onward.graphql.validation import Email, Text, checked
from onward.jobs import model


class Values(BaseModel):
    email: Email
    message: Text


@scalar_input
@strawberry.input
class SendNotificationInput:
    email: str
    message: str = strawberry.field(description="The text, of 1 to 10,000 characters.")
    idempotency_key: str | None = strawberry.field(description="The same key with the same input gives the same job.")
    run_at: datetime | None = strawberry.field(description="The earliest start; at most a year ahead.")


@strawberry.type
class SendNotificationPayload:
    job: model.Job | None = strawberry.field(default=None, graphql_type=Job | None)
    replayed: bool = strawberry.field(default=False, description="True if the key had made this job before.")
    errors: list[UserError] = strawberry.field(default_factory=list)


async def send_notification(info: Info, input: SendNotificationInput) -> SendNotificationPayload | None:
    try:
        values = checked(Values, email=input.email, message=input.message)
        accepted = await accept(
            info.context,
            mutation="sendNotification",
            handler="logging.write",
            params={"email": values.email, "message": values.message},
            given={
                "email": input.email,
                "message": input.message,
                "runAt": input.run_at and input.run_at.isoformat(),
            },
            key=input.idempotency_key,
            run_at=input.run_at,
        )
    except MutationError as refused:
        return SendNotificationPayload(errors=refused.errors)
    return SendNotificationPayload(job=accepted.job, replayed=accepted.replayed)


@strawberry.type
class Mutation:
    send_notification: SendNotificationPayload | None = strawberry.mutation(
        resolver=send_notification, description="Append the message to the log by the job `logging.write`."
    )
