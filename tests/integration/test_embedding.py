"""Onward inside a FastAPI application, with Starlette's test client and over ASGI."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path
from types import FrameType
from typing import Any

import aiosqlite
import httpx2
import pytest
import strawberry
from fastapi import APIRouter, FastAPI
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from starlette.testclient import TestClient, WebSocketDenialResponse
from starlette.types import Message, Scope
from starlette.websockets import WebSocketDisconnect

from onward import Onward, Unavailable, Viewer
from onward.api.mounted import NOT_RUNNING, is_local
from onward.api.session import STOPS
from onward.config.settings import SettingsError
from onward.testing import workload
from onward.testing.waiting import until
from tests.embedded import parcels
from tests.embedded.project import UPDATES, WRAP, write

LONG = timedelta(seconds=60)
PROTOCOL = "graphql-transport-ws"
PAGE = {"accept": "text/html"}


@strawberry.type
class Own:
    @strawberry.field
    def hello(self) -> str:
        return "from a schema of one's own"


def embedding(folder: Path, ledger_url: str) -> tuple[Onward, FastAPI]:
    """Return an application with all that can be mounted, also in applications and routers inside it."""
    onward = Onward.from_settings(write(folder, ledger_url))
    app = FastAPI(lifespan=onward.lifespan)
    app.mount("/graphql", onward.graphql)
    app.mount("/jobs", onward.pages)
    app.mount("/own", onward.graphql_with(strawberry.Schema(Own)))
    app.mount("/elsewhere", onward.pages_with(graphql="/api/graphql"))
    inner, router = FastAPI(), APIRouter()
    router.mount("/graphql", onward.graphql)
    inner.include_router(router, prefix="/v1")
    inner.mount("/jobs", onward.pages)
    app.mount("/inner", GZipMiddleware(inner))
    app.router.routes.append(Mount("/layered", onward.graphql, middleware=[Middleware(GZipMiddleware)]))
    return onward, app


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> tuple[Onward, FastAPI]:
    folder = tmp_path_factory.mktemp("embedded")
    return embedding(folder, f"sqlite:///{folder}/onward.db")


@pytest.fixture(scope="module")
def client(parts: tuple[Onward, FastAPI]) -> Iterator[TestClient]:
    with TestClient(parts[1]) as client:
        yield client


def wrapped(client: TestClient, path: str, label: str) -> str:
    answer = client.post(path, json={"query": WRAP, "variables": {"label": label}}, follow_redirects=False)
    assert answer.status_code == 200, answer.text
    payload = answer.json()["data"]["parcelsWrap"]
    assert payload["errors"] == []
    return str(payload["job"]["id"])


@pytest.mark.parametrize("path", ["/graphql", "/graphql/", "/inner/v1/graphql", "/layered"])
def test_a_mutation_is_answered_and_its_job_done_and_followed_at_each_path(client: TestClient, path: str) -> None:
    job_id = wrapped(client, path, path)
    with client.websocket_connect(path, subprotocols=[PROTOCOL]) as socket:
        socket.send_json({"type": "connection_init"})
        assert socket.receive_json() == {"type": "connection_ack"}
        payload = {"query": UPDATES, "variables": {"id": job_id}}
        socket.send_json({"id": "1", "type": "subscribe", "payload": payload})
        updates = []
        while (message := socket.receive_json())["type"] == "next":
            updates.append(message["payload"]["data"]["jobUpdated"])
        assert message == {"id": "1", "type": "complete"}
    assert updates[-1] == {"id": job_id, "status": "SUCCEEDED", "done": True, "result": f"wrapped: {path}"}


def test_a_job_is_enqueued_by_the_parts_that_serve(parts: tuple[Onward, FastAPI], client: TestClient) -> None:
    onward = parts[0]

    async def enqueued() -> list[Any]:
        ids = await onward.enqueue_many([parcels.wrap.job(label=label) for label in ("a", "b")])
        ids.append(await onward.enqueue(parcels.wrap.job(label="c"), idempotency_key="c"))
        assert ids[-1] == await onward.enqueue(parcels.wrap.job(label="c"), idempotency_key="c")
        return [await onward.result(id_, timeout=LONG) for id_ in ids]

    assert client.portal is not None
    assert client.portal.call(enqueued) == ["wrapped: a", "wrapped: b", "wrapped: c"]
    assert onward.sync.result(onward.sync.enqueue(parcels.wrap.job(label="d")), timeout=LONG) == "wrapped: d"
    onward.sync.close()


def test_a_call_in_another_event_loop_is_refused_and_leaves_nothing_behind(
    parts: tuple[Onward, FastAPI], client: TestClient
) -> None:
    """A plain route that runs a loop, and a test that awaits beside the client's thread, have `onward.sync`."""
    onward, job_id = parts[0], wrapped(client, "/graphql", "before")

    async def output() -> None:
        async for _ in onward.output(job_id):
            pass

    for call in (
        lambda: onward.enqueue(parcels.wrap.job(label="nowhere")),
        lambda: onward.enqueue_many([parcels.wrap.job(label="nowhere")]),
        lambda: onward.result(job_id),
        lambda: onward.signal(job_id, "approval"),
        lambda: onward.cancel_batch("batch_1"),
        output,
    ):
        with pytest.raises(RuntimeError, match=r"another event loop.*onward\.sync"):
            asyncio.run(call())
    answer = client.post("/graphql", json={"query": "{ jobs(first: 1) { nodes { id } } }"})
    assert answer.json()["data"]["jobs"]["nodes"] == [{"id": job_id}]


