"""A span for each request over HTTP, as OpenTelemetry's conventions describe it, around the request's other spans."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

from opentelemetry import context, propagate, trace
from opentelemetry.trace import SpanKind, StatusCode

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"})
PORTS = {"http": 80, "https": 443}
TOKEN = re.compile(r"(/signal/).*")  # lets its holder send the signal


class HttpSpans:
    """A layer around an ASGI application, in the trace of the caller's headers.

    The query of a URL is left out, which holds a document's variables, and the token of a signal's address. WebSockets
    have no span: over the life of a socket, it would put all of its jobs into one trace.
    """

    def __init__(self, app: App, provider: trace.TracerProvider | None = None) -> None:
        self._app = app
        self._tracer = trace.get_tracer("onward", tracer_provider=provider)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        caller = context.attach(propagate.extract(headers))
        try:
            with self._tracer.start_as_current_span(
                scope["method"] if scope["method"] in METHODS else "HTTP",
                kind=SpanKind.SERVER,
                attributes=_attributes(scope, headers.get("host", "")),
                record_exception=False,  # its message may hold a parameter
                set_status_on_exception=False,
            ) as span:
                try:
                    await self._app(scope, receive, _watching(span, send))
                except BaseException as error:
                    _fail(span, type(error).__name__)
                    raise
        finally:
            context.detach(caller)


def _watching(span: trace.Span, send: Send) -> Send:
    """Return a `send` that notes the status of the answer."""

    async def noting(message: Message) -> None:
        if message["type"] == "http.response.start":
            status = message["status"]
            span.set_attribute("http.response.status_code", status)
            if status >= 500:  # noqa: PLR2004 - errors of the server
                _fail(span, str(status))
        await send(message)

    return noting


def _fail(span: trace.Span, kind: str) -> None:
    span.set_attribute("error.type", kind)
    span.set_status(StatusCode.ERROR)


def _attributes(scope: Scope, host: str) -> dict[str, str | int]:
    scheme, method = scope.get("scheme", "http"), scope["method"]
    found: dict[str, str | int] = {
        "http.request.method": method if method in METHODS else "_OTHER",
        "network.protocol.version": scope.get("http_version", "1.1"),
        "url.scheme": scheme,
        "url.path": TOKEN.sub(r"\1{token}", scope["path"]),
    }
    try:
        named = urlsplit(f"//{host}")
        address, port = named.hostname, named.port or PORTS.get(scheme)
    except ValueError:  # the header is the caller's
        return found
    return found | {"server.address": address} | ({"server.port": port} if port else {}) if address else found
