"""Hostile connections: endless heads, requests that never arrive, frames that pile up."""

import asyncio
import http.client
import json
import os
import resource
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, closing, suppress
from pathlib import Path
from typing import Any

import pytest
from uvicorn.server import ServerState

from onward.api import composition, idle_connections, transport
from onward.api import server as serving
from onward.api.app import create_app
from onward.graphql.execution import limits
from tests.integration.graphql.conftest import running, settings_in
from tests.integration.graphql.conftest import serving as served
from tests.integration.graphql.test_websocket import FOREVER, INIT, answers, client
from tests.processes import ROOT

HEAD = b"POST /graphql HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
HALF = b"GET /health/live HTTP/1.1\r\nHost: 127.0.0.1\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n1;"
UPGRADE = (
    b"GET /graphql HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: graphql-transport-ws\r\n"
)
QUERY = json.dumps({"query": "{ viewer { roles } }"}).encode()
MUCH = 60_000_000  # bytes that a patient attacker sends; the kernels' buffers take some of them
WAIT_TIMEOUT_S = 30.0


def request(body: bytes = QUERY, *headers: str) -> bytes:
    return (
        HEAD
        + "".join(f"{header}\r\n" for header in headers).encode()
        + b"Content-Length: %d\r\n\r\n" % len(body)
        + body
    )


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    settings = settings_in(tmp_path_factory.mktemp("onward"), gql={"limits": {"head_timeout_s": 1}})
    with served(settings) as address:
        yield address


