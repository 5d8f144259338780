"""Tells the log about an outage of the ledger, without a line for each refused write."""

from __future__ import annotations

import time

from onward.telemetry import logger

LOG_EVERY_S = 10.0


class Outage:
    """Logs the first refused writes at once, then their number every ten seconds, and the end."""

    def __init__(self) -> None:
        self._log = logger("ledger")
        self._refused = 0  # since the last line
        self._total = 0
        self._logged_at = -LOG_EVERY_S

    def refused(self, error: BaseException, requests: int) -> None:
        """Count requests that were refused for the error."""
        first, now = not self._total, time.monotonic()
        self._refused += requests
        self._total += requests
        if first or now - self._logged_at >= LOG_EVERY_S:
            self._log.warning("ledger not written", error=str(error), requests=self._refused)
            self._refused, self._logged_at = 0, now

    def over(self) -> None:
        """A write has succeeded."""
        if self._total:
            self._log.info("ledger written again", refused=self._total)
            self._refused = self._total = 0
