"""The health of worker processes over HTTP."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from onward.backends.base import Health
from onward.config.settings import SettingsError, load
from onward.dispatch.readiness import Readiness
from onward.findings import State
from onward.jobs import claims, ledger
from onward.jobs.model import Job
from onward.jobs.states import JobStatus
from onward.storage.engine import Database
from onward.storage.tables import runners
from onward.storage.transaction import Tx
from onward.telemetry.endpoint import NoPort
from onward.worker import health, worker_runtime
from onward.worker.health import HealthEndpoint
from onward.worker.worker_runtime import WorkerRuntime
from tests import application
from tests.ledgers import accept
from tests.processes import wait_until
from tests.servers import free_port

READY = Readiness(True, {"status": "ok"})


def ask(url: str, path: str = "/health/ready", *, method: str = "GET") -> tuple[int, Any]:
    """Return the status and the body, as JSON."""
    request = urllib.request.Request(url.removesuffix("/health/ready") + path, method=method)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, json.loads(answer.read() or "null")
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read() or "null")


@pytest.fixture
def endpoint() -> Iterator[HealthEndpoint]:
    made = HealthEndpoint(f"127.0.0.1:{free_port()}", lambda: READY)
    yield made
    made.close()


def test_probes_are_answered_and_nothing_else(endpoint: HealthEndpoint) -> None:
    assert ask(endpoint.url) == (200, {"status": "ok"})
    assert ask(endpoint.url, "/health/live?x=1") == (200, {"status": "ok"})
    assert ask(endpoint.url, "/health/live", method="HEAD") == (200, None)
    assert ask(endpoint.url, "/health/live", method="POST")[0] == 405
    for path in ("/", "/metrics", "/health/live/x", "//health/live"):
        assert ask(endpoint.url, path)[0] == 404


def test_processes_of_a_machine_take_the_next_free_port(
    endpoint: HealthEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = endpoint.url.removeprefix("http://").removesuffix("/health/ready")
    second = HealthEndpoint(address, lambda: Readiness(False, {"status": "unavailable"}))
    assert second.url != endpoint.url
    assert ask(second.url) == (503, {"status": "unavailable"})
    assert health.check(address).state is State.OK
    second.close()
    monkeypatch.setattr("onward.telemetry.endpoint.PORTS", 1)
    with pytest.raises(NoPort, match="are taken"):
        HealthEndpoint(address, lambda: READY)
    assert health.check(address).fix == "correct worker.health"


def test_a_replacement_goes_on_at_the_port_of_the_process_that_has_ended(endpoint: HealthEndpoint) -> None:
    """Probes know that port."""
    known = endpoint.url
    replacement = HealthEndpoint(known.removeprefix("http://").removesuffix("/health/ready"), lambda: READY)
    assert not replacement.move(), "it is taken still"
    endpoint.close()
    wait_until(replacement.move)
    assert replacement.url == known
    assert ask(known) == (200, {"status": "ok"})
    replacement.close()


@pytest.mark.parametrize("sent", [b"", b"GET", b"\x00\xff\r\n\r\n", b"GET /health/live", b"x" * 100_000])
def test_a_client_that_sends_no_request_costs_a_moment(
    endpoint: HealthEndpoint, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    monkeypatch.setattr(health, "READ_TIMEOUT_S", 0.05)
    host, port = endpoint.url.removeprefix("http://").removesuffix("/health/ready").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as client:
        try:
            client.sendall(sent)
            answer = client.recv(1_000)
        except ConnectionError:
            answer = b""
    assert answer == b"" or answer.startswith(b"HTTP/1.1 404")
    assert ask(endpoint.url) == (200, {"status": "ok"})


def test_connections_beyond_a_number_are_closed(endpoint: HealthEndpoint) -> None:
    """A client that opens many and sends nothing holds a few threads for a moment."""
    host, port = endpoint.url.removeprefix("http://").removesuffix("/health/ready").split(":")
    before = threading.active_count()
    with ExitStack() as stack:
        clients = [
            stack.enter_context(socket.create_connection((host, int(port)), timeout=20))
            for _ in range(health.REQUESTS + 8)
        ]
        assert clients[-1].recv(1) == b"", "it is closed at once"
        assert threading.active_count() <= before + health.REQUESTS
    wait_until(lambda: threading.active_count() <= before)
    assert ask(endpoint.url) == (200, {"status": "ok"})


class Scarce(socket.socket):
    """A listening socket that finds no descriptor for a connection at its first tries."""

    failures = 2

    def accept(self) -> tuple[socket.socket, Any]:
        if self.failures:
            self.failures -= 1
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return super().accept()


def test_a_process_without_descriptors_answers_probes_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error of the socket is not the end of the endpoint: probes would time out until the process is killed."""
    bound = health._bound
    monkeypatch.setattr(health, "_bound", lambda host, port: Scarce(fileno=bound(host, port).detach()))
    endpoint = HealthEndpoint(f"127.0.0.1:{free_port()}", lambda: READY)
    assert ask(endpoint.url) == (200, {"status": "ok"})
    endpoint.close()


