"""Child processes: inheritance through a fork, and waiting for their end."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from onward.children import Child, shield, signal_name
from tests.processes import environment, wait_until

pytestmark = pytest.mark.anyio
LEAVES_A_CHILD = (
    "import subprocess, sys; child = subprocess.Popen([sys.executable, '-c', 'input()'], stdin=subprocess.PIPE);"
    " print(child.pid, flush=True); import os; os.dup(child.stdin.fileno()); os._exit(3)"
)
SIGNALS = """
import asyncio, os, signal, sys
from onward.children import default_signals_in_forks

async def main():
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stopped.set)
    default_signals_in_forks()
    ready, up = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(up, b"x")
        while True:
            signal.pause()
    os.read(ready, 1)
    os.kill(child, signal.SIGTERM)
    _, status = os.waitpid(child, 0)
    await asyncio.sleep(0.05)
    print(os.waitstatus_to_exitcode(status), stopped.is_set())

asyncio.run(main())
"""


class Listener:
    def __init__(self) -> None:
        self.socket = socket.create_server(("127.0.0.1", 0))
        shield(self.descriptors)

    def descriptors(self) -> Iterable[int]:
        return [self.socket.fileno()]


def test_a_forked_process_does_not_inherit_listening_sockets() -> None:
    """With the parent's socket closed nobody listens; the child itself cannot tell the difference."""
    listener = Listener()
    address = listener.socket.getsockname()
    wait, go = os.pipe()
    forked, up = os.pipe()
    if (pid := os.fork()) == 0:
        os.write(up, b"x")
        os.read(wait, 1)
        listener.socket.close()
        os._exit(0)
    listener.socket.close()
    os.read(forked, 1)
    try:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(address, timeout=30)
    finally:
        os.write(go, b"x")
        _, status = os.waitpid(pid, 0)
    assert status == 0


def test_a_signal_to_a_forked_process_does_not_reach_its_parent() -> None:
    """The signal ends the fork; the handlers of an event loop would have stopped the parent alone."""
    ended = subprocess.run(
        [sys.executable, "-c", SIGNALS], env=environment(), capture_output=True, text=True, check=True, timeout=60
    )
    assert ended.stdout == f"-{signal.SIGTERM.value} False\n"


async def test_waiting_for_a_process_does_not_wait_for_its_children() -> None:
    """The process's child still has its output open, and ends with its group."""
    output = bytearray()
    child = await Child.start([sys.executable, "-c", LEAVES_A_CHILD], start_new_session=True)
    assert await child.read(output.extend) == 3
    left = Path(f"/proc/{int(output)}")
    child.kill_group()
    wait_until(lambda: not left.exists())


class Owner:
    def __init__(self) -> None:
        self.inputs: set[int] = set()
        shield(self.descriptors)

    def descriptors(self) -> Iterable[int]:
        return self.inputs


async def test_a_process_forked_while_another_one_starts_does_not_keep_its_input(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The process that starts lives until the end of its input, which comes though the forked one lives."""
    owner, loop = Owner(), asyncio.get_running_loop()
    start, forked, up = loop.subprocess_exec, list[int](), os.pipe()

    async def forking(*given: Any, **options: Any) -> Any:
        if (pid := os.fork()) == 0:
            os.write(up[1], b"x")
            signal.pause()
        forked.append(pid)
        return await start(*given, **options)

    monkeypatch.setattr(loop, "subprocess_exec", forking)
    command = (sys.executable, "-c", "import sys; sys.stdin.read()")
    child = await Child.start(command, inputs=owner.inputs, start_new_session=True)
    try:
        os.read(up[0], 1)
        assert owner.inputs == {child.input_fd}
        child.close_input()
        async with asyncio.timeout(30):
            await child.exit()
        assert not owner.inputs
    finally:
        child.kill_group()
        os.kill(forked[0], signal.SIGKILL)
        os.waitpid(forked[0], 0)  # noqa: ASYNC222 - it is killed
        child.close()
        for fd in up:
            os.close(fd)


def test_a_signal_without_a_name_is_its_number() -> None:
    assert (signal_name(signal.SIGKILL), signal_name(35)) == ("SIGKILL", "signal 35")


READS_LATE = "import sys; input(); print(len(sys.stdin.readline()), end='', flush=True)"


async def test_a_process_gets_more_than_a_pipe_holds_though_it_reads_late() -> None:
    """The event loop goes on meanwhile."""
    output = bytearray()
    child = await Child.start([sys.executable, "-c", READS_LATE])
    await child.write(b"\n")
    async with asyncio.timeout(60):
        await child.write(b"x" * 300_000 + b"\n")
        assert await child.read(output.extend) == 0
    assert output == b"300001"


async def test_a_process_that_ends_without_reading_keeps_nobody_waiting() -> None:
    child = await Child.start([sys.executable, "-c", "pass"])
    async with asyncio.timeout(60):
        await child.write(b"x" * 300_000)
        assert await child.read(lambda _: None) == 0
