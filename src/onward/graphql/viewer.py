"""The caller of an operation. Free of Strawberry, so that `from onward import Viewer` stays quick."""

from __future__ import annotations

from dataclasses import dataclass

from onward.jobs.model import Visible

ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Viewer:
    """The caller: an id and roles. The role `admin` without an id on an open server; neither without a token."""

    id: str | None
    roles: tuple[str, ...]
    until: float | None = None  # when the token expires, in seconds as time.time() counts them

    @property
    def visible(self) -> Visible:
        return Visible(owner=self.id, everything=ADMIN in self.roles)

    @property
    def is_nobody(self) -> bool:
        """True if a token is needed and was missing."""
        return self.id is None and not self.roles
