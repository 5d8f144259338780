"""ASGI applications for another application's `mount`: GraphQL, and the console.

Their links are relative to the page's own address, so that they hold behind any proxy, whatever prefix it strips.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from urllib.parse import quote

import orjson
import strawberry
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from onward.api.addresses import Addresses, is_loopback
from onward.api.base import close_reason
from onward.api.session import STOPS
from onward.api.signals import Answer
from onward.web import pages

TRY_AGAIN_LATER = 1013  # as a process that ends is not running, too, clients do not give up
FORWARDED = frozenset({b"forwarded", b"x-forwarded-for"})
TEST_CLIENT = "testclient"  # the address that Starlette's gives itself
NOT_RUNNING = (
    "Onward is not running: create the application with lifespan=onward.lifespan, or enter"
    " `async with onward.lifespan(app):` in its own lifespan."
)
NO_GRAPHQL = (
    "The console knows no GraphQL: mount onward.graphql in the same application before it starts, or give the console"
    ' an address: app.mount("/jobs", onward.pages_with(graphql="/graphql")).'
)
NOT_LOCAL = (
    'auth.mode is "open" (no authentication), and another machine or a proxy asks: give Onward a function, as in'
    ' Onward.from_settings("settings.toml", viewer=...), or set auth.mode = "jwt", or auth.allow_public = true.'
)


class Refusal:
    """An answer without a service, over HTTP and to a WebSocket's handshake."""

    def __init__(self, status: int, code: str, message: str) -> None:
        self._message = message
        body = orjson.dumps({"errors": [{"message": message, "extensions": {"code": code}}]})
        self._response = Response(body, status, media_type="application/json")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await receive()  # websocket.connect
        if scope["type"] == "http" or "websocket.http.response" in scope.get("extensions", {}):
            await self._response(scope, receive, send)
        else:
            await send({"type": "websocket.close", "code": 1011, "reason": close_reason(self._message)})


class Mounted:
    """An application at a path of another one. `routes` tells its mounts from others."""

    def __init__(self) -> None:
        self.routes: Sequence[BaseRoute] = []
        self._inner: ASGIApp | None = None
        self.ends = False  # the server stops: connections are not kept alive

    def open(self, inner: ASGIApp) -> None:
        """Answer by `inner` from now on."""
        self._inner, self.ends = inner, False

    def stop(self) -> None:
        """Answer that the server stops from now on."""
        self._inner = Refusal(503, "UNAVAILABLE", STOPS)

    def close(self) -> None:
        """Answer that nothing runs from now on. May be called twice."""
        self._inner = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            raise RuntimeError(f"Onward's applications are mounted, and take no {scope['type']} of their own")
        if self.ends and scope["type"] == "http" and scope["http_version"].startswith("1"):
            send = partial(_send_last, send)
        if self._inner is None and scope["type"] == "websocket":
            await _close(scope, receive, send)
        else:
            await (self._inner or Refusal(503, "UNAVAILABLE", NOT_RUNNING))(scope, receive, send)


async def _close(scope: Scope, receive: Receive, send: Send) -> None:
    """Close the WebSocket with the reason; a client of a refused handshake sees the status alone. It may try again."""
    await receive()  # websocket.connect
    await send({"type": "websocket.accept", "subprotocol": next(iter(scope.get("subprotocols", ())), None)})
    await send({"type": "websocket.close", "code": TRY_AGAIN_LATER, "reason": close_reason(NOT_RUNNING)})


async def _send_last(send: Send, message: Message) -> None:
    if message["type"] == "http.response.start":
        message["headers"] = [*message.get("headers", ()), (b"connection", b"close")]
    await send(message)


class LocalOnly:
    """Answers this machine only, as an open server that binds its own socket does: everyone is an admin there.

    A caller at a Unix socket, without an address, is on this machine; one whose address cannot be read is not.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await (self._app if is_local(scope) else Refusal(403, "NOT_ALLOWED", NOT_LOCAL))(scope, receive, send)


def is_local(scope: Scope) -> bool:
    """Return True if the caller is surely on this machine, and no proxy speaks for another one."""
    if any(name in FORWARDED for name, _ in scope["headers"]):
        return False
    client = scope.get("client")
    return client is None or client[0] == TEST_CLIENT or is_loopback(Addresses().of(client, None))


class GraphqlApp(Mounted):
    """GraphQL at the path of the mount, with the explorer's files below; `schema` is None for the settings' own."""

    def __init__(self, schema: strawberry.Schema | None = None) -> None:
        super().__init__()
        self.schema = schema


class PagesApp(Mounted):
    """The console at the path of the mount, with its files below; `graphql` is the address of its GraphQL."""

    def __init__(self, graphql: str = "") -> None:
        super().__init__()
        self.graphql = graphql


def graphql_app(view: ASGIApp) -> ASGIApp:
    """Return the view, at its path with and without a slash, with the explorer's files in `static/`."""
    file = _files()

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        await (file if path_below(scope).strip("/") else view)(scope, receive, send)

    return answer


def pages_app(graphql: Callable[[Request], str | None], signal: Answer) -> ASGIApp:
    """Return the console, with its files in `static/` and the addresses of signals in `signal/`.

    `graphql` gives the address of its GraphQL; None if there is none.
    """
    file = _files()

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        below = path_below(scope)
        if scope["type"] == "http" and below.startswith("/signal/"):
            await (await _signalled(signal, Request(scope, receive), below))(scope, receive, send)
        elif scope["type"] == "websocket" or below.strip("/"):
            await file(scope, receive, send)
        elif scope["method"] not in ("GET", "HEAD"):
            await PlainTextResponse("Method Not Allowed", 405, headers={"Allow": "GET, HEAD"})(scope, receive, send)
        elif (address := graphql(request := Request(scope, receive))) is None:
            await Refusal(503, "UNAVAILABLE", NO_GRAPHQL)(scope, receive, send)
        else:
            await pages.console(address, base_of(request))(scope, receive, send)

    return answer


async def _signalled(signal: Answer, request: Request, below: str) -> Response:
    if request.method not in ("GET", "HEAD", "POST"):
        return PlainTextResponse("Method Not Allowed", 405, headers={"Allow": "GET, HEAD, POST"})
    return await signal(request, below.removeprefix("/signal/"))


def path_below(scope: Scope) -> str:
    """Return the path below the mount, "" or "/..." .

    Behind a proxy that strips a prefix, the mount's `root_path` begins with that prefix, and the path does not.
    """
    path, root = str(scope["path"]), str(scope.get("root_path", "")).rstrip("/")
    while root:
        if path == root or path.startswith(f"{root}/"):
            return path[len(root) :]
        root = root[root.index("/", 1) :] if "/" in root[1:] else ""
    return path


def base_of(request: Request) -> str:
    """Return the mount's path as a link, relative to the address of the page at that path: "" or "jobs/"."""
    path = str(request.scope["path"])
    return "" if path.endswith("/") else f"{quote(path.rpartition('/')[2])}/"


def _files() -> ASGIApp:
    files = pages.files()

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        path = path_below(scope)
        if scope["type"] == "websocket" or not path.startswith("/static/"):
            await Refusal(404, "NOT_FOUND", "There is nothing at this path.")(scope, receive, send)
            return
        try:
            await files({**scope, "path": path.removeprefix("/static"), "root_path": ""}, receive, send)
        except HTTPException as error:
            await PlainTextResponse(error.detail, error.status_code, headers=error.headers)(scope, receive, send)

    return answer
