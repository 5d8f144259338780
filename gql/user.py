"""Somebody who registered."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import strawberry

from onward.graphql.types.node import Node
from database import users


@strawberry.type(description="Somebody who registered.")
class User(Node):
    """Describes `storage.users.User`, whose moments are microseconds."""

    username: str = strawberry.field(description="Unique, whatever the case of its letters.")
    email: str = strawberry.field(description="Unique, whatever the case of its letters.")
    created_at: datetime

    @classmethod
    def is_type_of(cls, obj: Any, _info: Any) -> bool:
        return isinstance(obj, users.User)
