"""registerUser: a user, and the job `email.welcome` in the same commit."""

from __future__ import annotations

import strawberry
from pydantic import BaseModel

from gql.acceptance import Refused, accept
from gql.context import Info
from gql.types.job import Job
from gql.types.user import User
from gql.types.user_error import UserError
from gql.validation import Email, Username, checked
from jobs import model
from storage import users


class Values(BaseModel):
    username: Username
    email: Email


@strawberry.input
class RegisterUserInput:
    username: str = strawberry.field(description="1 to 64 characters, none of them invisible.")
    email: str
    idempotency_key: str | None = strawberry.field(description="The same key and input: the same job.")


@strawberry.type
class RegisterUserPayload:
    user: users.User | None = strawberry.field(default=None, graphql_type=User | None)
    job: model.Job | None = strawberry.field(default=None, graphql_type=Job | None)
    replayed: bool = strawberry.field(default=False, description="Whether the key had made this user before.")
    errors: list[UserError] = strawberry.field(default_factory=list)


async def register_user(info: Info, input: RegisterUserInput) -> RegisterUserPayload | None:
    try:
        values = checked(Values, username=input.username, email=input.email)
        accepted = await accept(
            info.context,
            mutation="registerUser",
            handler="email.welcome",
            params={"email": values.email, "username": values.username},
            given={"username": input.username, "email": input.email},
            key=input.idempotency_key,
            write=lambda tx: users.add(tx, username=values.username, email=values.email),
        )
    except Refused as refused:
        return RegisterUserPayload(errors=refused.errors)
    return RegisterUserPayload(user=accepted.user, job=accepted.job, replayed=accepted.replayed)
