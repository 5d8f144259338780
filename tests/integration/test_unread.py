"""Clients that send requests and never read the answers."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, aclosing
from pathlib import Path
from typing import Any, Self

import pytest
from uvicorn.server import ServerState

from onward.api import server as serving
from onward.api.sse import EventStream
from onward.graphql.execution.operations import Invalid
from onward.testing.waiting import until
from tests.integration.graphql.conftest import settings_in
from tests.integration.test_connections import HEAD, UPGRADE

PIECE = 200_000
MUCH = 60_000_000  # more than the kernels' buffers take
ANSWER = 30_000_000  # likewise


class Unread:
    """A server of one application, and a client that never reads."""

    def __init__(self, app: Any, folder: Path, **options: Any) -> None:
        self.connections: list[Any] = []
        self._settings = settings_in(folder, server={"port": 0, "proxies": ["127.0.0.9"]})
        self._config, self._state = serving.configured(app, self._settings, **options), ServerState()
        self._config.load()

    def _protocol(self) -> Any:
        made: Any = self._config.http_protocol_class
        self.connections.append(made(config=self._config, server_state=self._state, app_state={}))
        return self.connections[-1]

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        bound = serving.bind(self._settings)
        bound.setblocking(False)
        self.server = await loop.create_server(self._protocol, sock=bound)
        self.client = socket.socket()
        self.client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.client.setblocking(False)
        await loop.sock_connect(self.client, bound.getsockname())
        return self

    async def __aexit__(self, *_: object) -> None:
        self.server.close()
        self.client.close()
        await until(lambda: not self._state.connections, 60)

    async def connect(self, address: str) -> socket.socket:
        """Connect one more client, from an address of this machine."""
        made = socket.socket()
        made.setblocking(False)
        made.bind((address, 0))
        await asyncio.get_running_loop().sock_connect(made, self.client.getpeername())
        return made

    async def send(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self.client, data)

    @property
    def bytes(self) -> int:
        """The bytes of answers that the clients have not read."""
        connections: Any = self._state.connections
        return sum(one.unread_bytes() for one in connections)

    @property
    def open(self) -> int:
        return len(self._state.connections)


async def test_a_stream_that_nobody_reads_takes_no_more_changes_and_is_cut_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "UNREAD_TIMEOUT_S", 1)
    taken = closed = 0

    async def changes() -> AsyncGenerator[Any, None]:
        nonlocal taken, closed
        try:
            while taken < MUCH // PIECE:
                taken += 1
                yield Invalid({"data": "x" * PIECE})
        finally:
            closed += 1

    async def app(scope: Any, receive: Any, send: Any) -> None:
        async with aclosing(changes()) as responses:
            await EventStream(responses, heartbeat_s=0.01, closing=asyncio.Event())(scope, receive, send)

    async with Unread(app, tmp_path) as unread:
        await unread.send(HEAD + b"Content-Length: 0\r\n\r\n")
        await until(lambda: closed > 0, 60)
        await until(lambda: not unread.open, 60)
    assert 0 < taken < MUCH // PIECE


async def test_an_unread_answer_whose_connection_is_closed_does_not_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`close` alone waits until the client has read everything."""
    monkeypatch.setattr(serving, "UNREAD_TIMEOUT_S", 1)

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"connection", b"close")]})
        await send({"type": "http.response.body", "body": b"x" * MUCH})

    async with Unread(app, tmp_path) as unread:
        await unread.send(HEAD + b"Content-Length: 0\r\n\r\n")
        await until(lambda: any(one.transport and one.transport.is_closing() for one in unread.connections), 60)
        await until(lambda: not unread.open, 60)


async def test_a_socket_that_misses_a_ping_and_reads_nothing_is_cut_off(tmp_path: Path) -> None:
    over = asyncio.Event()

    async def app(_scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept", "subprotocol": "graphql-transport-ws"})
        sending = asyncio.create_task(send({"type": "websocket.send", "text": "x" * MUCH}))
        while (await receive())["type"] != "websocket.disconnect":
            pass
        sending.cancel()
        over.set()

    async with Unread(app, tmp_path, ws_ping_interval=0.2, ws_ping_timeout=0.2) as unread:
        await unread.send(UPGRADE + b"\r\n")
        await until(over.is_set, 60)
        await until(lambda: not unread.open, 60)  # the kernel would wait for a minute


@pytest.mark.parametrize("kind", ["http", "websocket"])
@pytest.mark.parametrize("proxied", [False, True])
async def test_unread_answers_are_kept_up_to_a_limit_and_the_greediest_address_loses_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, kind: str, proxied: bool
) -> None:
    """A client that reads a byte now and then would have its answers kept for ever."""
    monkeypatch.setattr(serving, "MAX_UNREAD_BYTES", 2 * ANSWER)
    monkeypatch.setattr(serving, "UNREAD_ANSWERS", 0)
    loop, answered = asyncio.get_running_loop(), 0

    async def app(scope: Any, receive: Any, send: Any) -> None:
        nonlocal answered
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 200, "headers": [(b"connection", b"close")]})
            await send({"type": "http.response.body", "body": b"x" * ANSWER})
            answered += 1
            return
        await receive()
        await send({"type": "websocket.accept", "subprotocol": "graphql-transport-ws"})
        await send({"type": "websocket.send", "bytes": b"x" * ANSWER})
        answered += 1
        while (await receive())["type"] != "websocket.disconnect":
            pass

    async with AsyncExitStack() as stack:
        unread = await stack.enter_async_context(Unread(app, tmp_path))

        async def ask(address: str) -> socket.socket:
            client, before = stack.enter_context(await unread.connect("127.0.0.9" if proxied else address)), answered
            head = HEAD + b"Content-Length: 0\r\n" if kind == "http" else UPGRADE
            await loop.sock_sendall(client, head + b"X-Forwarded-For: %s\r\n\r\n" % address.encode())
            await until(lambda: answered > before, 60)
            return client

        slow = await ask("127.0.0.2")
        for _ in range(6):
            await ask("127.0.0.1")
        await until(lambda: unread.open < len(unread.connections), 60)
        assert unread.bytes <= 2 * ANSWER
        received = 0
        async with asyncio.timeout(60):
            while received <= ANSWER and (found := await loop.sock_recv(slow, 1_000_000)):
                received += len(found)
        assert received > ANSWER
