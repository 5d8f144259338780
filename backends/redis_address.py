"""Connects to the Redis that a URL names, or to the master that sentinels know.

`redis://USER:PASSWORD@MASTER/0?sentinels=HOST:26379,HOST:26379` names the master of a Sentinel installation where the
host stands otherwise; `sentinel_username` and `sentinel_password` are those of the sentinels. Over TLS (`rediss://`)
they are asked over TLS, too.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from redis.connection import parse_url
from redis.exceptions import ReadOnlyError

PORT = 26379


def connected(kind: Any, url: str, **options: Any) -> Any:
    """Return a client of the module `redis` or `redis.asyncio`, with these options for each connection.

    Connects later.
    """
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query))
    sentinels = query.pop("sentinels", "")
    if not sentinels:
        return kind.Redis.from_url(url, **options)
    own = {name: query.pop(f"sentinel_{name}", None) for name in ("username", "password")}
    given = dict(parse_url(parts._replace(query=urlencode(query)).geturl()))  # type: ignore[no-untyped-call]
    for name in ("host", "port", "connection_class"):
        given.pop(name, None)
    tls = {name: value for name, value in given.items() if name.startswith("ssl_")}
    tls |= {"ssl": True} if parts.scheme == "rediss" else {}
    master = parts.netloc.rpartition("@")[2].partition(":")[0]  # as it is written: `hostname` is in lowercase
    hosts = [_host(one) for one in sentinels.split(",")]
    asked = kind.Sentinel(hosts, sentinel_kwargs={**options, **own, **tls})
    # The URL's parameters override the options, as they do where the URL names a host.
    return asked.master_for(master, **{**options, **given, **({"ssl": True} if tls.get("ssl") else {})})


def is_of_replica(error: Exception) -> bool:
    """Return whether a server has refused to write because it is a replica, as one that a failover has made one."""
    return isinstance(error, ReadOnlyError) or "READONLY" in str(error)  # Redis 6 says so within the error of a script


def leave_replica(client: Any, error: Exception) -> bool:
    """Close the connections of the client that are not in use if they lead to a replica; return whether they do.

    Its address may be that of the new master by now, and a connection that works would be kept for ever.
    """
    if not is_of_replica(error):
        return False
    client.connection_pool.disconnect(inuse_connections=False)
    return True


def sentinels_of(client: Any) -> list[Any]:
    """Return the clients of its sentinels, which its own close leaves open; none without sentinels."""
    found = getattr(client.connection_pool, "sentinel_manager", None)
    return [] if found is None else list(found.sentinels)


def _host(text: str) -> tuple[str, int]:
    host, _, port = text.strip().rpartition(":")
    return (host.strip("[]"), int(port)) if host and port.isdecimal() else (text.strip(), PORT)
