"""A TCP proxy between the program and a server, which cuts, delays and swallows what passes through it."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from enum import Enum, auto

from tests.servers import free_port
from tests.system.faults.loop import Loop, stop_listening


class Mode(Enum):
    """The treatment of bytes and connections."""

    PASS = auto()
    REFUSE = auto()  # nobody listens
    ACCEPT_ONLY = auto()  # connections are taken, nothing is passed on
    SWALLOW = auto()  # requests go through, replies do not
    DELAY = auto()  # everything takes `delay_s` longer
    CUT = auto()  # a connection is cut at its next reply, which is lost


class Proxy:
    """A proxy on a port of its own; its mode may be changed at any time."""

    def __init__(self, loop: Loop, upstream: int) -> None:
        self.port = free_port()
        self.delay_s = 0.5
        self.mode = Mode.PASS
        self._loop = loop
        self._upstream = upstream
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._loop.call(self._listen())

    def set(self, mode: Mode) -> None:
        """Set the mode. A connection that has lost any bytes stays deaf, so that its user waits."""
        self._loop.call(self._set(mode))

    def cut(self) -> None:
        """Break off every open connection."""
        self._loop.call(self._cut())

    def close(self) -> None:
        self._loop.call(self._close())

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)

    async def _close(self) -> None:
        if self._server is not None:
            closing, self._server = self._server, None
            await stop_listening(closing)
        await self._cut()

    async def _set(self, mode: Mode) -> None:
        self.mode = mode
        if mode is Mode.REFUSE:
            await self._close()
        elif self._server is None:
            await self._listen()

    async def _cut(self) -> None:
        for writer in list(self._writers):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        there: asyncio.StreamWriter | None = None
        try:
            if self.mode is Mode.ACCEPT_ONLY:
                await reader.read(-1)
                return
            back, there = await asyncio.open_connection("127.0.0.1", self._upstream)
            self._writers.add(there)
            ways = [
                asyncio.ensure_future(self._pass(reader, there, lambda: self.mode is Mode.ACCEPT_ONLY)),
                asyncio.ensure_future(self._pass(back, writer, self._loses_reply)),
            ]
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
        except OSError:
            pass
        finally:
            for one in (writer, there):
                if one is not None:
                    self._writers.discard(one)
                    one.transport.abort()

    def _loses_reply(self) -> bool:
        if self.mode is Mode.CUT:
            raise ConnectionAbortedError
        return self.mode in (Mode.SWALLOW, Mode.ACCEPT_ONLY)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, lost: Callable[[], bool]) -> None:
        deaf = False
        with suppress(OSError):
            while data := await reader.read(65536):
                if self.mode is Mode.DELAY:
                    await asyncio.sleep(self.delay_s)
                deaf = deaf or lost()  # TCP has no gaps: behind one nothing comes through
                if not deaf:
                    writer.write(data)
                    await writer.drain()