async def test_a_session_of_ones_own_may_be_of_another_event_loop(tmp_path: Path) -> None:
    """All is done on its connection."""
    onward = Onward.from_settings(write(tmp_path, f"sqlite:///{tmp_path}/onward.db"))
    with TestClient(FastAPI(lifespan=onward.lifespan)):
        async with aiosqlite.connect(tmp_path / "onward.db", isolation_level=None) as session:
            await session.execute("BEGIN IMMEDIATE")
            job_id = await onward.enqueue(parcels.wrap.job(label="mine"), session=session)
            await session.commit()
        assert onward.sync.result(job_id, timeout=LONG) == "wrapped: mine"
    onward.sync.close()


def test_a_schema_of_ones_own_is_answered(client: TestClient) -> None:
    assert client.post("/own", json={"query": "{ hello }"}).json() == {"data": {"hello": "from a schema of one's own"}}


PATHS = {"/jobs": "/graphql", "/jobs/": "/graphql", "/inner/jobs": "/graphql", "/inner/jobs/": "/graphql"}


@dataclass(frozen=True)
class Proxy:
    """A proxy's prefix as people see it, as the server is told of it, and as it stands in the server's path."""

    public: str = ""
    root_path: str = ""
    seen: str = ""


@pytest.mark.parametrize(
    ("proxy", "path"),
    [
        *product((Proxy(), Proxy("/stripped"), Proxy("/kept", "/kept", "/kept")), PATHS),
        *product([Proxy("/stripped", "/stripped")], ["/jobs", "/jobs/"]),  # Starlette routes nothing nested there
    ],
    ids=str,
)
def test_links_of_the_console_lead_to_its_files_and_graphql_behind_any_prefix(
    parts: tuple[Onward, FastAPI], client: TestClient, proxy: Proxy, path: str
) -> None:
    behind = TestClient(parts[1], root_path=proxy.root_path) if proxy.root_path else client
    page = behind.get(proxy.seen + path)
    assert page.status_code == 200
    assert "frame-ancestors 'none'" in page.headers["content-security-policy"]
    links = {name: httpx2.URL(f"http://h{proxy.public}{path}").join(link) for name, link in links_of(page.text).items()}
    assert links["graphql"].path == proxy.public + PATHS[path]
    icon = behind.get(proxy.seen + links["icon"].path.removeprefix(proxy.public))
    assert icon.headers["content-type"] == "image/svg+xml"
    answer = behind.post(proxy.seen + PATHS[path], json={"query": "{ __typename }"})
    assert answer.json() == {"data": {"__typename": "Query"}}


