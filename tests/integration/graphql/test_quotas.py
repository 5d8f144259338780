"""Quotas of a viewer, an address and a process: requests, open jobs, streams, time."""

import asyncio
import json
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx2
import pytest
import redis
from redis.asyncio.client import Pipeline
from starlette.types import Message, Scope
from websockets.exceptions import InvalidStatus

from onward import cancellation
from onward.api.addresses import UNKNOWN, Addresses
from onward.api.base import HttpError
from onward.api.connection_limiter import ConnectionLimiter
from onward.api.rates import Rates, TooManyRequests
from onward.graphql import counts
from onward.storage.transaction import Tx
from onward.testing.waiting import until as eventually
from tests.integration.graphql.conftest import MODULES, running, serving, settings_in, until
from tests.integration.graphql.test_viewers import ask, behind_tokens, header, process
from tests.integration.graphql.test_websocket import FOREVER, INIT, client
from tests.servers import redis_server

QUERY = {"query": "{ viewer { roles } }"}


def limited(folder: Path, environment: str = "production", **limits: Any) -> Any:
    auth = {"mode": "open", "allow_public": True}
    return settings_in(folder, environment=environment, auth=auth, gql={**MODULES, "limits": limits})


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("198.51.100.7", None, "198.51.100.7"),
        ("198.51.100.7", "203.0.113.9", "198.51.100.7"),
        ("10.0.0.1", "203.0.113.9", "203.0.113.9"),
        ("10.0.0.1", "1.2.3.4, 203.0.113.9", "203.0.113.9"),
        ("10.0.0.1", "1.2.3.4, 203.0.113.9, 10.2.3.4", "203.0.113.9"),
        ("10.0.0.1", "10.9.9.9, 10.2.3.4", "10.9.9.9"),
        ("10.0.0.1", "127.0.0.1, 203.0.113.9", "203.0.113.9"),
        ("10.0.0.1", "nonsense", "10.0.0.1"),
        ("10.0.0.1", "203.0.113.9, nonsense", "10.0.0.1"),
        ("10.0.0.1", "203.0.113.9:51234", "203.0.113.9"),
        ("10.0.0.1", "1.2.3.4, 203.0.113.9:51234, 10.2.3.4:80", "203.0.113.9"),
        ("10.0.0.1", "[2001:db8:1:2::9]:51234", "2001:db8:1:2::/64"),
        ("10.0.0.1", "[2001:db8:1:2::9]", "2001:db8:1:2::/64"),
        ("10.0.0.1", "2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("10.0.0.1", "[]:5", "10.0.0.1"),
        ("10.0.0.1", "203.0.113.9:", "10.0.0.1"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "9" * 3_000, "10.0.0.1"),
        ("::ffff:10.0.0.1", "203.0.113.9", "203.0.113.9"),
        ("2001:db8:1:2:3:4:5:6", None, "2001:db8:1:2::/64"),
        ("fe80::1%eth0", None, "fe80::/64"),
        ("::1", None, "::1"),
    ],
)
def test_a_named_proxy_is_trusted(peer: str, forwarded: str | None, address: str) -> None:
    addresses = Addresses(["10.0.0.0/8"])
    assert addresses.of((peer, 5), None if forwarded is None else forwarded.encode()) == address


def test_without_proxies_no_forwarded_address_is_trusted() -> None:
    assert Addresses().of(("10.0.0.1", 5), b"203.0.113.9") == "10.0.0.1"
    assert Addresses().of(None, b"203.0.113.9") == UNKNOWN


def test_requests_are_counted_by_viewer_or_by_address(monkeypatch: pytest.MonkeyPatch) -> None:
    rates, now = Rates(3), 1_000_000.0
    monkeypatch.setattr(time, "time", lambda: now)
    for viewer in (None, "ada", "bob"):
        for _ in range(3):
            rates.count("192.0.2.1", viewer)
        with pytest.raises(TooManyRequests):
            rates.count("192.0.2.1", viewer)
    rates.count("192.0.2.2", None)
    now += 60
    rates.count("192.0.2.1", "ada")


