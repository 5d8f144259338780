"""graphql-transport-ws, strictly: github.com/enisdenjo/graphql-ws/blob/master/PROTOCOL.md."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import orjson
from starlette.types import Receive, Scope, Send

from onward.api.addresses import UNKNOWN
from onward.api.headers import is_host
from onward.api.operation_task import Disconnected, OperationTask
from onward.api.rates import TooManyRequests
from onward.api.request_gate import RequestGate
from onward.graphql.base import TOKEN_EXPIRED, BadRequest, GqlError, NotAuthenticated
from onward.graphql.context import Context, Viewer
from onward.graphql.execution.requests import load, read

PROTOCOL = "graphql-transport-ws"
ID_LENGTH = 256
TOO_MANY = {"message": "Too many operations at once on this socket.", "extensions": {"code": "TOO_MANY_OPERATIONS"}}


class Closing(GqlError):
    """The socket is to be closed, with this code and reason."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class Socket:
    """One connection, from its handshake to its end."""

    def __init__(self, door: RequestGate, scope: Scope, receive: Receive, send: Send) -> None:
        self._door = door
        self._limits = door.operations.limits
        self._scope = scope
        self._receive = receive
        self._raw_send = send
        self._loop = asyncio.get_running_loop()
        self._since = self._loop.time()  # when the client asked for something last
        self._address = UNKNOWN
        self._viewer: Viewer | None = None
        self._initialised = False
        self._closed = False
        self._exchanges: dict[str, OperationTask] = {}
        self._unheard: set[asyncio.Task[None]] = set()

    async def serve(self, headers: Mapping[bytes, bytes]) -> None:
        """The connection is over when this returns, and its operations too; mutations that had begun were finished."""
        await self._receive()  # websocket.connect
        self._address = self._door.addresses.of(self._scope.get("client"), headers.get(b"x-forwarded-for"))
        if not is_host(headers.get(b"host")):
            await self._refuse(BadRequest(400, "The Host header names no host."))
            return
        if not self._door.origins.allows(headers.get(b"origin"), headers.get(b"host")):
            await self._raw_send({"type": "websocket.close", "code": 4403, "reason": "This web page may not call here"})
            return
        try:
            self._door.connection_limiter.check(self._address)
        except BadRequest as error:
            await self._refuse(error)
            return
        with self._door.connection_limiter.one(self._address):
            await self._accepted()

    async def _refuse(self, error: BadRequest) -> None:
        """Before the handshake is done, it is answered as any request is."""
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
            await self._converse()
        except Closing as closing:
            await self._close(closing)
        except (Disconnected, OSError):
            pass
        finally:
            self._closed = True
            await self._door.scheduler.mine()
            await self._finish()

    async def _converse(self) -> None:
        while True:
            try:
                async with asyncio.timeout_at(self._deadline()):
                    message = await self._message()
            except TimeoutError:
                self._is_late()
            else:
                await self._take(message)
                await self._door.scheduler.mine()  # a flood waits for others after each of its messages

    def _deadline(self) -> float:
        """By the loop's clock: when the next message has to be there."""
        if not self._initialised:
            return self._since + self._limits.init_timeout_s
        idle = self._since + self._limits.idle_timeout_s
        until = self._viewer.until if self._viewer else None
        return idle if until is None else min(idle, self._loop.time() + until - time.time())

    def _is_late(self) -> None:
        """Raises Closing, unless the socket is silent only because it waits for events."""
        if not self._initialised:
            raise Closing(4408, "Connection initialisation timeout")
        if self._viewer is not None and self._viewer.until is not None and time.time() >= self._viewer.until:
            # Not 4401, with which the official client gives up for good: at 4403 it comes back with its next token.
            raise Closing(4403, TOKEN_EXPIRED)
        if self._loop.time() - self._since >= self._limits.idle_timeout_s:
            if not self._exchanges:
                raise Closing(1000, "Nothing was asked for a while")
            self._since = self._loop.time()

    async def _message(self) -> dict[str, Any]:
        received = await self._receive()
        if received["type"] == "websocket.disconnect":
            raise Disconnected
        text = received.get("text")
        if text is None:
            raise Closing(4400, "Messages are text")
        if len(text) > self._limits.body_bytes:
            raise Closing(4400, "The message is too large")
        try:
            message = load(text, self._limits.json_depth)
        except BadRequest as error:
            raise Closing(4400, error.message) from error
        if not isinstance(message, dict) or not isinstance(message.get("type"), str):
            raise Closing(4400, "A message is a JSON object with a type")
        return message

    async def _take(self, message: dict[str, Any]) -> None:
        payload = message.get("payload")
        if payload is not None and not isinstance(payload, dict):
            raise Closing(4400, "A payload is an object")
        match message["type"]:
            case "connection_init":
                await self._initialise(payload or {})
            case "ping":
                await self._send({"type": "pong"} if payload is None else {"type": "pong", "payload": payload})
            case "pong":
                pass
            case "subscribe":
                await self._begin(_id(message), payload)
            case "complete":
                self._end(_id(message))
            case _:
                raise Closing(4400, "There is no message of this type")

    async def _initialise(self, payload: dict[str, Any]) -> None:
        if self._initialised:
            raise Closing(4429, "Too many initialisation requests")
        self._initialised = True
        try:
            viewer = self._door.authenticate(token_in(payload), self._address)
        except (NotAuthenticated, TooManyRequests) as error:
            raise Closing(4403, error.message) from None
        if viewer.is_nobody:
            raise Closing(4403, "A bearer token is needed")
        self._viewer = viewer
        await self._send({"type": "connection_ack"})

    async def _begin(self, id_: str, payload: dict[str, Any] | None) -> None:
        if self._viewer is None:
            raise Closing(4401, "Unauthorized")
        self._since = self._loop.time()
        if id_ in self._exchanges:
            raise Closing(4409, f"Subscriber for {id_[:64]} already exists")
        try:
            request = read(payload)
        except BadRequest as error:
            raise Closing(4400, error.message) from error
        try:
            self._door.rates.count(self._address, self._viewer.id)
        except TooManyRequests as error:
            await self._send({"id": id_, "type": "error", "payload": [error.formatted]})
            return
        if len(self._exchanges) + len(self._unheard) >= self._limits.subscriptions:
            await self._send({"id": id_, "type": "error", "payload": [TOO_MANY]})
            return
        self._exchanges[id_] = OperationTask(
            id_,
            request,
            operations=self._door.operations,
            context=Context(self._door.services, self._viewer),
            send=self._send,
            over=self._over,
        )

    def _end(self, id_: str) -> None:
        """The operation is over for the client, if not yet for us."""
        exchange = self._exchanges.pop(id_, None)
        task = exchange.end() if exchange is not None else None
        if task is not None:
            self._unheard.add(task)
            task.add_done_callback(self._unheard.discard)

    def _over(self, id_: str) -> None:
        del self._exchanges[id_]

    async def _send(self, message: dict[str, Any]) -> None:
        if self._closed:
            raise Disconnected
        # As text: bytes would make a binary frame, which clients do not take.
        sent = {"type": "websocket.send", "text": orjson.dumps(message).decode()}
        try:
            await self._raw_send(sent)
        except RuntimeError as error:  # the server has closed it, and our next message says so
            raise Disconnected from error

    async def _close(self, closing: Closing) -> None:
        self._closed = True
        with suppress(OSError, RuntimeError):
            await self._raw_send({"type": "websocket.close", "code": closing.code, "reason": closing.reason[:120]})

    async def _finish(self) -> None:
        for id_ in list(self._exchanges):
            self._end(id_)
        if self._unheard:
            await asyncio.wait(tuple(self._unheard))


def _id(message: dict[str, Any]) -> str:
    id_ = message.get("id")
    if not isinstance(id_, str) or not 0 < len(id_) <= ID_LENGTH:
        raise Closing(4400, "An id is a string that is not empty")
    return id_


def token_in(payload: dict[str, Any]) -> str | None:
    """The bearer token of a connection_init, which has it as HTTP's header has: {"Authorization": "Bearer ..."}."""
    for name, value in payload.items():
        if name.lower() == "authorization":
            scheme, _, token = value.partition(" ") if isinstance(value, str) else ("", "", "")
            return token.strip() if scheme.lower() == "bearer" else ""
    return None