def test_a_console_uses_the_graphql_that_it_is_given(client: TestClient) -> None:
    assert links_of(client.get("/elsewhere").text)["graphql"] == "/api/graphql"


@pytest.mark.parametrize("path", ["/graphql", "/graphql/", "/inner/v1/graphql", "/own/"])
def test_the_links_of_the_explorer_lead_to_its_files_and_to_the_console(client: TestClient, path: str) -> None:
    page = client.get(path, headers=PAGE)
    assert page.status_code == 200
    links = {name: httpx2.URL(f"http://example.org{path}").join(link) for name, link in links_of(page.text).items()}
    assert client.get(links["script"].path).status_code == 200
    assert client.get(links["jobs"].path).text.count("<title>Console") == 1


def links_of(page: str) -> dict[str, str]:
    marks = {
        "graphql": 'data-graphql="',
        "icon": 'data-icon="',
        "script": '<script type="module" src="',
        "jobs": 'data-jobs="',
    }
    return {name: page.partition(mark)[2].partition('"')[0] for name, mark in marks.items() if mark in page}


def test_a_body_is_bounded_by_the_settings_whatever_the_server_bounds(client: TestClient) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(1_000):
            yield b" " * 1_000

    for body in (b" " * 1_000_000, endless()):
        answer = client.post("/graphql", content=body, headers={"content-type": "application/json"})
        assert (answer.status_code, answer.headers["connection"]) == (413, "close")


