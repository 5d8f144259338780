"""Worker processes that a test starts, freezes, kills and stops."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from onward.jobs.timings import Timings
from onward.supervisor.supervisor import bound


class Process(Protocol):
    """The part of `subprocess.Popen` that a worker needs, for a process with any parent."""

    pid: int

    def poll(self) -> int | None: ...
    def wait(self) -> int: ...
    def send_signal(self, sig: int, /) -> None: ...
    def terminate(self) -> None: ...
    def kill(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Worker:
    """One process that runs jobs."""

    process: Process

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def is_up(self) -> bool:
        return self.process.poll() is None

    def kill(self) -> None:
        """End the process at once, as a power cut would."""
        self.process.kill()
        self.process.wait()

    def freeze(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def wake(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    async def stop(self, within_s: float) -> float:
        """Send SIGTERM and return the seconds until the process ended. Raises TimeoutError."""
        started = time.monotonic()
        self.process.terminate()
        await self.gone(within_s)
        return time.monotonic() - started

    async def gone(self, within_s: float) -> None:
        """Wait until the process has ended by itself. Raises TimeoutError."""
        async with asyncio.timeout(within_s):
            while self.is_up:
                await asyncio.sleep(0.01)


def start(command: Sequence[str], project: Path, timings: Timings = Timings(), queues: str = "") -> Worker:
    """Start the process on that project, for these queues; its output goes to the project's `workers.log`.

    On Linux the kernel ends it with this process, however that ends.
    """
    with log_of(project).open("ab") as log:
        return Worker(
            subprocess.Popen(  # noqa: S603 - the backend fixture's own command
                bound(command),
                env=environment(project, timings, queues),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        )


def environment(project: Path, timings: Timings, queues: str = "") -> dict[str, str]:
    """Return the environment of a worker on that project; without `queues` it takes all of them."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("ONWARD_")}
    path = os.pathsep.join(dict.fromkeys(filter(None, sys.path)))
    own = {"ONWARD_PROJECT": str(project), "ONWARD_WORKER__QUEUES": queues}
    return {**inherited, **own, **timings.environment(), "PYTHONPATH": path}


def log_of(project: Path) -> Path:
    """Return the file of the workers' output."""
    return project / "workers.log"
