"""The program's processes, which the harness starts, kills, freezes and restarts."""

import os
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.system.faults.starters import Started, Starter

START_S = 30.0
RESCUE_S = 15.0  # jobs of dead processes go on by then, if a process starts within a second


@dataclass(frozen=True, slots=True)
class End:
    """A process that has ended, or was frozen for so long that it was declared dead."""

    pid: int
    at: float  # by the machine's clock, as the ledger's times are
    how: str  # "kill", "term", "freeze", "itself"


class Ends:
    """The ends of all processes of a campaign, in which the final checks find the cause of a death."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.all: list[End] = []

    def add(self, pid: int, how: str, at: float | None = None) -> None:
        """Record an end, now or at that time."""
        with self._lock:
            self.all.append(End(pid, at or time.time(), how))


class Process:
    """One process of the program. A restart keeps its name, log and command."""

    def __init__(
        self,
        name: str,
        arguments: Sequence[str],
        *,
        folder: Path,
        ends: Ends,
        environment: Mapping[str, str],
        ready: str,
        starter: Starter,
    ) -> None:
        """Start nothing yet. `arguments` are the command line's; `ready` is in the log once the process takes part."""
        self.name = name
        self.log = folder / f"{name}.log"
        self.environment = dict(environment)
        self.faults: dict[str, str] = {}  # variables for the launcher; empty runs the program as it is
        self.up_at = 0.0
        self.start_s = 0.0  # from its start until it took part, the last time
        self._arguments = tuple(arguments)
        self._ends = ends
        self._ready = ready.encode()
        self._starter = starter
        self._started: Started | None = None
        self._from = 0
        self._asked_at = 0.0  # to end
        self._started_s = 0.0

    @property
    def pid(self) -> int:
        assert self._started is not None
        return self._started.pid

    @property
    def alive(self) -> bool:
        return self._started is not None and self._started.poll() is None

    def start(self, *, wait: bool = True) -> None:
        """Start the process, and with `wait` wait until it takes part. Raises AssertionError if it ends instead."""
        self._from = self.log.stat().st_size if self.log.exists() else 0
        self.log.touch()
        self._asked_at = 0.0
        self._started_s = time.monotonic()
        self._started = self._starter.start(
            self._arguments, variables={**self.environment, **self.faults}, log=self.log, faulty=bool(self.faults)
        )
        if wait:
            self.wait_ready()

    def wait_ready(self) -> None:
        assert self._becomes_ready(), f"{self.name} ended at its start:\n{self.output()[-4000:]}"

    def _becomes_ready(self) -> bool:
        """Wait until the process takes part; return False if it ends instead."""
        wait_for(lambda: self.is_ready or not self.alive, START_S, f"{self.name} takes part")
        if not self.is_ready:
            return False
        self.up_at = time.time()
        self.start_s = time.monotonic() - self._started_s
        return True

    @property
    def is_ready(self) -> bool:
        return self._ready in self.output().encode()

    def output(self) -> str:
        """Return the log of the process since its last start."""
        with self.log.open("rb") as file:
            file.seek(self._from)
            return file.read().decode(errors="replace")

    def kill(self) -> None:
        if self.alive:
            self._ends.add(self.pid, "kill")
            os.kill(self.pid, signal.SIGKILL)
            self._wait(10)

    def term(self) -> None:
        """Send SIGTERM; `wait` waits for the end."""
        if self.alive:
            self._asked_at = time.time()
            os.kill(self.pid, signal.SIGTERM)

    def wait(self, timeout_s: float) -> float:
        """Return the seconds until the process has ended. Raises TimeoutExpired."""
        started = time.monotonic()
        self._wait(timeout_s)
        self._ends.add(self.pid, "term", self._asked_at)
        return time.monotonic() - started

    def stop(self, timeout_s: float = 30.0) -> float:
        self.term()
        return self.wait(timeout_s)

    def freeze(self) -> None:
        self._ends.add(self.pid, "freeze")
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def tend(self) -> bool:
        """Restart the process if it ended by itself, also where it ends again at once; return True if so."""
        if self._started is None or self._started.poll() is None:
            return False
        self._ends.add(self.pid, "itself")
        self.start(wait=False)
        self._becomes_ready()
        return True

    def children(self) -> list[int]:
        found = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text()
        return [int(pid) for pid in found.split()]

    def close(self) -> None:
        """Kill the process and all its children."""
        if self._started is None:
            return
        if self._started.poll() is None:
            children = self.children()
            os.kill(self.pid, signal.SIGCONT)
            os.kill(self.pid, signal.SIGKILL)
            self._started.wait()
            for pid in children:
                terminate(pid)

    def _wait(self, timeout_s: float) -> None:
        assert self._started is not None
        self._started.wait(timeout_s)


def terminate(pid: int, number: int = signal.SIGKILL) -> None:
    """Send the signal to the process, a child of one of ours, if it still exists."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def wait_for(condition: Callable[[], bool], timeout_s: float, what: str) -> float:
    """Wait for the condition; return the seconds. Raises AssertionError with `words`."""
    started = time.monotonic()
    pause_s = 0.01
    while not condition():
        assert time.monotonic() - started < timeout_s, f"not within {timeout_s} s: {what}"
        time.sleep(pause_s)
        pause_s = min(pause_s * 1.3, 0.1)
    return time.monotonic() - started
