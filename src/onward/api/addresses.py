"""The address of a client: the peer's, or the one that a trusted proxy forwards."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network

MAX_FORWARDED_BYTES = 2_000
CUSTOMER_PREFIX = 64  # bits of an IPv6 address; a provider's customer chooses the rest
UNKNOWN = "unknown"  # a Unix socket's peer
PORT = re.compile(r"\[([^\]]+)\](?::[0-9]+)?|([0-9.]+):[0-9]+")  # as in [2001:db8::1]:5 and 192.0.2.1:5


class Addresses:
    """Believes X-Forwarded-For from the trusted proxies only, given as addresses or networks."""

    def __init__(self, proxies: Sequence[str] = ()) -> None:
        self._proxies = tuple(ip_network(name) for name in proxies)

    def of(self, client: tuple[str, int] | None, forwarded: bytes | None) -> str:
        """Return the client's address; an IPv6 address stands for its /64 network."""
        peer = client[0] if client else UNKNOWN
        if not self._proxies or forwarded is None or len(forwarded) > MAX_FORWARDED_BYTES:
            return _named(peer)
        for hop in reversed(forwarded.decode("latin-1").split(",")):
            if not self._is_proxy(peer):
                break
            previous = _without_port(hop.strip())
            if _named(previous) == UNKNOWN:
                break
            peer = previous
        return _named(peer)

    def _is_proxy(self, peer: str) -> bool:
        try:
            address = _plain(peer)
        except ValueError:
            return False
        return any(address in network for network in self._proxies)


def is_loopback(address: str) -> bool:
    return address.startswith("127.") or address == "::1"


def _without_port(hop: str) -> str:
    """Return the address of an entry to which some load balancers add the port of the client."""
    match = PORT.fullmatch(hop)
    return hop if match is None else match[1] or match[2]


@lru_cache(4096)  # pure: the same text always means the same address
def _named(text: str) -> str:
    try:
        address = _plain(text)
    except ValueError:
        return UNKNOWN
    if isinstance(address, IPv6Address) and not address.is_loopback:
        return str(IPv6Network((address, CUSTOMER_PREFIX), strict=False))
    return str(address)


def _plain(text: str) -> IPv4Address | IPv6Address:
    """Parse an address. Raises ValueError."""
    address = ip_address(text.partition("%")[0])
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address
