"""Onward in a FastAPI application behind the servers that people run one with."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from onward.jobs import ledger
from onward.jobs.model import Job
from onward.storage.engine import Database
from onward.storage.tables import runners
from onward.testing import workload
from tests.embedded.project import UPDATES, WRAP, write
from tests.processes import WAIT_TIMEOUT_S, Running, environment, graphql, wait_until

SERVERS = {
    "uvicorn": ("uvicorn", "--port", "{port}"),
    "gunicorn": ("gunicorn", "-k", "uvicorn_worker.UvicornWorker", "-b", "127.0.0.1:{port}", "--no-control-socket"),
    "gunicorn's own": ("gunicorn", "-k", "asgi", "-b", "127.0.0.1:{port}", "--no-control-socket"),
    "hypercorn": ("hypercorn", "-w", "0", "-b", "127.0.0.1:{port}"),
    "granian": ("granian", "--interface", "asgi", "--port", "{port}"),
}
DRAIN_S = 2.0
STOP_S = 8.0  # for all but the drain, on a busy machine: far below the 26 s of a drain without an end
WORKERS = {"uvicorn": "--workers", "gunicorn": "-w", "hypercorn": "-w", "granian": "--workers"}
HOLD = "mutation($folder: String!) { parcelsHold(input: {folder: $folder}) { job { id } errors { message } } }"
START_TIMEOUT_S = 90.0
pytestmark = pytest.mark.slow


@contextmanager
def served(server: str, project: Path, *more: str) -> Iterator[tuple[Running, str]]:
    """Start a server with the embedding application, and give its process and its address."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command, *arguments = (argument.format(port=port) for argument in SERVERS[server])
    log = project / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(Path(sys.executable).parent / command), *arguments, *more, "tests.embedded.served:app"],
            env=environment(EMBEDDED_PROJECT=str(project)),
            cwd=project,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,  # its workers end with it
        )
    running = Running(process, log)
    try:
        address = f"http://127.0.0.1:{port}"
        wait_until(lambda: _answers(f"{address}/jobs") or process.poll() is not None, START_TIMEOUT_S)
        assert process.poll() is None, running.output()
        yield running, address
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=WAIT_TIMEOUT_S):
            return True
    except OSError:
        return False


class Events:
    """An event stream of a job's updates, read to its end."""

    def __init__(self, address: str, job_id: str) -> None:
        body = json.dumps({"query": UPDATES, "variables": {"id": job_id}}).encode()
        headers = {"content-type": "application/json", "accept": "text/event-stream"}
        self._response = urllib.request.urlopen(
            urllib.request.Request(f"{address}/graphql", body, headers), timeout=WAIT_TIMEOUT_S
        )
        self.lines: list[str] = []
        self.ended = ""
        self.thread = threading.Thread(target=self._read)
        self.thread.start()

    def _read(self) -> None:
        rest = b""
        try:
            while read := self._response.read1():
                *whole, rest = (rest + read).split(b"\n")
                self.lines += [line.decode() for line in whole]
            self.ended = "whole"
        except (http.client.HTTPException, OSError) as error:
            self.ended = type(error).__name__

    @property
    def statuses(self) -> list[str]:
        data = [json.loads(line.removeprefix("data: ")) for line in self.lines if line.startswith("data: ")]
        return [one["data"]["jobUpdated"]["status"] for one in data]


@contextmanager
def subscribed(address: str, job_id: str) -> Iterator[ClientConnection]:
    """Open a WebSocket with a subscription to a job's updates."""
    url = f"ws{address.removeprefix('http')}/graphql"
    with connect(url, subprotocols=[Subprotocol("graphql-transport-ws")], compression=None) as socket_:
        socket_.send(json.dumps({"type": "connection_init"}))
        assert json.loads(socket_.recv(WAIT_TIMEOUT_S)) == {"type": "connection_ack"}
        payload = {"query": UPDATES, "variables": {"id": job_id}}
        socket_.send(json.dumps({"id": "1", "type": "subscribe", "payload": payload}))
        yield socket_


def read_until_done(socket_: ClientConnection) -> Any:
    """Return the last update of a job's subscription."""
    last = None
    while (message := json.loads(socket_.recv(WAIT_TIMEOUT_S)))["type"] == "next":
        last = message["payload"]["data"]["jobUpdated"]
    assert message["type"] == "complete"
    return last


def close_code(socket_: ClientConnection) -> int:
    """Read until the socket is closed, and return the code of its close frame."""
    try:
        while True:
            socket_.recv(WAIT_TIMEOUT_S)
    except ConnectionClosed as closed:
        return closed.rcvd.code if closed.rcvd else 1006


def jobs_of(ledger_url: str, *ids: str) -> list[Job]:
    database = Database(ledger_url, embedded=True)
    try:
        found = database.read_sync(lambda tx: ledger.get_many(tx, ids))
    finally:
        database.close()
    return [found[id_] for id_ in ids]


