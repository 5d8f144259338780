"""Measured programs: started with the settings that connect them, and always ended."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.base import PROJECT, RIVALS, ROOT, BenchError

LAUNCH = Path(__file__).resolve().parent / "launch.py"
START_S = 30.0
STOP_S = 15.0


@dataclass
class Program:
    """A running process, its log, and the results of the probe in its event loop."""

    process: subprocess.Popen[bytes]
    log: Path
    probe: Path
    started: float = field(default_factory=time.monotonic)

    def tail(self) -> str:
        return self.log.read_text(errors="replace")[-2000:]

    def longest_block_ms(self, since: float = 0.0, until: float = float("inf")) -> float:
        """Return the longest delay of the event loop between two moments of the monotonic clock."""
        if not self.probe.exists():
            return 0.0
        worst = 0.0
        for line in self.probe.read_text().splitlines():
            at, _, late = line.partition(" ")
            if late and since <= float(at) <= until:
                worst = max(worst, float(late))
        return worst

    def cpu_s(self) -> float:
        """Return the processor seconds of the process and its children, free of the machine's other work."""
        return cpu_s(self.process.pid)

    def rss_mb(self) -> float:
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS"):
                return int(line.split()[1]) / 1024
        raise BenchError("the kernel does not tell a process's memory; this figure needs Linux")


@contextmanager
def running(
    command: Sequence[str | Path], folder: Path, name: str, *, env: dict[str, str], cwd: Path = ROOT
) -> Iterator[Program]:
    """Run the program in a session of its own, and end it with everything it started at the end of the block."""
    log, probe = folder / f"{name}.log", folder / f"{name}.probe"
    probe.unlink(missing_ok=True)
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=cwd,
            env={**_environ(), "BENCH_PROBE": str(probe), **env},
            start_new_session=True,
        )
    try:
        yield Program(process, log, probe)
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(STOP_S)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def finished(command: Sequence[str | Path], folder: Path, name: str, *, env: dict[str, str], cwd: Path = ROOT) -> None:
    """Run the program to its end. Raises BenchError."""
    with running(command, folder, name, env=env, cwd=cwd) as program:
        wait_until(lambda: program.process.poll() is not None, program, timeout_s=600, may_end=True)
        if program.process.returncode:
            raise BenchError(f"{name} failed:\n{program.tail()}")


def wait_until(
    done: Callable[[], bool],
    program: Program,
    *,
    timeout_s: float = START_S,
    step_s: float = 0.02,
    may_end: bool = False,
) -> None:
    """Wait for the condition. Raises BenchError after the timeout, or if the program has ended before."""
    deadline = time.monotonic() + timeout_s
    while not done():
        if time.monotonic() > deadline:
            raise BenchError(f"{program.log.name}: not done within {timeout_s:.0f} s:\n{program.tail()}")
        if program.process.poll() is not None and not may_end:
            raise BenchError(f"{program.log.name}: ended with {program.process.returncode}:\n{program.tail()}")
        time.sleep(step_s)


def ours(folder: Path, *, backend: str, redis_url: str = "", database_url: str = "") -> dict[str, str]:
    """Return the environment for an Onward process that uses the ledger in this folder, or that at the address."""
    env = {
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(PROJECT)]),
        "ONWARD_PROJECT": str(PROJECT),
        "ONWARD_BACKEND": backend,
        "ONWARD_DATABASE__URL": database_url or f"sqlite:///{folder / 'ledger.db'}",
        "ONWARD_LOG__PATH": str(folder / "notifications.jsonl"),
        "ONWARD_EMAIL__DIRECTORY": str(folder / "mail"),
    }
    return env | ({"ONWARD_BACKENDS__DRAMATIQ__URL": redis_url} if redis_url else {})


def theirs(**further: str) -> dict[str, str]:
    """Return the environment for a rival's process."""
    return {"PYTHONPATH": str(RIVALS), **further}


def cpu_s(pid: int, *, ended: bool = False) -> float:
    """Return the processor seconds of a process and its children; with `ended`, of those too that have ended."""
    ticks = 0
    for each in (pid, *_children(pid)):
        with suppress(OSError):
            fields = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
            ticks += sum(map(int, fields[11 : 15 if ended else 13]))
    return ticks / os.sysconf("SC_CLK_TCK")


def _environ() -> dict[str, str]:
    # With bytecode kept, as on a user's machine; otherwise each start would compile everything anew.
    return {**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": ""}


def _children(pid: int) -> list[int]:
    with suppress(OSError):
        found = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        return found + [further for child in found for further in _children(child)]
    return []


def python(module: str, *arguments: str, probed: bool = True, executable: str | Path = sys.executable) -> list[str]:
    """Return the command that runs a module, with the probe in its event loop."""
    if not probed:
        return [str(executable), "-P", "-m", module, *arguments]
    return [str(executable), "-P", str(LAUNCH), module, *arguments]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for_port(port: int, program: Program, *, step_s: float = 0.02) -> None:
    """Wait until a server answers there, with any status. Raises BenchError."""

    def answers() -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", "/health/live")
            connection.getresponse().read()
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()
        return True

    wait_until(answers, program, step_s=step_s)
