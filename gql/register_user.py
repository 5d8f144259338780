"""registerUser: a user, and the job `email.welcome` in the same commit."""

from __future__ import annotations

import strawberry
from pydantic import BaseModel

from database import users
from gql.user import User
from onward import Tx
from onward.graphql.context import Info
from onward.graphql.enqueue import Companion, MutationError, ReplaceParams, accept
from onward.graphql.inputs import scalar_input
from onward.graphql.types.enums import UserErrorCode
from onward.graphql.types.job import Job
from onward.graphql.types.user_error import UserError
from onward.graphql.validation import checked
from onward.handlers.types import Email, Username
from onward.jobs import model


class Values(BaseModel):
    username: Username
    email: Email


@scalar_input
@strawberry.input
class RegisterUserInput:
    username: str = strawberry.field(description="1 to 64 characters, none of them invisible.")
    email: str
    idempotency_key: str | None = strawberry.field(description="The same key with the same input gives the same job.")


@strawberry.type
class RegisterUserPayload:
    user: users.User | None = strawberry.field(default=None, graphql_type=User | None)
    job: model.Job | None = strawberry.field(default=None, graphql_type=Job | None)
    replayed: bool = strawberry.field(default=False, description="True if the key had made this user before.")
    errors: list[UserError] = strawberry.field(default_factory=list)


def _quietly(tx: Tx, values: Values) -> users.User | ReplaceParams:
    """Answer alike whether or not the address is known. Raises Taken for the name alone."""
    try:
        return users.add(tx, username=values.username, email=values.email)
    except users.Taken as taken:
        if "username" in taken.fields:
            raise users.Taken(("username",)) from None
    # The name is taken all the same: else asking for it again, with another address, would tell.
    users.reserve(tx, username=values.username)
    owner = users.address(tx, values.email) or values.email
    return ReplaceParams({"email": owner, "username": values.username, "known": True})


def _exists(field: str) -> UserError:
    what = {"username": "This username", "email": "This e-mail address"}[field]
    return UserError(code=UserErrorCode.ALREADY_EXISTS, message=f"{what} is taken.", path=[field])


async def register_user(info: Info, input: RegisterUserInput) -> RegisterUserPayload | None:
    discloses = info.context.services.discloses
    values = checked(Values, username=input.username, email=input.email)

    def write(tx: Tx) -> users.User | ReplaceParams:
        try:
            if discloses:
                return users.add(tx, username=values.username, email=values.email)
            return _quietly(tx, values)
        except users.Taken as taken:
            raise MutationError(*(_exists(field) for field in taken.fields)) from taken

    accepted = await accept(
        info.context,
        mutation="registerUser",
        handler="email.welcome",
        params={"email": values.email, "username": values.username},
        given={"username": input.username, "email": input.email},
        key=input.idempotency_key,
        companion=Companion("user", write, users.get),
    )
    user = accepted.row if discloses else None
    return RegisterUserPayload(user=user, job=accepted.job, replayed=accepted.replayed)


@strawberry.type
class Mutation:
    register_user: RegisterUserPayload | None = strawberry.mutation(
        resolver=register_user, description="Register a user, and send a message by the job `email.welcome`."
    )