@pytest.fixture
def runtime(tmp_path: Path) -> Iterator[WorkerRuntime]:
    application.write(tmp_path, f'[worker]\nhealth = "127.0.0.1:{free_port()}"\n')
    made = WorkerRuntime(load(tmp_path))
    made.start()
    yield made
    made.drain()
    made.close()


def test_a_worker_is_ready_while_its_ledger_and_backends_answer_and_until_it_drains(
    runtime: WorkerRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert runtime._health is not None
    url = runtime._health.url
    report = {"status": "ok", "ledger": "ok", "backends": {"background": "ok"}, "threads": "ok"}
    assert ask(url) == (200, report)

    def is_unavailable() -> bool:
        runtime.parts.writer.failing = True  # until its next commit, which a heartbeat may make at any moment
        return ask(url) == (503, {**report, "status": "unavailable", "ledger": "unreachable"})

    wait_until(is_unavailable)
    monkeypatch.setattr(runtime.parts.writer, "failing", False)
    runtime.drain()
    assert ask(url) == (503, {**report, "status": "draining"})
    assert ask(url, "/health/live") == (200, {"status": "ok"})


@pytest.mark.parametrize("error", [ZeroDivisionError(), asyncio.CancelledError()])
def test_a_backend_whose_health_raises_keeps_no_worker_from_its_start(
    runtime: WorkerRuntime, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    async def health() -> Health:
        raise error

    (backend,) = runtime.parts.dispatcher.backends.values()
    monkeypatch.setattr(backend, "health", health)
    runtime.warn_of_backends()


def test_a_worker_takes_the_ports_for_probes_and_metrics_from_the_one_that_it_replaces(tmp_path: Path) -> None:
    ports = (free_port(), free_port())
    text = '[worker]\nhealth = "127.0.0.1:{}"\n[telemetry]\nmetrics = "127.0.0.1:{}"\n'
    application.write(tmp_path, text.format(*ports))
    former = [socket.create_server(("127.0.0.1", port)) for port in ports]
    runtime = WorkerRuntime(load(tmp_path))
    metrics = runtime.start().telemetry.endpoint
    assert runtime._health is not None
    assert metrics is not None
    for one in former:
        one.close()
    runtime.take_lower_ports()
    assert runtime._health.url == f"http://127.0.0.1:{ports[0]}/health/ready"
    assert metrics.url == f"http://127.0.0.1:{ports[1]}/metrics"
    runtime.drain()
    runtime.close()


@contextmanager
def blocked(runtime: WorkerRuntime) -> Iterator[None]:
    """Block the event loop, as a handler does that waits without an await."""
    started, release = threading.Event(), threading.Event()

    def block() -> None:
        started.set()
        release.wait(20)

    runtime._loop.call_soon_threadsafe(block)
    started.wait(20)
    try:
        yield
    finally:
        release.set()


def test_a_handler_that_blocks_the_event_loop_leaves_the_process_live(
    runtime: WorkerRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_runtime, "READY_TIMEOUT_S", 0.05)
    assert runtime._health is not None
    url = runtime._health.url
    with blocked(runtime):
        assert ask(url) == (503, {"status": "unavailable", "loop": "blocked"})
        assert ask(url, "/health/live") == (200, {"status": "ok"})
    monkeypatch.setattr(worker_runtime, "READY_TIMEOUT_S", 10.0)
    assert ask(url)[0] == 200


def test_a_drain_hands_jobs_back_also_where_a_handler_blocks_the_event_loop(
    runtime: WorkerRuntime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each would count the end of its process as a crash, which none of them has caused."""
    monkeypatch.setattr(worker_runtime, "DRAIN_GRACE_S", 0.0)
    runtime.settings = load(tmp_path, server={"drain_s": 0.1})
    parts = runtime.parts

    def claimed(tx: Tx) -> Job | None:
        wanted = accept(tx).id
        return claims.claim(tx, wanted, runner=parts.lease.id, worker="w", backend="here", isolated=False)

    with blocked(runtime):
        job = parts.writer.run_sync(claimed)
        assert job is not None
        assert not runtime.drain()
        found = parts.database.read_sync(partial(ledger.get, job_id=job.id))
    assert found is not None
    assert (found.status, found.crash_count) == (JobStatus.QUEUED, 0)
    assert [one.error and one.error.code for one in found.attempts] == ["HANDED_BACK"]


def test_an_address_that_cannot_be_listened_on_stops_the_start(tmp_path: Path) -> None:
    application.write(tmp_path, '[worker]\nhealth = "192.0.2.1:8081"\n')
    runtime = WorkerRuntime(load(tmp_path))
    with pytest.raises(SettingsError, match=r"worker\.health: 192\.0\.2\.1:8081 cannot be listened on"):
        runtime.start()
    database = Database(runtime.settings.database.url)
    assert not database.read_sync(lambda tx: tx.all(sa.select(runners.c.id))), "its lease is given back"
    database.close()


@pytest.mark.parametrize("address", ["8081", "127.0.0.1", "127.0.0.1:0", "127.0.0.1:70000", "a b:1"])
def test_an_address_is_a_host_and_a_port(tmp_path: Path, address: str) -> None:
    application.write(tmp_path, f'[worker]\nhealth = "{address}"\n')
    with pytest.raises(SettingsError, match=r"worker\.health.*HOST:PORT"):
        load(tmp_path)
