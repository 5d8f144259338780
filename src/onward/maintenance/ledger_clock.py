"""The ledger's clock beside one of this machine that nobody sets: whether the ledger's was set."""

from __future__ import annotations

import time

from onward.storage.engine import Database
from onward.telemetry import logger

AHEAD_S = 600.0  # a clock that was set ahead by more may be wrong
DISTRUST_S = 3_600.0  # after which it counts as right


def since_boot_s() -> float:
    """Return the seconds since the machine's start, with those in which it slept, as `time.monotonic` may not."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class LedgerClock:
    """Compares the time that passes by both clocks from one look to the next."""

    def __init__(self) -> None:
        self._seen: tuple[int, float] | None = None
        self._trusted_at = 0.0

    def moved_s(self, now_us: int) -> float:
        """Return by how much the clock was set since the last look: ahead, or back if it is below 0."""
        before, self._seen = self._seen, (now_us, since_boot_s())
        return 0.0 if before is None else (now_us - before[0]) / 1_000_000 - (self._seen[1] - before[1])

    async def is_trusted(self, database: Database) -> bool:
        """Return whether old rows may be deleted: not for an hour after the clock was set ahead. Raises Unavailable.

        In this hour a wrong clock can be set right; then old rows may be deleted again.
        """
        moved_s = self.moved_s(await database.read(lambda tx: tx.now))
        if moved_s > AHEAD_S:
            self._trusted_at = since_boot_s() + DISTRUST_S
            logger("maintenance").warning(
                "the ledger's clock was set ahead, and may be wrong: nothing is deleted for an hour",
                seconds=round(moved_s),
            )
        elif moved_s < -AHEAD_S:
            self._trusted_at = 0.0
        return since_boot_s() >= self._trusted_at
