"""Subscriptions over WebSocket and SSE that come and go, some of them without a goodbye."""

import asyncio
import json
from collections import Counter
from contextlib import suppress
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from tests.system.fuzz.hostile import connected, request
from tests.system.soak.load import ADMIN, Load

SOCKETS, EVENT_STREAMS = 10, 6  # at any time
HEADERS = ("Accept: text/event-stream", f"Authorization: Bearer {ADMIN}")
LIFE_S = (0.2, 8.0)
ALL = "subscription ($handler: [String!]) { jobsUpdated(filter: {handler: $handler}) { id status version } }"
ONE = "subscription ($id: ID!) { jobUpdated(id: $id) { id status version steps { status } } }"


class Streams:
    """Keeps so many subscriptions open; `ends` counts how they ended."""

    def __init__(self, address: str, load: Load) -> None:
        self.ends: Counter[str] = Counter()
        self.wrong: list[str] = []
        self._address = address.removeprefix("http://")
        self._load = load
        self._chance = load.chance
        self._over = False

    async def run(self, seconds: float) -> None:
        """Open and close for that long."""
        lanes = [self._lane(self._socket) for _ in range(SOCKETS)]
        lanes += [self._lane(self._event_stream) for _ in range(EVENT_STREAMS)]
        running = asyncio.gather(*lanes)
        await asyncio.sleep(seconds)
        self._over = True
        await running

    async def _lane(self, one: Any) -> None:
        while not self._over:
            try:
                self.ends[await one(self._subscription(), self._chance.uniform(*LIFE_S))] += 1
            except (OSError, AssertionError, asyncio.IncompleteReadError, ConnectionClosed) as error:
                self.wrong.append(f"{one.__name__}: {type(error).__name__} {error}"[:500])
                await asyncio.sleep(1)

    def _subscription(self) -> dict[str, Any]:
        if self._load.recent and self._chance.random() < 0.6:
            return {"query": ONE, "variables": {"id": self._chance.choice(self._load.recent)}}
        return {"query": ALL, "variables": {"handler": [self._chance.choice(("soak.*", "soak.steps", "*"))]}}

    async def _socket(self, subscription: dict[str, Any], life_s: float) -> str:
        protocol = Subprotocol("graphql-transport-ws")
        async with connect(f"ws://{self._address}/graphql", subprotocols=[protocol]) as socket:
            await socket.send(json.dumps({"type": "connection_init", "payload": {"Authorization": f"Bearer {ADMIN}"}}))
            assert json.loads(await socket.recv())["type"] == "connection_ack"
            for id_ in range(self._chance.randint(1, 3)):
                await socket.send(json.dumps({"type": "subscribe", "id": str(id_), "payload": subscription}))
            with suppress(TimeoutError):
                async with asyncio.timeout(life_s):
                    while True:
                        assert json.loads(await socket.recv())["type"] in ("next", "complete", "ping")
            return await self._leave(socket)

    async def _leave(self, socket: ClientConnection) -> str:
        goodbye = self._chance.choice(("completed", "closed", "dropped"))
        if goodbye == "completed":
            await socket.send(json.dumps({"type": "complete", "id": "0"}))
        if goodbye == "dropped":
            socket.transport.abort()
        return f"socket {goodbye}"

    async def _event_stream(self, subscription: dict[str, Any], life_s: float) -> str:
        async with connected(self._address) as (reader, writer):  # dropped at the end
            writer.write(request(json.dumps(subscription).encode(), *HEADERS))
            head = await reader.readuntil(b"\r\n\r\n")
            assert b" 200 " in head.split(b"\r\n")[0], head
            with suppress(TimeoutError):
                async with asyncio.timeout(life_s):
                    while chunk := await reader.readline():
                        if chunk == b"0\r\n":
                            return "event stream at its end"
            if self._chance.random() < 0.5:
                writer.close()
                return "event stream closed"
            return "event stream dropped"
