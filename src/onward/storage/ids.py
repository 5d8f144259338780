"""Ids that grow with time."""

from __future__ import annotations

import secrets
import threading


class Ids:
    """Ids that grow: with the clock, and by one step within a millisecond or when the clock goes back."""

    def __init__(self) -> None:
        self._last = 0
        self._lock = threading.Lock()

    def seen(self, ms: int) -> None:
        """Start later ids at this time or after it."""
        with self._lock:
            self._advance(ms)

    def next(self, prefix: str, ms: int) -> str:
        """An id such as `job_...`: 48 bits of milliseconds, 80 random ones."""
        with self._lock:
            if not self._advance(ms):
                self._last += 1 + secrets.randbits(32)
            return f"{prefix}_{self._last:032x}"

    def _advance(self, ms: int) -> bool:
        later = ms > self._last >> 80
        if later:
            self._last = ms << 80 | secrets.randbits(79)
        return later
