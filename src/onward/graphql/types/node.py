"""The interface of everything that has an id."""

from __future__ import annotations

from typing import Any, ClassVar

import strawberry


@strawberry.interface(description="An object that can be queried by its id.")
class Node:
    """Base of a type that `node(id:)` finds; its ids begin with `kind`, such as "user" in "user_..."."""

    kind: ClassVar[str] = ""

    id: strawberry.ID = strawberry.field(description="Opaque; its prefix names the type.")

    @classmethod
    async def find(cls, info: Any, id: str) -> Any | None:
        """Return the viewer's object of this id; None if there is none or the viewer may not see it.

        Raises GraphQLError.
        """
        raise NotImplementedError(f"{cls.__name__} is a Node without find()")
