"""What every way to the schema shares: who may come in, and what is run for them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gql.context import Parts, Viewer
from gql.operations import Operations
from gql.origins import Origins

Authenticate = Callable[[str | None], Viewer]
"""By bearer token, None where there is none. Raises NotAuthenticated, also for a token that is none of ours."""


@dataclass(frozen=True, slots=True)
class Door:
    parts: Parts
    operations: Operations
    origins: Origins
    authenticate: Authenticate


def open_to_all(_token: str | None) -> Viewer:
    """Everybody is the one user of their own machine, and may do everything."""
    return Viewer(id=None, roles=("admin",))
