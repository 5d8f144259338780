"""graphql-transport-ws, to the letter."""

import asyncio
import json
import time
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx2
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Origin, Subprotocol

from onward.api import composition
from onward.graphql.execution import limits
from tests.integration.graphql.conftest import running, serving, settings_in

PROTOCOL = "graphql-transport-ws"
INIT = {"type": "connection_init"}
VIEWER = {"id": "1", "type": "subscribe", "payload": {"query": "{ viewer { roles } }"}}
FOREVER = {"query": "subscription { jobsUpdated { id status } }"}


class Client:
    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket

    async def send(self, *messages: Any) -> None:
        for message in messages:
            await self.socket.send(message if isinstance(message, str | bytes) else json.dumps(message))

    async def receive(self) -> Any:
        async with asyncio.timeout(20):
            frame = await self.socket.recv()
        assert isinstance(frame, str), "clients take text frames only"
        return json.loads(frame)

    async def run(self, query: str, id_: str = "x", **variables: Any) -> list[Any]:
        """Return all messages of an operation, up to the last."""
        await self.send({"id": id_, "type": "subscribe", "payload": {"query": query, "variables": variables}})
        messages = [await self.receive()]
        while messages[-1]["type"] == "next":
            messages.append(await self.receive())
        return messages

    async def closed(self) -> int:
        """Return the code with which the server closes the socket."""
        async with asyncio.timeout(20):
            with suppress(ConnectionClosed):
                while True:
                    await self.socket.recv()
        assert self.socket.close_code is not None
        return self.socket.close_code


@asynccontextmanager
async def client(
    address: str,
    *,
    protocols: Any = (PROTOCOL,),
    origin: str | None = None,
    headers: dict[str, str] | None = None,
    init: bool = True,
) -> AsyncIterator[Client]:
    async with connect(
        f"ws://{address}/graphql",
        subprotocols=[Subprotocol(p) for p in protocols] or None,
        origin=Origin(origin) if origin else None,
        additional_headers=headers,
        max_size=None,
        max_queue=None,
    ) as socket:
        found = Client(socket)
        if init:
            await found.send(INIT)
            assert await found.receive() == {"type": "connection_ack"}
        yield found


async def mutate(address: str, item: str = "x", **further: Any) -> str:
    query = "mutation($input: ProcessItemInput!) { processItem(input: $input) { job { id } errors { message } } }"
    async with httpx2.AsyncClient() as http:
        body = {"query": query, "variables": {"input": {"item": item, **further}}}
        response = await http.post(f"http://{address}/graphql", json=body)
    return str(response.json()["data"]["processItem"]["job"]["id"])


async def answers(address: str) -> bool:
    async with client(address) as other:
        return bool((await other.run("{ viewer { roles } }"))[0]["type"] == "next")


async def test_a_query_is_answered_and_completed(address: str) -> None:
    async with client(address) as c:
        assert await c.run("{ viewer { roles } }") == [
            {"id": "x", "type": "next", "payload": {"data": {"viewer": {"roles": ["admin"]}}}},
            {"id": "x", "type": "complete"},
        ]


async def test_a_mutation_over_a_websocket_runs_its_job(address: str) -> None:
    async with client(address) as c:
        [answer, _] = await c.run('mutation { processItem(input: {item: "x"}) { job { id } } }')
        job = answer["payload"]["data"]["processItem"]["job"]["id"]
        messages = await c.run("subscription($id: ID!) { jobUpdated(id: $id) { status } }", id=job)
    assert messages[-2]["payload"]["data"]["jobUpdated"]["status"] == "SUCCEEDED"
    assert messages[-1]["type"] == "complete"


async def test_a_mutation_whose_client_leaves_is_delivered_all_the_same(address: str) -> None:
    item = uuid.uuid4().hex
    query = f'mutation {{ processItem(input: {{item: "{item}", idempotencyKey: "{item}"}}) {{ job {{ id }} }} }}'
    async with client(address) as leaver:
        await leaver.send({"id": "m", "type": "subscribe", "payload": {"query": query}}, {"type": "ping"})
        await leaver.receive()  # either answer says that the mutation has begun
    async with client(address) as watcher:
        [answer, _] = await watcher.run(query)  # the key gives the job that was made
        job = answer["payload"]["data"]["processItem"]["job"]["id"]
        messages = await watcher.run("subscription($id: ID!) { jobUpdated(id: $id) { status } }", id=job)
    assert messages[-2]["payload"]["data"]["jobUpdated"]["status"] == "SUCCEEDED"


