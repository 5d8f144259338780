"""A network between a page and its server that can be cut."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

READ_BYTES = 65_536


class Network:
    """Passes connections on to a port of this machine."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._passing = asyncio.Event()
        self._passing.set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._running: set[asyncio.Task[None]] = set()

    def silence(self) -> None:
        """Lose every byte from now on, without a word to either side."""
        self._passing.clear()

    def cut(self) -> None:
        """Close all connections, and pass new ones on."""
        for writer in self._writers:
            writer.transport.abort()
        self._passing.set()

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:  # the server is away
            writer.transport.abort()
            return
        self._writers |= {writer, there_writer}
        ways = (self._pass(reader, there_writer), self._pass(there_reader, writer))
        self._running |= (tasks := {asyncio.ensure_future(way) for way in ways})
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for one in (writer, there_writer):
            one.close()
            self._writers.discard(one)
        await asyncio.wait(tasks)
        self._running -= tasks

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(READ_BYTES):
                await self._passing.wait()
                writer.write(data)
                await writer.drain()

    def end(self) -> None:
        self.cut()
        for task in self._running:
            task.cancel()


@asynccontextmanager
async def network(target: int) -> AsyncIterator[tuple[Network, int]]:
    """Return a network that leads to that port, and its own port."""
    between = Network(target)
    server = await asyncio.start_server(between.accept, "127.0.0.1", 0)
    try:
        yield between, server.sockets[0].getsockname()[1]
    finally:
        server.close()
        between.end()
