"""`jobOutput` over both transports: the chunks there are, then new ones, resumable, guarded, up to the job's end."""

import asyncio
import socket
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import httpx2
import pytest
from websockets.exceptions import ConnectionClosed

from onward.jobs import chunks
from tests.integration.graphql.conftest import serving, settings_in
from tests.integration.graphql.test_sse import events
from tests.integration.graphql.test_viewers import header, jwt_settings
from tests.integration.graphql.test_websocket import client

OUTPUT = "subscription($id: ID!, $after: Int) { jobOutput(id: $id, after: $after) { offset attempt step data } }"
SPEAK = "mutation($input: SpeakInput!) { speak(input: $input) { job { id } errors { code message } } }"
HANDLERS = {"handlers": {"modules": ["tests.integration.graphql.emitting_handlers"]}}
TRANSPORTS = pytest.mark.parametrize("transport", ["websocket", "sse"])


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with serving(settings_in(tmp_path_factory.mktemp("onward"), **HANDLERS)) as address:
        yield address


async def ask(address: str, query: str, who: dict[str, str] | None = None, **variables: Any) -> Any:
    async with httpx2.AsyncClient() as http:
        body = {"query": query, "variables": variables}
        answer = (await http.post(f"http://{address}/graphql", json=body, headers=who or {})).json()
    assert "errors" not in answer, answer
    return answer["data"]


async def speak(address: str, who: dict[str, str] | None = None, **given: Any) -> str:
    payload = (await ask(address, SPEAK, who, input={"folder": "/nowhere", **given}))["speak"]
    assert payload["errors"] == []
    return str(payload["job"]["id"])


async def stream(address: str, transport: str, id_: str, after: int | None = None) -> AsyncGenerator[Any, None]:
    """Yield the payloads of the subscription, up to its regular end."""
    body = {"query": OUTPUT, "variables": {"id": id_, "after": after}}
    if transport == "sse":
        async with events(address, body) as found:
            async for payload in found:
                yield payload
        return
    async with client(address) as c:
        await c.send({"id": "1", "type": "subscribe", "payload": body})
        while (message := await c.receive())["type"] == "next":
            yield message["payload"]
        assert message == {"id": "1", "type": "complete"}


async def read(address: str, transport: str, id_: str, after: int | None = None, most: int | None = None) -> list[Any]:
    """Return the chunks up to the end, or so many and then hang up."""
    got: list[Any] = []
    async with asyncio.timeout(30), aclosing(stream(address, transport, id_, after)) as payloads:
        async for payload in payloads:
            got.append(payload["data"]["jobOutput"])
            if len(got) == most:
                break
    return got


def spoken(words: int) -> list[Any]:
    return [*({"word": n} if n % 10 == 0 else f"{n} " for n in range(words)), "the end"]


@TRANSPORTS
async def test_chunks_come_in_order_and_the_stream_ends_with_the_job(
    address: str, transport: str, tmp_path: Path
) -> None:
    """Chunks from before the subscription come first, and the last one, at the job's end, is not missed."""
    id_ = await speak(address, folder=str(tmp_path), words=250, waits=True)
    first = await read(address, transport, id_, most=250)
    rest = asyncio.create_task(read(address, transport, id_, after=249))
    await asyncio.sleep(0.05)
    (tmp_path / "go").touch()
    got = first + await rest
    assert [chunk["data"] for chunk in got] == spoken(250)
    assert [chunk["offset"] for chunk in got] == list(range(251))
    assert {chunk["attempt"] for chunk in got} == {1}


@TRANSPORTS
@pytest.mark.parametrize(("after", "first"), [(None, 0), (-1, 0), (-7, 0), (0, 1), (9, 10), (10, None), (99, None)])
async def test_a_job_that_is_over_gives_what_is_behind_an_offset(
    address: str, transport: str, after: int | None, first: int | None
) -> None:
    id_ = await speak(address, words=10)
    await read(address, transport, id_)
    got = await read(address, transport, id_, after=after)
    assert [chunk["offset"] for chunk in got] == ([] if first is None else list(range(first, 11)))


@TRANSPORTS
@pytest.mark.parametrize("id_", ["job_0", "nope", ""])
async def test_an_unknown_job_is_an_error_and_ends_the_stream(address: str, transport: str, id_: str) -> None:
    (event,) = [payload async for payload in stream(address, transport, id_)]
    assert event["errors"][0]["extensions"]["code"] == "NOT_FOUND"