def test_a_viewer_with_the_name_of_an_address_is_counted_apart() -> None:
    rates = Rates(1)
    rates.count("192.0.2.1", None)
    rates.count("192.0.2.2", "address 192.0.2.1")


def test_loopback_is_exempt_if_so_configured() -> None:
    rates = Rates(1, exempt_loopback=True)
    for _ in range(5):
        rates.count("127.0.0.1", None)
        rates.count("::1", "ada")


async def test_counting_ends_though_the_client_of_redis_loses_a_cancellation(
    redis_url: str, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server would otherwise wait for its end until it is killed."""
    sending = asyncio.Event()

    async def losing(*_: object, **_given: object) -> list[object]:
        sending.set()
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(60)
        return [1, True]

    monkeypatch.setattr(Pipeline, "execute", losing)
    monkeypatch.setattr(cancellation, "AGAIN_S", 0.05)
    rates = Rates(100, redis_url=redis_url, namespace=namespace)
    rates.start()
    rates.count("192.0.2.1", "ada")
    async with asyncio.timeout(20):
        await sending.wait()
        await rates.close()


async def test_processes_count_together_through_redis(
    redis_url: str, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time()
    monkeypatch.setattr("onward.api.rates.time", SimpleNamespace(time=lambda: now))  # no minute ends meanwhile
    one, other = (Rates(10, redis_url=redis_url, namespace=namespace) for _ in range(2))

    def refuses(rates: Rates) -> bool:
        try:
            rates.check("192.0.2.1", "ada")
        except TooManyRequests:
            return True
        return False

    one.start()
    other.start()
    try:
        for rates in (one, other):
            for _ in range(6):
                rates.count("192.0.2.1", "ada")
        assert not refuses(one)
        assert not refuses(other)
        await eventually(lambda: refuses(one) or refuses(other))
        one.count("192.0.2.1", "bob")
    finally:
        await one.close()
        await other.close()


async def test_requests_that_redis_counted_without_an_answer_are_counted_once(
    redis_url: str, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, exchanges, execute = time.time(), 0, Pipeline.execute
    monkeypatch.setattr("onward.api.rates.time", SimpleNamespace(time=lambda: now))  # no minute ends meanwhile

    async def unheard(pipe: Any) -> Any:
        """Lose the first answer."""
        nonlocal exchanges
        answer = await execute(pipe)
        exchanges += 1
        if exchanges == 1:
            raise redis.TimeoutError
        return answer

    monkeypatch.setattr(Pipeline, "execute", unheard)
    rates = Rates(10, redis_url=redis_url, namespace=namespace)
    rates.start()
    try:
        for _ in range(6):
            rates.count("192.0.2.1", "ada")
        await eventually(lambda: exchanges == 1)
        rates.count("192.0.2.1", "ada")
        await eventually(lambda: exchanges >= 2 and not rates._window.unsent)
        for _ in range(3):
            rates.count("192.0.2.1", "ada")
        with pytest.raises(TooManyRequests):
            rates.check("192.0.2.1", "ada")
    finally:
        await rates.close()


async def test_without_redis_each_process_counts_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time()
    monkeypatch.setattr("onward.api.rates.time", SimpleNamespace(time=lambda: now))  # no minute ends meanwhile
    with redis_server() as server:
        rates = Rates(5, redis_url=server.url, namespace="x")
        rates.start()
        rates.count("192.0.2.1", None)
        await asyncio.sleep(0.7)
    started = time.monotonic()
    for _ in range(4):
        rates.count("192.0.2.1", None)
    with pytest.raises(TooManyRequests):
        rates.count("192.0.2.1", None)
    await asyncio.sleep(0.7)
    with pytest.raises(TooManyRequests):
        rates.count("192.0.2.1", None)
    assert time.monotonic() - started < 30
    assert rates._exchanging is not None
    assert not rates._exchanging.done()
    await rates.close()


async def test_one_request_too_many_is_429_with_the_time_to_wait(tmp_path: Path) -> None:
    async with running(limited(tmp_path, requests=3)) as api:
        statuses = [(await api.post(QUERY)).status_code for _ in range(3)]
        refused = await api.post(QUERY)
        assert (statuses, refused.status_code) == ([200, 200, 200], 429)
        assert 1 <= int(refused.headers["retry-after"]) <= 60
        assert refused.json()["errors"][0]["extensions"]["code"] == "RATE_LIMITED"


async def test_wrong_tokens_are_counted_too(tmp_path: Path) -> None:
    gql = {**MODULES, "limits": {"requests": 3}}
    async with behind_tokens(tmp_path, environment="production", gql=gql) as api:
        wrong = {"authorization": "Bearer x"}
        assert [(await api.post(QUERY, headers=wrong)).status_code for _ in range(5)] == [401] * 3 + [429] * 2
        refused = await api.http.get("/metrics", headers=wrong)
        assert (refused.status_code, int(refused.headers["retry-after"]) > 0) == (429, True)
        assert (await api.post(QUERY, headers=header("ada"))).status_code == 200


async def test_a_viewer_has_a_limit_of_open_jobs(tmp_path: Path) -> None:
    gql = {**MODULES, "limits": {"open_jobs": 3}}
    later = {"runAt": "2027-06-01T00:00:00Z"}
    query = "mutation($i: ProcessItemInput!) { processItem(input: $i) { job { id } errors { code path } } }"
    full = {"job": None, "errors": [{"code": "RATE_LIMITED", "path": None}]}
    async with behind_tokens(tmp_path, gql=gql) as api:
        ada = header("ada")
        # A job that runs is open until it has noticed its cancellation.
        pause = 'mutation { pauseHandler(input: {handler: "steps.process_item"}) { errors { code } } }'
        assert (await ask(api, header("root", "admin"), pause))["data"]["pauseHandler"] == {"errors": []}
        first, second, _ = [await process(api, ada, **later) for _ in range(3)]
        assert (await ask(api, ada, query, i={"item": "x"}))["data"]["processItem"] == full
        await process(api, header("bob"))
        again = "mutation($id: ID!) { retryJob(input: {id: $id}) { job { id } errors { code path } } }"
        cancel = "mutation($id: ID!) { cancelJob(input: {id: $id}) { job { status } } }"
        for job in (first, second):
            await ask(api, ada, cancel, id=job)
        many = "mutation { retryJobs(input: {filter: {}}) { count errors { code message } } }"
        await process(api, ada, **later)
        stopped = (await ask(api, ada, many))["data"]["retryJobs"]
        assert (stopped["count"], [error["code"] for error in stopped["errors"]]) == (1, ["RATE_LIMITED"])
        assert "1 job was retried" in stopped["errors"][0]["message"]
        assert "3 unfinished jobs" in stopped["errors"][0]["message"]
        cancelled = (await ask(api, ada, cancel, id=first))["data"]["cancelJob"]
        assert cancelled == {"job": {"status": "CANCELLED"}}
        one = "mutation { retryJobs(input: {filter: {}, limit: 1}) { count errors { code } } }"
        assert (await ask(api, ada, one))["data"]["retryJobs"] == {"count": 1, "errors": []}, (
            "as many as were asked for"
        )
        assert (await ask(api, ada, again, id=second))["data"]["retryJob"]["job"] is None


async def test_all_callers_without_a_token_share_one_limit_of_open_jobs(tmp_path: Path) -> None:
    query = """mutation($name: String!, $email: String!) {
        registerUser(input: {username: $name, email: $email}) { job { id } errors { code path } } }"""
    gql = {**MODULES, "limits": {"open_jobs": 3}}
    async with behind_tokens(tmp_path, gql=gql, register={"anonymous": True}) as api:
        await ask(
            api,
            header("root", "admin"),
            'mutation { pauseHandler(input: {handler: "email.welcome"}) { errors { code } } }',
        )

        async def register(number: int) -> Any:
            given = {"name": f"ada{number}", "email": f"ada{number}@example.org"}
            await asyncio.sleep(counts.MAX_AGE_S)  # the count may be as old as that
            return (await ask(api, {}, query, **given))["data"]["registerUser"]

        assert [(await register(number))["errors"] for number in range(3)] == [[], [], []]
        assert (await register(3)) == {"job": None, "errors": [{"code": "RATE_LIMITED", "path": None}]}
        await process(api, header("ada"))


async def test_jobs_of_other_handlers_do_not_count_for_callers_without_a_token(tmp_path: Path) -> None:
    """A program may enqueue any number of jobs without an owner."""
    query = """mutation {
        registerUser(input: {username: "ada", email: "ada@example.org"}) { job { id } errors { code } } }"""
    gql = {**MODULES, "limits": {"open_jobs": 3}}
    async with behind_tokens(tmp_path, gql=gql, register={"anonymous": True}) as api:
        onward = api.app.state.onward
        later = time.time_ns() // 1_000 + 3_600_000_000

        def accept(tx: Tx) -> None:
            for _ in range(3):
                new = onward.dispatcher.prepare("steps.process_item", {"item": "x"}, owner=None, run_at=later)
                onward.dispatcher.accept(tx, new)

        await onward.writer.run(accept)
        assert (await ask(api, {}, query))["data"]["registerUser"]["errors"] == []


def test_streams_are_limited_by_address_and_in_total() -> None:
    sockets = ConnectionLimiter(3, 2)
    with sockets.one("192.0.2.1"), sockets.one("192.0.2.1"):
        with pytest.raises(HttpError) as refused:
            sockets.check("192.0.2.1")
        assert refused.value.status == 429
        with sockets.one("192.0.2.2"), pytest.raises(HttpError) as refused:
            sockets.check("192.0.2.3")
        assert refused.value.status == 503
    sockets.check("192.0.2.1")
    assert not sockets._open


def test_streams_at_a_unix_socket_are_limited_in_total_alone() -> None:
    """The peer may be a proxy, for all of its clients."""
    sockets = ConnectionLimiter(3, 1)
    with sockets.one(UNKNOWN), sockets.one(UNKNOWN):
        sockets.check(UNKNOWN)
        with sockets.one(UNKNOWN), pytest.raises(HttpError) as refused:
            sockets.check(UNKNOWN)
        assert refused.value.status == 503


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("onward")
    limits: dict[str, Any] = {"streams_each": 2, "idle_timeout_s": 0.5, "body_timeout_s": 0.5, "requests": 50}
    with serving(limited(folder, **limits)) as address:
        yield address


async def test_a_socket_too_many_is_refused_at_the_handshake(address: str) -> None:
    async with client(address) as one, client(address) as other:
        for c in (one, other):
            await c.send({"id": "1", "type": "subscribe", "payload": FOREVER})
        with pytest.raises(InvalidStatus) as refused:
            async with client(address):
                pass
        assert refused.value.response.status_code == 429
        assert b"TOO_MANY_STREAMS" in refused.value.response.body
        async with httpx2.AsyncClient() as http:
            accept = {"accept": "text/event-stream"}
            response = await http.post(f"http://{address}/graphql", json=FOREVER, headers=accept)
            assert response.status_code == 429
            assert (await http.post(f"http://{address}/graphql", json=QUERY)).status_code == 200

    async def answered() -> bool:
        with suppress(InvalidStatus):  # a place is free once the server has seen the others go
            async with client(address) as c:
                return bool((await c.run("{ viewer { roles } }"))[0]["type"] == "next")
        return False

    assert await until(answered)


async def test_streams_that_begin_together_are_limited_as_those_that_do_not(tmp_path: Path) -> None:
    """All of them pass the first check, before their bodies have arrived."""
    go, leave, statuses = asyncio.Event(), asyncio.Event(), []
    asked = 0

    async def receive() -> Message:
        nonlocal asked
        asked += 1
        await (go if asked <= 3 else leave).wait()
        disconnected: Message = {"type": "http.disconnect"}
        return disconnected if leave.is_set() else {"type": "http.request", "body": json.dumps(FOREVER).encode()}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    headers = [(b"host", b"localhost"), (b"content-type", b"application/json"), (b"accept", b"text/event-stream")]
    scope: Scope = {"type": "http", "method": "POST", "path": "/graphql", "query_string": b"", "headers": headers}
    scope.update({"client": ("192.0.2.1", 1), "http_version": "1.1"})
    async with running(limited(tmp_path, streams_each=1)) as api, asyncio.timeout(30):
        streams = [asyncio.create_task(api.app(dict(scope), receive, send)) for _ in range(3)]
        await eventually(lambda: asked == 3)
        go.set()
        await eventually(lambda: len(statuses) == 3)
        leave.set()
        await asyncio.gather(*streams)
    assert sorted(statuses) == [200, 429, 429]


async def test_an_idle_socket_is_closed_and_one_that_waits_for_events_is_not(address: str) -> None:
    async with client(address) as idle, client(address) as waiting:
        await waiting.send({"id": "1", "type": "subscribe", "payload": FOREVER})
        assert await idle.closed() == 1000
        await asyncio.sleep(1)
        await waiting.send({"type": "ping"})
        received = [await waiting.receive()]
        while received[-1]["type"] == "ping":
            await waiting.send({"type": "pong"})
            received.append(await waiting.receive())
        # By its own pings a server without those of WebSockets learns of clients that have gone without a word.
        assert [message["type"] for message in received][-2:] == ["ping", "pong"]


@pytest.mark.parametrize("host", ["", "a b", "a/b", "a@b", "[::1", "a:b", "a,b", "é", "a\x7f"])
def test_a_malformed_host_is_400_over_http_and_for_sockets(address: str, host: str) -> None:
    upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: "
    upgrade += "AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: graphql-transport-ws\r\n"
    for further in ("", upgrade):
        with socket.create_connection(tuple(address.split(":")), timeout=10) as raw:  # type: ignore[arg-type]
            raw.sendall(f"GET /graphql HTTP/1.1\r\nHost: {host}\r\n{further}\r\n".encode("latin-1"))
            assert raw.recv(4096).split(b" ")[1] == b"400"


def test_a_probe_over_http_1_0_without_a_host_is_answered(address: str) -> None:
    for version, status in (("1.0", b"200"), ("1.1", b"400")):
        with socket.create_connection(tuple(address.split(":")), timeout=10) as raw:  # type: ignore[arg-type]
            raw.sendall(f"GET /health/live HTTP/{version}\r\n\r\n".encode())
            assert raw.recv(4096).split(b" ")[1] == status


def test_a_body_that_does_not_arrive_is_408(address: str) -> None:
    with socket.create_connection(tuple(address.split(":")), timeout=10) as raw:  # type: ignore[arg-type]
        head = "POST /graphql HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 50\r\n\r\n{"
        raw.sendall(head.encode())
        assert raw.recv(4096).split(b" ")[1] == b"408"


async def test_operations_over_a_socket_are_counted(tmp_path: Path) -> None:
    with serving(limited(tmp_path, requests=5)) as address:
        async with client(address) as c:  # the first
            answers = [(await c.run("{ viewer { roles } }"))[0] for _ in range(6)]
        assert [answer["type"] for answer in answers] == ["next"] * 4 + ["error"] * 2
        assert answers[-1]["payload"][0]["extensions"]["code"] == "RATE_LIMITED"
        async with client(address, init=False) as late:
            await late.send(INIT)
            assert await late.closed() == 1013  # "try again later": the token is not to blame


async def test_in_development_requests_from_loopback_are_not_limited(tmp_path: Path) -> None:
    settings = limited(tmp_path, environment="development", requests=2, streams_each=1)
    async with running(settings) as api:
        assert [(await api.post(QUERY)).status_code for _ in range(5)] == [200] * 5
