"""A WebSocket to an ASGI application in this process: graphql-transport-ws without a server."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from starlette.types import ASGIApp, Message, Scope

PROTOCOL = "graphql-transport-ws"
HANG_S = 30.0


class Closed(Exception):
    """The server has closed the socket, or refused it."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class AsgiSocket:
    def __init__(self, most_unread: int) -> None:
        self.incoming: asyncio.Queue[Message] = asyncio.Queue()
        self.outgoing: asyncio.Queue[Message] = asyncio.Queue(most_unread)

    async def send(self, *messages: Any) -> None:
        for message in messages:
            await self.incoming.put({"type": "websocket.receive", "text": json.dumps(message)})

    async def receive(self) -> Any:
        """Return the next message. Raises Closed."""
        async with asyncio.timeout(HANG_S):
            message = await self.outgoing.get()
        if message["type"] == "websocket.close":
            raise Closed(message.get("code", 1000))
        if message["type"] == "websocket.http.response.start":
            raise Closed(message["status"])
        return json.loads(message["text"])

    async def begin(self, payload: Mapping[str, Any]) -> None:
        """Begin the protocol. Raises Closed."""
        await self.send({"type": "connection_init", "payload": dict(payload)})
        assert (await self.receive())["type"] == "connection_ack"

    async def run(self, query: str, variables: Mapping[str, Any], id_: str = "x") -> list[Any]:
        """Return all messages of an operation, up to the last. Raises Closed."""
        await self.send({"id": id_, "type": "subscribe", "payload": {"query": query, "variables": dict(variables)}})
        messages = [await self.receive()]
        while messages[-1]["type"] not in {"complete", "error"}:
            messages.append(await self.receive())
        return messages


async def _call(app: ASGIApp, scope: Scope, socket: AsgiSocket) -> None:
    await app(scope, socket.incoming.get, socket.outgoing.put)


@asynccontextmanager
async def asgi_socket(
    app: ASGIApp, path: str, headers: Mapping[str, str], *, most_unread: int = 0
) -> AsyncIterator[AsgiSocket]:
    """Open a socket, and leave it like a browser that closes its page. Raises Closed where it is refused.

    The server waits with a message while `most_unread` wait to be received; 0 for no limit.
    """
    socket = AsgiSocket(most_unread)
    raw = [(b"host", b"127.0.0.1"), *((name.encode(), value.encode()) for name, value in headers.items())]
    scope = {
        "type": "websocket",
        "scheme": "ws",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": raw,
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
        "subprotocols": [PROTOCOL],
        "state": {},
        "extensions": {"websocket.http.response": {}},
    }
    await socket.incoming.put({"type": "websocket.connect"})
    task = asyncio.create_task(_call(app, scope, socket))
    try:
        async with asyncio.timeout(HANG_S):
            first = await socket.outgoing.get()
        if first["type"] != "websocket.accept":
            raise Closed(first.get("status", first.get("code", 1000)))
        yield socket
    finally:
        await socket.incoming.put({"type": "websocket.disconnect", "code": 1001})
        async with asyncio.timeout(HANG_S):
            await task
