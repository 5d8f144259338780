"""The file in which the fault tests' handlers record their steps: one short append a line, never torn.

The death of a process loses none of it: what `write` took is the kernel's. Only the loss of power would.
"""

import os
import time
from dataclasses import dataclass
from pathlib import Path

VARIABLE = "FAULTS_JOURNAL"


@dataclass(frozen=True, slots=True)
class Line:
    """A step of a job that began or ended."""

    at: float
    pid: int
    job: str
    attempt: int
    step: str
    marker: int
    what: str  # "begin", "end"


def write(job: str, attempt: int, step: str, marker: int, what: str) -> None:
    """Append a line to the file that the environment names."""
    text = f"{time.time():.6f} {os.getpid()} {job} {attempt} {step} {marker} {what}\n"
    fd = os.open(os.environ[VARIABLE], os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


def read(path: Path) -> list[Line]:
    """Return all lines, in the order in which they were written."""
    if not path.exists():
        return []
    found = []
    for text in path.read_text().splitlines():
        at, pid, job, attempt, step, marker, what = text.split(" ")
        found.append(Line(float(at), int(pid), job, int(attempt), step, int(marker), what))
    return found
