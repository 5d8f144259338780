"""The place of a process, by which its neighbours on one machine can tell that it is gone."""

from __future__ import annotations

import os
from pathlib import Path

_PID = 2  # its position in a place


def place() -> str:
    """Name this process by its boot, pid namespace, pid and its start time; empty if the system does not tell."""
    return place_of(os.getpid())


def place_of(pid: int) -> str:
    """Name a process of this pid namespace; empty if it is gone or the system does not tell."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        namespace = Path("/proc/self/ns/pid").readlink()
        state, *_, started = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:20]
    except (OSError, ValueError):
        return ""
    return f"{boot}/{namespace}/{pid}/{started}" if state not in "ZX" else ""


def is_gone(other: str, mine: str) -> bool:
    """Whether a process in the same boot and pid namespace as `mine` exists no more."""
    there, here = other.split("/"), mine.split("/")
    if len(there) != len(here) or there[:2] != here[:2] or len(there) <= _PID:
        return False
    return place_of(int(there[_PID])) != other