async def test_a_stream_outlasts_a_wait_for_a_signal(address: str) -> None:
    """The chunks of the step before are there while the job waits, and those of the next one come after the signal."""
    ask_for = 'mutation { ask(input: {text: "a draft"}) { job { id } } }'
    id_ = (await ask(address, ask_for))["ask"]["job"]["id"]
    got: list[Any] = []
    async with asyncio.timeout(30), aclosing(stream(address, "websocket", id_)) as payloads:
        async for payload in payloads:
            got.append(payload["data"]["jobOutput"])
            if len(got) == 1:
                signal = (
                    "mutation($id: ID!, $payload: JSON) {"
                    ' signalJob(input: {id: $id, name: "approval", payload: $payload}) { errors { code message } } }'
                )
                answer = await ask(address, signal, id=id_, payload={"approved": True})
                assert answer["signalJob"]["errors"] == []
    assert [(chunk["offset"], chunk["step"], chunk["data"]) for chunk in got] == [
        (0, "draft", "a draft"),
        (1, "publish", {"approved": True}),
    ]


async def test_each_viewer_reads_the_output_of_her_own_jobs(tmp_path: Path) -> None:
    """Another one's job is none; an admin sees all; nobody sees nothing."""
    with serving(jwt_settings(tmp_path, **HANDLERS)) as address:
        id_ = await speak(address, header("ada"), words=3)
        body = {"query": OUTPUT, "variables": {"id": id_}}
        for who, expected in (
            (header("ada"), 4),
            (header("eve"), "NOT_FOUND"),
            (header("root", "admin"), 4),
            ({}, "NOT_AUTHENTICATED"),
        ):
            async with (
                httpx2.AsyncClient(timeout=20) as http,
                http.stream(
                    "POST",
                    f"http://{address}/graphql",
                    json=body,
                    headers={**who, "accept": "text/event-stream"},
                ) as response,
            ):
                text = "".join([part async for part in response.aiter_text()])
            if isinstance(expected, int):
                assert text.count("event: next") == expected
            else:
                assert expected in text


async def test_a_client_that_does_not_read_makes_the_server_read_no_further(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server stops a page or two behind what the sockets hold; another client is served meanwhile."""
    id_ = await speak(address, words=2_000, size=1_500)
    await read(address, "sse", id_)
    pages: list[int] = []
    page = chunks.page

    def noted(tx: Any, job_id: str, *, after: int, visible: Any) -> Any:
        pages.append(after)
        return page(tx, job_id, after=after, visible=visible)

    monkeypatch.setattr(chunks, "page", noted)
    host, port = address.split(":")
    silent = socket.socket()
    silent.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    silent.connect((host, int(port)))
    body = f'{{"query": "{OUTPUT}", "variables": {{"id": "{id_}"}}}}'
    silent.sendall(
        f"POST /graphql HTTP/1.1\r\nHost: {address}\r\nAccept: text/event-stream\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n{body}".encode()
    )
    try:
        async with asyncio.timeout(20):
            while not pages:
                await asyncio.sleep(0.01)
        before = -1
        while len(pages) != before:  # until it reads no further
            before = len(pages)
            await asyncio.sleep(0.2)
        assert max(pages) < 1_900, "the whole output was read for a client that takes nothing"
        assert len(await read(address, "websocket", id_, most=20)) == 20
    finally:
        silent.close()


@TRANSPORTS
async def test_a_stream_that_a_restart_cuts_goes_on_at_its_offset(tmp_path: Path, transport: str) -> None:
    """The job is handed back at the drain, and a second attempt emits behind the chunks of the first."""
    settings = settings_in(tmp_path, **HANDLERS, server={"drain_s": 0.3})
    got: list[Any] = []

    async def follow(address: str, id_: str) -> None:
        after = got[-1]["offset"] if got else None
        async with aclosing(stream(address, transport, id_, after)) as payloads:
            async for payload in payloads:
                got.append(payload["data"]["jobOutput"])  # noqa: PERF401 - it is read meanwhile

    with serving(settings) as address:
        id_ = await speak(address, folder=str(tmp_path), words=25, waits=True)
        cut = asyncio.create_task(follow(address, id_))
        async with asyncio.timeout(20):
            while len(got) < 25:
                await asyncio.sleep(0.01)
    with pytest.raises((ConnectionClosed, httpx2.HTTPError, AssertionError)):
        await cut
    (tmp_path / "go").touch()
    with serving(settings) as address:
        async with asyncio.timeout(30):
            await follow(address, id_)
    assert [chunk["offset"] for chunk in got] == list(range(51))
    assert [(chunk["attempt"], chunk["data"]) for chunk in got] == [
        *((1, word) for word in spoken(25)[:-1]),
        *((2, word) for word in spoken(25)),
    ]
