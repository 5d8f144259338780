"""The options with which a job is enqueued, and their checks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar
from uuid import UUID

from onward.handlers.request import MAX_DELAY, check_expires
from onward.jobs.model import as_subject, to_datetime, to_us
from onward.text.visibility import is_plain

MAX_LENGTH = 255  # of an idempotency key, and of an owner
MAX_PRIORITY = 1_000
MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Options:
    """The options of a job that is enqueued.

    Raises TypeError for values of other types, and ValueError for impossible ones.
    """

    owner: str | int | UUID | None = None
    priority: int | None = None
    run_at: datetime | None = None
    expires: timedelta | None = None
    furthest: ClassVar[timedelta | None] = MAX_DELAY  # from now to `run_at`

    def __post_init__(self) -> None:
        check_text("owner", self.subject, "a string, an integer or a UUID")
        if self.priority is not None:
            check_type("priority", self.priority, int, "a whole number, as in priority=10")
        if self.run_at is not None:
            check_type("run_at", self.run_at, datetime, "a datetime, as in datetime.now(UTC) + timedelta(hours=1)")
        if self.priority is not None and not -MAX_PRIORITY <= self.priority <= MAX_PRIORITY:
            raise ValueError(f"priority must be -{MAX_PRIORITY:,} to {MAX_PRIORITY:,} (got {self.priority})")
        if self.run_at is not None and self.run_at.tzinfo is None:
            raise ValueError("run_at needs a time zone, as in datetime.now(UTC)")
        if self.run_at is not None and self.furthest and self.run_at > datetime.now(UTC) + self.furthest:
            raise ValueError(f"run_at must be at most {self.furthest.days} days ahead (got {self.run_at.isoformat()})")
        if self.expires is not None:
            check_expires("expires", self.expires)

    @property
    def subject(self) -> str | None:
        """Return the owner as the ledger has it, which is the subject of the viewer who sees the job."""
        return as_subject(self.owner)

    @property
    def earliest(self) -> int | None:
        """Return the earliest start in microseconds."""
        return None if self.run_at is None else to_us(self.run_at)

    @property
    def ledger_priority(self) -> int | None:
        """Return the priority as the ledger has it: smaller goes first."""
        return None if self.priority is None else -self.priority

    def as_json(self) -> dict[str, Any]:
        """Return the options that an idempotency key covers; the key belongs to the owner."""
        # Without `expires` as ever: a key of an older release covers the same options.
        expires = {} if self.expires is None else {"expires": self.expires // MICROSECOND}
        return {"priority": self.priority, "runAt": self.earliest, **expires}


@dataclass(frozen=True, slots=True)
class DispatchOptions(Options):
    """The options of a job that another one dispatches, to any time. Without an owner it is the other one's."""

    furthest: ClassVar[timedelta | None] = None

    def encoded(self) -> dict[str, Any]:
        """Return the options as JSON, for `decoded`."""
        expires = None if self.expires is None else self.expires // MICROSECOND
        return {"owner": self.subject, "priority": self.priority, "run_at": self.earliest, "expires": expires}

    @classmethod
    def decoded(cls, given: Mapping[str, Any]) -> DispatchOptions:
        run_at, expires = given["run_at"], given["expires"]
        return cls(
            given["owner"],
            given["priority"],
            None if run_at is None else to_datetime(run_at),
            None if expires is None else expires * MICROSECOND,
        )


def check_type(name: str, value: object, type_: type, words: str) -> None:
    """Raise TypeError for a value of another type, and for True and False."""
    if not isinstance(value, type_) or isinstance(value, bool):
        raise TypeError(f"{name} must be {words} (got {type(value).__name__})")


def check_text(name: str, text: str | None, words: str = "a string") -> None:
    """Check an owner or a key. Raises TypeError and ValueError."""
    if text is not None:
        check_type(name, text, str, words)
    if text is not None and not (0 < len(text) <= MAX_LENGTH and is_plain(text)):
        raise ValueError(f"{name} must have 1 to {MAX_LENGTH} characters, none of them a control character")


NO_OPTIONS = DispatchOptions()
