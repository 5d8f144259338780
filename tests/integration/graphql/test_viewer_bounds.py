"""A project's function of the viewer at its bounds: sessions that have ended, failures, floods and foreign sockets."""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection

from onward import Viewer
from onward.api import composition, viewers
from onward.api.rates import TooManyRequests
from onward.api.request_gate import RequestGate
from onward.api.router_context import RouterContext, Running
from onward.api.session import Session
from onward.api.viewers import CustomViewers, Unidentified
from onward.graphql.base import BadRequest, NotAuthenticated
from onward.graphql.viewer import ViewerFunction
from tests.integration.graphql.conftest import settings_in

NO_SERVICES: Any = None
MakeGate = Callable[..., RequestGate]


def connection(kind: str = "http", **scope: Any) -> HTTPConnection:
    return HTTPConnection({"type": kind, "path": "/graphql", "headers": [(b"host", b"shop.example")], **scope})


@pytest.fixture
def gate(tmp_path: Path) -> MakeGate:
    def make(viewer: ViewerFunction, **tables: Any) -> RequestGate:
        return composition.request_gate(settings_in(tmp_path, auth={"mode": "custom"}, **tables), viewer=viewer)

    return make


@pytest.mark.parametrize("kind", ["http", "websocket"])
async def test_a_viewer_whose_session_has_ended_is_refused_at_every_door(gate: MakeGate, kind: str) -> None:
    until = time.time() - 1
    asked = gate(lambda _connection: Viewer("ada", until=until))
    with pytest.raises(NotAuthenticated):
        await asked.viewer_of(connection(kind))
    until += 3600
    assert (await asked.viewer_of(connection(kind))).subject == "ada"
    await asked.close()


async def cancelled() -> None:
    """Raise what a task raises that somebody else has cancelled, as a look-up that several requests share."""
    raise asyncio.CancelledError


@pytest.mark.parametrize("plain", [False, True])
async def test_a_function_that_lets_a_cancellation_out_has_failed(gate: MakeGate, *, plain: bool) -> None:
    """Ended requests and rechecks cancel their own task; this one is the function's."""

    def viewer(_connection: HTTPConnection) -> Viewer:
        raise asyncio.CancelledError

    async def async_viewer(_connection: HTTPConnection) -> Viewer:
        await asyncio.create_task(cancelled())
        return Viewer("ada")

    asked = gate(viewer if plain else async_viewer)
    with pytest.raises(Unidentified):
        await asked.viewer_of(connection())
    await asked.close()


async def test_a_request_that_is_cancelled_ends_while_its_viewer_is_asked_for(gate: MakeGate) -> None:
    asked_for = asyncio.Event()

    async def viewer(_connection: HTTPConnection) -> None:
        asked_for.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(gate(viewer).viewer_of(connection()))
    await asked_for.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("error", [asyncio.CancelledError(), GeneratorExit(), ValueError("x")])
async def test_a_session_that_nobody_asks_for_any_more_is_over(error: BaseException) -> None:
    async def again() -> Viewer:
        raise error

    session = Session(Viewer("ada"), again, 0.001)
    session.start()
    with pytest.raises(TimeoutError):
        async with session.limit(asyncio.get_running_loop().time() + 30):
            await asyncio.Event().wait()
    assert session.is_over()
    session.close()


async def test_a_time_limit_of_the_events_own_is_not_taken_for_the_end_of_the_session() -> None:
    async def events() -> AsyncGenerator[int, None]:
        yield 1
        raise TimeoutError("of a resolver")

    passed = Session(Viewer("ada", until=time.time() + 600)).during(events())
    assert await anext(passed) == 1
    with pytest.raises(TimeoutError, match="of a resolver"):
        await anext(passed)


async def test_a_socket_whose_cookies_do_not_count_has_no_state_of_them_either(gate: MakeGate) -> None:
    """A middleware has put the cookie's user into the request's state."""

    def viewer(asked: HTTPConnection) -> Viewer | None:
        user = getattr(asked.state, "user_id", None) or asked.state.connection_init.get("user")
        return Viewer(user) if user else None

    asked = gate(viewer, server={"origins": ["https://app.example"]})
    headers = [(b"origin", b"https://app.example"), (b"host", b"shop.example"), (b"cookie", b"session=x")]
    scope = {"headers": headers, "state": {"user_id": "ada"}}
    assert (await asked.viewer_of(connection("websocket", **scope))).is_nobody
    assert (await asked.viewer_of(connection("websocket", **scope), {"user": "bob"})).subject == "bob"
    own = {**scope, "headers": [(b"origin", b"https://shop.example"), *headers[1:]]}
    assert (await asked.viewer_of(connection("websocket", **own))).subject == "ada"
    assert scope["state"] == {"user_id": "ada"}
    await asked.close()


@pytest.mark.parametrize(
    ("kind", "error", "asked"),
    [("websocket", KeyError("x"), 2), ("websocket", HTTPException(401), 1), ("http", KeyError("x"), 1)],
    ids=["a failure passes", "a refusal stays", "one request"],
)
async def test_a_socket_of_a_router_outlives_a_failure(gate: MakeGate, kind: str, error: Exception, asked: int) -> None:
    outcomes: list[Exception] = []

    async def viewer(_connection: HTTPConnection) -> Viewer:
        outcomes.append(error)
        if len(outcomes) == 1:
            raise error
        return Viewer("ada")

    context = RouterContext(connection(kind), Running(gate(viewer), NO_SERVICES))
    for _ in range(2):
        with suppress(BadRequest):
            await context.field_context({})
    assert len(outcomes) == asked
    if asked == 2:
        assert (await context.field_context({})).viewer.subject == "ada"


