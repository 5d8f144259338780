"""Finished objects are freed at once, because reference cycles would pile up until the collector blocks the process."""

import asyncio
import gc
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import pytest
from graphql import Executor, Location, Node, Token, parse
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from onward.api.http_connection import HttpConnection
from onward.api.operation_task import OperationTask
from onward.api.websocket import Socket
from onward.api.websocket_connection import WebSocketConnection
from onward.graphql.execution.documents import _unlink_tokens
from onward.storage.engine import Database
from tests.integration.graphql.conftest import Api, running, serving, settings_in, until
from tests.integration.graphql.test_answers import BUDGET, RESULT, SWELLING, filled
from tests.integration.graphql.test_websocket import FOREVER, client, mutate

PASSING = (Executor, OperationTask, HttpConnection, RequestResponseCycle, Socket, WebSocketConnection)
FOLLOW = "subscription($id: ID!) { jobUpdated(id: $id) { id status } }"


@contextmanager
def uncollected() -> Iterator[None]:
    """Freeze existing objects, and disable the collector."""
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def left() -> Counter[str]:
    return Counter(type(thing).__name__ for thing in gc.get_objects() if isinstance(thing, PASSING))


@pytest.mark.parametrize(
    "query",
    [
        "{ viewer { roles } }",
        "{ jobs(first: 2) { nodes { id steps { name } } } }",
        'mutation { processItem(input: { item: "x" }) { job { id } errors { message } } }',
        'mutation { registerUser(input: { username: "", email: "x" }) { errors { message } } }',
        "{ jobs(first: 1, last: 1) { nodes { id } } }",
        "{ viewer { roles } a: jobs(first: 2) { nodes { id } } b: jobs(first: 1, last: 1) { nodes { id } } }",
        f"{{ {' '.join(f'a{n}: jobs(first: {n - 4}) {{ nodes {{ id }} }}' for n in range(9))} }}",
        "query($first: Int!) { jobs(first: $first) { nodes { id } } }",
        'mutation { a: cancelJob(id: "none") { errors { code } } b: retryJob(id: "none") { errors { code } } }',
    ],
)
async def test_a_finished_operation_is_freed(api: Api, query: str) -> None:
    with uncollected():
        await api.post({"query": query})
        await until(freed)  # what was cancelled ends a moment later


async def test_an_answer_past_its_budget_is_freed_with_what_there_was_of_it(tmp_path: Path) -> None:
    """The other fields are cancelled, and their errors refer to the executor."""
    async with running(settings_in(tmp_path, gql={"limits": {"answer_bytes": BUDGET}})) as api:
        await api.app.state.onward.writer.run(partial(filled, count=40, result=RESULT))
        with uncollected():
            (error,) = await api.errors(SWELLING)
            assert error["extensions"]["code"] == "ANSWER_TOO_LARGE"
            await until(freed)


async def test_an_operation_out_of_time_is_freed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(*_: object) -> None:
        await asyncio.Event().wait()

    async with running(settings_in(tmp_path, gql={"limits": {"timeout_s": 0.1}})) as api:
        monkeypatch.setattr(Database, "begin_read", never)
        with uncollected():
            (error,) = await api.errors(
                "{ viewer { roles } a: jobs(first: 2) { nodes { id } } b: jobs { nodes { id } } }"
            )
            assert error["extensions"]["code"] == "TIMEOUT"
            await until(freed)


async def freed() -> bool:
    return not left()


def test_a_dropped_document_takes_its_tokens_along() -> None:
    """Otherwise the collector would stop all requests for its thousands of objects."""
    with uncollected():
        node = parse("query($n: Int) { viewer { roles } jobs(first: $n) { nodes { id } } }")
        _unlink_tokens(node)
        del node
        assert not [thing for thing in gc.get_objects() if isinstance(thing, Node | Token | Location)]


async def test_a_lost_connection_is_freed_with_its_waiting_requests(tmp_path: Path) -> None:
    async def gone() -> bool:
        return not left()

    with serving(settings_in(tmp_path)) as address, uncollected():
        host, port = address.split(":")
        for _ in range(5):
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(b"POST /graphql HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1\r\n\r\nx" * 90)
            assert (await reader.readline()).startswith(b"HTTP/1.1 415")
            writer.close()
            with suppress(OSError):  # unread answers
                await writer.wait_closed()
        await until(gone)


async def test_a_closed_socket_is_freed_with_its_operations_whenever_they_ended(tmp_path: Path) -> None:
    async def gone() -> bool:
        return not left()

    with serving(settings_in(tmp_path)) as address, uncollected():
        async with client(address) as spoken:
            job = await mutate(address)
            assert (await spoken.run(FOLLOW, id=job))[-1]["type"] == "complete"
            for number in range(3):
                await spoken.send({"id": f"a{number}", "type": "subscribe", "payload": FOREVER})
            await spoken.run("{ viewer { roles } }", "b")  # those before it have begun
            await spoken.send({"id": "a0", "type": "complete"})
            for number in range(3):
                await spoken.send({"id": f"c{number}", "type": "subscribe", "payload": FOREVER})
            assert left()
        await until(gone)
