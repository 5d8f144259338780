"""Limits of open WebSockets and event streams, for the process and for each address."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from onward.api.addresses import UNKNOWN, is_loopback
from onward.api.base import HttpError


class ConnectionLimiter:
    """At most `most` in the process and `each` per address; 0 means no limit.

    The limit per address leaves out clients at a Unix socket, which may be all clients of a proxy, and with
    `exempt_loopback` those of loopback.
    """

    def __init__(self, most: int, each: int, *, exempt_loopback: bool = False) -> None:
        self._most = most
        self._each = each
        self._exempt_loopback = exempt_loopback
        self._open: Counter[str] = Counter()

    @contextmanager
    def one(self, address: str) -> Iterator[None]:
        """Count one more for as long as the block lasts."""
        self._open[address] += 1
        try:
            yield
        finally:
            self._open[address] -= 1
            if not self._open[address]:
                del self._open[address]

    def check(self, address: str) -> None:
        """Raise HttpError where one more would exceed a limit."""
        if self._most and self._open.total() >= self._most:
            raise HttpError(503, "Too many streams are open on this server.", "TOO_MANY_STREAMS")
        exempt = address == UNKNOWN or (self._exempt_loopback and is_loopback(address))
        if self._each and self._open[address] >= self._each and not exempt:
            raise HttpError(429, "Too many streams are open from this address.", "TOO_MANY_STREAMS")
