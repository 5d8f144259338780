"""A mail server that can be away, slow, or break off in the middle of a message."""

import asyncio
import re
from collections import Counter
from contextlib import suppress
from enum import Enum, auto

from tests.servers import free_port
from tests.system.faults.loop import Loop, stop_listening

MESSAGE_ID = re.compile(rb"^message-id:\s*<([^@>]+)@", re.IGNORECASE | re.MULTILINE)


class Manner(Enum):
    """The server's behaviour towards clients."""

    TAKE = auto()
    DROP = auto()  # breaks off in the middle of a message
    FORGET = auto()  # keeps the message, and breaks off before it says so
    SLOW = auto()  # a second for each answer


class Mailbox:
    """The server; `messages` counts the kept messages, by the part of the Message-ID that is the job's."""

    def __init__(self, loop: Loop) -> None:
        self.port = free_port()
        self.manner = Manner.TAKE
        self.messages: Counter[str] = Counter()
        self.broken_off = 0
        self._loop = loop
        self._server: asyncio.Server | None = None
        self.open()

    def open(self) -> None:
        self._loop.call(self._listen())

    def close(self) -> None:
        """Stop listening."""
        self._loop.call(self._deafen())

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, limit=1_000_000)

    async def _deafen(self) -> None:
        if self._server is not None:
            closing, self._server = self._server, None
            await stop_listening(closing)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
                await self._say(writer, "220 harness")
                while line := await reader.readline():
                    match line[:4].upper().strip():
                        case b"DATA":
                            await self._say(writer, "354 go on")
                            if not await self._take(reader):
                                self.broken_off += 1
                                return
                            await self._say(writer, "250 kept")
                        case b"QUIT":
                            await self._say(writer, "221 bye")
                            return
                        case _:
                            await self._say(writer, "250 fine")
        finally:
            writer.transport.abort()

    async def _say(self, writer: asyncio.StreamWriter, words: str) -> None:
        if self.manner is Manner.SLOW:
            await asyncio.sleep(1.0)
        writer.write(f"{words}\r\n".encode())
        await writer.drain()

    async def _take(self, reader: asyncio.StreamReader) -> bool:
        """True if the message was stored and may be acknowledged."""
        if self.manner is Manner.DROP:
            await reader.readline()
            return False
        message = await reader.readuntil(b"\r\n.\r\n")
        found = MESSAGE_ID.search(message)
        if found:
            self.messages[found[1].decode()] += 1
        return self.manner is not Manner.FORGET
