"""The observation of other processes: which of them are dead.

No two clocks are compared. A process is dead when its counter has stood still for `lease_timeout_s` of the observer's
own monotonic clock, counting only time in which the observer itself could write to the ledger. Of a neighbour in the
same pid namespace more is known: it is dead at once if its process is gone, and never for a counter that stands still,
unless the process has been stopped (SIGSTOP).
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import NamedTuple

from onward.jobs.places import is_alive, is_gone
from onward.jobs.timings import Timings


class Heartbeat(NamedTuple):
    """A runner's counter, and the place of its process."""

    runner: str
    beat: int
    place: str


class Observer:
    """The heartbeats that one process has seen of the others."""

    def __init__(self, place: str, timings: Timings) -> None:
        self._place = place
        self._timings = timings
        self._still: dict[str, tuple[int, float]] = {}  # by runner: its counter, and the seconds it has stood still
        self._observed_at = 0.0
        self.stalled: set[str] = set()  # silent, and their process exists: they keep their jobs, and cannot lead

    def observe(self, others: Iterable[Heartbeat]) -> list[Heartbeat]:
        """Look at the counters of the others, just read, and return those that are dead."""
        now = time.monotonic()
        # A long pause was the observer's, or the ledger's: it says nothing about the others.
        passed_s = min(now - self._observed_at, 1.5 * self._timings.heartbeat_s) if self._observed_at else 0.0
        self._observed_at = now
        before, self._still = self._still, {}
        dead, stalled = [], set()
        for other in others:
            beat, still_s = before.get(other.runner, (other.beat, 0.0))
            still_s = still_s + passed_s if beat == other.beat else 0.0
            self._still[other.runner] = (other.beat, still_s)
            lapsed = still_s >= self._timings.lease_timeout_s
            if is_gone(other.place, self._place) or (lapsed and not is_alive(other.place, self._place)):
                dead.append(other)
            elif lapsed:
                stalled.add(other.runner)
        self.stalled = stalled
        return dead
