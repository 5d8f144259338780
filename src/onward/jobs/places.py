"""The place of a process, by which its neighbours on one machine can tell whether it lives."""

from __future__ import annotations

import os
from pathlib import Path

ISOLATED = "isolated/"  # before the place of a process whose end is for its parent to report
_PID = 2  # its position in a place
_ENDED, _STOPPED = "ZX", "Tt"  # states in /proc/PID/stat: it has ended; SIGSTOP or a debugger holds it


def place() -> str:
    """Name this process by its boot, pid namespace, pid and its start time; empty if the system does not tell."""
    return place_of(os.getpid())


def place_of(pid: int, states_out: str = _ENDED) -> str:
    """Name a process of this pid namespace; empty if it is gone, in a state of these, or the system does not tell."""
    try:
        return _read_place(pid, states_out)
    except (OSError, ValueError):
        return ""


def is_gone(other: str, mine: str) -> bool:
    """True if a process in the same boot and pid namespace as `mine` no longer exists; false for an isolated one.

    False, too, where that cannot be found out, as in a process that has no descriptor left.
    """
    pid = _neighbour(other, mine.removeprefix(ISOLATED))
    if pid is None:
        return False
    try:
        found = _read_place(pid, _ENDED)
    except (FileNotFoundError, ProcessLookupError):
        found = ""
    except (OSError, ValueError):  # nothing is known, and its counter decides
        return False
    return found != other and not _is_hidden(pid)


def is_alive(other: str, mine: str) -> bool:
    """True if a process in the same boot and pid namespace as `mine` exists, and nothing has stopped it.

    Its counter may stand still all the same: a handler holds the interpreter's lock, or the process waits for a disk.
    """
    other, mine = other.removeprefix(ISOLATED), mine.removeprefix(ISOLATED)
    pid = _neighbour(other, mine)
    return pid is not None and place_of(pid, _ENDED + _STOPPED) == other


def _read_place(pid: int, states_out: str) -> str:
    """Name a process as `place_of` does. Raises OSError and ValueError if the system does not tell."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    namespace = Path("/proc/self/ns/pid").readlink()
    state, *_, started = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:20]
    return f"{boot}/{namespace}/{pid}/{started}" if state not in states_out else ""


def _is_hidden(pid: int) -> bool:
    """True if a process exists that /proc does not show, as with `hidepid` or `ProtectProc`."""
    if os.access(f"/proc/{pid}/stat", os.R_OK):
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _neighbour(other: str, mine: str) -> int | None:
    """Return the pid of a process in the same boot and pid namespace; None if it is elsewhere, or isolated."""
    there, here = other.split("/"), mine.split("/")
    if other.startswith(ISOLATED) or len(there) != len(here) or there[:2] != here[:2] or len(there) <= _PID:
        return None
    return int(there[_PID])