async def test_an_invalid_operation_is_an_error_and_the_socket_stays_open(address: str) -> None:
    async with client(address) as c:
        for query in (
            "{",
            "{ nope }",
            "query($id: ID!) { job(id: $id) { id } }",
            "fragment F on Query { viewer { id } }",
        ):
            [message] = await c.run(query)
            assert message["type"] == "error"
            assert message["payload"][0]["message"]
        assert len(await c.run("{ viewer { roles } }")) == 2


async def test_errors_of_execution_come_with_the_data(address: str) -> None:
    async with client(address) as c:
        [answer, complete] = await c.run("{ raises viewer { roles } }")
        assert answer["payload"]["errors"][0]["extensions"]["code"] == "INTERNAL"
        assert answer["payload"]["data"] == {"raises": None, "viewer": {"roles": ["admin"]}}
        assert complete["type"] == "complete"


@pytest.mark.parametrize(
    "query", ["{ cancels }", "{ cancels viewer { roles } }", "mutation { cancelsToo }", "subscription { cancelsLater }"]
)
async def test_a_resolver_that_lets_a_cancellation_out_has_failed(address: str, query: str) -> None:
    """Nobody has cancelled the operation: its client gets an answer."""
    async with client(address) as c:
        [*_, answer, complete] = await c.run(query)
    assert answer["payload"]["errors"][0]["extensions"]["code"] == "INTERNAL"
    assert complete["type"] == "complete"


async def test_ping_is_answered_by_pong(address: str) -> None:
    async with client(address, init=False) as c:
        await c.send({"type": "ping"}, {"type": "ping", "payload": {"a": 1}}, {"type": "pong"}, INIT)
        assert await c.receive() == {"type": "pong"}
        assert await c.receive() == {"type": "pong", "payload": {"a": 1}}
        assert await c.receive() == {"type": "connection_ack"}


@pytest.mark.parametrize(
    "message",
    [
        "",
        "x",
        "[]",
        "[1]",
        "null",
        "5",
        '"x"',
        "{}",
        '{"type": 5}',
        '{"type": "start"}',
        '{"type": "connection_ack"}',
        '{"type": "connection_init", "payload": []}',
        '{"type": "ping", "payload": "x"}',
        '{"type": "ping", "type": "pong"}',
        '{"type": "subscribe"}',
        '{"type": "subscribe", "id": "1"}',
        '{"type": "subscribe", "id": "", "payload": {"query": "{ viewer { id } }"}}',
        '{"type": "subscribe", "id": 1, "payload": {"query": "{ viewer { id } }"}}',
        '{"type": "subscribe", "id": "1", "payload": []}',
        '{"type": "subscribe", "id": "1", "payload": {"query": 5}}',
        '{"type": "subscribe", "id": "1", "payload": {"query": "{ viewer { id } }", "variables": []}}',
        '{"type": "subscribe", "id": "1", "payload": {"query": "{ viewer { id } }", "operationName": {}}}',
        '{"type": "complete"}',
        '{"type": "complete", "id": 5}',
        '{"type": "ping", "payload": {"a": NaN}}',
        '{"type": "ping", "payload": ' + '{"a":' * 100 + "1" + "}" * 101,
        b'{"type": "ping"}',
        b"",
        b"\xff\x00",
    ],
    ids=lambda message: repr(message)[:60],
)
async def test_an_invalid_message_closes_only_its_own_socket_with_4400(address: str, message: Any) -> None:
    async with client(address) as c:
        await c.send(message)
        assert await c.closed() == 4400
    assert await answers(address)


async def test_a_message_that_is_too_large_closes_its_socket_with_1009(address: str) -> None:
    """WebSocket has a code for it (RFC 6455, 7.4.1), and its frames are not read to their end."""
    async with client(address) as c:
        await c.send('{"type": "ping", "payload": {"a": "' + "x" * 100_001 + '"}}')
        assert await c.closed() == 1009
    assert await answers(address)


async def test_subscribing_before_the_acknowledgement_is_4401(address: str) -> None:
    async with client(address, init=False) as c:
        await c.send(VIEWER)
        assert await c.closed() == 4401


async def test_a_second_initialisation_is_4429(address: str) -> None:
    async with client(address) as c:
        await c.send(INIT)
        assert await c.closed() == 4429


@pytest.mark.parametrize("id_", ["1", "é" * 64, "\U0001f600" * 31])
async def test_an_id_that_is_in_use_is_4409(address: str, id_: str) -> None:
    """The reason names it, as far as a frame holds its bytes."""
    async with client(address) as c:
        await c.send(
            {"id": id_, "type": "subscribe", "payload": FOREVER}, {"id": id_, "type": "subscribe", "payload": FOREVER}
        )
        assert await c.closed() == 4409


