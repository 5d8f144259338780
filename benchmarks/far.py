"""A proxy that lets a TCP server seem far away: bytes arrive later, in both directions."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.system.faults.loop import Loop, stop_listening


class _End(asyncio.Protocol):
    """One end of a passed connection. What it reads is written to the other end, in order, `delay_s` later."""

    def __init__(self, delay_s: float, other: _End | None = None) -> None:
        self.delay_s = delay_s
        self.other = other
        self._late: deque[bytes] = deque()
        self.transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self._late.append(data)
        asyncio.get_running_loop().call_later(self.delay_s, self._pass_on)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - either way the other end closes
        if self.other is not None and self.other.transport is not None:
            self.other.transport.close()

    def _pass_on(self) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.write(self._late.popleft())


class _Near(_End):
    """The end of the program; it opens the connection to the server."""

    def __init__(self, delay_s: float, port: int) -> None:
        super().__init__(delay_s)
        self._port = port

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        transport.pause_reading()
        self._opening = asyncio.ensure_future(self._open())

    async def _open(self) -> None:
        far = self.other = _End(self.delay_s, self)
        await asyncio.get_running_loop().create_connection(lambda: far, "127.0.0.1", self._port)
        self.transport.resume_reading()


@contextmanager
def far_away(port: int, round_trip_ms: float) -> Iterator[int]:
    """Listen on a port that leads to another one of this machine, each way half the time longer; yield it."""

    async def listen() -> asyncio.Server:
        loop = asyncio.get_running_loop()
        return await loop.create_server(lambda: _Near(round_trip_ms / 2_000, port), "127.0.0.1", 0)

    with Loop() as loop:
        server = loop.call(listen())
        yield server.sockets[0].getsockname()[1]
        loop.call(stop_listening(server))
