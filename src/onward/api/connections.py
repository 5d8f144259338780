"""Uvicorn's connections, held to what it sets no limit to: heads, what waits, and frames at once."""

from __future__ import annotations

import asyncio
import json
import resource
from contextlib import suppress
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import CloseCode, Frame

from onward.api.fair_scheduler import FairScheduler

ALL_HERE: Any = {"onward.all_here": {}}  # of a request: who reads it need not look at the clock
PIPELINED = 100  # requests of one connection that wait for the answers before them
HEADER = 32  # bytes that a header counts for besides its own, as in HTTP/2 (RFC 9113, 6.5.2): many tiny ones are dear
PIECES = 5_000  # of one body: chunks of a byte are dear
FRAGMENTS = 1_000  # of one message; even empty ones take room
AT_ONCE = 512  # bytes of frames in one turn of the loop: many tiny ones would keep all others waiting
DESCRIPTORS = (65_536, 10_240)  # as many as a process takes, where it may; macOS names no limit and takes fewer
LINGER_S = 10.0  # how long, and for how many bytes, one whom we have refused may go on sending
LINGER_BYTES = 32_000_000
SPARE = 200  # file descriptors that connections leave to the ledger, its backends and the log


class IdleConnections:
    """The connections without a request, the longest first. Where all become too many, that one makes room.

    Among them are those of whom nothing more is read.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._without: dict[Http, None] = {}

    def add(self, connection: Http, open_: int) -> None:
        """It waits from now on, and may be closed; `open_` connections there are in all."""
        self._without[connection] = None
        if open_ > self._most:
            oldest = next(iter(self._without))
            self.discard(oldest)  # it is lost at the loop's next turn only, and more may come in this one
            oldest.transport.abort()

    def discard(self, connection: Http) -> None:
        self._without.pop(connection, None)


def room() -> int:
    """How many connections this process has descriptors for, now that it has taken as many as it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for most in DESCRIPTORS:
        wanted = most if hard == resource.RLIM_INFINITY else min(hard, most)
        if soft < wanted:
            with suppress(ValueError, OSError):
                resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
                soft = wanted
    return max(soft - SPARE, soft // 2)


class BufferedTransport:
    """A transport of which what is written in one turn of the loop leaves at once: Uvicorn writes head and body apart.

    Each system call saved is a twentieth of a mutation's time. Closed while a request is `unread`, it still takes what
    comes, and drops it: else the client, which sends on, would lose the answer (RFC 9112, 9.6).
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self.plain = transport
        self.unread = False
        self.lingers = False
        self._loop = loop
        self._pieces: list[bytes] = []
        self._dropped = 0
        self._late: asyncio.TimerHandle | None = None

    def write(self, data: bytes) -> None:
        if not self._pieces:
            self._loop.call_soon(self._flush)
        self._pieces.append(data)

    def close(self) -> None:
        """At once when it is called again."""
        self._flush()
        if not self.unread or self.is_closing() or not self.plain.can_write_eof():
            self.plain.close()
            return
        self.lingers = True
        self.plain.write_eof()
        if not self.plain.is_reading():
            self.plain.resume_reading()
        self._late = self._loop.call_later(LINGER_S, self.plain.abort)

    def is_closing(self) -> bool:
        return self.lingers or self.plain.is_closing()

    def drop(self, size: int) -> None:
        self._dropped += size
        if self._dropped > LINGER_BYTES:
            self.plain.abort()

    def lost(self) -> None:
        if self._late is not None:
            self._late.cancel()

    def _flush(self) -> None:
        if self._pieces and not self.plain.is_closing():  # which the client may have brought about meanwhile
            self.plain.write(b"".join(self._pieces))
        self._pieces.clear()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.plain, name)


class Http(HttpToolsProtocol):
    """A head has so many bytes and comes within so many seconds; else it is 431 or 408, and the connection ends."""

    def __init__(
        self, *args: Any, idle: IdleConnections, head_bytes: int, head_timeout_s: float, **options: Any
    ) -> None:
        super().__init__(*args, **options)
        self._waiting = idle
        self._most = head_bytes
        self._timeout_s = head_timeout_s
        self._late: asyncio.TimerHandle | None = None
        self._size = 0  # of the head so far, trailers included
        self._pieces = 0  # of the body so far
        self._silent = 0  # bytes that the parser has kept to itself: of a header, a chunk's extension
        self._told = False
        self._begun = False  # a head, since the last answer
        self._wrong = (400, "This is no HTTP request.", "BAD_REQUEST")

    transport: BufferedTransport  # type: ignore[assignment] # as far as Uvicorn uses it

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as Uvicorn has it
        super().connection_made(BufferedTransport(transport, self.loop))  # type: ignore[arg-type] # as far as it is used
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._have_head()
        self.transport.lost()
        super().connection_lost(exc)
        self._unset_keepalive_if_required()
        if self.pipeline:  # requests that wait, the newest of which is `cycle`: they and the connection know each other
            self.pipeline.clear()
            self.cycle = None  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        if self.transport.lingers:
            self.transport.drop(len(data))
            return
        self._told = False
        super().data_received(data)
        self._silent = 0 if self._told else self._silent + len(data)
        if self._silent > self._most and not self.transport.is_closing():
            self._end(431, "The head of this request is too large.", "TOO_LARGE")

    def on_message_begin(self) -> None:
        self._size = self._pieces = 0
        self._begun = self._told = self.transport.unread = True
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(len(name) + len(value) + HEADER)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        if len(self.pipeline) >= PIPELINED:
            self._wrong = (429, "Too many requests wait on this connection.", "RATE_LIMITED")
            raise ValueError
        super().on_headers_complete()
        self._have_head()

    def on_body(self, body: bytes) -> None:
        self._told = True
        self._pieces += 1
        if self._pieces > PIECES:
            self._wrong = (413, "This body comes in too many pieces.", "TOO_LARGE")
            raise ValueError
        super().on_body(body)

    def on_message_complete(self) -> None:
        self.transport.unread = False
        super().on_message_complete()
        if self.cycle is not None:  # else it has become a WebSocket
            self.scope["extensions"] = ALL_HERE

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.transport.lingers:
            self._waiting.add(self, len(self.connections))
        elif not self._is_answering() and not self.transport.is_closing():
            self._expect_head()

    def handle_websocket_upgrade(self) -> None:
        self._have_head()
        self.transport = self.transport.plain  # type: ignore[assignment] # WebSockets write whole
        super().handle_websocket_upgrade()
        self.parser = None  # type: ignore[assignment] # as when it is lost: they know each other

    def _should_upgrade(self) -> bool:
        # Not behind a request that is still being answered: that one would never learn that the client has gone.
        return not self._is_answering() and super()._should_upgrade()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - all that is refused is told in JSON
        self._end(*self._wrong)

    def _is_answering(self) -> bool:
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is not None and not cycle.response_complete

    def _count(self, size: int) -> None:
        self._told = True
        self._size += size
        if self._size > self._most:
            self._wrong = (431, "The head of this request is too large.", "TOO_LARGE")
            raise ValueError  # the parser stops, and `send_400_response` is called

    def _expect_head(self) -> None:
        self._have_head()
        self._begun = False
        self._late = self.loop.call_later(self._timeout_s, self._give_up)
        self._waiting.add(self, len(self.connections))

    def _have_head(self) -> None:
        self._waiting.discard(self)
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _give_up(self) -> None:
        if not self.transport.is_closing():
            if self._begun:
                self._end(408, "The head of this request took too long to come.", "TIMEOUT")
            else:
                self.transport.close()

    def _end(self, status: int, message: str, code: str) -> None:
        """The connection ends, with this answer where one can be given; a request before it gets its own first."""
        if self._is_answering():
            if not self.cycle.more_body:
                self.cycle.keep_alive = False
                return
            if self.cycle.response_started:
                self.transport.close()
                return
        body = json.dumps({"errors": [{"message": message, "extensions": {"code": code}}]}).encode()
        head = b"content-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n" % len(body)
        self.transport.write(STATUS_LINE[status] + head + body)
        self.transport.unread = True  # even what has not begun to be a request
        self.transport.close()
        self._waiting.add(self, len(self.connections))


class WebSockets(WebSocketsSansIOProtocol):
    """Frames are read a little at a time, so that others get their turn; who pings has to take the pongs."""

    def __init__(self, *args: Any, turns: FairScheduler, **options: Any) -> None:
        super().__init__(*args, **options)
        self._turns = turns
        self._unread = bytearray()

    def data_received(self, data: bytes) -> None:
        if self._unread:
            self._unread += data
        elif len(data) <= AT_ONCE:
            self._read(data)
        else:
            self._unread += data
            self._read_on()

    def _read(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.handshake_exc is not None and not self.transport.is_closing():
            self.transport.write(b"".join(self.conn.data_to_send()))  # Uvicorn leaves it, and the client, waiting
            self.transport.close()

    def _read_on(self) -> None:
        if self.transport.is_closing():
            self._unread.clear()
            return
        data = bytes(self._unread[:AT_ONCE])
        del self._unread[:AT_ONCE]
        self._read(data)
        if self._unread:
            self.transport.pause_reading()
            self._turns.call(self._read_on)
        elif not (self.read_paused and self.queue.qsize()):
            self.read_paused = False
            self.transport.resume_reading()

    async def receive(self) -> Any:
        message = await self.queue.get()
        if self.read_paused and self.queue.empty() and not self._unread:
            self.read_paused = False
            self.transport.resume_reading()
        return message

    def handle_ping(self) -> None:
        if self.writable.is_set():
            super().handle_ping()
        else:
            self.transport.abort()  # what is not taken would pile up, and a word of farewell with it

    def handle_cont(self, event: Frame) -> None:
        if len(self.frames) < FRAGMENTS:
            super().handle_cont(event)
        else:
            self.conn.fail(CloseCode.POLICY_VIOLATION, "Too many fragments")
            self.handle_parser_exception()