@pytest.mark.parametrize("path", ["/jobs/none", "/graphql/none", "/jobs/static/none.js", "/jobs/static/../policy.py"])
def test_there_is_nothing_at_other_paths(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 404


def test_other_routes_are_as_they_were_after_the_lifespan(tmp_path: Path) -> None:
    _, app = embedding(tmp_path, f"sqlite:///{tmp_path}/onward.db")
    routes = list(app.routes)
    for _ in range(2):
        with TestClient(app) as client:
            assert len(app.routes) > len(routes)
            assert wrapped(client, "/graphql", "again")
        assert app.routes == routes


@pytest.mark.parametrize("path", ["/graphql/", "/jobs/"])
def test_mounted_and_not_running_it_says_what_to_add(tmp_path: Path, path: str) -> None:
    _, app = embedding(tmp_path, f"sqlite:///{tmp_path}/onward.db")
    answer = TestClient(app).post(path, json={"query": "{ __typename }"})
    assert answer.status_code == 503
    assert "lifespan=onward.lifespan" in answer.json()["errors"][0]["message"]


def test_a_socket_is_told_what_to_add_where_nothing_runs(tmp_path: Path) -> None:
    _, app = embedding(tmp_path, f"sqlite:///{tmp_path}/onward.db")
    socket = TestClient(app).websocket_connect("/graphql/", subprotocols=[PROTOCOL])
    with socket, pytest.raises(WebSocketDisconnect) as closed:
        socket.receive_json()
    assert closed.value.code == 1013
    assert "lifespan=onward.lifespan" in closed.value.reason
    assert "async with onward.lifespan(app)" in closed.value.reason
    with pytest.raises(WebSocketDisconnect), TestClient(app).websocket_connect("/graphql", subprotocols=[PROTOCOL]):
        pytest.fail("only the lifespan leads this path to the mount")


async def test_in_a_lifespan_of_ones_own_it_serves_over_asgi(tmp_path: Path, ledger_url: str) -> None:
    onward = Onward.from_settings(write(tmp_path, ledger_url))

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[dict[str, str]]:
        async with onward.lifespan(app):
            yield {"mine": "too"}

    async def enqueue(_request: Any) -> PlainTextResponse:
        return PlainTextResponse(await onward.enqueue(parcels.wrap.job(label="mine")))

    app = Starlette(routes=[Route("/mine", enqueue), Mount("/graphql", onward.graphql)], lifespan=lifespan)
    async with (
        app.router.lifespan_context(app),
        httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://localhost") as client,
    ):
        job_id = (await client.get("/mine")).text
        assert await onward.result(job_id, timeout=LONG) == "wrapped: mine"
        query = {"query": "query($id: ID!) { job(id: $id) { status } }", "variables": {"id": job_id}}
        assert (await client.post("/graphql", json=query)).json() == {"data": {"job": {"status": "SUCCEEDED"}}}
        with pytest.raises(RuntimeError, match="open already"):
            async with onward.lifespan(app):
                pass
        with pytest.raises(RuntimeError, match="open already"):
            await onward.__aenter__()
    with pytest.raises(RuntimeError, match=r"onward\.lifespan"):
        await onward.enqueue(parcels.wrap.job(label="late"))


def test_a_function_of_the_connection_says_who_calls(tmp_path: Path) -> None:
    """Behind a host of any name: a page of another site has no cookie of this one."""

    async def viewer(connection: HTTPConnection) -> Viewer | None:
        name = connection.cookies.get("session")
        return Viewer(name) if name else None

    onward = Onward.from_settings(write(tmp_path, f"sqlite:///{tmp_path}/onward.db"), viewer=viewer)
    app = FastAPI(lifespan=onward.lifespan)
    app.mount("/graphql", onward.graphql)
    with TestClient(app, base_url="http://shop.example") as client:
        query = {"query": WRAP, "variables": {"label": "a"}}
        refused = client.post("/graphql", json=query).json()["data"]["parcelsWrap"]
        assert refused["job"] is None
        client.cookies.set("session", "ada")
        job_id = wrapped(client, "/graphql", "hers")
        assert client.post("/graphql", json={"query": f'{{ job(id: "{job_id}") {{ id }} }}'}).json()["data"]["job"]
        client.cookies.set("session", "eve")
        assert not client.post("/graphql", json={"query": f'{{ job(id: "{job_id}") {{ id }} }}'}).json()["data"]["job"]


@pytest.mark.parametrize(
    ("peer", "more", "status"),
    [
        ("127.0.0.1", "", 200),
        ("::1", "", 200),
        ("192.0.2.7", "", 403),
        ("2001:db8::1", "", 403),
        ("192.0.2.7", "[auth]\nallow_public = true", 200),
    ],
)
def test_another_machine_is_not_answered_without_authentication(
    tmp_path: Path, peer: str, more: str, status: int
) -> None:
    """`serve` refuses to listen there, too: everyone is an admin in that mode."""
    onward = Onward.from_settings(write(tmp_path, f"sqlite:///{tmp_path}/onward.db", more))
    app = FastAPI(lifespan=onward.lifespan)
    app.mount("/graphql", onward.graphql)
    with TestClient(app, client=(peer, 1)) as client:
        answer = client.post("/graphql", json={"query": "{ __typename }"})
        assert answer.status_code == status
        assert (status == 200) != ("auth.mode" in answer.text)
        if status != 200:
            with pytest.raises(WebSocketDenialResponse), client.websocket_connect("/graphql", subprotocols=[PROTOCOL]):
                pass


@pytest.mark.parametrize(
    ("client", "headers", "local"),
    [
        (None, [], True),  # a Unix socket
        (("testclient", 50_000), [], True),
        (("127.0.0.9", 1), [], True),
        (("::ffff:127.0.0.1", 1), [], True),
        (("203.0.113.5:51234", 0), [], False),
        (("127.0.0.1.example.org", 0), [], False),
        (("unknown", 0), [], False),
        (("", 0), [], False),
        (("127.0.0.1", 1), [(b"x-forwarded-for", b"203.0.113.5")], False),
        (("127.0.0.1", 1), [(b"forwarded", b"for=203.0.113.5")], False),
        (None, [(b"x-forwarded-for", b"203.0.113.5")], False),
    ],
)
def test_a_caller_whose_machine_is_not_surely_this_one_is_another(
    client: tuple[str, int] | None, headers: list[tuple[bytes, bytes]], *, local: bool
) -> None:
    assert is_local({"type": "http", "client": client, "headers": headers}) == local


async def test_a_console_without_graphql_says_what_to_mount(tmp_path: Path) -> None:
    onward = Onward.from_settings(write(tmp_path, f"sqlite:///{tmp_path}/onward.db"))
    app = FastAPI(lifespan=onward.lifespan)
    app.mount("/jobs", onward.pages)
    with TestClient(app) as client:
        answer = client.get("/jobs")
        assert answer.status_code == 503
        assert "mount onward.graphql" in answer.text


async def test_settings_that_are_missing_or_wrong_stop_the_start(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"settings\.toml is missing"):
        Onward.from_settings(tmp_path / "settings.toml")
    onward = Onward.from_settings(write(tmp_path, f"sqlite:///{tmp_path}/onward.db", '[gql]\nmodules = ["nowhere"]'))
    app = FastAPI(lifespan=onward.lifespan)
    app.mount("/graphql", onward.graphql)
    for _ in range(2):  # and the second start meets the same error
        with pytest.raises(SettingsError, match=r"gql\.modules"):
            async with onward.lifespan(app):
                pass


async def test_a_stop_signal_drains_and_closes_sockets_before_the_lifespan_ends(tmp_path: Path) -> None:
    """The server's own handler is called, too, and is back in its place afterwards."""
    onward, app = embedding(tmp_path, f"sqlite:///{tmp_path}/onward.db")
    heard: list[int] = []

    def server_stops(number: int, _frame: FrameType | None) -> None:
        heard.append(number)

    before = signal.signal(signal.SIGTERM, server_stops)
    try:
        async with onward.lifespan(app):
            received, sent = asyncio.Queue[Message](), asyncio.Queue[Message]()
            await received.put({"type": "websocket.connect"})
            socket = asyncio.create_task(app(handshake("/graphql"), received.get, sent.put))
            assert await sent.get() == {"type": "websocket.accept", "subprotocol": PROTOCOL}
            os.kill(os.getpid(), signal.SIGTERM)
            async with asyncio.timeout(LONG.total_seconds()):
                assert await sent.get() == {"type": "websocket.close", "code": 1012, "reason": "The server restarts"}
                await socket
            assert heard == [signal.SIGTERM]
            async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://localhost") as http:
                answer = await http.post("/graphql", json={"query": "{ __typename }"})
                assert (answer.status_code, answer.headers["connection"]) == (200, "close")
            job_id = await onward.enqueue(parcels.wrap.job(label="for the next process"))
        assert signal.getsignal(signal.SIGTERM) is server_stops
    finally:
        signal.signal(signal.SIGTERM, before)
    async with onward.lifespan(app):
        assert await onward.result(job_id, timeout=LONG) == "wrapped: for the next process"


@pytest.fixture
def stop_signal() -> Iterator[signal.Signals]:
    """A signal at which this process does not end."""
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    yield signal.SIGTERM
    signal.signal(signal.SIGTERM, before)


async def test_a_stop_signal_ends_waits_for_jobs_before_the_lifespan_ends(
    tmp_path: Path, stop_signal: signal.Signals
) -> None:
    """The server waits for the requests in which they are. A job that ends in the drain gives its result."""
    onward, app = embedding(tmp_path, f"sqlite:///{tmp_path}/onward.db")
    async with onward.lifespan(app), asyncio.timeout(LONG.total_seconds()):
        far = await onward.enqueue(parcels.wrap.job(label="later"), run_at=datetime.now(UTC) + timedelta(days=1))
        held = await onward.enqueue(parcels.hold.job(folder=str(tmp_path)))
        chunks, ending = onward.output(far), asyncio.ensure_future(onward.result(held))
        waits = [asyncio.ensure_future(onward.result(far)), asyncio.ensure_future(anext(chunks))]
        await until(lambda: bool(workload.notes(tmp_path)))
        os.kill(os.getpid(), stop_signal)
        (tmp_path / "go").touch()
        assert await ending == "gone"
        for wait in waits:
            with pytest.raises(Unavailable, match="stops"):
                await wait
        with pytest.raises(Unavailable, match="stops"):
            await onward.result(far)
        assert await onward.result(held) == "gone"


async def test_a_wait_for_a_job_of_a_worker_has_the_time_of_a_drain(
    tmp_path: Path, stop_signal: signal.Signals, redis_url: str, namespace: str
) -> None:
    """Workers go on, and the answers of most requests come within it."""
    more = f'backend = "dramatiq"\n[server]\ndrain_s = 1\n[backends.dramatiq]\nurl = "{redis_url}"\n'
    ledger = f"sqlite:///{tmp_path}/onward.db"
    onward = Onward.from_settings(write(tmp_path, ledger, f'{more}namespace = "{namespace}"\n'))
    async with onward.lifespan(), asyncio.timeout(LONG.total_seconds()):
        job_id = await onward.enqueue(parcels.wrap.job(label="there"))
        wait = asyncio.ensure_future(onward.result(job_id))
        loop = asyncio.get_running_loop()
        stopped = loop.time()
        os.kill(os.getpid(), stop_signal)
        with pytest.raises(Unavailable, match="stops"):
            await wait
        assert loop.time() - stopped >= 1


async def test_a_job_enqueues_another_while_the_lifespan_drains_it(
    tmp_path: Path, ledger_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    onward = Onward.from_settings(write(tmp_path, ledger_url))
    monkeypatch.setattr(parcels, "shops", [onward])
    async with onward.lifespan():
        job_id = await onward.enqueue(parcels.reorder.job(folder=str(tmp_path)))
        async with asyncio.timeout(LONG.total_seconds()):
            while not workload.notes(tmp_path):
                await asyncio.sleep(0.01)
        asyncio.get_running_loop().call_soon((tmp_path / "go").touch)  # runs once the end of the lifespan waits
    async with onward.lifespan():
        again = await onward.result(job_id, timeout=LONG)
        assert await onward.result(again, timeout=LONG) == "wrapped: again"


async def test_a_request_is_told_that_the_server_stops_while_the_lifespan_drains(tmp_path: Path) -> None:
    onward, app = embedding(tmp_path, f"sqlite:///{tmp_path}/onward.db")

    async def asked(path: str) -> str:
        transport = httpx2.ASGITransport(app=app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://localhost") as http:
            answer = await http.post(path, json={"query": "{ __typename }"})
            assert answer.status_code == 503
            return str(answer.json()["errors"][0]["message"])

    async def asked_in_the_drain() -> list[str]:
        try:
            return [await asked(path) for path in ("/graphql/", "/jobs/")]
        finally:
            (tmp_path / "go").touch()

    async with onward.lifespan(app):
        await onward.enqueue(parcels.hold.job(folder=str(tmp_path)))
        async with asyncio.timeout(LONG.total_seconds()):
            while not workload.notes(tmp_path):
                await asyncio.sleep(0.01)
        answers = asyncio.create_task(asked_in_the_drain())  # begins once the end of the lifespan waits
    assert await answers == [STOPS, STOPS]
    assert await asked("/graphql/") == NOT_RUNNING


def handshake(path: str) -> Scope:
    headers = [(b"host", b"localhost")]
    scope = {"type": "websocket", "path": path, "headers": headers, "subprotocols": [PROTOCOL], "query_string": b""}
    return {**scope, "scheme": "ws", "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80)}


def test_whoever_only_enqueues_loads_neither_fastapi_nor_strawberry() -> None:
    loaded = "import onward, sys; onward.Onward; print({'fastapi', 'starlette', 'strawberry'} & {*sys.modules})"
    found = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"
