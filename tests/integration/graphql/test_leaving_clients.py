"""Work that goes on after its client has gone counts towards the bounds until its end."""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import pytest
import strawberry
from fastapi import FastAPI

from onward import Onward
from onward.graphql.execution.documents import Documents
from onward.graphql.meter import READS_AT_ONCE
from onward.jobs import due
from onward.mail import mailbox
from onward.storage.engine import Database
from onward.testing.waiting import until
from tests.embedded.project import write
from tests.integration.graphql.asgi_sockets import HANG_S, AsgiSocket, asgi_socket
from tests.integration.graphql.conftest import Api

VIEWER = {"type": "subscribe", "payload": {"query": "{ viewer { id } }"}}
SETTLING_PINGS = 20  # each takes the server's loop once around at least


class Held:
    """Calls of one function, held in their threads."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.running = 0
        self.threads: set[str] = set()
        self._lock = threading.Lock()

    def call(self, function: Callable[..., Any], *args: Any) -> Any:
        with self._lock:
            self.running += 1
            self.threads.add(threading.current_thread().name)
        self.go.wait(HANG_S)
        with self._lock:
            self.running -= 1
        return function(*args)


@pytest.fixture
def held() -> Iterator[Held]:
    made = Held()
    yield made
    made.go.set()


def long(n: int) -> str:
    return f"{{ a{n}: viewer {{ id }} }} # {'long ' * 200}"


async def leave(socket: AsgiSocket, query: str, id_: str, works: Callable[[], bool]) -> None:
    """Begin an operation, and complete it once the server works on it."""
    await socket.send({"id": id_, "type": "subscribe", "payload": {"query": query}})
    await until(works)
    await around(socket)
    await socket.send({"id": id_, "type": "complete"})
    await around(socket)


def readers() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name.startswith("documents")}


async def around(socket: AsgiSocket) -> None:
    for _ in range(SETTLING_PINGS):
        await socket.send({"type": "ping"})
        assert await socket.receive() == {"type": "pong"}


async def test_documents_of_clients_that_leave_are_read_one_at_a_time(
    api: Api, held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not in the loop's default threads, which the metrics and a backend's health need."""
    read = Documents._read_long
    monkeypatch.setattr(Documents, "_read_long", lambda documents, text: held.call(read, documents, text))
    async with asgi_socket(api.app, "/graphql", {}) as socket:
        await socket.begin({})
        for n in range(4):
            await leave(socket, long(n), str(n), lambda: held.running > 0)
        assert held.running == 1
        held.go.set()
        [answer, complete] = await socket.run(long(5), {})
        assert "data" in answer["payload"]
        assert complete["type"] == "complete"
    assert len(held.threads) == 1
    assert not [name for name in held.threads if name.startswith("asyncio")]


