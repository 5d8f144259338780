"""Starts processes of the program: by the command line, or forked from a process that has loaded it.

The second saves a second of processor time for each start; short tests spend most of theirs on starts.
"""

import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol, Self

from onward.jobs.timings import VARIABLE
from onward.supervisor.supervisor import bound
from tests.processes import environment
from tests.system.faults.loop import Loop


class Started(Protocol):
    """A process with any parent."""

    pid: int

    def poll(self) -> int | None: ...
    def wait(self, timeout: float | None = None) -> int: ...


class Starter(Protocol):
    """Starts `arguments` of the command line, `faulty` ones by way of the launcher; they end with the harness."""

    def start(self, arguments: Sequence[str], *, variables: Mapping[str, str], log: Path, faulty: bool) -> Started: ...


class CommandLine:
    """Starts processes by the command line."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop

    def start(self, arguments: Sequence[str], *, variables: Mapping[str, str], log: Path, faulty: bool) -> Started:
        command = bound(
            (sys.executable, "-P", "-m", "tests.system.faults.launcher" if faulty else "onward", *arguments)
        )
        # By the harness's own thread, which lives as long as it does: the kernel ends the process with that one.
        return self._loop.call(self._start(command, dict(variables), log))

    @staticmethod
    async def _start(command: Sequence[str], variables: dict[str, str], log: Path) -> Started:
        with log.open("ab") as output:
            return subprocess.Popen(  # noqa: ASYNC220 - milliseconds, in a loop of its own
                command,
                cwd=log.parent,
                env=environment(**variables),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )


class Forked:
    """A process whose parent is the nursery."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        try:
            self._fd: int | None = os.pidfd_open(pid)
        except ProcessLookupError:
            self._fd = None

    def poll(self) -> int | None:
        """Return None while the process lives, and then 0: only its parent knows the exit code."""
        return None if self._fd is not None and not _readable(self._fd, 0) else self._over()

    def wait(self, timeout: float | None = None) -> int:
        if self._fd is not None and not _readable(self._fd, timeout):
            raise subprocess.TimeoutExpired("a forked process", timeout or 0)
        return self._over()

    def _over(self) -> int:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
        return 0


def _readable(fd: int, timeout_s: float | None) -> bool:
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(None if timeout_s is None else timeout_s * 1000))


class Nursery:
    """A process that has loaded the program and forks on request. Ends with its `with` block or its parent."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._turn = threading.Lock()

    def __enter__(self) -> Self:
        self._process = self._loop.call(self._begin())
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def start(self, arguments: Sequence[str], *, variables: Mapping[str, str], log: Path, faulty: bool) -> Started:
        wanted = {
            "arguments": list(arguments),
            "environment": environment(**variables),
            "log": str(log),
            "faulty": faulty,
        }
        with self._turn:
            assert self._process.stdin is not None
            assert self._process.stdout is not None
            self._process.stdin.write(json.dumps(wanted).encode() + b"\n")
            self._process.stdin.flush()
            return Forked(int(self._process.stdout.readline()))

    @staticmethod
    async def _begin() -> subprocess.Popen[bytes]:
        return subprocess.Popen(  # noqa: ASYNC220 - milliseconds, in a loop of its own
            bound((sys.executable, "-P", "-m", "tests.system.faults.starters")),
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )


def _serve() -> None:
    """Fork for each line until there are no more; the forked processes end with this one."""
    from onward.api import (
        app,  # noqa: F401 - loaded once, for all that are forked
        server,  # noqa: F401 - likewise
    )
    from onward.worker import (
        consumers,  # noqa: F401 - likewise
        isolated,  # noqa: F401 - likewise
        process,  # noqa: F401 - likewise
    )

    assert threading.active_count() == 1, "a fork takes no threads along"
    lines = b""
    while True:
        _reap()
        if not select.select([0], [], [], 0.05)[0]:
            continue
        read = os.read(0, 65536)
        if not read:
            break
        *wanted, lines = (lines + read).split(b"\n")
        for line in wanted:
            pid = os.fork()
            if pid == 0:
                _become(json.loads(line))
                return
            os.write(1, f"{pid}\n".encode())
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(0.1)
    _reap()


def _reap() -> None:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return


def _become(wanted: dict[str, object]) -> None:
    """Turn this process into one of the program's."""
    import ctypes

    os.setsid()
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # it ends with the nursery
    log = os.open(str(wanted["log"]), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for target, source in ((0, nothing), (1, log), (2, log)):
        os.dup2(source, target)
    broken = {VARIABLE: os.environ[VARIABLE]} if VARIABLE in os.environ else {}  # by a break, at the nursery's start
    os.environ.clear()
    os.environ.update({**broken, **wanted["environment"]})  # type: ignore[dict-item]
    os.chdir(Path(str(wanted["log"])).parent)
    arguments: list[str] = wanted["arguments"]  # type: ignore[assignment]
    if wanted["faulty"]:
        from tests.system.faults import launcher

        launcher.main(arguments)
    else:
        from onward.cli import main

        main.program()(arguments, prog_name="onward")


if __name__ == "__main__":
    _serve()
