"""Recycling: a worker process that has done its share asks its supervisor for a replacement.

It works on until the replacement is up, and is stopped by the supervisor then, as at a deploy. So no moment is without
a worker; and one whose replacement does not come up goes on.
"""

from __future__ import annotations

from collections.abc import Callable

from onward.telemetry.memory import resident_bytes

MEGABYTE = 1_000_000


class Recycling:
    """Limits after which a process is replaced: jobs done, or resident memory; 0 is no limit."""

    def __init__(self, *, after_jobs: int, above_mb: int, jobs: Callable[[], int]) -> None:
        self._after_jobs = after_jobs
        self._above_mb = above_mb
        self._jobs = jobs

    def reason(self) -> str | None:
        """Return the reason why the process is to be replaced; None if it is not."""
        if self._after_jobs and (jobs := self._jobs()) >= self._after_jobs:
            return f"it has run {jobs} jobs"
        if self._above_mb and (used := resident_bytes()) > self._above_mb * MEGABYTE:
            return f"it uses {used // MEGABYTE} MB"
        return None
