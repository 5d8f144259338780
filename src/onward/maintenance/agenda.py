"""The time at which a service has to read the ledger again: when it has changed, or when something is due."""

from __future__ import annotations

import math
import time

from onward.jobs.timings import Timings
from onward.storage.engine import Database
from onward.storage.revision import Revision


class Agenda:
    """The time of a service's next read. A read without a `schedule` after it is due again at once."""

    def __init__(self, database: Database, timings: Timings) -> None:
        self._revision = Revision(database, timings.recheck_s)
        self._latest_s = timings.tick_interval_s
        self._due_at = 0.0

    def is_due(self) -> bool:
        """True if the ledger has to be read: it may have changed, or something is due."""
        if not self._revision.has_changed() and time.monotonic() < self._due_at:
            return False
        self._due_at = 0.0
        return True

    def schedule(self, due_s: float | None) -> None:
        """Set the next read to a change, or to so many seconds from now; None if nothing is due without a change."""
        self._due_at = math.inf if due_s is None else time.monotonic() + due_s

    def forget(self) -> None:
        """Have the ledger read at the next look."""
        self._due_at = 0.0

    @property
    def pause_s(self) -> float:
        """Seconds until the next look at the agenda."""
        if not self._due_at:
            return self._latest_s
        return max(min(self._latest_s, self._due_at - time.monotonic()), 0.0)
