"""Headers that keep browsers from doing more with an answer than it is for, and hosts that are none."""

from __future__ import annotations

import re

from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADERS = (
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
)
HOST = re.compile(rb"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?")
WRONG_HOST = b'{"errors":[{"message":"The Host header names no host.","extensions":{"code":"BAD_REQUEST"}}]}'


def is_host(value: bytes | None) -> bool:
    """Whether a Host header names a host."""
    return value is not None and HOST.fullmatch(value) is not None


class SecureHeaders:
    """Every response has the headers above, unless it brings its own. A malformed or missing Host is 400.

    HTTP/1.0 knows no Host, and is what probes of load balancers speak.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def secured(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = message["headers"]
                there = {name for name, _ in headers}
                message["headers"] = [*headers, *(header for header in HEADERS if header[0] not in there)]
            await send(message)

        hosts = [value for name, value in scope["headers"] if name == b"host"]
        if (len(hosts) == 1 and is_host(hosts[0])) or (not hosts and scope["http_version"] == "1.0"):
            await self._app(scope, receive, secured)
        else:
            told = [(b"content-type", b"application/json"), (b"content-length", str(len(WRONG_HOST)).encode())]
            await secured({"type": "http.response.start", "status": 400, "headers": told})
            await send({"type": "http.response.body", "body": WRONG_HOST})