@pytest.mark.parametrize("server", SERVERS)
def test_a_stop_drains_the_jobs_and_then_ends_streams_and_sockets(
    server: str, sqlite_ledger: str, tmp_path: Path
) -> None:
    """A job that ends during the drain is followed to its end; one that does not goes back to the queue."""
    soon, never = tmp_path / "soon", tmp_path / "never"
    soon.mkdir()
    never.mkdir()
    write(tmp_path, sqlite_ledger, f"[server]\ndrain_s = {DRAIN_S}")
    with served(server, tmp_path) as (running, address):
        wrapped = graphql(address, WRAP, label="a")["parcelsWrap"]["job"]["id"]
        with subscribed(address, wrapped) as follower:
            assert read_until_done(follower)["result"] == "wrapped: a"
        ending, held = (graphql(address, HOLD, folder=str(one))["parcelsHold"]["job"]["id"] for one in (soon, never))
        wait_until(lambda: workload.notes(soon) and workload.notes(never))
        with subscribed(address, held) as follower:
            whole, broken = Events(address, ending), Events(address, held)
            wait_until(lambda: whole.statuses and broken.statuses)
            began = time.monotonic()
            running.process.send_signal(signal.SIGTERM)
            running.wait_for("draining")
            (soon / "go").touch()
            assert close_code(follower) == (1006 if server == "granian" else 1012)  # it cuts WebSockets itself, at once
            whole.thread.join(WAIT_TIMEOUT_S)
            broken.thread.join(WAIT_TIMEOUT_S)
            assert running.process.wait(WAIT_TIMEOUT_S) in {0, -signal.SIGTERM}
            assert time.monotonic() - began < DRAIN_S + STOP_S
        assert (whole.statuses[-1], whole.ended) == ("SUCCEEDED", "whole")
        assert broken.ended == "IncompleteRead"
        assert broken.statuses in (["RUNNING"], ["RUNNING", "QUEUED"])  # the last change may come in time
        assert [job.status for job in jobs_of(sqlite_ledger, ending, held)] == ["SUCCEEDED", "QUEUED"]


def test_a_stop_ends_a_request_that_waits_for_a_result(sqlite_ledger: str, tmp_path: Path) -> None:
    """The server ends the lifespan only when its requests are over."""
    write(tmp_path, sqlite_ledger, f"[server]\ndrain_s = {DRAIN_S}")
    statuses: list[int] = []
    with served("uvicorn", tmp_path) as (running, address):
        held = graphql(address, HOLD, folder=str(tmp_path))["parcelsHold"]["job"]["id"]
        wait_until(lambda: workload.notes(tmp_path))

        def ask() -> None:
            try:
                urllib.request.urlopen(f"{address}/result/{held}", timeout=WAIT_TIMEOUT_S)
            except urllib.error.HTTPError as error:
                statuses.append(error.code)

        asking = threading.Thread(target=ask, daemon=True)
        asking.start()
        running.wait_for("asked")
        began = time.monotonic()
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(WAIT_TIMEOUT_S) in {0, -signal.SIGTERM}
        assert time.monotonic() - began < DRAIN_S + STOP_S
        asking.join(WAIT_TIMEOUT_S)
    assert statuses == [500]
    (job,) = jobs_of(sqlite_ledger, held)
    assert (job.status, job.crash_count) == ("QUEUED", 0)


def test_a_stop_signal_that_would_kill_a_worker_drains_it_first(sqlite_ledger: str, tmp_path: Path) -> None:
    """A worker of hypercorn's is such a one: its master ends it by a signal that it has no handler for."""
    write(tmp_path, sqlite_ledger, "[server]\ndrain_s = 1.0")
    program = f"""
import asyncio, os, signal
from tests.embedded.served import app, onward
from tests.embedded.parcels import hold
from onward.testing import workload
from pathlib import Path
async def main():
    async with onward.lifespan(app):
        print(await onward.enqueue(hold.job(folder={str(tmp_path)!r})), flush=True)
        while not workload.notes(Path({str(tmp_path)!r})):
            await asyncio.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.Event().wait()
asyncio.run(main())
"""
    variables = environment(EMBEDDED_PROJECT=str(tmp_path))
    found = subprocess.run(
        [sys.executable, "-c", program],
        env=variables,
        capture_output=True,
        text=True,
        check=False,
        timeout=START_TIMEOUT_S,
    )
    assert found.returncode == -signal.SIGTERM, found.stderr
    (job,) = jobs_of(sqlite_ledger, found.stdout.splitlines()[0])
    assert (job.status, job.crash_count) == ("QUEUED", 0)
    assert "draining" in found.stderr


@pytest.mark.long
@pytest.mark.parametrize("server", WORKERS)
def test_worker_processes_share_the_jobs_and_none_is_lost_at_a_stop(
    server: str, ledger_url: str, tmp_path: Path
) -> None:
    write(tmp_path, ledger_url, f"[server]\ndrain_s = {DRAIN_S}")
    with served(server, tmp_path, WORKERS[server], "2") as (running, address):
        wait_until(lambda: len(runners_of(ledger_url)) == 2, START_TIMEOUT_S)
        ids = [graphql(address, WRAP, label=str(n))["parcelsWrap"]["job"]["id"] for n in range(40)]
        held = graphql(address, HOLD, folder=str(tmp_path))["parcelsHold"]["job"]["id"]
        wait_until(lambda: workload.notes(tmp_path))
        wait_until(lambda: all(job.done for job in jobs_of(ledger_url, *ids)))
        began = time.monotonic()
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(WAIT_TIMEOUT_S) in {0, -signal.SIGTERM}
        assert time.monotonic() - began < DRAIN_S + STOP_S
    assert {job.status for job in jobs_of(ledger_url, *ids)} == {"SUCCEEDED"}
    (job,) = jobs_of(ledger_url, held)
    assert (job.status, job.crash_count) == ("QUEUED", 0)
    assert runners_of(ledger_url) == []


def runners_of(ledger_url: str) -> list[str]:
    """Return the ids of the processes that the ledger knows."""
    database = Database(ledger_url, embedded=True)
    try:
        return list(database.read_sync(lambda tx: tx.scalars(sa.select(runners.c.id))))
    finally:
        database.close()