async def test_a_limit_of_requests_of_a_router_s_socket_ends_with_its_minute(
    gate: MakeGate, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 6000.0
    monkeypatch.setattr(time, "time", lambda: now)

    async def viewer(_connection: HTTPConnection) -> Viewer:
        return Viewer("ada")

    counted = gate(viewer, environment="production", gql={"limits": {"requests": 1}})
    await counted.viewer_of(connection())
    context = RouterContext(connection("websocket"), Running(counted, NO_SERVICES))
    with pytest.raises(TooManyRequests):
        await context.field_context({})
    now += 60
    assert (await context.field_context({})).viewer.subject == "ada"


async def test_where_every_thread_hangs_a_caller_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """While a function may still answer in time, the caller waits for its thread."""
    monkeypatch.setattr(viewers, "MAX_THREADS", 2)
    hang, answer, started = Event(), Event(), Event()

    def viewer(asked: HTTPConnection) -> Viewer:
        started.set()
        (hang if asked.scope["type"] == "websocket" else answer).wait(60)
        return Viewer("ada")

    asked = CustomViewers(viewer, timeout_s=600, recheck_s=600)

    async def ask(kind: str) -> asyncio.Task[Viewer]:
        """Ask, until the function runs in a thread."""
        started.clear()
        task = asyncio.create_task(asked(connection(kind)))
        assert await asyncio.to_thread(started.wait, 30)
        return task

    async def overrun() -> None:
        """Ask, and end as at a time limit."""
        task = await ask("websocket")
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    try:
        async with asyncio.timeout(60):
            in_time = await ask("http")
            await overrun()
            await overrun()
            waits = asyncio.create_task(asked(connection()))
            await asyncio.sleep(0)
            answer.set()
            assert {await in_time, await waits} == {Viewer("ada")}
            await overrun()
            with pytest.raises(Unidentified):
                await asked(connection())
    finally:
        hang.set()
        answer.set()
        asked.close()


async def test_an_address_that_has_used_up_its_requests_is_not_asked_about(gate: MakeGate) -> None:
    """The function would work, as long as the flood goes on, for requests that are refused."""
    addresses = []

    async def viewer(asked: HTTPConnection) -> Viewer | None:
        addresses.append(asked.scope["client"][0])
        return Viewer("ada") if asked.scope["client"][0] == "203.0.113.9" else None

    limited = gate(viewer, environment="production", gql={"limits": {"requests": 2}})
    refused = 0
    for _ in range(5):
        try:
            await limited.viewer_of(connection(client=("203.0.113.5", 1)))
        except TooManyRequests:
            refused += 1
    assert refused == 3
    assert addresses == ["203.0.113.5"] * 2
    assert (await limited.viewer_of(connection(client=("203.0.113.9", 1)))).subject == "ada"


async def test_requests_that_come_together_are_asked_about_up_to_the_limit(
    gate: MakeGate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of them pass the first check, before one of them is counted."""
    monkeypatch.setattr(viewers, "MAX_AWAITED", 1)
    asked = 0

    async def viewer(_connection: HTTPConnection) -> None:
        nonlocal asked
        asked += 1
        await asyncio.sleep(0)

    limited = gate(viewer, environment="production", gql={"limits": {"requests": 2}})
    client = connection(client=("203.0.113.5", 1))
    found = await asyncio.gather(*(limited.viewer_of(client) for _ in range(20)), return_exceptions=True)
    assert (asked, sum(isinstance(one, TooManyRequests) for one in found)) == (2, 18)


@pytest.mark.parametrize("error", [HTTPException(401), ValueError("a strange cookie")])
async def test_a_failure_of_the_function_counts_for_its_address(gate: MakeGate, error: Exception) -> None:
    """The function has worked for the request, and would do so for any number of them."""
    asked = 0

    async def viewer(_connection: HTTPConnection) -> None:
        nonlocal asked
        asked += 1
        raise error

    limited = gate(viewer, environment="production", gql={"limits": {"requests": 2}})
    client = connection(client=("203.0.113.5", 1))
    refused = [isinstance(await failure(limited.viewer_of(client)), TooManyRequests) for _ in range(5)]
    assert (asked, refused) == (2, [False, False, True, True, True])


async def failure(asked: Awaitable[Viewer]) -> BadRequest:
    with pytest.raises(BadRequest) as found:
        await asked
    return found.value


@pytest.mark.parametrize("plain", [False, True])
async def test_a_function_runs_so_many_times_at_once(monkeypatch: pytest.MonkeyPatch, *, plain: bool) -> None:
    monkeypatch.setattr(viewers, "MAX_AWAITED", 2)
    monkeypatch.setattr(viewers, "MAX_THREADS", 2)
    running: list[int] = [0]

    async def viewer(_connection: HTTPConnection) -> Viewer:
        running.append(running[-1] + 1)
        await asyncio.sleep(0)
        running.append(running[-1] - 1)
        return Viewer("ada")

    def awaitable(asked: HTTPConnection) -> Any:
        return viewer(asked)

    asked = CustomViewers(awaitable if plain else viewer, timeout_s=60, recheck_s=60)
    found = await asyncio.gather(*(asked(connection()) for _ in range(6)))
    assert found == [Viewer("ada")] * 6
    assert max(running) <= 2
    asked.close()
