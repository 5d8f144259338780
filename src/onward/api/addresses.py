"""Where a request comes from: its peer's address, or what a proxy that is named says of it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network

LONGEST = 2_000
NEIGHBOURS = 64  # bits of an IPv6 address that one customer of a provider has for his own are those after them
UNKNOWN = "unknown"  # a Unix socket's peer


class Addresses:
    """Believes X-Forwarded-For from the proxies named, as addresses or networks, and no further than they lead."""

    def __init__(self, proxies: Sequence[str] = ()) -> None:
        self._proxies = tuple(ip_network(name) for name in proxies)

    def of(self, client: tuple[str, int] | None, forwarded: bytes | None) -> str:
        """The address; an IPv6 one stands for its /64."""
        peer = client[0] if client else UNKNOWN
        if not self._proxies or forwarded is None or len(forwarded) > LONGEST:
            return _named(peer)
        for hop in reversed(forwarded.decode("latin-1").split(",")):
            if not self._is_proxy(peer):
                break
            further = hop.strip()
            if _named(further) == UNKNOWN:
                break
            peer = further
        return _named(peer)

    def _is_proxy(self, peer: str) -> bool:
        try:
            address = _plain(peer)
        except ValueError:
            return False
        return any(address in network for network in self._proxies)


def is_loopback(address: str) -> bool:
    return address.startswith("127.") or address == "::1"


@lru_cache(4096)  # pure: the same text always means the same address
def _named(text: str) -> str:
    try:
        address = _plain(text)
    except ValueError:
        return UNKNOWN
    if isinstance(address, IPv6Address) and not address.is_loopback:
        return str(IPv6Network((address, NEIGHBOURS), strict=False))
    return str(address)


def _plain(text: str) -> IPv4Address | IPv6Address:
    """Raises ValueError."""
    address = ip_address(text.partition("%")[0])
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address
