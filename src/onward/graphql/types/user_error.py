"""Errors of a mutation that its sender can fix."""

from __future__ import annotations

from typing import Self

import strawberry

from onward.graphql.types.enums import UserErrorCode


@strawberry.type(description="An error that the sender of the mutation can fix. `path` names the input field.")
class UserError:
    code: UserErrorCode
    message: str = strawberry.field(description="A message for the person who sent the mutation.")
    path: list[str] | None = strawberry.field(default=None, description='The wrong field of `input`, as in ["email"].')

    @classmethod
    def invalid(cls, field: str, message: str) -> Self:
        return cls(code=UserErrorCode.INVALID, message=message, path=[field])
