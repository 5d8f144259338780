"""Ids that grow with time."""

from __future__ import annotations

import os
import threading

RANDOM_BYTES = 4_096  # asked of the system at once: each call lets another thread have the interpreter


class Ids:
    """Ids that grow: with the clock, and by one step within a millisecond or when the clock goes back."""

    def __init__(self) -> None:
        self._last = 0
        self._lock = threading.Lock()
        self._random = b""
        self._used = 0  # of the random bytes, none of which is used twice
        self._pid = 0  # the process that asked for them: a fork of it must not use the same ones

    def seen(self, ms: int) -> None:
        """Start later ids at this time or after it."""
        with self._lock:
            self._advance(ms)

    def next(self, prefix: str, ms: int) -> str:
        """An id such as `job_...`: 48 bits of milliseconds, 80 random ones."""
        with self._lock:
            if not self._advance(ms):
                self._last += 1 + self._bits(4)
            return f"{prefix}_{self._last:032x}"

    def _advance(self, ms: int) -> bool:
        later = ms > self._last >> 80
        if later:
            self._last = ms << 80 | self._bits(10) >> 1
        return later

    def _bits(self, size: int) -> int:
        """Return a random number of so many bytes."""
        begin, self._used = self._used, self._used + size
        if self._used > len(self._random) or os.getpid() != self._pid:
            self._random, self._pid = os.urandom(RANDOM_BYTES), os.getpid()
            begin, self._used = 0, size
        return int.from_bytes(self._random[begin : self._used], "big")
