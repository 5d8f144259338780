"""Whatever has an id of its own."""

from __future__ import annotations

import strawberry


@strawberry.interface(description="What can be asked for by its id.")
class Node:
    id: strawberry.ID = strawberry.field(description="Opaque; its beginning says what it is.")
