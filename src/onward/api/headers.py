"""Headers that keep browsers from misusing an answer, and the check of each request's Host."""

from __future__ import annotations

from collections.abc import Iterable
from operator import itemgetter

import orjson
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from onward.api.base import HttpError
from onward.api.origins import Hosts, is_host

HEADERS = (
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
)
HEADER_NAMES = frozenset(dict(HEADERS))
_name = itemgetter(0)
MAX_ALLOWED = 100  # headers that are remembered: clients may send any of a long list of addresses


def check_host(values: list[bytes], hosts: Hosts, http_version: str = "1.1") -> None:
    """Raise HttpError unless there is one Host header, well formed, of a host that the server answers to.

    HTTP/1.0 knows no Host; probes of load balancers speak it.
    """
    if not values and http_version == "1.0":
        return
    if len(values) != 1 or not is_host(values[0]):
        raise HttpError(400, "The Host header must name one host.")
    if not hosts.allows(values[0]):
        words = "This server answers to localhost and IP addresses only; server.origins allows further names."
        raise HttpError(403, words, "CROSS_SITE")


class SecureHeaders:
    """Adds the headers above to every response, unless it brings its own. Checks the Host before the request is read.

    A WebSocket's Host is checked where its handshake is answered.
    """

    def __init__(self, app: ASGIApp, *, hosts: Hosts) -> None:
        self._app = app
        self._hosts = hosts
        self._allowed: set[bytes] = set()  # headers that have passed the check

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def secured(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = message["headers"]
                if HEADER_NAMES.isdisjoint(map(_name, headers)):
                    message["headers"] = [*headers, *HEADERS]
                else:
                    there = dict(headers)
                    message["headers"] = [*headers, *(one for one in HEADERS if one[0] not in there)]
            await send(message)

        try:
            named = [value for name, value in scope["headers"] if name == b"host"]
            if len(named) != 1 or named[0] not in self._allowed:
                check_host(named, self._hosts, scope["http_version"])
                if len(named) == 1 and len(self._allowed) < MAX_ALLOWED:
                    self._allowed.add(named[0])
        except HttpError as error:
            body = orjson.dumps({"errors": [error.formatted]})
            headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
            await secured({"type": "http.response.start", "status": error.status, "headers": headers})
            await send({"type": "http.response.body", "body": body})
        else:
            await self._app(scope, receive, secured)


def bearer(header: bytes | None) -> str | None:
    """Return the token of an Authorization header; None without a header. Another scheme counts as a wrong token."""
    if header is None:
        return None
    scheme, _, token = header.decode("latin-1").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def joined(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> bytes | None:
    """Return the values of a header; None if there is none."""
    values = [value for found, value in headers if found == name]
    return b", ".join(values) if values else None
