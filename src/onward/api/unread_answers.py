"""The bytes of answers that clients have not read yet, bounded for the process."""

from __future__ import annotations

from collections import Counter
from typing import Protocol

from onward.api.addresses import Addresses


class Connection(Protocol):
    """A connection whose client reads its answers more slowly than they are written."""

    client: tuple[str, int] | None

    def unread_bytes(self) -> int: ...

    def abort(self) -> None: ...


class UnreadAnswers:
    """Connections with unread answers, the longest waiting first. Closes some where all of them exceed the limit.

    The address with the most unread bytes loses its longest waiting connection: a client that reads a byte now and then
    would keep its answers in memory for ever, and the kernel would take it for a slow one.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._waiting: dict[Connection, str] = {}
        self._addresses = Addresses()

    def add(self, connection: Connection) -> None:
        """Note that the client is behind. Connections are closed here, perhaps this one."""
        self._waiting[connection] = self._addresses.of(connection.client, None)
        sizes = {one: one.unread_bytes() for one in self._waiting}
        if sum(sizes.values()) <= self._most:
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

    def discard(self, connection: Connection) -> None:
        """Note that the client has read its answers, or has gone. May be called twice."""
        self._waiting.pop(connection, None)