@pytest.fixture
def turns_of_serve() -> Iterator[None]:
    """Give threads the short turns that `serve` sets: client and server are threads of one process here."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(serving.SWITCH_INTERVAL_S)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


@asynccontextmanager
async def connected(address: str) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    host, port = address.split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        async with asyncio.timeout(WAIT_TIMEOUT_S):
            yield reader, writer
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


@asynccontextmanager
async def listening(app: Any, folder: Path) -> AsyncIterator[str]:
    """Serve this ASGI application over our connections, and return the address."""
    config, state = serving.configured(app, settings_in(folder)), ServerState()
    config.load()

    accepted: list[Any] = []

    def protocol() -> Any:
        accepted.append(config.http_protocol_class(config=config, server_state=state, app_state={}))  # type: ignore[call-arg]
        return accepted[-1]

    async with await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()
        yield f"{host}:{port}"
    for _ in range(3):  # one that was accepted, or whose client has gone, a moment ago would outlive the loop
        await asyncio.sleep(0)
        for connection in accepted:
            if connection.transport is not None:
                connection.transport.abort()


async def rest(reader: asyncio.StreamReader) -> bytes:
    """Read everything until the connection ends."""
    found = b""
    with suppress(ConnectionError):
        while more := await reader.read(65536):
            found += more
    return found


async def until(reader: asyncio.StreamReader, words: bytes) -> None:
    """Wait for the words, whatever came before them."""
    found = b""
    while words not in found:
        more = await reader.read(65536)
        assert more, "the connection ended"
        found = found[-len(words) :] + more


def statuses(received: bytes) -> list[int]:
    return [int(part[:3]) for part in received.split(b"HTTP/1.1 ")[1:]]


async def blast(writer: asyncio.StreamWriter, data: bytes, most: int = MUCH) -> int:
    """Send data, and return the number of bytes sent before the connection ended."""
    sent = 0
    with suppress(ConnectionError):
        while sent < most:
            writer.write(data)
            await writer.drain()
            sent += len(data)
    return sent


async def trickle(writer: asyncio.StreamWriter) -> None:
    """Send a byte now and then, as long as the server accepts it. Raises ConnectionError."""
    while True:
        writer.write(b"a")
        await writer.drain()
        await asyncio.sleep(0.05)


@pytest.mark.parametrize(
    ("begin", "more"),
    [
        (HEAD + b"X: ", b"a" * 10_000),
        (HEAD, b"X: aaaaaaaaaaaaaaaaaaaa\r\n" * 400),
        (b"POST /", b"a" * 10_000),
        (b"POST /graphql?", b"a=b&" * 2_500),
        (CHUNKED, b"a" * 10_000),
        (CHUNKED[:-1] + b"\r\n \r\n0\r\nX: ", b"a" * 10_000),
        (CHUNKED[:-1] + b"\r\n \r\n0\r\n", b"X: aaaaaaaaaaaaaaaaaaaa\r\n" * 400),
    ],
    ids=["value", "headers", "path", "query", "chunk extension", "trailer", "trailers"],
)
async def test_an_endless_head_is_431_and_reading_stops(address: str, begin: bytes, more: bytes) -> None:
    async with connected(address) as (reader, writer):
        writer.write(begin)
        received, sent = asyncio.create_task(rest(reader)), await blast(writer, more)
        assert sent < MUCH
        # Data still in transit makes TCP reset the connection, which may drop the answer.
        assert statuses(await received) in ([431], [])
    assert await answers(address)


@pytest.mark.parametrize("headers", [["X: " + "a" * 32_000], ["X: a"] * 1_000], ids=["long", "many"])
async def test_a_head_that_is_a_little_too_long_is_431_in_json(address: str, headers: list[str]) -> None:
    async with connected(address) as (reader, writer):
        writer.write(request(QUERY, *headers))
        head, _, body = (await rest(reader)).partition(b"\r\n\r\n")
    assert statuses(head) == [431]
    assert json.loads(body)["errors"][0]["extensions"] == {"code": "TOO_LARGE"}


@pytest.mark.parametrize(
    ("headers", "status"), [({"Origin": "http://evil.example"}, 403), ({}, 413), ({"X": "a" * 200_000}, 431)]
)
async def test_a_client_that_reads_only_after_sending_everything_gets_the_refusal(
    address: str, headers: dict[str, str], status: int
) -> None:
    def status_now() -> int:
        connection = http.client.HTTPConnection(address, timeout=WAIT_TIMEOUT_S)
        with closing(connection):
            connection.request("POST", "/graphql", b"a" * 5_000_000, {"Content-Type": "application/json", **headers})
            return connection.getresponse().status

    assert [await asyncio.to_thread(status_now) for _ in range(20)] == [status] * 20


async def test_a_refused_client_that_keeps_sending_is_cut_off_after_a_while(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "FLUSH_TIMEOUT_S", 0.2)
    async with connected(address) as (reader, writer):
        writer.write(HEAD + b"Content-Length: 90000000\r\n\r\n")
        assert statuses(await rest(reader)) == [413]
        with pytest.raises(ConnectionError):
            await trickle(writer)


async def test_a_refused_client_that_stays_does_not_delay_the_shutdown(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "uvicorn.error")
    with served(settings_in(tmp_path)) as address:
        async with AsyncExitStack() as stack:
            reader, writer = await stack.enter_async_context(connected(address))
            writer.write(HEAD + b"Content-Length: 90000000\r\n\r\n")
            assert statuses(await rest(reader)) == [413]
            stays = stack.pop_all()
    await stays.aclose()
    assert "Finished server process" in caplog.text
    assert "Waiting for connections to close" not in caplog.text


async def test_half_a_request_does_not_delay_the_shutdown(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "uvicorn.error")
    with served(settings_in(tmp_path)) as address:
        async with AsyncExitStack() as stack:
            reader, writer = await stack.enter_async_context(connected(address))
            writer.write(request() + HALF)
            await until(reader, b"roles")
            stays = stack.pop_all()
    await stays.aclose()
    assert "Finished server process" in caplog.text
    assert "Waiting for connections to close" not in caplog.text


async def test_a_body_in_tiny_chunks_is_413_before_it_is_long(address: str) -> None:
    async with connected(address) as (reader, writer):
        writer.write(CHUNKED[:-2] + b"1\r\n \r\n" * 20_000)
        assert statuses(await rest(reader)) in ([413], [])
    async with connected(address) as (reader, writer):
        pieces = b"".join(b"1\r\n%c\r\n" % byte for byte in QUERY)
        writer.write(
            CHUNKED[:-2].replace(b"Host: 127.0.0.1", b"Host: 127.0.0.1\r\nConnection: close") + pieces + b"0\r\n\r\n"
        )
        assert statuses(await rest(reader)) == [200]


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01\x02\x00\x01",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"\x00" * 50,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
)
async def test_bytes_that_are_not_http_are_400_in_json(address: str, garbage: bytes) -> None:
    async with connected(address) as (reader, writer):
        writer.write(garbage)
        head, _, body = (await rest(reader)).partition(b"\r\n\r\n")
    assert statuses(head) == [400]
    assert json.loads(body)["errors"][0]["extensions"] == {"code": "BAD_REQUEST"}


async def test_an_incomplete_head_is_408(address: str) -> None:
    async with connected(address) as (reader, writer):
        received = asyncio.create_task(rest(reader))
        writer.write(HEAD)
        while not received.done():  # a byte now and then does not help
            writer.write(b"a")
            await asyncio.sleep(0.05)
        assert statuses(await received) == [408]


async def test_a_silent_connection_is_closed(address: str) -> None:
    async with connected(address) as (reader, _):
        assert await rest(reader) == b""


async def test_a_body_that_arrives_after_its_answer_does_not_hold_the_connection(address: str) -> None:
    async with connected(address) as (reader, writer):
        received = asyncio.create_task(rest(reader))
        writer.write(
            HEAD + b"Authorization: Basic x\r\nOrigin: http://evil.example\r\nContent-Length: 90000000\r\n\r\n"
        )
        with suppress(ConnectionError):
            while not received.done():
                writer.write(b"a")
                await asyncio.sleep(0.05)
        assert statuses(await received) == [403]


async def test_requests_that_come_together_are_answered_in_order(address: str) -> None:
    named = [json.dumps({"query": f"{{ a{n}: viewer {{ roles }} }}"}).encode() for n in range(50)]
    async with connected(address) as (reader, writer):
        writer.write(b"".join(request(body) for body in named[:-1]) + request(named[-1], "Connection: close"))
        received = await rest(reader)
    assert statuses(received) == [200] * 50
    assert [received.index(b'"a%d"' % n) for n in range(50)] == sorted(received.index(b'"a%d"' % n) for n in range(50))


async def test_the_requests_that_wait_on_a_connection_are_limited(address: str) -> None:
    async with connected(address) as (reader, writer):
        writer.write(request() * 400)
        received = statuses(await rest(reader))
    assert len(received) < 400
    assert set(received) <= {200, 429}


async def test_a_later_request_does_not_get_the_answer_of_an_earlier_one(address: str) -> None:
    query = b'{"query": "mutation { processItem(input: {item: \\"x\\"}) { job { id } } }"}'
    async with connected(address) as (reader, writer):
        writer.write(request(query) + b"nonsense\r\n\r\n")
        received = await rest(reader)
    assert statuses(received) == [200]
    assert b"job_" in received


async def test_a_socket_is_not_opened_on_a_connection_with_a_stream(address: str) -> None:
    async with connected(address) as (reader, writer):
        writer.write(request(json.dumps(FOREVER).encode(), "Accept: text/event-stream"))
        assert b"200" in await reader.readuntil(b"\r\n\r\n")
        writer.write(UPGRADE + b"\r\n")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await until(reader, b"101 Switching")


@pytest.mark.parametrize(
    "behind", [HALF + b"\r\n", HALF, HEAD + b"Content-Length: 5\r\n\r\n"], ids=["whole", "half", "head"]
)
@pytest.mark.parametrize("way", ["its client leaves", "the server stops"])
async def test_a_stream_ends_though_another_request_waits_behind_it(
    tmp_path: Path, way: str, behind: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Uvicorn tells the newest request alone that the connection is gone, which a heartbeat finds out."""
    monkeypatch.setattr(composition, "limits", lambda _settings: limits.Limits(heartbeat_s=0.05))
    async with running(settings_in(tmp_path)) as api, listening(api.app, tmp_path) as address:
        view = api.app.state.view
        async with connected(address) as (reader, writer):
            writer.write(request(json.dumps(FOREVER).encode(), "Accept: text/event-stream"))
            assert b"200" in await reader.readuntil(b"\r\n\r\n")
            writer.write(behind)
            await asyncio.sleep(0.1)
            assert view._streams == 1
            if way == "the server stops":
                async with asyncio.timeout(3):
                    view.close()
                    await view.wait_closed()
        async with asyncio.timeout(5):
            while view._streams:
                await asyncio.sleep(0.01)


