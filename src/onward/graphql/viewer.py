"""The caller of an operation. Free of Strawberry, so that `from onward import Viewer` stays quick."""

from __future__ import annotations

import reprlib
import warnings
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING
from uuid import UUID

from onward.jobs.model import Visible, as_subject

if TYPE_CHECKING:
    from starlette.requests import HTTPConnection

ADMIN = "admin"
MAX_SUBJECT_LENGTH = 255
MAX_ROLES = 64
ViewerFunction = Callable[["HTTPConnection"], "Viewer | Awaitable[Viewer | None] | None"]
"""A project's own function from a connection to its viewer; None for nobody. It may be async."""


class WrongViewer(TypeError, ValueError):
    """An argument of a Viewer is not of its type, or cannot be used: a mistake in the function that makes it."""


@dataclass(frozen=True, slots=True, init=False)
class Viewer:
    """The caller: a subject, which owns its jobs, and roles; the role `admin` sees and does everything.

    An integer or a UUID is a subject as its text. At `until` event streams and WebSockets of the viewer
    end; from then on its requests are refused.
    """

    subject: str | None  # None on an open server, and without a token
    roles: tuple[str, ...]
    until: float | None  # in seconds as time.time() counts them

    def __init__(
        self, subject: str | int | UUID | None, roles: Iterable[str] = (), until: datetime | float | None = None
    ) -> None:
        if isinstance(roles, str):
            shown = reprlib.repr(roles)
            raise WrongViewer(f"roles must be a list of names (got {shown}): write Viewer(subject, roles=[{shown}])")
        if not isinstance(roles, Iterable):
            raise WrongViewer(f"roles must be a list of names, as in ['staff'] (got {reprlib.repr(roles)})")
        if isinstance(until, datetime):
            if until.tzinfo is None:
                raise WrongViewer("until must have a time zone, as in datetime.now(UTC) + timedelta(hours=1)")
            until = until.timestamp()
        object.__setattr__(self, "subject", as_subject(subject))
        object.__setattr__(self, "roles", tuple(roles))
        object.__setattr__(self, "until", until)

    @property
    def id(self) -> str | None:
        """The subject, by its name in release 0.1."""
        warnings.warn("Viewer.id is Viewer.subject now", DeprecationWarning, stacklevel=2)
        return self.subject

    @property
    def visible(self) -> Visible:
        return Visible(owner=self.subject, everything=ADMIN in self.roles)

    @property
    def is_nobody(self) -> bool:
        """True if a token is needed and was missing."""
        return self.subject is None and not self.roles


NOBODY = Viewer(None)
"""The viewer of a caller who has not signed in: it sees nothing, and owns nothing."""
