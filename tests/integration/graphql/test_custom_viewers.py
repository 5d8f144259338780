"""Viewers by a function of the project's: sessions in cookies, at every entry of the API."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event
from typing import Any
from uuid import UUID

import httpx2
import pytest
import structlog
from fastapi import HTTPException, WebSocketException
from starlette.requests import HTTPConnection
from websockets.exceptions import InvalidStatus

from onward import Viewer
from onward.api import composition
from onward.api.app import create_app
from onward.api.base import HttpError
from onward.api.session import Session
from onward.api.viewers import CustomViewers, InvalidViewer
from onward.config.settings import Server, SettingsError
from onward.graphql.base import NotAuthenticated
from tests.integration.graphql.conftest import Api, running, serving, settings_in
from tests.integration.graphql.test_sse import ACCEPT, Events
from tests.integration.graphql.test_websocket import FOREVER, INIT, client, flooded
from tests.integration.graphql.users import SESSIONS, after, never

WHO = {"query": "{ viewer { id roles } }"}
ADA = Viewer("ada")
EVIL = {"origin": "https://evil.example"}


def custom_settings(folder: Path, function: str = "viewer", **auth: Any) -> Any:
    named = {"mode": "custom", "viewer": f"tests.integration.graphql.users:{function}"}
    return settings_in(folder, auth={**named, **auth})


@pytest.fixture(scope="module")
async def api(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Api]:
    async with running(custom_settings(tmp_path_factory.mktemp("onward"))) as api:
        yield api


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(custom_settings(tmp_path_factory.mktemp("onward"), recheck_s=0.1)) as address:
        yield address


@asynccontextmanager
async def stream(address: str, who: dict[str, str]) -> AsyncIterator[Events]:
    async with (
        httpx2.AsyncClient(timeout=30) as http,
        http.stream("POST", f"http://{address}/graphql", json=FOREVER, headers={**ACCEPT, **who}) as response,
    ):
        yield Events(response)


async def who(api: Api, header: dict[str, str]) -> Any:
    return (await api.post(WHO, headers=header)).json()


async def test_a_session_gives_the_viewer_and_none_is_nobody(api: Api) -> None:
    hers = SESSIONS.open(Viewer("ada", ["staff"]))
    assert await who(api, hers) == {"data": {"viewer": {"id": "ada", "roles": ["staff"]}}}
    for header in ({}, {"cookie": "sid=unknown"}, {"authorization": "Bearer x"}):
        assert await who(api, header) == {"data": {"viewer": {"id": None, "roles": []}}}


@pytest.mark.parametrize("function", ["plain_viewer", "service", "delegate"])
async def test_a_function_may_be_plain_an_object_or_return_an_awaitable(tmp_path: Path, function: str) -> None:
    async with running(custom_settings(tmp_path, function)) as api:
        for subject in (42, UUID(int=42)):
            found = await who(api, SESSIONS.open(Viewer(subject)))
            assert found == {"data": {"viewer": {"id": str(subject), "roles": []}}}


async def test_a_job_belongs_to_the_subject(api: Api) -> None:
    ada, bob = SESSIONS.open(Viewer(42)), SESSIONS.open(Viewer("bob"))
    query = 'mutation { processItem(input: {item: "x"}) { job { id } } }'
    made = (await api.post({"query": query}, headers=ada)).json()["data"]["processItem"]["job"]["id"]
    look = {"query": "query($id: ID!) { job(id: $id) { id } }", "variables": {"id": made}}
    seen = [(await api.post(look, headers=header)).json()["data"]["job"] for header in (ada, bob, {})]
    assert seen == [{"id": made}, None, None]


async def test_only_an_admin_s_session_sees_metrics(api: Api) -> None:
    admin = SESSIONS.open(Viewer("root", ["admin"]))
    statuses = [
        (await api.http.get("/metrics", headers=header)).status_code
        for header in (admin, {**admin, **EVIL}, SESSIONS.open(ADA), {}, SESSIONS.open(KeyError("x")))
    ]
    assert statuses == [200, 403, 401, 401, 503]


@pytest.mark.parametrize("error", [HTTPException(401), HTTPException(403), WebSocketException(1008)])
async def test_a_refusal_of_the_function_is_401(api: Api, error: Exception) -> None:
    response = await api.post(WHO, headers=SESSIONS.open(error))
    assert response.status_code == 401
    assert response.json()["errors"][0]["extensions"] == {"code": "NOT_AUTHENTICATED"}


@pytest.mark.parametrize("function", ["viewer", "plain_viewer"])
@pytest.mark.parametrize(
    "error", [RuntimeError("at 10.0.0.7"), TimeoutError(), SystemExit(1), StopIteration(), HTTPException(502)]
)
async def test_a_function_that_fails_is_unavailable_and_one_line_of_the_log(
    tmp_path: Path, error: BaseException, function: str
) -> None:
    async with running(custom_settings(tmp_path, function)) as api:
        with structlog.testing.capture_logs() as logs:
            responses = [await api.post(WHO, headers=SESSIONS.open(error)) for _ in range(3)]
        assert {response.status_code for response in responses} == {503}
        assert {str(response.json()["errors"][0]["extensions"]) for response in responses} == {
            "{'code': 'UNAVAILABLE'}"
        }
        assert not any("10.0.0.7" in response.text or "Traceback" in response.text for response in responses)
        assert [line["event"] for line in logs if "auth.viewer" in line["event"]] == ["auth.viewer failed"]
        assert await who(api, SESSIONS.open(ADA)) == {"data": {"viewer": {"id": "ada", "roles": []}}}


@pytest.mark.parametrize(
    ("found", "words"),
    [
        ("ada", "a str"),
        ({"subject": "ada"}, "a dict"),
        (Viewer(""), "an empty subject"),
        (Viewer(None, ["admin"]), "without a subject"),
        (Viewer(5.5), "is a float"),  # type: ignore[arg-type]
        (Viewer(True), "is a bool"),
        (Viewer("a\nb"), "control characters"),
        (Viewer("x" * 300), "longer than 255"),
        (Viewer("ada", [1]), "a role that is a int"),  # type: ignore[list-item]
        (Viewer("ada", ["x" * 10_000_000]), "a role longer than 255"),
        (Viewer("ada", map(str, range(100))), "100 roles"),
        (Viewer("ada", until="soon"), "until is a str"),  # type: ignore[arg-type]
    ],
    ids=lambda found: found if isinstance(found, str) else "answer",
)
async def test_an_answer_that_is_no_viewer_is_an_internal_error(api: Api, found: Any, words: str) -> None:
    with structlog.testing.capture_logs() as logs:
        response = await api.post(WHO, headers=SESSIONS.open(found))
    assert response.status_code == 500
    assert response.json()["errors"] == [
        {"message": "Something went wrong on our side", "extensions": {"code": "INTERNAL"}}
    ]
    lines = [line for line in logs if "auth.viewer returned" in line["event"]]
    assert all(words in line["event"] and len(str(line)) < 500 for line in lines)
    assert len(lines) == 1


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"roles": "admin"}, r"roles must be a list of names \(got 'admin'\)"),
        ({"roles": 5}, r"roles must be a list of names, as in \['staff'\] \(got 5\)"),
        ({"until": datetime(2030, 1, 1)}, "until must have a time zone"),  # noqa: DTZ001 - the mistake
    ],
)
@pytest.mark.parametrize("is_async", [True, False])
async def test_a_viewer_of_wrong_arguments_is_an_internal_error(
    wrong: dict[str, Any], words: str, *, is_async: bool
) -> None:
    """Not one that a caller is asked to send again: it would fail again."""

    def plain(connection: HTTPConnection) -> Viewer:
        return Viewer("ada", **wrong)

    async def awaited(connection: HTTPConnection) -> Viewer:
        return plain(connection)

    viewers = CustomViewers(awaited if is_async else plain, timeout_s=30, recheck_s=30)
    with structlog.testing.capture_logs() as logs, pytest.raises(InvalidViewer):
        await viewers(HTTPConnection({"type": "http", "headers": []}))
    viewers.close()
    assert [line["event"] for line in logs] == ["auth.viewer made no viewer"]
    with pytest.raises(TypeError, match=words):
        raise logs[0]["exc_info"]


async def test_a_plain_function_blocks_nobody_else(tmp_path: Path) -> None:
    async with running(custom_settings(tmp_path, "plain_viewer")) as api:
        event = Event()
        waiting = asyncio.create_task(who(api, SESSIONS.open(after(event, ADA))))
        try:
            assert await who(api, SESSIONS.open(Viewer("bob"))) == {"data": {"viewer": {"id": "bob", "roles": []}}}
            assert not waiting.done()
        finally:
            event.set()
        assert await waiting == {"data": {"viewer": {"id": "ada", "roles": []}}}


@pytest.mark.parametrize("function", ["viewer", "plain_viewer"])
async def test_a_function_that_takes_too_long_is_unavailable(tmp_path: Path, function: str) -> None:
    event = Event()
    slow = never if function == "viewer" else after(event, ADA)
    async with running(custom_settings(tmp_path, function, viewer_timeout_s=0.05)) as api:
        try:
            with structlog.testing.capture_logs() as logs:
                responses = await asyncio.gather(*(api.post(WHO, headers=SESSIONS.open(slow)) for _ in range(40)))
            assert {response.status_code for response in responses} == {503}
            lines = [line["event"] for line in logs if "auth.viewer" in line["event"]]
            assert lines == ["auth.viewer did not answer within 0.05 s"]
        finally:
            event.set()


async def test_a_foreign_page_sends_nothing_with_the_browser_s_cookies(api: Api, address: str) -> None:
    """No door is open to a page elsewhere: no form, no plain text, no GET, no socket."""
    hers = SESSIONS.open(ADA)
    body = '{"query": "mutation { processItem(input: {item: \\"x\\"}) { job { id } } }"}'
    asked = SESSIONS.asked(hers)
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "", None):
        headers = {**hers, **({} if kind is None else {"content-type": kind})}
        response = await api.http.post("/graphql", content=body, headers=headers)
        assert response.status_code == 415
        response = await api.http.post("/graphql", content=body, headers={**headers, **EVIL})
        assert response.status_code == 403
    for origin in (*EVIL.values(), "null", "http://127.0.0.1:9", "https://127.0.0.1.evil.example"):
        headers = {**hers, "content-type": "application/json", "origin": origin}
        assert (await api.http.post("/graphql", content=body, headers=headers)).status_code == 403
        with pytest.raises(InvalidStatus) as refused:
            async with client(address, origin=origin, headers=hers):
                pass
        assert refused.value.response.status_code == 403
    query = 'mutation { processItem(input: {item: "x"}) { job { id } } }'
    assert (await api.http.get("/graphql", params={"query": query}, headers=hers)).status_code == 405
    for method in ("PUT", "PATCH", "DELETE"):
        assert (await api.http.request(method, "/graphql", json={"query": query}, headers=hers)).status_code == 405
    assert SESSIONS.asked(hers) - asked <= 6  # not for what a foreign origin sends
    seen = await api.post({"query": "{ jobs { nodes { id } } }"}, headers=SESSIONS.open(Viewer("root", ["admin"])))
    assert body not in seen.text
    mine = (await api.post({"query": "{ jobs { nodes { id } } }"}, headers=hers)).json()
    assert mine == {"data": {"jobs": {"nodes": []}}}


@pytest.mark.parametrize("cookies", [False, True])
async def test_a_socket_of_a_named_origin_has_cookies_where_the_settings_say_so(
    tmp_path: Path, *, cookies: bool
) -> None:
    """The browser sends them in any case, and a middleware may have read them."""
    app = "https://app.example"
    settings = custom_settings(tmp_path).model_copy(update={"server": Server(origins=(app,), cors_credentials=cookies)})
    gate = composition.request_gate(settings, viewer=lambda one: Viewer(one.session["user"]) if one.session else None)
    headers = [(b"origin", app.encode()), (b"host", b"shop.example"), (b"cookie", b"session=x")]
    scope = {"type": "websocket", "path": "/graphql", "headers": headers, "session": {"user": "ada"}}
    assert (await gate.viewer_of(HTTPConnection(scope))).subject == ("ada" if cookies else None)
    foreign = {**scope, "headers": [(b"origin", b"https://evil.example"), *headers[1:]]}
    with pytest.raises(HttpError) as refused:
        await gate.viewer_of(HTTPConnection(foreign))
    assert refused.value.code == "CROSS_SITE"
    await gate.close()


async def test_a_socket_has_the_viewer_of_its_handshake_or_of_its_payload(address: str) -> None:
    hers = SESSIONS.open(ADA)
    session = hers["cookie"].partition("=")[2]
    for headers, payload in ((hers, {}), ({}, {"session": session})):
        async with client(address, headers=headers, init=False) as c:
            await c.send({**INIT, "payload": payload})
            assert await c.receive() == {"type": "connection_ack"}
            assert (await c.run("{ viewer { id } }"))[0]["payload"] == {"data": {"viewer": {"id": "ada"}}}
    for owner, code in (
        (None, 4403),
        (HTTPException(401), 4403),
        (KeyError("x"), 1013),
        ("ada", 4500),
    ):
        async with client(address, headers=SESSIONS.open(owner), init=False) as c:
            await c.send(INIT)
            assert await c.closed() == code
    async with stream(address, {}) as events:
        assert events.response.status_code == 401


@pytest.mark.parametrize(
    ("later", "code", "error"),
    [
        (None, 4403, "NOT_AUTHENTICATED"),
        (Viewer("bob"), 4403, "NOT_AUTHENTICATED"),
        (Viewer("ada", ["admin"]), 4403, "NOT_AUTHENTICATED"),
        (HTTPException(401), 4403, "NOT_AUTHENTICATED"),
        (KeyError("x"), 1013, "UNAVAILABLE"),
    ],
    ids=["ended", "another's", "other roles", "refused", "fails"],
)
async def test_a_session_that_changes_ends_its_socket_and_its_event_stream(
    address: str, later: Any, code: int, error: str
) -> None:
    hers = SESSIONS.open(ADA)
    async with stream(address, hers) as events, client(address, headers=hers) as c:
        assert (await c.run("{ viewer { id } }"))[0]["payload"] == {"data": {"viewer": {"id": "ada"}}}
        SESSIONS.change(hers, later)
        assert await c.closed() == code
        found = [event async for event in events]
    assert [one["extensions"]["code"] for event in found for one in event["errors"]] == [error]


async def test_a_session_that_goes_on_keeps_its_socket_and_its_event_stream(address: str) -> None:
    """A single failure, roles in another order and a new end change nothing."""
    hers = SESSIONS.open(Viewer("ada", ["a", "b"], until=time.time() + 3000))
    async with stream(address, hers) as events, client(address, headers=hers) as c:
        failed = set()

        def fails_once(connection: HTTPConnection) -> Viewer:
            if (kind := connection.scope["type"]) not in failed:
                failed.add(kind)
                raise KeyError(kind)
            return Viewer("ada", ["b", "a"], until=datetime.now(UTC) + timedelta(hours=2))

        SESSIONS.change(hers, fails_once)
        asked = SESSIONS.asked(hers)
        async with asyncio.timeout(30):
            while SESSIONS.asked(hers) < asked + 8:
                await asyncio.sleep(0.01)
        assert (await c.run("{ viewer { id } }"))[0]["payload"] == {"data": {"viewer": {"id": "ada"}}}
        SESSIONS.change(hers, None)
        assert await c.closed() == 4403
        assert [event async for event in events]


async def test_a_session_ends_at_its_known_end(address: str) -> None:
    hers = SESSIONS.open(Viewer("ada", until=datetime.now(UTC) + timedelta(seconds=1)))
    async with stream(address, hers) as events, client(address, headers=hers) as c:
        assert await c.closed() == 4403
        found = [event async for event in events]
    assert [one["extensions"]["code"] for event in found for one in event["errors"]] == ["NOT_AUTHENTICATED"]


async def test_a_flood_of_messages_does_not_outlive_the_session(api: Api) -> None:
    """The server's queue is never empty here, so nothing is ever waited for."""
    hers = SESSIONS.open(Viewer("ada", until=time.time() + 0.2))
    cookie = [(b"cookie", hers["cookie"].encode())]
    sent = await flooded(api.app, '{"type":"connection_init"}', then='{"type":"pong"}', headers=cookie)
    assert [message["type"] for message in sent] == ["websocket.accept", "websocket.send", "websocket.close"]
    assert sent[-1]["code"] == 4403


