"""The bytes of answers that clients have not read yet, bounded for the process."""

from __future__ import annotations

from collections import Counter
from typing import Protocol

from onward.api.addresses import Addresses


class Connection(Protocol):
    """A connection whose client reads its answers more slowly than they are written."""

    client: tuple[str, int] | None

    def forwarded(self) -> bytes | None: ...

    def unread_bytes(self) -> int: ...

    def abort(self) -> None: ...


class UnreadAnswers:
    """Connections with unread answers, the longest waiting first. Closes some where all of them exceed the limit.

    The address with the most unread bytes loses its longest waiting connection: a client that reads a byte now and then
    would keep its answers in memory for ever, and the kernel would take it for a slow one.
    """

    def __init__(self, most: int, addresses: Addresses) -> None:
        self._most = most
        self._addresses = addresses
        self._waiting: dict[Connection, str] = {}
        self._bytes = 0  # at the last count, and of those that were added since
        self._added = 0  # connections, since the last count

    def add(self, connection: Connection) -> None:
        """Note that the client is behind. Connections are closed here, perhaps this one."""
        self._waiting[connection] = self._addresses.of(connection.client, connection.forwarded())
        self._bytes += connection.unread_bytes()
        self._added += 1
        if self._bytes <= self._most and self._added < len(self._waiting):
            return  # a count at each call would take a time that grows with those that wait
        sizes = {one: one.unread_bytes() for one in self._waiting}
        self._bytes, self._added = sum(sizes.values()), 0
        if self._bytes <= self._most:
            return
        held = Counter[str]()
        for one, address in self._waiting.items():
            held[address] += sizes[one]
        while held.total() > self._most:
            [(greediest, _)] = held.most_common(1)
            longest = next(one for one, address in self._waiting.items() if address == greediest)
            held[greediest] -= sizes[longest]
            self.discard(longest)
            longest.abort()
        self._bytes = held.total()

    def discard(self, connection: Connection) -> None:
        """Note that the client has read its answers, or has gone. May be called twice."""
        self._waiting.pop(connection, None)
