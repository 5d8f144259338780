"""A process's own address for its metrics, served by threads: also while the event loop is blocked."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from typing import TypeVar

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


class Endpoint:
    """Serves the registry at the address, or at the next free port.

    Opening and closing block. Raises NoPort.
    """

    def __init__(self, registry: CollectorRegistry, address: str) -> None:
        self._server, self._thread = listen(address, lambda host, port: start_http_server(port, host, registry))
        self.url = f"http://{address.rpartition(':')[0]}:{self._server.server_port}/metrics"
        shield(self._descriptors)

    def _descriptors(self) -> Iterator[int]:
        """The listening socket, while it is open."""
        if self._server.fileno() >= 0:
            yield self._server.fileno()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def check(address: str) -> Finding:
    """Check that the address can be listened on."""
    try:
        endpoint = Endpoint(CollectorRegistry(), address)
    except NoPort as error:
        return Finding("metrics", State.WRONG, in_one_line(error), "correct telemetry.metrics")
    endpoint.close()
    return Finding("metrics", State.OK, f"the next process serves them at {endpoint.url}")
