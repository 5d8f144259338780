"""Uvicorn's HTTP connections, with limits on heads, on pipelined requests and on bodies in pieces."""

from __future__ import annotations

import asyncio
import json
from contextvars import Context
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from onward.api.headers import joined
from onward.api.idle_connections import IdleConnections
from onward.api.transport import BufferedTransport
from onward.api.unread_answers import UnreadAnswers

BODY_COMPLETE = "onward.body_complete"  # an extension in a request's scope: its body can be read without a timeout
CONNECTION = "onward.connection"  # likewise: the transport, whose `is_closing` says that nobody waits for the answer
MAX_PIPELINED = 100  # requests of one connection that wait for earlier answers
HEADER_OVERHEAD = 32  # bytes that a header counts beside its own, as in HTTP/2 (RFC 9113, 6.5.2)
MAX_PIECES = 5_000  # of one body: chunks of a byte are expensive


class HttpConnection(HttpToolsProtocol):
    """A connection whose heads are bounded in bytes and seconds; beyond them it answers 431 or 408 and closes.

    Fields behind a chunked body (trailers) are counted and dropped: merged into the head they would pass for headers
    that a proxy has set or checked (RFC 9110, 6.5.1).
    """

    def __init__(
        self,
        *args: Any,
        idle: IdleConnections,
        unread: UnreadAnswers,
        head_bytes: int,
        head_timeout_s: float,
        **options: Any,
    ) -> None:
        super().__init__(*args, **options)
        self._idle = idle
        self._unread = unread
        self._most = head_bytes
        self._timeout_s = head_timeout_s
        self._timeout: asyncio.TimerHandle | None = None
        self._size = 0  # of the head so far, trailers included
        self._pieces = 0  # of the body so far
        self._silent = 0  # bytes that the parser has not reported yet: of a header, a chunk's extension
        self._reported = False
        self._head_received = False  # a head, since the last answer
        self._in_head = False
        self._error = (400, "This is not an HTTP request.", "BAD_REQUEST")
        self._answered: RequestResponseCycle | None = None  # the request whose answer is being made, or the last one
        self._context = Context()  # of a timer that is set for each request: the present one would be copied

    transport: BufferedTransport  # type: ignore[assignment] # as far as Uvicorn uses it

    def abort(self) -> None:
        """Close at once: an `onward.api.idle_connections.Connection`."""
        self.transport.abort()

    def unread_bytes(self) -> int:
        """Return the bytes of answers that are kept for the client: an `onward.api.unread_answers.Connection`."""
        return self.transport.plain.get_write_buffer_size()

    def forwarded(self) -> bytes | None:
        """Return the X-Forwarded-For of the request that is being answered."""
        return None if self._answered is None else joined(self._answered.scope["headers"], b"x-forwarded-for")

    def pause_writing(self) -> None:
        super().pause_writing()
        self._unread.add(self)

    def resume_writing(self) -> None:
        self._unread.discard(self)
        super().resume_writing()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as Uvicorn has it
        buffered: Any = BufferedTransport(transport, self.loop)
        super().connection_made(buffered)
        self._extensions = {BODY_COMPLETE: {}, CONNECTION: buffered}
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._have_head()
        self._unread.discard(self)
        self.transport.lost()
        super().connection_lost(exc)
        self._unset_keepalive_if_required()
        if self._answered is not None and not self._answered.response_complete:  # `cycle` is the newest request
            self._answered.disconnected = True
            self._answered.message_event.set()
        self._answered = None
        if self.pipeline:  # requests that wait, the newest of which is `cycle`: they and the connection know each other
            self.pipeline.clear()
            self.cycle = None  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        if self.transport.lingers:
            self.transport.drop(len(data))
            return
        self._reported = False
        super().data_received(data)
        self._silent = 0 if self._reported else self._silent + len(data)
        if self._silent > self._most and not self.transport.is_closing():
            self._end(431, "The head of this request is too large.", "TOO_LARGE")

    def on_message_begin(self) -> None:
        self._size = self._pieces = 0
        self._head_received = self._reported = self._in_head = self.transport.unread = True
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(len(name) + len(value) + HEADER_OVERHEAD)
        if self._in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._in_head = False
        if len(self.pipeline) >= MAX_PIPELINED:
            self._error = (429, "Too many requests wait on this connection.", "RATE_LIMITED")
            raise ValueError
        super().on_headers_complete()
        self._have_head()

    def on_body(self, body: bytes) -> None:
        self._reported = True
        self._pieces += 1
        if self._pieces > MAX_PIECES:
            self._error = (413, "This body comes in too many pieces.", "TOO_LARGE")
            raise ValueError
        super().on_body(body)

    def on_message_complete(self) -> None:
        self.transport.unread = False
        super().on_message_complete()
        if self.cycle is not None:  # else it has become a WebSocket
            self.scope["extensions"] = self._extensions

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._answered = cycle
        super()._start_asgi_task(cycle, app)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.transport.lingers:
            self._idle.add(self, len(self.connections))
        elif not self._is_answering() and not self.transport.is_closing():
            self._expect_head()

    def handle_websocket_upgrade(self) -> None:
        self._have_head()
        self._unread.discard(self)
        self.transport = self.transport.plain  # type: ignore[assignment] # WebSockets write whole frames
        super().handle_websocket_upgrade()
        self.parser = None  # type: ignore[assignment] # as when it is lost: they know each other

    def _should_upgrade(self) -> bool:
        # Never after a request that is still being answered, which would not notice that its client has gone.
        return not self._is_answering() and super()._should_upgrade()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - every refusal is JSON
        self._end(*self._error)

    def shutdown(self) -> None:
        super().shutdown()
        if self.transport.lingers:  # a request that has not arrived yet will not be answered
            self.transport.close_now()

    def _is_answering(self) -> bool:
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is not None and not cycle.response_complete

    def _count(self, size: int) -> None:
        self._reported = True
        self._size += size
        if self._size > self._most:
            self._error = (431, "The head of this request is too large.", "TOO_LARGE")
            raise ValueError  # the parser stops, and `send_400_response` is called

    def _expect_head(self) -> None:
        self._have_head()
        self._head_received = False
        self._timeout = self.loop.call_later(self._timeout_s, self._head_timed_out, context=self._context)
        self._idle.add(self, len(self.connections))

    def _have_head(self) -> None:
        self._idle.discard(self)
        if self._timeout is not None:
            self._timeout.cancel()
            self._timeout = None

    def _head_timed_out(self) -> None:
        if not self.transport.is_closing():
            if self._head_received:
                self._end(408, "The head of this request took too long to arrive.", "TIMEOUT")
            else:
                self.transport.close()

    def _end(self, status: int, message: str, code: str) -> None:
        """Close the connection, with this answer where one can be given, after the answer to an earlier request."""
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
        self.transport.unread = True  # also for data that is not a request at all
        self.transport.close()
        self._idle.add(self, len(self.connections))