SMUGGLED = b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


@pytest.mark.parametrize(
    "headers",
    [
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        b"Content-Length: 5\r\nContent-Length: 6\r\n",
        b"Content-Length: 5, 5\r\n",
        b"Content-Length: +5\r\n",
        b"Content-Length: 0x5\r\n",
        b"Content-Length: -1\r\n",
        b"Content-Length : 5\r\n",
        b"Transfer-Encoding: xchunked\r\n",
        b"Transfer-Encoding: chunked, identity\r\n",
        b"Transfer-Encoding:\x0bchunked\r\n",
        b"Transfer-Encoding : chunked\r\n",
        b" X: folded\r\nContent-Length: 5\r\n",
        b"X: a\rTransfer-Encoding: chunked\r\n",
    ],
)
async def test_a_request_with_two_lengths_is_refused_and_nothing_after_it_is_answered(
    address: str, headers: bytes
) -> None:
    """Request smuggling has bytes that are a body to one server and a request to the next (RFC 9112, 11.2)."""
    async with connected(address) as (reader, writer):
        writer.write(HEAD + headers + b"\r\n0\r\n\r\n" + SMUGGLED)
        assert statuses(await rest(reader)) == [400]


@pytest.mark.parametrize("name", [b"Authorization", b"Origin", b"X-Forwarded-For", b"Host"])
async def test_fields_behind_a_chunked_body_are_dropped(tmp_path: Path, name: bytes) -> None:
    """Trailers must not pass for headers that a proxy has set or checked (RFC 9110, 6.5.1)."""
    seen: list[list[tuple[bytes, bytes]]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        while (await receive()).get("more_body"):
            pass
        seen.append(scope["headers"])
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    async with listening(app, tmp_path) as address, connected(address) as (reader, writer):
        for _ in range(2):  # the second request's head is read behind the first one's trailers
            writer.write(CHUNKED[:-2] + b"1\r\nx\r\n0\r\n" + name + b": evil\r\n\r\n")
            assert statuses(await reader.readuntil(b"\r\n\r\n")) == [204]
    assert [[value for _, value in headers if value == b"evil"] for headers in seen] == [[], []]


def frame(opcode: int, payload: bytes = b"", *, last: bool = True) -> bytes:
    mask = os.urandom(4)
    size = len(payload)
    length = struct.pack("!B", 0x80 | size) if size < 126 else struct.pack("!BH", 0x80 | 126, size)
    masked = bytes(byte ^ mask[n % 4] for n, byte in enumerate(payload))
    return bytes([last << 7 | opcode]) + length + mask + masked


@asynccontextmanager
async def upgraded(address: str, further: str = "") -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    async with connected(address) as (reader, writer):
        writer.write(UPGRADE + further.encode("latin-1") + b"\r\n")
        yield reader, writer


@pytest.mark.parametrize(
    "frames",
    [frame(9, b"x" * 125) * 500, frame(1, b"{", last=False) + frame(0, last=False) * 5_000],
    ids=["pings whose pongs nobody takes", "a message of empty fragments"],
)
async def test_frames_that_pile_up_close_their_socket(address: str, frames: bytes) -> None:
    async with upgraded(address) as (reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(frame(1, json.dumps(INIT).encode()))
        assert await blast(writer, frames) < MUCH
    assert await answers(address)


@pytest.mark.parametrize(
    "flood",
    [
        frame(9) * 100_000,
        frame(10) * 400_000,  # of which each is over the sooner, since it wants no answer
        frame(1, b'{"type":"pong"}') * 13_000,
        frame(1, b'{"type":"complete","id":"x"}') * 9_000,
    ],
    ids=["pings", "pongs", "messages", "completions"],
)
@pytest.mark.slow
async def test_a_flood_on_one_socket_does_not_block_others(address: str, flood: bytes, turns_of_serve: None) -> None:
    async with upgraded(address) as (reader, writer), client(address) as friend:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(frame(1, json.dumps(INIT).encode()))
        await reader.readuntil(b"connection_ack")
        writer.write(flood + frame(1, b'{"type":"ping"}'))
        over = asyncio.create_task(until(reader, b'{"type":"pong"}'))
        answered = 0
        while not over.done():
            assert (await friend.run("{ viewer { roles } }"))[0]["type"] == "next"
            answered += 1
        assert answered > 3  # at most two of the requests are read at once


@pytest.mark.parametrize("query", ["{", "{ viewer { roles } }", "{ nope }", "subscription { jobsUpdated { id } }"])
async def test_an_answer_to_a_socket_that_was_closed_meanwhile_is_no_error(
    address: str, query: str, capfd: pytest.CaptureFixture[str]
) -> None:
    for pings in range(0, 120, 6):  # of which some are read with the subscription, and others in later turns
        new = f"{query} # {pings}"
        subscribe = json.dumps({"type": "subscribe", "id": "x", "payload": {"query": new}}).encode()
        async with upgraded(address) as (reader, writer):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(frame(1, json.dumps(INIT).encode()))
            await reader.readuntil(b"connection_ack")
            writer.write(frame(1, subscribe) + frame(9) * pings + frame(3))  # there is no opcode 3
            await rest(reader)
    assert await answers(address)
    assert "failed" not in "".join(capfd.readouterr())


@pytest.mark.parametrize(
    "further",
    [
        "X: a\r\n" * 300,
        "X: " + "a" * 20_000 + "\r\n",
        "X: \xff\r\n",
        "Sec-WebSocket-Extensions: " + "x;" * 900 + "\r\n",
    ],
    ids=["many headers", "a long header", "latin-1", "extensions"],
)
async def test_an_upgrade_with_absurd_headers_ends(address: str, further: str) -> None:
    async with upgraded(address, further) as (reader, writer):
        received = await reader.readuntil(b"\r\n\r\n")
        writer.write(frame(8))
        await rest(reader)
    assert statuses(received) in ([101], [400], [431])
    assert await answers(address)


async def test_with_too_many_connections_the_longest_silent_one_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "connection_capacity", lambda: 20)
    # No connection is closed for being silent too long.
    with served(settings_in(tmp_path, gql={"limits": {"head_timeout_s": 600}})) as address:
        host, port = address.split(":")
        async with client(address) as busy:
            silent = [socket.create_connection((host, int(port)), timeout=WAIT_TIMEOUT_S) for _ in range(60)]
            try:
                assert await asyncio.to_thread(_hung_up, silent[0])
                async with connected(address) as (reader, writer):
                    writer.write(request(QUERY, "Connection: close"))
                    assert statuses(await rest(reader)) == [200]
                assert (await busy.run("{ viewer { roles } }"))[0]["type"] == "next"
            finally:
                for one in silent:
                    one.close()


async def test_with_too_many_connections_a_refused_one_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "connection_capacity", lambda: 20)
    monkeypatch.setattr(transport, "FLUSH_TIMEOUT_S", 600)
    with served(settings_in(tmp_path)) as address:
        async with AsyncExitStack() as stack:
            writers = []
            for _ in range(30):
                reader, writer = await stack.enter_async_context(connected(address))
                writer.write(HEAD + b"Content-Length: 90000000\r\n\r\n")
                assert statuses(await rest(reader)) == [413]
                writers.append(writer)
            with pytest.raises(ConnectionError):
                await trickle(writers[0])


