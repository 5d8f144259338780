"""The number of open connections, bounded by the process's file descriptors."""

from __future__ import annotations

import resource
from contextlib import suppress
from typing import Protocol

WANTED_DESCRIPTORS = (65_536, 10_240)  # the second for macOS, which names no limit and grants fewer
RESERVED_DESCRIPTORS = 200  # for the ledger, its backends and the log


class Connection(Protocol):
    """A connection that can be closed at once."""

    def abort(self) -> None: ...


class IdleConnections:
    """Connections without a request, oldest first. Closes the oldest one where all together exceed the limit.

    Connections that were refused and are still being read to their end belong to them.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._idle: dict[Connection, None] = {}

    def add(self, connection: Connection, open_connections: int) -> None:
        """Mark the connection as idle; it may be closed from now on."""
        self._idle[connection] = None
        if open_connections > self._most:
            oldest = next(iter(self._idle))
            self.discard(oldest)  # it closes in the loop's next iteration, and more may arrive in this one
            oldest.abort()

    def discard(self, connection: Connection) -> None:
        """Mark the connection as busy or closed. May be called twice."""
        self._idle.pop(connection, None)


def connection_capacity() -> int:
    """Raise the limit of file descriptors as far as allowed; return the number of connections that fit in it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for most in WANTED_DESCRIPTORS:
        wanted = most if hard == resource.RLIM_INFINITY else min(hard, most)
        if soft < wanted:
            with suppress(ValueError, OSError):
                resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
                soft = wanted
    return max(soft - RESERVED_DESCRIPTORS, soft // 2)