def hold_pages(held: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hold the reads of `jobs`, and no others."""
    read_sync = Database.read_sync

    def read(database: Database, fn: Any) -> Any:
        is_page = "read_within.<locals>" in getattr(fn, "__qualname__", "")
        return held.call(read_sync, database, fn) if is_page else read_sync(database, fn)

    monkeypatch.setattr(Database, "read_sync", read)


async def test_reads_of_clients_that_leave_keep_a_thread_for_others(
    api: Api, held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold_pages(held, monkeypatch)
    async with asgi_socket(api.app, "/graphql", {}) as socket:
        await socket.begin({})
        for n in range(READS_AT_ONCE + 3):
            most = min(n + 1, READS_AT_ONCE)
            await leave(socket, "{ jobs { nodes { id } } }", str(n), lambda most=most: held.running >= most)  # type: ignore[misc]
        assert held.running == READS_AT_ONCE
        async with asyncio.timeout(HANG_S):
            assert await api.app.state.onward.database.read(lambda tx: tx.now)
        held.go.set()
        assert "data" in (await socket.run("{ jobs { nodes { id } } }", {}))[0]["payload"]


async def test_a_measurement_of_the_queues_goes_on_when_its_client_leaves(
    api: Api, held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Everybody who asks within a second shares it, and a ledger that hangs keeps one thread for it."""
    dispatcher, read_sync = api.app.state.onward.dispatcher, Database.read_sync

    def read(database: Database, fn: Any) -> Any:
        is_measured = getattr(fn, "func", None) is due.waiting
        return held.call(read_sync, database, fn) if is_measured else read_sync(database, fn)

    await dispatcher.health()
    before = dispatcher._measured
    monkeypatch.setattr(Database, "read_sync", read)
    async with asgi_socket(api.app, "/graphql", {}) as socket:
        await socket.begin({})
        query = "{ system { queues { depth } } }"
        dispatcher._measured_until = -math.inf  # a second has passed
        await leave(socket, query, "x", lambda: held.running > 0)
        dispatcher._measured_until = -math.inf
        assert "data" in (await socket.run(query, {}))[0]["payload"]  # the figures of before
        assert held.running == 1
        held.go.set()
        await until(lambda: dispatcher._measured is not before)


async def test_folders_of_messages_are_read_as_few_at_once_as_the_ledger(
    api: Api, held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mailbox, "newest", partial(held.call, mailbox.newest))
    query = "{ system { " + " ".join(f"a{n}: letters {{ id }}" for n in range(READS_AT_ONCE + 2)) + " } }"
    async with asgi_socket(api.app, "/graphql", {}) as socket:
        await socket.begin({})
        await leave(socket, query, "x", lambda: held.running >= READS_AT_ONCE)
        assert held.running == READS_AT_ONCE
        held.go.set()
        await until(lambda: not held.running)


async def test_operations_count_until_their_last_message_is_taken(api: Api) -> None:
    """A client that takes no message could else begin any number of operations."""
    async with asgi_socket(api.app, "/graphql", {}, most_unread=1) as socket:
        await socket.begin({})
        invalid = {"type": "subscribe", "payload": {"query": "{ nope }"}}
        await socket.send(*({**invalid, "id": str(n)} for n in range(60)))
        most = api.app.state.view._limits.subscriptions
        await until(lambda: waiting(socket) > most)
        for _ in range(200):
            await asyncio.sleep(0)
        assert waiting(socket) == most + 1  # and the refusal of the next one, which the socket waits with
        answers = [await socket.receive() for _ in range(60)]
        assert {answer["type"] for answer in answers} == {"error"}
        assert {answer["id"] for answer in answers} == {str(n) for n in range(60)}
        assert len(await socket.run("{ viewer { id } }", {})) == 2


async def test_a_client_that_goes_before_it_takes_the_last_message_ends_its_operation(api: Api) -> None:
    """The server may never tell that the message cannot be sent any more."""
    async with asyncio.timeout(HANG_S):
        async with asgi_socket(api.app, "/graphql", {}, most_unread=1) as socket:
            await socket.begin({})
            await socket.send(*({**VIEWER, "id": str(n)} for n in range(3)))
            await until(lambda: waiting(socket) > 0)


def waiting(socket: AsgiSocket) -> int:
    """Count the messages that the server waits with."""
    return len(socket.outgoing._putters)  # type: ignore[attr-defined]


async def test_the_thread_of_documents_ends_with_an_embedded_service(tmp_path: Path) -> None:
    """The service may be started again."""
    onward = Onward.from_settings(write(tmp_path, f"sqlite:///{tmp_path}/onward.db"))
    app = FastAPI(lifespan=onward.lifespan)
    app.mount("/graphql", onward.graphql)
    before = readers()
    for n in range(2):
        async with (
            onward.lifespan(app),
            httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://localhost") as http,
        ):
            answer = await http.post("/graphql", json={"query": long(n)})
            assert answer.status_code == 200
            assert len(readers() - before) == 1
        assert readers() == before


async def test_schemas_of_one_process_read_the_ledger_as_few_times_at_once_as_one(
    tmp_path: Path, held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process itself keeps a thread."""
    onward = Onward.from_settings(write(tmp_path, f"sqlite:///{tmp_path}/onward.db"))
    app = FastAPI(lifespan=onward.lifespan)
    app.mount("/graphql", onward.graphql)
    app.mount("/own", onward.graphql_with(strawberry.Schema(onward.Query)))
    hold_pages(held, monkeypatch)
    query = {"query": "{ jobs { nodes { id } } }"}
    async with (
        onward.lifespan(app),
        httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://localhost") as http,
    ):
        paths = ["/graphql", "/own"] * READS_AT_ONCE
        asked = [asyncio.create_task(http.post(path, json=query)) for path in paths]
        await until(lambda: held.running >= READS_AT_ONCE)
        for _ in range(200):
            await asyncio.sleep(0)
        assert held.running == READS_AT_ONCE
        held.go.set()
        assert {(await one).status_code for one in asked} == {200}
