"""The outcome of an attempt, as data."""

from __future__ import annotations

from dataclasses import dataclass

from onward.jobs.model import JobError
from onward.jobs.states import JobStatus


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt ended: the state that it leads to, and what is recorded with it."""

    status: JobStatus  # SUCCEEDED, FAILED, CANCELLED, RETRYING (after `delay_us`) or QUEUED (handed back)
    result: object = None
    error: JobError | None = None
    counts_as_attempt: bool = True
    delay_us: int = 0
    crashed: bool = False