async def test_with_too_many_connections_at_once_each_new_one_closes_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "connection_capacity", lambda: 20)
    settings = settings_in(tmp_path, gql={"limits": {"head_timeout_s": 600}})
    config, state = serving.configured(create_app(settings), settings), ServerState()
    config.load()

    def protocol() -> Any:
        return config.http_protocol_class(config=config, server_state=state, app_state={})  # type: ignore[call-arg]

    async with await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", 0) as server:
        where = server.sockets[0].getsockname()
        # Without an await, so that the loop finds all of them in one turn.
        silent = [socket.create_connection(where, timeout=WAIT_TIMEOUT_S) for _ in range(60)]
        try:
            assert all([await asyncio.to_thread(_hung_up, one) for one in silent[:40]])
            assert len(state.connections) == 20
        finally:
            for one in silent:
                one.close()


@pytest.mark.parametrize(("soft", "hard", "taken"), [(64, 100, 100), (1_024, 4_096, 4_096)])
def test_the_server_raises_its_descriptor_limit_and_keeps_a_reserve(soft: int, hard: int, taken: int) -> None:
    code = (
        f"import resource as r; r.setrlimit(r.RLIMIT_NOFILE, ({soft}, {hard}));"
        "from onward.api.idle_connections import connection_capacity;"
        "print(connection_capacity(), *r.getrlimit(r.RLIMIT_NOFILE))"
    )
    said = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    capacity, *limits = map(int, said.split())
    assert limits == [taken, hard]
    assert 0 < capacity < taken


