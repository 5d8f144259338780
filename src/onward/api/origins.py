"""The hosts that the server answers to, and the web pages that may call it from a browser."""

from __future__ import annotations

import re
from collections.abc import Collection
from ipaddress import ip_address
from typing import Self
from urllib.parse import urlsplit

PORTS = {"http": 80, "https": 443}
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_HOST = re.compile(rb"([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?")
_PLAIN_HOSTS = frozenset({b"localhost", b"127.0.0.1"})


def is_host(value: bytes | None) -> bool:
    """True if a Host header names a host."""
    return value is not None and _HOST.fullmatch(value) is not None


class Hosts:
    """Judges the `Host` header. `names` are the only names allowed beside IP addresses; None allows every name."""

    def __init__(self, names: Collection[str] | None = None) -> None:
        self._names = None if names is None else frozenset(name.lower() for name in names)

    @classmethod
    def local(cls, origins: Collection[str], further: Collection[str] = ()) -> Self:
        """Loopback names, the hosts of the origins that the settings name, and the `further` ones."""
        return cls(LOOPBACK.union(further, (urlsplit(origin).hostname or "" for origin in origins)))

    def allows(self, header: bytes) -> bool:
        """True if a well-formed Host header names this server."""
        if self._names is None or header.partition(b":")[0] in _PLAIN_HOSTS:
            return True
        match = _HOST.fullmatch(header)
        name = match[1].decode("ascii").lower().strip("[]") if match else ""
        if name in self._names:
            return True
        try:
            ip_address(name)
        except ValueError:
            return False
        return True


class Origins:
    """Judges the `Origin` header, which browsers send and pages cannot change.

    `allowed` are further origins, as in "https://app.example.com", whose cookies count if `cookies` is true. The
    server's own origin is the one of its Host.
    """

    def __init__(self, allowed: Collection[str] = (), *, cookies: bool = False) -> None:
        self._allowed = frozenset(origin.rstrip("/").lower() for origin in allowed)
        self._cookies = cookies

    def allows(self, origin: bytes | None, host: bytes | None) -> bool:
        """True if the request may be answered. A request without an origin comes from no web page."""
        return origin is None or origin.decode("latin-1").lower() in self._allowed or _is_own(origin, host)

    def allows_cookies(self, origin: bytes | None, host: bytes | None) -> bool:
        """True if the request's cookies count: over HTTP browsers see to that, and on a WebSocket nobody does."""
        return self._cookies or origin is None or _is_own(origin, host)


def _is_own(origin: bytes, host: bytes | None) -> bool:
    """True for a page of the server itself."""
    try:
        there = urlsplit(origin.decode("latin-1").lower())
        here = urlsplit("//" + (host or b"").decode("latin-1").lower())
        # By host and port alone: the server cannot see the scheme behind a proxy that ends TLS.
        default = PORTS.get(there.scheme)
        same = there.hostname == here.hostname and (there.port or default) == (here.port or default)
    except ValueError:
        return False
    return same and there.hostname is not None and there.scheme in PORTS
