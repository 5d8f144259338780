"""From which web pages a browser may call: our own, and those allowed by name."""

from __future__ import annotations

from collections.abc import Collection
from ipaddress import ip_address
from urllib.parse import urlsplit

PORTS = {"http": 80, "https": 443}
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


class Origins:
    """Judges the `Origin` header, which browsers send and pages cannot change.

    `allowed` are further origins, as in "https://app.example.com". Where `hosts` is given, our own name must be one of
    them or an IP address: else a page could point its own name at this machine (DNS rebinding) and be of our origin.
    """

    def __init__(self, allowed: Collection[str] = (), hosts: Collection[str] | None = None) -> None:
        self._allowed = frozenset(origin.rstrip("/").lower() for origin in allowed)
        self._hosts = None if hosts is None else frozenset(hosts) | LOOPBACK

    def allows(self, origin: bytes | None, host: bytes | None) -> bool:
        """Whether the request may be answered. Without an origin it is no web page that asks."""
        if origin is None:
            return True
        text = origin.decode("latin-1").lower()
        if text in self._allowed:
            return True
        try:
            there, here = urlsplit(text), urlsplit("//" + (host or b"").decode("latin-1").lower())
            # By host and port alone: behind a proxy that ends TLS, the scheme is not ours to see.
            default = PORTS.get(there.scheme)
            same = there.hostname == here.hostname and (there.port or default) == (here.port or default)
        except ValueError:
            return False
        return same and there.hostname is not None and there.scheme in PORTS and self._is_ours(there.hostname)

    def _is_ours(self, name: str) -> bool:
        if self._hosts is None or name in self._hosts:
            return True
        try:
            ip_address(name)
        except ValueError:
            return False
        return True
