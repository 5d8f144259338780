"""What the person who sent a mutation can mend."""

from __future__ import annotations

from typing import Self

import strawberry

from onward.graphql.types.enums import UserErrorCode


@strawberry.type(description="What the person who sent the mutation can mend. `path` names the input field.")
class UserError:
    code: UserErrorCode
    message: str = strawberry.field(description="In words, for that person.")
    path: list[str] | None = strawberry.field(
        default=None, description='The field of `input` it is about, as in ["email"].'
    )

    @classmethod
    def invalid(cls, field: str, message: str) -> Self:
        return cls(code=UserErrorCode.INVALID, message=message, path=[field])
