"""Code that forks (multiprocessing): a server that ends closes its address and its connections."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import signal
import socket
import sys
import time
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from onward import JobContext, Onward, Retry, handler
from onward.handlers.base import JobRequest
from onward.supervisor.supervisor import ProcessSpec, Supervisor
from tests import application
from tests.processes import running, wait_until
from tests.servers import free_port

FORKING = """
import multiprocessing, os, signal, time
import strawberry

def hold():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(600)

@strawberry.type
class Query:
    @strawberry.field
    def fork(self, child: str) -> int:
        if child == "returns":
            return os.fork()
        if child == "stranger":  # as multiprocessing does, without its knowledge
            return os.fork() or hold()
        process = multiprocessing.get_context("fork").Process(target=hold)
        process.start()
        return process.pid
"""
LEAVES = (
    "import os, signal, time\n"
    "if os.fork() == 0:\n"
    "    signal.signal(signal.SIGTERM, signal.SIG_IGN); print('left', os.getpid(), flush=True); time.sleep(600)\n"
    "signal.pause()"
)


def test_forked_processes_keep_neither_the_server_s_address_nor_its_connections(tmp_path: Path) -> None:
    """Nobody answers on the port, clients see the end, and processes of multiprocessing end, too."""
    (tmp_path / "forking.py").write_text(FORKING)
    metrics = free_port()
    telemetry = f'[telemetry]\nmetrics = "127.0.0.1:{metrics}"\n'
    application.write(tmp_path, f'[gql]\nmodules = ["forking"]\n[server]\nport = 0\ndrain_s = 1.0\n{telemetry}')
    with running("serve", project=tmp_path) as server:
        address = urlsplit(server.serving())
        asking = http.client.HTTPConnection(address.netloc, timeout=30)
        socket.create_connection(("127.0.0.1", metrics), timeout=30).close()
        known, stranger = (_fork(asking, child) for child in ("known", "stranger"))
        try:
            server.end()
            wait_until(lambda: not Path(f"/proc/{known}").exists())
            assert Path(f"/proc/{stranger}").exists()
            assert asking.sock.recv(1) == b""
            for port in (address.port, metrics):
                with pytest.raises(ConnectionRefusedError):
                    socket.create_connection((address.hostname, port), timeout=30)
        finally:
            asking.close()
            for pid in (known, stranger):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


def test_a_process_that_a_resolver_forks_ends_where_it_returns(tmp_path: Path) -> None:
    (tmp_path / "forking.py").write_text(FORKING)
    application.write(tmp_path, '[gql]\nmodules = ["forking"]\n[server]\nport = 0\ndrain_s = 1.0\n')
    with running("serve", project=tmp_path) as server:
        asking = http.client.HTTPConnection(urlsplit(server.serving()).netloc, timeout=30)
        child = Path(f"/proc/{_fork(asking, 'returns')}/stat")
        wait_until(lambda: child.read_text().rpartition(")")[2].split()[0] == "Z")  # nobody waits for it
        _fork(asking, "returns")
        asking.close()
        server.end()


@handler("tests.fork", retry=Retry(1))
def fork(job: JobContext) -> int:
    """Leave a process behind, and return its pid."""
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(600)
    return child


@handler("tests.return", retry=Retry(1))
def return_twice(job: JobContext) -> int:
    """Return in both processes."""
    return os.fork()


@handler("tests.return_on_loop", retry=Retry(1))
async def return_twice_on_loop(job: JobContext) -> int:
    return os.fork()


@handler("tests.await", retry=Retry(1))
async def await_twice(job: JobContext) -> int:
    child = os.fork()
    await asyncio.sleep(0)
    return child


@handler("tests.exit", retry=Retry(1))
def leave(job: JobContext, *, code: int) -> int:
    return os.fork() or sys.exit(code)


@handler("tests.exit_on_loop", retry=Retry(1))
async def leave_on_loop(job: JobContext, *, code: int) -> int:
    return os.fork() or sys.exit(code)


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (return_twice.job(), 1),
        (return_twice_on_loop.job(), 1),
        (await_twice.job(), 1),
        (leave.job(code=0), 0),
        (leave_on_loop.job(code=3), 3),
    ],
)
async def test_a_forked_process_ends_where_it_returns_into_its_parent(
    tmp_path: Path, request_: JobRequest, code: int, capfd: pytest.CaptureFixture[str]
) -> None:
    """The parent's job succeeds, and the parent goes on: the fork takes no event of it."""
    settings = application.write(tmp_path, '[handlers]\nmodules = ["tests.system.test_forks"]\n')
    onward = Onward.from_settings(settings)
    async with asyncio.timeout(60), onward.lifespan():
        child = await onward.result(await onward.enqueue(request_))
        _, status = await asyncio.to_thread(os.waitpid, child, 0)
        assert os.waitstatus_to_exitcode(status) == code
        assert ("by os._exit(0)" in capfd.readouterr().err) == (code == 1)
        await onward.result(await onward.enqueue(return_twice.job()))


@pytest.mark.slow
async def test_forked_processes_keep_no_address_of_a_worker(tmp_path: Path, redis_url: str, namespace: str) -> None:
    ports = free_port(), free_port()
    settings = application.write(
        tmp_path,
        f'backend = "dramatiq"\n[backends.dramatiq]\nurl = "{redis_url}"\nnamespace = "{namespace}"\n'
        f'[worker]\nhealth = "127.0.0.1:{ports[0]}"\n[telemetry]\nmetrics = "127.0.0.1:{ports[1]}"\n'
        '[handlers]\nmodules = ["tests.system.test_forks"]\n',
    )
    with running("worker", "--processes", "1", project=tmp_path) as worker:
        async with Onward.from_settings(settings) as onward:
            child = await onward.result(await onward.enqueue(fork.job()), timeout=timedelta(seconds=60))
        try:
            for port in ports:
                socket.create_connection(("127.0.0.1", port), timeout=30).close()
            worker.end()
            os.kill(child, 0)  # it is there
            for port in ports:
                with pytest.raises(ConnectionRefusedError):
                    socket.create_connection(("127.0.0.1", port), timeout=30)
        finally:
            os.kill(child, signal.SIGKILL)


def _fork(connection: http.client.HTTPConnection, child: str) -> int:
    """Return the pid of a process that the server has forked."""
    query = json.dumps({"query": "query($child: String!) { fork(child: $child) }", "variables": {"child": child}})
    connection.request("POST", "/graphql", query, {"content-type": "application/json"})
    return int(json.load(connection.getresponse())["data"]["fork"])


async def test_a_process_ends_with_its_forked_children(capfd: pytest.CaptureFixture[str]) -> None:
    """The forked process has its output open, but the command does not wait for that, and the process ends, too."""
    part = ProcessSpec("worker", (sys.executable, "-c", LEAVES))
    stopping = asyncio.ensure_future(Supervisor([part], deadline_s=600).run())
    said = ""
    async with asyncio.timeout(60):
        while "left" not in said:
            await asyncio.sleep(0.02)
            said += capfd.readouterr().out
        os.kill(os.getpid(), signal.SIGTERM)
        assert await stopping == 0
    left = Path(f"/proc/{said.split()[-1]}")
    wait_until(lambda: not left.exists())
