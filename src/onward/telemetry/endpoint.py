"""A process's own address for its metrics, served by threads: also while the event loop is blocked."""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import TypeVar
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, start_http_server

from onward.children import shield
from onward.findings import Finding, State, in_one_line

PORTS = 64
T = TypeVar("T")


class NoPort(Exception):
    """The address cannot be listened on; the message says why."""


def split(address: str) -> tuple[str, int]:
    """Return host and port of `HOST:PORT`."""
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def listen(address: str, start: Callable[[str, int], T]) -> T:
    """Call `start` with the address's host and port, or the next free port: processes of a machine share a setting.

    Raises NoPort.
    """
    host, first = split(address)
    for port in range(first, min(first + PORTS, 65_536)):
        try:
            return start(host, port)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise NoPort(f"{address} cannot be listened on: {error.strerror}") from error
    raise NoPort(f"{address} and the {PORTS - 1} ports after it are taken")


def listen_lower(address: str, port: int, start: Callable[[str, int], T]) -> T | None:
    """Call `start` with the address's host and the first free port below this one; return None if there is none."""
    host, first = split(address)
    for lower in range(first, port):
        with suppress(OSError, RuntimeError):  # it is taken, or there is no descriptor or no thread for it
            return start(host, lower)
    return None


class Endpoint:
    """Serves the registry at the address, or at the next free port.

    Opening and closing block. Raises NoPort.
    """

    def __init__(self, registry: CollectorRegistry, address: str) -> None:
        self._registry, self._address = registry, address
        self._server, self._thread = listen(address, self._start)
        shield(self._descriptors)

    @property
    def url(self) -> str:
        return f"http://{self._address.rpartition(':')[0]}:{self._server.server_port}/metrics"

    def move(self) -> bool:
        """Go on at a lower port of the address that has become free; return False if there is none."""
        lower = listen_lower(self._address, self._server.server_port, self._start)
        if lower is None:
            return False
        former, thread = self._server, self._thread
        self._server, self._thread = lower  # first, so that it is kept from forks at once
        _end(former, thread)
        return True

    def _start(self, host: str, port: int) -> tuple[WSGIServer, threading.Thread]:
        return start_http_server(port, host, self._registry)

    def _descriptors(self) -> Iterator[int]:
        """The listening socket, while it is open."""
        if self._server.fileno() >= 0:
            yield self._server.fileno()

    def close(self) -> None:
        _end(self._server, self._thread)


def _end(server: WSGIServer, thread: threading.Thread) -> None:
    server.shutdown()
    server.server_close()
    thread.join()


def check(address: str) -> Finding:
    """Check that the address can be listened on."""
    try:
        endpoint = Endpoint(CollectorRegistry(), address)
    except NoPort as error:
        return Finding("metrics", State.WRONG, in_one_line(error), "correct telemetry.metrics")
    endpoint.close()
    return Finding("metrics", State.OK, f"the next process serves them at {endpoint.url}")