def test_a_system_with_fewer_descriptors_than_it_reports_still_works(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One such system is macOS."""

    def take(_which: int, limits: tuple[int, int]) -> None:
        if limits[0] > 61_440:
            raise ValueError("current limit exceeds maximum limit")

    monkeypatch.setattr(resource, "getrlimit", lambda _which: (256, resource.RLIM_INFINITY))
    monkeypatch.setattr(resource, "setrlimit", take)
    assert idle_connections.connection_capacity() == 10_240 - idle_connections.RESERVED_DESCRIPTORS


def _hung_up(one: socket.socket) -> bool:
    try:
        return one.recv(1) == b""
    except ConnectionError:
        return True


@pytest.mark.parametrize("given", [False, True], ids=["bound", "handed over"])
def test_a_client_that_reads_nothing_is_cut_off_by_the_kernel(tmp_path: Path, *, given: bool) -> None:
    settings: Any = settings_in(tmp_path, server={"port": 0})
    there = socket.create_server(("127.0.0.1", 0)).detach() if given else None
    listening = serving.bind(settings) if there is None else serving.adopt(settings, there)
    with listening as bound, socket.create_connection(bound.getsockname()):
        accepted, _ = bound.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == serving.UNREAD_TIMEOUT_S * 1000


def test_a_socket_that_was_handed_over_is_kept_from_the_programs_of_handlers(tmp_path: Path) -> None:
    """One that is started with this process's descriptors, as by os.system, would keep the port after the stop."""
    given = socket.create_server(("127.0.0.1", 0))
    given.set_inheritable(True)  # as a supervisor and systemd hand it over
    with serving.adopt(settings_in(tmp_path, server={"port": 0}), given.detach()) as bound:
        assert not bound.get_inheritable()


class Wire(asyncio.Transport):
    """The output, piece by piece."""

    def __init__(self) -> None:
        super().__init__()
        self.pieces: list[bytes] = []
        self.closed = False

    def write(self, data: Any) -> None:
        assert not self.closed
        self.pieces.append(data)

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed


async def test_output_to_a_client_that_has_gone_within_the_iteration_is_dropped() -> None:
    wire = Wire()
    gathering = transport.BufferedTransport(wire, asyncio.get_running_loop())
    gathering.write(b"answer")
    wire.close()  # as when the connection is lost
    failures: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: failures.append(context))
    await asyncio.sleep(0)
    assert (wire.pieces, failures) == ([], [])


