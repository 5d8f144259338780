"""The conformance suite finds faulty backends: each fails the test that names its fault."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from onward.backends.base import Defer, Delivery
from onward.testing.backend_fixture import BackendFixture
from onward.testing.backends import Immediate
from onward.testing.contract.delivering import Delivering
from onward.testing.harness import open_harness
from tests.processes import command_line, environment, wait_until


class Blocking(Immediate):
    async def deliver(self, deliveries: Sequence[Delivery], *, after_response: Defer) -> None:
        time.sleep(0.06)  # noqa: ASYNC251 - the fault
        await super().deliver(deliveries, after_response=after_response)


class Raising(Immediate):
    async def deliver(self, deliveries: Sequence[Delivery], *, after_response: Defer) -> None:
        await super().deliver(deliveries, after_response=after_response)
        raise KeyError("queue")


class Faulty(BackendFixture):
    name = "faulty"

    def __init__(self, kind: str) -> None:
        self._kind = kind

    def settings(self, project: Path) -> str:  # noqa: ARG002
        return f'[backends.faulty]\nclass = "tests.integration.testing.test_conformance:{self._kind}"\n'


STARTING = """
import sys
from pathlib import Path
from onward.testing import processes
print(processes.start(["sleep", "600"], Path(sys.argv[1])).pid, flush=True)
input()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a process with its parent")
def test_a_worker_ends_with_killed_tests(tmp_path: Path) -> None:
    command = [sys.executable, "-c", STARTING, str(tmp_path)]
    with subprocess.Popen(
        command, env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as tests:
        assert tests.stdout is not None
        worker = Path("/proc", tests.stdout.readline().strip())
        wait_until(lambda: command_line(worker).startswith(b"sleep"))
        tests.kill()
    wait_until(lambda: not command_line(worker))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "failing", "words"),
    [
        ("Blocking", "test_a_delivery_does_not_block_the_event_loop", "blocked the loop"),
        ("Raising", "test_a_delivery_raises_backend_error_and_nothing_else", "raised KeyError: raise BackendError"),
    ],
)
async def test_a_faulty_delivery_fails_the_test_that_names_it(
    kind: str, failing: str, words: str, tmp_path: Path
) -> None:
    """No other test of the suite fails."""
    names = [name for name in vars(Delivering) if name.startswith("test_")]
    async with open_harness(Faulty(kind), tmp_path) as harness:
        with pytest.raises((AssertionError, pytest.fail.Exception), match=words):
            await getattr(Delivering(), failing)(harness)
        for name in set(names) - {failing}:
            await getattr(Delivering(), name)(harness)
