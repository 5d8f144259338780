"""The interface of everything that has an id."""

from __future__ import annotations

from typing import Any, ClassVar

import strawberry
from strawberry import relay


@strawberry.type
class Node(relay.Node):
    """Base of a type that `node(id:)` finds; its ids begin with `kind`, such as "user" in "user_...".

    The interface in the schema is that of `strawberry.relay`, so that a schema with types of both has one of them.
    """

    kind: ClassVar[str] = ""

    id: strawberry.ID = strawberry.field(description="Opaque; its prefix names the type.")

    @classmethod
    def resolve_id(cls, root: Any, *, info: Any) -> str:  # noqa: ARG003 - Strawberry's signature
        """Return the id as it is; Strawberry's own would be made of the type's name and a number."""
        return str(root.id)

    @classmethod
    async def find(cls, info: Any, id: str) -> Any | None:
        """Return the viewer's object of this id; None if there is none or the viewer may not see it.

        Raises GraphQLError.
        """
        raise NotImplementedError(f"{cls.__name__} is a Node without find()")
