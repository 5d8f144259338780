"""The choices of a schedule; apart, so that the command line loads nothing else for them."""

from __future__ import annotations

from enum import StrEnum


class ScheduleOverlap(StrEnum):
    """The choice at a tick whose last job is not over."""

    ALLOW = "ALLOW"
    SKIP = "SKIP"
    CANCEL_LAST = "CANCEL_LAST"


class ScheduleMissed(StrEnum):
    """The choice about ticks at which no process ran."""

    SKIP = "SKIP"
    RUN_ONCE = "RUN_ONCE"
