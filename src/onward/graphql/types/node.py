"""The interface of everything that has an id."""

from __future__ import annotations

from typing import Any, ClassVar

import strawberry


@strawberry.interface(description="An object that can be queried by its id.")
class Node:
    """Base of a type that `node(id:)` finds: `kind` is what its ids begin with, as "user" in "user_..."."""

    kind: ClassVar[str] = ""

    id: strawberry.ID = strawberry.field(description="Opaque; its prefix names the type.")

    @classmethod
    async def find(cls, info: Any, id: str) -> Any | None:
        """Return what the viewer may see under this id, else None. Raises GraphQLError."""
        raise NotImplementedError(f"{cls.__name__} is a Node without find()")
