"""The health of a worker process over HTTP: /health/live and /health/ready, for probes.

Threads answer, also while the event loop is blocked: a handler that blocks it is no reason to kill the process.
"""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from http import HTTPStatus

from onward.children import shield
from onward.dispatch.readiness import Readiness
from onward.findings import Finding, State, in_one_line
from onward.telemetry.endpoint import NoPort, listen, listen_lower

READ_TIMEOUT_S = 2.0  # for a request to arrive
WRITE_TIMEOUT_S = 2.0
HEAD_BYTES = 8_192
REQUESTS = 8  # at once; further connections are closed
PAUSE_S = 0.1  # until the next try, where a connection cannot be accepted


class HealthEndpoint:
    """Answers probes at the address, or at the next free port. Opening blocks. Raises NoPort."""

    def __init__(self, address: str, ready: Callable[[], Readiness]) -> None:
        """`ready` may block, and is called from a thread."""
        self._ready = ready
        self._free = threading.BoundedSemaphore(REQUESTS)
        self._closed = threading.Event()
        self._address = address
        self._socket = listen(address, _bound)
        shield(self._descriptors)
        threading.Thread(target=self._serve, name="health", daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://{self._address.rpartition(':')[0]}:{self._socket.getsockname()[1]}/health/ready"

    def move(self) -> bool:
        """Go on at a lower port of the address that has become free; return False if there is none."""
        lower = listen_lower(self._address, self._socket.getsockname()[1], _bound)
        if lower is None:
            return False
        former, self._socket = self._socket, lower
        _end(former)
        return True

    def close(self) -> None:
        """Answer nobody more. May be called twice."""
        self._closed.set()
        _end(self._socket)

    def _descriptors(self) -> Iterator[int]:
        """The listening socket, while it is open."""
        if self._socket.fileno() >= 0:
            yield self._socket.fileno()

    def _serve(self) -> None:
        while not self._closed.is_set():
            try:
                self._accept()
            except (OSError, RuntimeError):  # closed, or no descriptor or no thread is left: for a while, as a rule
                self._closed.wait(PAUSE_S)

    def _accept(self) -> None:
        """Answer the next connection in a thread. Raises OSError, and RuntimeError if no thread can be started."""
        connection, _ = self._socket.accept()
        if not self._free.acquire(blocking=False):
            connection.close()
            return
        try:
            threading.Thread(target=self._answer, args=(connection,), name="probe", daemon=True).start()
        except RuntimeError:
            connection.close()
            self._free.release()
            raise

    def _answer(self, connection: socket.socket) -> None:
        try:
            with connection, suppress(OSError):
                method, path = _read(connection)
                status, report = self._report(method, path)
                body = json.dumps(report).encode()
                head = (
                    f"HTTP/1.1 {status} {status.phrase}\r\nContent-Type: application/json\r\n"
                    f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
                )
                connection.settimeout(WRITE_TIMEOUT_S)
                connection.sendall(head.encode() + (b"" if method == "HEAD" else body))
        finally:
            self._free.release()

    def _report(self, method: str, path: str) -> tuple[HTTPStatus, dict[str, object]]:
        if path not in {"/health/live", "/health/ready"}:
            return HTTPStatus.NOT_FOUND, {"status": "unknown path"}
        if method not in {"GET", "HEAD"}:
            return HTTPStatus.METHOD_NOT_ALLOWED, {"status": "unknown method"}
        if path == "/health/live":
            return HTTPStatus.OK, {"status": "ok"}
        ready, report = self._ready()
        return HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE, report


def check(address: str) -> Finding:
    """Check that the address can be listened on."""
    try:
        bound = listen(address, _bound)
    except NoPort as error:
        return Finding("health", State.WRONG, in_one_line(error), "correct worker.health")
    with bound:
        host, port = address.rpartition(":")[0], bound.getsockname()[1]
    return Finding("health", State.OK, f"the next worker process answers at http://{host}:{port}/health/ready")


def _bound(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=REQUESTS)


def _end(listening: socket.socket) -> None:
    with suppress(OSError):
        listening.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
    listening.close()


def _read(connection: socket.socket) -> tuple[str, str]:
    """Read a request's head, and return its method and its path without the query. Raises OSError."""
    head, deadline = b"", time.monotonic() + READ_TIMEOUT_S
    while b"\r\n\r\n" not in head:
        connection.settimeout(max(deadline - time.monotonic(), 0.001))
        chunk = connection.recv(HEAD_BYTES - len(head))
        if not chunk:  # also where the head is too long
            raise ConnectionError
        head += chunk
    method, _, rest = head.partition(b"\r\n")[0].decode("latin-1").partition(" ")
    return method, rest.partition(" ")[0].partition("?")[0]
