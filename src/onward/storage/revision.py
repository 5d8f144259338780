"""A cheap check of whether the ledger has changed, for readers that poll it."""

from __future__ import annotations

from time import monotonic

from onward.storage.engine import Database


class Revision:
    """The state of the ledger at the last look."""

    def __init__(self, database: Database, recheck_s: float) -> None:
        self._database = database
        self._recheck_s = recheck_s
        self._seen: int | None = None
        self._recheck_at = 0.0

    def has_changed(self) -> bool:
        """Return whether the ledger may have changed since the last True; always True after `recheck_s`."""
        found, now = self._database.revision(), monotonic()
        if found is not None and found == self._seen and now < self._recheck_at:
            return False
        self._seen, self._recheck_at = found, now + self._recheck_s
        return True

    def forget(self) -> None:
        """Report a change at the next check, because the read after the last one failed."""
        self._seen = None