async def test_an_id_can_be_used_again_after_its_operation(address: str) -> None:
    async with client(address) as c:
        for _ in range(3):
            assert len(await c.run("{ viewer { roles } }", "1")) == 2
        for _ in range(3):
            await c.send({"id": "1", "type": "subscribe", "payload": FOREVER}, {"id": "1", "type": "complete"})
        assert len(await c.run("{ viewer { roles } }", "1")) == 2


@pytest.mark.parametrize("protocols", [(), ("graphql-ws",), ("x", "y")])
async def test_another_subprotocol_is_4406(address: str, protocols: tuple[str, ...]) -> None:
    async with client(address, protocols=protocols, init=False) as c:
        assert await c.closed() == 4406


async def test_the_supported_subprotocol_is_chosen_among_several(address: str) -> None:
    async with client(address, protocols=("graphql-ws", PROTOCOL)) as c:
        assert c.socket.subprotocol == PROTOCOL


async def test_without_initialisation_it_is_4408_after_a_while(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from onward.api import composition

    monkeypatch.setattr(composition, "limits", lambda _settings: limits.Limits(init_timeout_s=0.2))
    with serving(settings_in(tmp_path)) as address:
        async with client(address, init=False) as c:
            assert await c.closed() == 4408
        async with client(address) as c:
            await asyncio.sleep(0.4)
            assert len(await c.run("{ viewer { roles } }")) == 2


async def test_one_operation_too_many_is_an_error_and_the_others_go_on(address: str) -> None:
    async with client(address) as c:
        for n in range(20):
            await c.send({"id": str(n), "type": "subscribe", "payload": FOREVER})
        [message] = await c.run("{ viewer { roles } }", "21st")
        assert message["type"] == "error"
        assert message["payload"][0]["extensions"]["code"] == "TOO_MANY_OPERATIONS"
        await c.send({"id": "0", "type": "complete"})
        seen: set[str] = set()
        while len(seen) < 19:  # each begins to watch in its own time
            job = await mutate(address)
            async with asyncio.timeout(20):
                while (answer := await c.receive())["payload"]["data"]["jobsUpdated"] != {
                    "id": job,
                    "status": "SUCCEEDED",
                }:
                    seen.add(answer["id"])
        assert "0" not in seen


async def test_completing_an_unknown_operation_changes_nothing(address: str) -> None:
    async with client(address) as c:
        await c.send({"id": "nope", "type": "complete"})
        assert len(await c.run("{ viewer { roles } }")) == 2


@pytest.mark.parametrize("origin", ["https://evil.example", "null"])
async def test_a_page_of_another_origin_is_refused_at_the_handshake(address: str, origin: str) -> None:
    with pytest.raises(InvalidStatus) as refused:
        async with client(address, origin=origin):
            pass
    assert refused.value.response.status_code == 403


async def test_a_page_of_the_server_s_own_origin_is_accepted(address: str) -> None:
    async with client(address, origin=f"http://{address}") as c:
        assert len(await c.run("{ viewer { roles } }")) == 2


async def test_an_exception_in_a_subscription_is_not_revealed(address: str) -> None:
    async with client(address) as c:
        messages = await c.run("subscription { raisesLater }")
    assert messages[0]["payload"]["data"] == {"raisesLater": 1}
    assert messages[1]["payload"]["errors"][0]["extensions"]["code"] == "INTERNAL"
    assert "hunter2" not in json.dumps(messages)
    assert messages[2]["type"] == "complete"


async def test_a_flood_of_messages_is_answered_in_order(address: str) -> None:
    async with client(address) as c:
        await c.send(*({"type": "ping", "payload": {"n": n}} for n in range(2_000)))
        for n in range(2_000):
            assert (await c.receive())["payload"]["n"] == n


async def flooded(app: Any, *first: str, then: str, headers: Sequence[tuple[bytes, bytes]] = ()) -> list[Any]:
    """Send messages, the last one again and again; return what a socket answers whose server never has to wait."""
    texts = ({"type": "websocket.receive", "text": text} for text in first)
    messages = iter(({"type": "websocket.connect"}, *texts))
    sent: list[Any] = []
    hangs_at = time.monotonic() + 30

    async def receive() -> Any:
        assert time.monotonic() < hangs_at
        return next(messages, {"type": "websocket.receive", "text": then})

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "websocket",
        "path": "/graphql",
        "headers": [(b"host", b"127.0.0.1"), *headers],
        "subprotocols": [PROTOCOL],
        "query_string": b"",
    }
    await app(scope, receive, send)
    return sent


async def test_a_flood_does_not_outlive_the_time_for_the_first_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(composition, "limits", lambda _settings: limits.Limits(init_timeout_s=0.3))
    async with running(settings_in(tmp_path)) as api:
        sent = await flooded(api.app, then='{"type":"ping"}')
    assert (sent[-1]["type"], sent[-1]["code"]) == ("websocket.close", 4408)
