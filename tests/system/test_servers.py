"""The tests' own servers leave nothing behind, however the tests end."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes import ROOT, environment, wait_until

STARTING = """
from tests.servers import postgres_server, redis_server
with redis_server() as first, postgres_server() as second:
    print(first.process.pid, second.process.pid, flush=True)
    input()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a process with its parent")
@pytest.mark.usefixtures("redis_url", "postgres_server_url")
@pytest.mark.slow
def test_servers_end_with_killed_tests() -> None:
    tests = subprocess.Popen(
        [sys.executable, "-c", STARTING],
        cwd=ROOT,
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with tests:
        assert tests.stdout
        servers = [Path(f"/proc/{pid}") for pid in tests.stdout.readline().split()]
        assert len(servers) == 2
        tests.kill()
    wait_until(lambda: not any(server.exists() for server in servers))
