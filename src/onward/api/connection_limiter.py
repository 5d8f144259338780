"""How many WebSockets and event streams are open at once, in this process and for one address."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from onward.api.addresses import is_loopback
from onward.graphql.base import BadRequest


class ConnectionLimiter:
    """At most `most` in all, and `each` an address; 0 is no limit. `free` is whether loopback is one of many."""

    def __init__(self, most: int, each: int, *, free: bool = False) -> None:
        self._most = most
        self._each = each
        self._free = free
        self._open: Counter[str] = Counter()

    @contextmanager
    def one(self, address: str) -> Iterator[None]:
        """It is counted for as long."""
        self._open[address] += 1
        try:
            yield
        finally:
            self._open[address] -= 1
            if not self._open[address]:
                del self._open[address]

    def check(self, address: str) -> None:
        """Raises BadRequest where one more would be too many."""
        if self._most and self._open.total() >= self._most:
            raise BadRequest(503, "This process holds as many streams as it may.", "TOO_MANY_STREAMS")
        if self._each and self._open[address] >= self._each and not (self._free and is_loopback(address)):
            raise BadRequest(429, "Too many streams are open from this address.", "TOO_MANY_STREAMS")
