"""Uvicorn's WebSocket connections, with limits on frames."""

from __future__ import annotations

from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import CloseCode, Frame

from onward.api.fair_scheduler import FairScheduler
from onward.api.headers import joined
from onward.api.unread_answers import UnreadAnswers

MAX_FRAGMENTS = 1_000  # of one message; even empty ones use memory
READ_BYTES = 512  # read in one loop iteration: many tiny frames would keep everyone else waiting


class WebSocketConnection(WebSocketsSansIOProtocol):
    """Reads frames a few at a time, so that other connections get their turn. Refuses pings whose pongs pile up."""

    def __init__(self, *args: Any, scheduler: FairScheduler, unread: UnreadAnswers, **options: Any) -> None:
        super().__init__(*args, **options)
        self._scheduler = scheduler
        self._answers = unread
        self._unread = bytearray()

    def connection_lost(self, exc: Exception | None) -> None:
        self._answers.discard(self)
        super().connection_lost(exc)

    def abort(self) -> None:
        """Close at once: an `onward.api.unread_answers.Connection`."""
        self.transport.abort()

    def unread_bytes(self) -> int:
        return self.transport.get_write_buffer_size()

    def forwarded(self) -> bytes | None:
        """Return the X-Forwarded-For of the handshake."""
        return joined(self.scope["headers"], b"x-forwarded-for")

    def pause_writing(self) -> None:
        super().pause_writing()
        self._answers.add(self)

    def resume_writing(self) -> None:
        self._answers.discard(self)
        super().resume_writing()

    def data_received(self, data: bytes) -> None:
        if self._unread:
            self._unread += data
        elif len(data) <= READ_BYTES:
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
        data = bytes(self._unread[:READ_BYTES])
        del self._unread[:READ_BYTES]
        self._read(data)
        if self._unread:
            self.transport.pause_reading()
            self._scheduler.call(self._read_on)
        elif not (self.read_paused and self.queue.qsize()):
            self.read_paused = False
            self.transport.resume_reading()

    async def receive(self) -> Any:
        message = await self.queue.get()
        if self.read_paused and self.queue.empty() and not self._unread:
            self.read_paused = False
            self.transport.resume_reading()
        return message

    def keepalive_timeout(self) -> None:
        super().keepalive_timeout()
        if self.transport.get_write_buffer_size():
            self.transport.abort()  # a client that does not read would keep its answers here

    def handle_ping(self) -> None:
        if self.writable.is_set():
            super().handle_ping()
        else:
            self.transport.abort()  # the unread pongs would pile up, and a close frame behind them

    def handle_cont(self, event: Frame) -> None:
        if len(self.frames) < MAX_FRAGMENTS:
            super().handle_cont(event)
        else:
            self.conn.fail(CloseCode.POLICY_VIOLATION, "Too many fragments")
            self.handle_parser_exception()
