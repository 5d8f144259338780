"""A user: somebody who registered."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar

import strawberry

from database import users
from onward.graphql.context import Info
from onward.graphql.queries import read
from onward.graphql.types.node import Node


@strawberry.type(description="A registered user.")
class User(Node):
    """Describes `database.users.User`, whose times are integer microseconds."""

    kind: ClassVar[str] = "user"

    username: str = strawberry.field(description="Unique, without regard to case.")
    email: str = strawberry.field(description="Unique, without regard to case.")
    created_at: datetime

    @classmethod
    def is_type_of(cls, obj: Any, _info: Any) -> bool:
        return isinstance(obj, users.User)

    @classmethod
    async def find(cls, info: Info, id: str) -> users.User | None:
        """Return the user of this id to an admin or to that user, else None. Raises GraphQLError."""
        viewer = info.context.viewer
        if not (viewer.visible.everything or viewer.subject == id):
            return None
        return await read(info, lambda tx: users.get(tx, id))