async def test_output_of_one_loop_iteration_is_sent_at_once_and_before_the_close() -> None:
    wire = Wire()
    gathering = transport.BufferedTransport(wire, asyncio.get_running_loop())
    gathering.write(b"head")
    gathering.write(b"body")
    assert wire.pieces == []
    await asyncio.sleep(0)
    assert wire.pieces == [b"headbody"]
    gathering.write(b"more")
    gathering.close()
    assert wire.closed
    await asyncio.sleep(0)
    assert wire.pieces == [b"headbody", b"more"]


async def test_a_reader_of_a_body_learns_when_it_is_complete(tmp_path: Path) -> None:
    received: list[tuple[bool, bytes]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        all_here = "onward.body_complete" in scope.get("extensions", ())
        body = b""
        while (message := await receive())["more_body"]:
            body += message["body"]
        received.append((all_here, body + message["body"]))
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    async with listening(app, tmp_path) as address, connected(address) as (reader, writer):
        for body in (b"whole", b"more"):
            writer.write(request(body))
            assert b" 204 " in await reader.readuntil(b"\r\n\r\n")
        writer.write(request(b"in two")[:-3])
        await asyncio.sleep(0.1)
        writer.write(b"two")
        assert b" 204 " in await reader.readuntil(b"\r\n\r\n")
    assert received == [(True, b"whole"), (True, b"more"), (False, b"in two")]


async def test_a_query_whose_client_has_gone_is_not_read_further(tmp_path: Path) -> None:
    async with running(settings_in(tmp_path)) as api:
        database = api.app.state.onward.database
        begin_read, started, gone = database.begin_read, asyncio.Event(), asyncio.Event()
        reads = 0

        async def slow_read(function: Any) -> Any:
            started.set()
            await gone.wait()
            return await begin_read(function)

        def begin(function: Any) -> Any:
            nonlocal reads
            if not getattr(function, "__qualname__", "").startswith("read_within."):  # the server's own
                return begin_read(function)
            reads += 1
            return asyncio.ensure_future(slow_read(function))

        database.begin_read = begin
        query = json.dumps({"query": "{ a: jobs { nodes { id } } b: jobs(first: 1) { nodes { id } } }"}).encode()
        ended = asyncio.Event()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await api.app(scope, receive, send)
            ended.set()

        async with listening(app, tmp_path) as address:
            async with connected(address) as (_, writer):
                writer.write(request(query))
                await started.wait()
                writer.transport.abort()
            await asyncio.sleep(0.1)  # the server learns of it
            gone.set()
            await asyncio.wait_for(ended.wait(), WAIT_TIMEOUT_S)
        assert reads == 1


async def test_a_stream_that_ends_has_a_last_chunk_and_one_of_a_stopping_server_has_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A client takes a whole response for the end of its subscription, and reconnects after a broken one."""
    job = {"query": 'subscription { jobUpdated(id: "job_0") { id } }'}
    async with running(settings_in(tmp_path)) as api, listening(api.app, tmp_path) as address:
        events = "Accept: text/event-stream"
        async with connected(address) as (reader, writer):
            writer.write(request(json.dumps(job).encode(), events))
            assert (await reader.readuntil(b"0\r\n\r\n")).endswith(b"event: complete\ndata:\n\n\r\n0\r\n\r\n")
        async with connected(address) as (reader, writer):
            writer.write(request(b'{"query": "subscription { jobsUpdated { id } }"}', events))
            await reader.readuntil(b":\n\n\r\n")
            api.app.state.view.close()
            assert not (await rest(reader)).endswith(b"0\r\n\r\n")
    assert "without completing" not in "".join(capsys.readouterr())


def test_an_idle_connection_is_kept_longer_than_proxies_keep_theirs(tmp_path: Path) -> None:
    """A proxy would otherwise send a request into a connection that is just being closed, and answer 502."""
    settings = settings_in(tmp_path)
    assert serving.configured(create_app(settings), settings).timeout_keep_alive == settings.server.keep_alive_s > 75


async def test_a_server_without_requests_waits_for_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, anyio_backend: str
) -> None:
    """Uvicorn's own loop wakes the process ten times a second, to see whether it shall end."""
    monkeypatch.setattr(os, "register_at_fork", lambda **_: None)  # nothing could undo it
    monkeypatch.setattr(serving, "TICK_S", 3600.0)
    settings, ticks = settings_in(tmp_path), 0
    with socket.create_server(("127.0.0.1", 0)) as bound:
        server = serving.Server(serving.configured(create_app(settings), settings), settings, bound)
        on_tick = server.on_tick

        async def counted(counter: int) -> bool:
            nonlocal ticks
            ticks += 1
            return await on_tick(counter)

        monkeypatch.setattr(server, "on_tick", counted)
        serves = asyncio.create_task(server.main_loop())
        await asyncio.sleep(0.35)  # there is no condition to wait for: nothing should happen
        assert ticks == 1
        server.handle_exit(signal.SIGTERM, None)
        async with asyncio.timeout(30):
            await serves


async def test_requests_are_answered_while_the_build_of_the_pages_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, anyio_backend: str
) -> None:
    """A clone whose pages are not built yet would otherwise start as much later as npm takes to start."""
    is_building, goes_on = threading.Event(), threading.Event()

    def bundle_builds(_settings: Any) -> None:
        is_building.set()
        goes_on.wait(WAIT_TIMEOUT_S)

    monkeypatch.setattr(os, "register_at_fork", lambda **_: None)  # nothing could undo it
    monkeypatch.setattr(serving, "bundle_builds", bundle_builds)
    settings = settings_in(tmp_path)
    config = serving.configured(create_app(settings), settings, lifespan="off")
    config.load()
    with socket.create_server(("127.0.0.1", 0)) as bound:
        server = serving.Server(config, settings, bound)
        server.lifespan = config.lifespan_class(config)
        await server.startup([bound])
        try:
            async with asyncio.timeout(WAIT_TIMEOUT_S / 2):
                assert await asyncio.to_thread(is_building.wait, WAIT_TIMEOUT_S)
                reader, writer = await asyncio.open_connection(*bound.getsockname())
                writer.write(b"GET /health/live HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
                assert (await reader.read()).startswith(b"HTTP/1.1 200 ")
        finally:
            goes_on.set()
            for listening in server.servers:
                listening.close()
        writer.close()
