"""One WebSocket of graphql-transport-ws: github.com/enisdenjo/graphql-ws/blob/master/PROTOCOL.md.

The protocol is one state machine over one connection, so it stays in one class; its messages are read in ws_messages.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import orjson
from starlette.requests import HTTPConnection
from starlette.types import Receive, Scope, Send

from onward.api.addresses import UNKNOWN
from onward.api.base import Disconnected, HttpError, close_reason
from onward.api.headers import check_host
from onward.api.operation_task import OperationTask
from onward.api.rates import TooManyRequests
from onward.api.request_gate import CROSS_SITE, RequestGate
from onward.api.session import Session
from onward.api.viewers import InvalidViewer, Unidentified
from onward.api.ws_messages import PROTOCOL, Closing, decode, id_of
from onward.graphql.base import SIGN_IN, BadRequest
from onward.graphql.context import Services
from onward.graphql.execution.requests import read

TOO_MANY = {"message": "Too many operations at once on this socket.", "extensions": {"code": "TOO_MANY_OPERATIONS"}}
ANSWERS_AT_ONCE = 3  # of one socket, that are built or wait to be sent


class Socket:
    """A connection, from its handshake to its end."""

    def __init__(self, gate: RequestGate, services: Services, scope: Scope, receive: Receive, send: Send) -> None:
        self._gate = gate
        self._services = services
        self._limits = gate.operations.limits
        self._scope = scope
        self._receive = receive
        self._raw_send = send
        self._loop = asyncio.get_running_loop()
        self._last_request = self._loop.time()
        self._address = UNKNOWN
        self._session: Session | None = None
        self._initialised = False
        self._closed = False
        self._ends = False  # the server stops
        self._waiting: asyncio.Timeout | None = None  # for the next message
        self._operations: dict[str, OperationTask] = {}
        self._slots = asyncio.Semaphore(ANSWERS_AT_ONCE)
        self._finishing: set[asyncio.Task[None]] = set()  # operations whose responses are no longer sent
        self._ending: set[asyncio.Task[None]] = set()  # the last messages of operations, and pings, being sent

    def end(self) -> None:
        """Close soon, as a server that restarts. May be called twice, and at any time."""
        self._ends = True
        if self._waiting is not None:
            with suppress(RuntimeError):  # it has just timed out
                self._waiting.reschedule(self._loop.time())

    async def serve(self, headers: dict[bytes, bytes]) -> None:
        """Serve the connection until it closes; mutations that have begun are finished."""
        await self._receive()  # websocket.connect
        self._address = self._gate.addresses.of(self._scope.get("client"), headers.get(b"x-forwarded-for"))
        limiter, host = self._gate.connection_limiter, headers.get(b"host")
        try:
            check_host([] if host is None else [host], self._gate.hosts)
            if not self._gate.origins.allows(headers.get(b"origin"), host):
                await self._close(Closing(4403, CROSS_SITE.rstrip(".")))
                return
            limiter.check(self._address)
        except HttpError as error:
            await self._refuse(error)
            return
        with limiter.one(self._address):
            await self._accepted()

    async def _refuse(self, error: HttpError) -> None:
        """Answer the handshake like any other request."""
        if "websocket.http.response" not in self._scope.get("extensions", {}):
            await self._raw_send({"type": "websocket.close"})
            return
        headers = [(b"content-type", b"application/json")]
        start = {"type": "websocket.http.response.start", "status": error.status, "headers": headers}
        await self._raw_send(start)
        body = orjson.dumps({"errors": [error.formatted]})
        await self._raw_send({"type": "websocket.http.response.body", "body": body})

    async def _accepted(self) -> None:
        spoken = PROTOCOL in self._scope.get("subprotocols", ())
        await self._raw_send({"type": "websocket.accept", "subprotocol": PROTOCOL if spoken else None})
        if not spoken:
            await self._close(Closing(4406, "Subprotocol not acceptable"))
            return
        try:
            await self._read_messages()
        except Closing as closing:
            await self._close(closing)
        except (Disconnected, OSError):
            pass
        finally:
            self._closed = True
            if self._session is not None:
                self._session.close()
            await self._gate.scheduler.turn()
            await self._finish()

    async def _read_messages(self) -> None:
        while not self._ends:
            try:
                async with self._limit() as self._waiting:
                    received = await self._receive()
            except TimeoutError:
                if not self._ends:
                    self._check_deadline()
                continue
            finally:
                self._waiting = None
            if received["type"] == "websocket.disconnect":
                raise Disconnected
            # Also where messages come so fast that nothing is waited for:
            self._check_session()
            if self._session is None and self._loop.time() >= self._last_request + self._limits.init_timeout_s:
                self._check_deadline()
            await self._handle(decode(received.get("text"), self._limits))
            await self._gate.scheduler.turn()  # a flood waits for others after each of its messages
        raise Closing(1012, "The server restarts")

    def _limit(self) -> asyncio.Timeout:
        """The time limit for the arrival of the next message."""
        if self._session is None:
            return asyncio.timeout_at(self._last_request + self._limits.init_timeout_s)
        return self._session.limit(self._last_request + self._limits.idle_timeout_s)

    def _check_deadline(self) -> None:
        """Raise Closing, unless the socket is silent only because it waits for events."""
        if self._session is None:
            raise Closing(4408, "Connection initialisation timeout")
        self._check_session()
        if self._loop.time() - self._last_request >= self._limits.idle_timeout_s:
            if not self._operations:
                raise Closing(1000, "No operation was started for a while")
            self._last_request = self._loop.time()
            self._ping()

    def _ping(self) -> None:
        """Send a ping, by which a connection whose other end has gone without a word breaks off in a while.

        Not all servers send pings of their own, and a subscription without events sends nothing else.
        """
        if not self._ending:  # else something is being sent, or waits for the client to read
            task = asyncio.create_task(self._send_ping())
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)

    async def _send_ping(self) -> None:
        with suppress(Disconnected, OSError):
            await self._send({"type": "ping"})

    def _check_session(self) -> None:
        """Raise Closing if the session is over."""
        if self._session is not None and self._session.is_over():
            raise _closing(self._session.error())

    async def _handle(self, message: dict[str, Any]) -> None:
        payload = message.get("payload")
        match message["type"]:
            case "connection_init":
                await self._initialise(payload or {})
            case "ping":
                await self._send({"type": "pong"} if payload is None else {"type": "pong", "payload": payload})
            case "pong":
                pass
            case "subscribe":
                await self._subscribe(id_of(message), payload)
            case "complete":
                self._end(id_of(message))
            case _:
                raise Closing(4400, "This message type is unknown")

    async def _initialise(self, payload: dict[str, Any]) -> None:
        if self._initialised:
            raise Closing(4429, "Too many initialisation requests")
        self._initialised = True
        connection = HTTPConnection(self._scope)
        try:
            viewer = await self._gate.viewer_of(connection, payload)
        except BadRequest as error:
            raise _closing(error) from None
        if viewer.is_nobody:
            raise Closing(4403, SIGN_IN if self._gate.asks else "Send a bearer token in connection_init")
        self._session = self._gate.session(viewer, connection, payload)
        self._session.start()
        await self._send({"type": "connection_ack"})

    async def _subscribe(self, id_: str, payload: dict[str, Any] | None) -> None:
        if self._session is None:
            raise Closing(4401, "Unauthorized")
        viewer = self._session.viewer
        self._last_request = self._loop.time()
        if id_ in self._operations:
            raise Closing(4409, f"Subscriber for {id_[:64]} already exists")
        try:
            request = read(payload)
        except BadRequest as error:
            raise Closing(4400, error.message) from error
        try:
            self._gate.rates.count(self._address, viewer.subject)
        except TooManyRequests as error:
            await self._send({"id": id_, "type": "error", "payload": [error.formatted]})
            return
        if len(self._operations) + len(self._finishing) + len(self._ending) >= self._limits.subscriptions:
            await self._send({"id": id_, "type": "error", "payload": [TOO_MANY]})
            return
        self._operations[id_] = OperationTask(
            id_,
            request,
            operations=self._gate.operations,
            context=self._gate.operations.context(
                self._services, viewer, self._address, headers=self._scope["headers"]
            ),
            slots=self._slots,
            send=self._send,
            on_end=self._ended,
        )

    def _ended(self, id_: str, task: asyncio.Task[None]) -> None:
        """Give the id back to the client. The operation counts until the client has taken its last message."""
        del self._operations[id_]
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    def _end(self, id_: str) -> None:
        """End the operation for the client; a mutation runs on."""
        operation = self._operations.pop(id_, None)
        task = operation.end() if operation is not None else None
        if task is not None:
            self._finishing.add(task)
            task.add_done_callback(self._finishing.discard)

    async def _send(self, message: dict[str, Any]) -> None:
        if self._closed:
            raise Disconnected
        # As text: bytes would make a binary frame, which clients refuse.
        sent = {"type": "websocket.send", "text": orjson.dumps(message).decode()}
        try:
            await self._raw_send(sent)
        except RuntimeError as error:  # the server has closed the socket, and the next message says so
            raise Disconnected from error

    async def _close(self, closing: Closing) -> None:
        self._closed = True
        reason = close_reason(closing.reason)
        with suppress(OSError, RuntimeError):
            await self._raw_send({"type": "websocket.close", "code": closing.code, "reason": reason})

    async def _finish(self) -> None:
        for id_ in list(self._operations):
            self._end(id_)
        for task in self._ending:
            task.cancel()
        if tasks := self._finishing | self._ending:
            await asyncio.wait(tasks)


def _closing(error: BadRequest) -> Closing:
    """The end of a socket whose viewer is unknown, or is not any more.

    Not by 4401, with which the official client gives up for good: at 4403 it comes back with its next token, and at
    1013 after a while.
    """
    code = (
        1013
        if isinstance(error, Unidentified | TooManyRequests)
        else 4500
        if isinstance(error, InvalidViewer)
        else 4403
    )
    return Closing(code, error.message)