async def test_a_session_asks_once_in_an_interval() -> None:
    asked = 0

    async def again() -> Viewer:
        nonlocal asked
        asked += 1
        return ADA

    loop = asyncio.get_running_loop()
    session, started = Session(ADA, again, 0.02), loop.time()
    session.start()
    while asked < 10:
        await asyncio.sleep(0)
    session.close()
    assert asked <= (loop.time() - started) / 0.02 + 1


@pytest.mark.parametrize("error", [NotAuthenticated(), HttpError(429, "x")])
async def test_a_wait_within_a_session_ends_with_it(error: Any) -> None:
    async def again() -> Viewer:
        raise error

    session = Session(ADA, again, 0.001)
    session.start()
    with pytest.raises(TimeoutError):
        async with session.limit():
            await asyncio.sleep(60)
    assert session.is_over()
    assert session.error() is error
    session.close()


@pytest.mark.parametrize(
    ("auth", "words"),
    [
        ({"viewer": ""}, 'mode "custom" needs a function'),
        ({"viewer": "nowhere:viewer"}, "there is no module 'nowhere'"),
        ({"viewer": "tests.integration.graphql.users:nothing"}, "users has no function nothing"),
        ({"viewer": "tests.integration.graphql.users:not_a_function"}, "must be a function, and is a int"),
        ({"viewer": "tests.integration.graphql.users:without_an_argument"}, "must take the connection"),
    ],
)
def test_a_function_that_cannot_be_called_stops_the_start(tmp_path: Path, auth: dict[str, str], words: str) -> None:
    with pytest.raises(SettingsError, match=words) as refused:
        create_app(settings_in(tmp_path, auth={"mode": "custom", **auth}))
    assert str(refused.value).startswith("auth.viewer: ")


def test_a_viewer_is_made_of_what_people_have() -> None:
    assert (Viewer(42).subject, Viewer(42).roles, Viewer("a", {"x"}).roles) == ("42", (), ("x",))
    assert Viewer("a", until=datetime(2030, 1, 1, tzinfo=UTC)).until == 1_893_456_000
    with pytest.raises(TypeError, match=r"write Viewer\(subject, roles=\['admin'\]\)"):
        Viewer("a", "admin")
    with pytest.raises(ValueError, match="time zone"):
        Viewer("a", until=datetime(2030, 1, 1))  # noqa: DTZ001 - the mistake
    with pytest.warns(DeprecationWarning, match=r"Viewer\.subject"):
        assert Viewer("a").id == "a"
