"""graphql-transport-ws, strictly: github.com/enisdenjo/graphql-ws/blob/master/PROTOCOL.md."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import orjson
from starlette.types import Receive, Scope, Send

from gql.base import RUN_OUT, BadRequest, GqlError, NotAuthenticated
from gql.context import Context, Viewer
from gql.door import Door
from gql.exchange import Exchange, Gone
from gql.requests import load, read

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

    def __init__(self, door: Door, scope: Scope, receive: Receive, send: Send) -> None:
        self._door = door
        self._limits = door.operations.limits
        self._scope = scope
        self._receive = receive
        self._raw_send = send
        self._viewer: Viewer | None = None
        self._initialised = False
        self._closed = False
        self._exchanges: dict[str, Exchange] = {}
        self._unheard: set[asyncio.Task[None]] = set()

    async def serve(self, headers: Mapping[bytes, bytes]) -> None:
        """The connection is over when this returns, and its operations too; mutations that had begun were finished."""
        await self._receive()  # websocket.connect
        if not self._door.origins.allows(headers.get(b"origin"), headers.get(b"host")):
            await self._raw_send({"type": "websocket.close", "code": 4403, "reason": "This web page may not call here"})
            return
        spoken = PROTOCOL in self._scope.get("subprotocols", ())
        await self._raw_send({"type": "websocket.accept", "subprotocol": PROTOCOL if spoken else None})
        if not spoken:
            await self._close(Closing(4406, "Subprotocol not acceptable"))
            return
        try:
            await self._converse()
        except Closing as closing:
            await self._close(closing)
        except (Gone, OSError):
            pass
        finally:
            self._closed = True
            await self._finish()

    async def _converse(self) -> None:
        try:
            async with asyncio.timeout(self._limits.init_timeout_s) as patience:
                while True:
                    await self._take(await self._message())
                    if self._initialised:
                        patience.reschedule(self._end_of_token())
        except TimeoutError:
            if self._initialised:
                # Not 4401, with which the official client gives up for good: at 4403 it comes back with its next token.
                raise Closing(4403, RUN_OUT) from None
            raise Closing(4408, "Connection initialisation timeout") from None

    def _end_of_token(self) -> float | None:
        """By the loop's clock."""
        until = self._viewer.until if self._viewer else None
        return None if until is None else asyncio.get_running_loop().time() + until - time.time()

    async def _message(self) -> dict[str, Any]:
        received = await self._receive()
        if received["type"] == "websocket.disconnect":
            raise Gone
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
            viewer = self._door.authenticate(token_in(payload))
        except NotAuthenticated as error:
            raise Closing(4403, error.message) from None
        if viewer.is_nobody:
            raise Closing(4403, "A bearer token is needed")
        self._viewer = viewer
        await self._send({"type": "connection_ack"})

    async def _begin(self, id_: str, payload: dict[str, Any] | None) -> None:
        if self._viewer is None:
            raise Closing(4401, "Unauthorized")
        if id_ in self._exchanges:
            raise Closing(4409, f"Subscriber for {id_[:64]} already exists")
        try:
            request = read(payload)
        except BadRequest as error:
            raise Closing(4400, error.message) from error
        if len(self._exchanges) + len(self._unheard) >= self._limits.subscriptions:
            await self._send({"id": id_, "type": "error", "payload": [TOO_MANY]})
            return
        self._exchanges[id_] = Exchange(
            id_,
            request,
            operations=self._door.operations,
            context=Context(self._door.parts, self._viewer),
            send=self._send,
            over=self._over,
        )

    def _end(self, id_: str) -> None:
        """The operation is over for the client, if not yet for us."""
        exchange = self._exchanges.pop(id_, None)
        if exchange is not None:
            self._unheard.add(exchange.task)
            exchange.task.add_done_callback(self._unheard.discard)
            exchange.end()

    def _over(self, id_: str) -> None:
        del self._exchanges[id_]

    async def _send(self, message: dict[str, Any]) -> None:
        if self._closed:
            raise Gone
        # As text: bytes would make a binary frame, which clients do not take.
        await self._raw_send({"type": "websocket.send", "text": orjson.dumps(message).decode()})

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
