"""`/graphql`: GraphQL over HTTP, and the door to the WebSocket."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import MappingProxyType
from typing import Any
from urllib.parse import parse_qsl

import orjson
from fastapi import BackgroundTasks
from graphql import OperationType
from starlette.requests import Request as HttpRequest
from starlette.responses import Response as HttpResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from onward.api.body import read_body
from onward.api.negotiation import Media, accepted, check_content, names_json, wants_page
from onward.api.rates import TooManyRequests
from onward.api.request_gate import RequestGate
from onward.api.sse import EventStream, lasting, one
from onward.api.websocket import Socket
from onward.graphql.base import BadRequest, NotAuthenticated
from onward.graphql.context import Context
from onward.graphql.execution.masking import masked
from onward.graphql.execution.operations import Invalid
from onward.graphql.execution.requests import Request, load, read
from onward.telemetry.tracing import traceparent

WANTED = frozenset(
    {
        b"accept",
        b"authorization",
        b"content-encoding",
        b"content-length",
        b"content-type",
        b"host",
        b"origin",
        b"traceparent",
        b"x-forwarded-for",
    }
)
FURTHER = MappingProxyType(
    {
        401: {"WWW-Authenticate": "Bearer"},
        405: {"Allow": "POST"},
        408: {"Connection": "close"},
        413: {"Connection": "close"},
    }
)
Headers = dict[bytes, bytes]


class View:
    """An ASGI application. POST runs an operation; GET shows browsers the explorer, and queries where switched on."""

    def __init__(
        self,
        door: RequestGate,
        *,
        explorer: Callable[[HttpRequest], HttpResponse] | None = None,
        get_queries: bool = False,
    ) -> None:
        self._door = door
        self._operations = door.operations
        self._limits = door.operations.limits
        self._explorer = explorer
        self._get_queries = get_queries
        self._closing = asyncio.Event()

    def close(self) -> None:
        """Open event streams end, so that the server can; WebSockets it closes itself."""
        self._closing.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers: Headers = {}
        for name, value in scope["headers"]:
            if name in WANTED:
                headers[name] = headers[name] + b", " + value if name in headers else value
        if scope["type"] == "websocket":
            await Socket(self._door, scope, receive, send).serve(headers)
            return
        address = self._door.addresses.of(scope.get("client"), headers.get(b"x-forwarded-for"))
        response = await self._respond(scope, receive, headers, address)
        if not isinstance(response, EventStream):
            await response(scope, receive, send)
            return
        with self._door.connection_limiter.one(address):
            await response(scope, receive, send)

    async def _respond(self, scope: Scope, receive: Receive, headers: Headers, address: str) -> ASGIApp:
        media = Media.JSON
        try:
            if scope["method"] == "GET" and self._explorer is not None and wants_page(headers.get(b"accept")):
                return self._explorer(HttpRequest(scope, receive))
            self._check(scope["method"], headers)
            media = accepted(headers.get(b"accept"))
            if media is Media.EVENTS:
                self._door.connection_limiter.check(address)
            viewer = self._door.authenticate(bearer(headers.get(b"authorization")), address)
            reading = scope["method"] == "GET"
            all_here = "onward.all_here" in scope.get("extensions", ())
            request = (
                self._from_url(scope["query_string"])
                if reading
                else await self._from_body(receive, headers, all_here=all_here)
            )
            context = Context(self._door.services, viewer, traceparent(headers.get(b"traceparent")))
            return await self._run(request, context, media, headers, reading=reading)
        except BadRequest as error:
            return told(error, media)
        except Exception as error:  # noqa: BLE001 - it is told and logged
            return answer({"errors": [masked(error)]}, 500, media)

    def _check(self, method: str, headers: Headers) -> None:
        """Raises BadRequest."""
        if method != "POST" and not (method == "GET" and self._get_queries):
            raise BadRequest(405, "A request comes by POST.", "METHOD_NOT_ALLOWED")
        if not self._door.origins.allows(headers.get(b"origin"), headers.get(b"host")):
            raise BadRequest(403, "This web page may not call here.", "CROSS_SITE")

    async def _from_body(self, receive: Receive, headers: Headers, *, all_here: bool) -> Request:
        check_content(headers.get(b"content-type"))
        reading = read_body(receive, headers, self._limits.body_bytes)
        body = await reading if all_here else await self._in_time(reading)
        return read(load(body, self._limits.json_depth))

    async def _in_time(self, reading: Awaitable[bytes]) -> bytes:
        try:
            async with asyncio.timeout(self._limits.body_timeout_s):
                return await reading
        except TimeoutError:
            raise BadRequest(408, "The body took too long to come.", "TIMEOUT") from None

    async def _run(
        self, request: Request, context: Context, media: Media, headers: Headers, *, reading: bool
    ) -> ASGIApp:
        operation = await self._operations.prepare(request)
        events = media is Media.EVENTS
        if isinstance(operation, Invalid):
            return self._stream(one(operation)) if events else refusal(operation, media, headers)
        if reading and operation.kind is not OperationType.QUERY:
            raise BadRequest(405, "By GET only queries are answered.", "METHOD_NOT_ALLOWED")
        if operation.kind is OperationType.SUBSCRIPTION:
            if not events:
                raise BadRequest(406, f"A subscription is answered as {Media.EVENTS}.", "NOT_ACCEPTABLE")
            if context.viewer.is_nobody:
                raise NotAuthenticated
            return self._stream(lasting(self._operations.subscribe(operation, context), context.viewer.until))
        later = BackgroundTasks()
        response = await self._operations.execute(operation, context, later.add_task)
        if events:
            return self._stream(one(response), later)
        if isinstance(response, Invalid):
            return refusal(response, media, headers)
        return answer(response, 200, media, later)

    def _stream(self, responses: Any, later: BackgroundTasks | None = None) -> ASGIApp:
        return EventStream(responses, heartbeat_s=self._limits.heartbeat_s, closing=self._closing, background=later)

    def _from_url(self, query_string: bytes) -> Request:
        if len(query_string) > self._limits.body_bytes:
            raise BadRequest(414, "This URL is too long.", "TOO_LARGE")
        try:
            pairs = parse_qsl(query_string.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=20)
        except ValueError:
            raise BadRequest(400, "This query string cannot be read.") from None
        values: dict[str, Any] = dict(pairs)
        if len(values) != len(pairs):
            raise BadRequest(400, "A parameter comes twice.")
        for name in ("variables", "extensions"):
            if name in values:
                values[name] = load(values[name], self._limits.json_depth)
        return read(values)


def bearer(header: bytes | None) -> str | None:
    """The token of an Authorization header; None where there is none. Another scheme counts as a wrong token."""
    if header is None:
        return None
    scheme, _, token = header.decode("latin-1").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def answer(content: Any, status: int, media: Media, later: BackgroundTasks | None = None) -> HttpResponse:
    try:
        body = orjson.dumps(content)
    except TypeError as error:  # a resolver gave what JSON cannot hold
        body, status = orjson.dumps({"errors": [masked(error)]}), 500
    kind = Media.JSON if media is Media.EVENTS else media
    return HttpResponse(body, status, media_type=kind.value, background=later if later and later.tasks else None)


def refusal(invalid: Invalid, media: Media, headers: Headers) -> HttpResponse:
    """400; but 200 for clients that ask for application/json by name: they take nothing else for GraphQL's answer."""
    legacy = media is Media.JSON and names_json(headers.get(b"accept"))
    return answer(invalid.response, invalid.status or (200 if legacy else 400), media)


def told(error: BadRequest, media: Media) -> HttpResponse:
    response = answer({"errors": [error.formatted]}, error.status, media)
    response.headers.update(FURTHER.get(error.status, {}))
    if isinstance(error, TooManyRequests):
        response.headers["Retry-After"] = str(error.wait_s)
    return response
