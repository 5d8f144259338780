"""`/graphql`: GraphQL over HTTP, and the entry to event streams and WebSockets."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qsl

from graphql import OperationType
from starlette.background import BackgroundTasks
from starlette.requests import HTTPConnection
from starlette.requests import Request as HttpRequest
from starlette.responses import Response as HttpResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from onward.api import responses
from onward.api.base import HttpError, MethodNotAllowed
from onward.api.body import read_body
from onward.api.headers import bearer
from onward.api.http_connection import BODY_COMPLETE, CONNECTION
from onward.api.negotiation import Media, accepted, accepts_events, check_content, wants_page
from onward.api.request_gate import CROSS_SITE, RequestGate
from onward.api.sse import EventStream, lasting, one
from onward.api.websocket import Socket
from onward.graphql.base import SIGN_IN, BadRequest, NotAuthenticated
from onward.graphql.context import Context, Services
from onward.graphql.execution.masking import masked
from onward.graphql.execution.operations import Invalid
from onward.graphql.execution.requests import Request, load, read
from onward.telemetry.tracing import traceparent

HEADERS_READ = frozenset(
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
MAX_PARAMETERS = 20
Headers = dict[bytes, bytes]
Explorer = Callable[[HttpRequest], HttpResponse]
"""Returns the page on which people write operations."""


class View:
    """An ASGI application. POST runs an operation; GET shows browsers the explorer, and runs queries where enabled."""

    def __init__(
        self,
        gate: RequestGate,
        services: Services,
        *,
        explorer: Explorer | None = None,
        get_queries: bool = False,
    ) -> None:
        self._gate = gate
        self._services = services
        self._asks = gate.asks
        self._operations = gate.operations
        self._limits = gate.operations.limits
        self._explorer = explorer
        self._get_queries = get_queries
        self._closing = asyncio.Event()
        self._sockets: set[Socket] = set()
        self._streams = 0  # event streams and WebSockets that are open
        self._closed = asyncio.Event()  # none is, for the moment

    def close(self) -> None:
        """End the open event streams and WebSockets, and later ones at once, so that the server can stop."""
        self._closing.set()
        for socket in self._sockets:
            socket.end()

    async def wait_closed(self) -> None:
        """Wait until no event stream and no WebSocket is open."""
        while self._streams:
            self._closed.clear()
            await self._closed.wait()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers: Headers = {}
        for name, value in scope["headers"]:
            if name in HEADERS_READ:
                headers[name] = headers[name] + b", " + value if name in headers else value
        if scope["type"] == "websocket":
            if not self._gate.origins.allows_cookies(headers.get(b"origin"), headers.get(b"host")):
                scope = {**scope, "headers": [header for header in scope["headers"] if header[0] != b"cookie"]}
            await self._serve(Socket(self._gate, self._services, scope, receive, send), headers)
            return
        address = self._gate.addresses.of(scope.get("client"), headers.get(b"x-forwarded-for"))
        response = await self._respond(scope, receive, headers, address)
        if not isinstance(response, EventStream):
            await response(scope, receive, send)
            return
        with self._gate.connection_limiter.one(address), self._counted():
            await response(scope, receive, send)

    async def _serve(self, socket: Socket, headers: Headers) -> None:
        self._sockets.add(socket)
        if self._closing.is_set():
            socket.end()
        try:
            with self._counted():
                await socket.serve(headers)
        finally:
            self._sockets.discard(socket)

    @contextmanager
    def _counted(self) -> Iterator[None]:
        self._streams += 1
        try:
            yield
        finally:
            self._streams -= 1
            if not self._streams:
                self._closed.set()

    async def _respond(self, scope: Scope, receive: Receive, headers: Headers, address: str) -> ASGIApp:
        media = Media.JSON
        try:
            if scope["method"] == "GET" and self._explorer is not None and wants_page(headers.get(b"accept")):
                return self._explorer(HttpRequest(scope, receive))
            self._check(scope["method"], headers)
            media = accepted(headers.get(b"accept"))
            if media is Media.EVENTS:
                self._gate.connection_limiter.check(address)
            viewer = (
                await self._gate.viewer_of(HTTPConnection(scope))
                if self._asks
                else self._gate.authenticate(bearer(headers.get(b"authorization")), address)
            )
            is_get = scope["method"] == "GET"
            extensions = scope.get("extensions", {})
            request = (
                self._from_url(scope["query_string"])
                if is_get
                else await self._from_body(receive, headers, complete=BODY_COMPLETE in extensions)
            )
            trace = traceparent(headers.get(b"traceparent"))
            context = self._operations.context(self._services, viewer, address, trace, scope["headers"])
            context.meter.connection = extensions.get(CONNECTION)
            return await self._run(request, context, media, scope, headers, address=address, is_get=is_get)
        except BadRequest as error:
            return responses.refusal(error, media)
        except Exception as error:  # noqa: BLE001 - it is masked and logged
            return responses.answer({"errors": [masked(error)]}, 500, media)

    def _check(self, method: str, headers: Headers) -> None:
        """Check the request before its body is read. Raises HttpError."""
        if method != "POST" and not (method == "GET" and self._get_queries):
            allowed = "GET, POST" if self._get_queries else "POST"
            raise MethodNotAllowed("Send the request by POST.", allowed)
        if not self._gate.origins.allows(headers.get(b"origin"), headers.get(b"host")):
            raise HttpError(403, CROSS_SITE, "CROSS_SITE")

    async def _from_body(self, receive: Receive, headers: Headers, *, complete: bool) -> Request:
        check_content(headers.get(b"content-type"))
        reading = read_body(receive, headers, self._limits.body_bytes)
        body = await reading if complete else await self._in_time(reading)
        return read(load(body, self._limits.json_depth))

    async def _in_time(self, reading: Awaitable[bytes]) -> bytes:
        try:
            async with asyncio.timeout(self._limits.body_timeout_s):
                return await reading
        except TimeoutError:
            raise HttpError(408, "The body took too long to arrive.", "TIMEOUT") from None

    async def _run(
        self,
        request: Request,
        context: Context,
        media: Media,
        scope: Scope,
        headers: Headers,
        *,
        address: str,
        is_get: bool,
    ) -> ASGIApp:
        operation = await self._operations.prepare(request, context.meter.caller)
        events = media is Media.EVENTS
        if isinstance(operation, Invalid):
            return self._stream(one(operation)) if events else responses.invalid(operation, media, headers)
        if is_get and operation.kind is not OperationType.QUERY:
            raise MethodNotAllowed("Send this operation by POST: only queries are answered over GET.", "POST")
        if operation.kind is OperationType.SUBSCRIPTION:
            if not accepts_events(headers.get(b"accept")):
                raise HttpError(
                    406, f"Accept {Media.EVENTS}: a subscription is answered as an event stream.", "NOT_ACCEPTABLE"
                )
            if context.viewer.is_nobody:
                raise NotAuthenticated(SIGN_IN)
            self._gate.connection_limiter.check(address)  # others have opened streams while this one was prepared
            session = self._gate.session(context.viewer, HTTPConnection(scope))
            return self._stream(lasting(self._operations.subscribe(operation, context), session))
        background = BackgroundTasks()
        response = await self._operations.execute(operation, context, background.add_task)
        if events:
            return self._stream(one(response), background)
        if isinstance(response, Invalid):
            return responses.invalid(response, media, headers)
        return responses.answer(response, 200, media, background)

    def _stream(self, found: Any, background: BackgroundTasks | None = None) -> ASGIApp:
        return EventStream(found, heartbeat_s=self._limits.heartbeat_s, closing=self._closing, background=background)

    def _from_url(self, query_string: bytes) -> Request:
        if len(query_string) > self._limits.body_bytes:
            raise HttpError(414, "This URL is too long.", "TOO_LARGE")
        try:
            pairs = parse_qsl(
                query_string.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=MAX_PARAMETERS
            )
        except ValueError:
            raise HttpError(400, "This query string cannot be read.") from None
        values: dict[str, Any] = dict(pairs)
        if len(values) != len(pairs):
            raise HttpError(400, "A parameter appears twice.")
        for name in ("variables", "extensions"):
            if name in values:
                values[name] = load(values[name], self._limits.json_depth, f"`{name}`")
        return read(values)
