"""The process that listens on a port, for a message."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from onward.text.visibility import escape

LISTENING = "0A"  # as the kernel writes the state of a socket


def holder(port: int, proc: Path = Path("/proc")) -> tuple[int, str] | None:
    """The id and the name of a process that listens on the port; None where it cannot be seen, as outside Linux."""
    sockets = {f"socket:[{inode}]" for inode in _inodes(port, proc)}
    for folder in proc.glob("[0-9]*") if sockets else ():
        with suppress(OSError):  # it has ended, or is another user's
            if any(str(one.readlink()) in sockets for one in (folder / "fd").iterdir()):
                return int(folder.name), escape((folder / "comm").read_text("utf-8", "replace").strip())
    return None


def _inodes(port: int, proc: Path) -> set[str]:
    found = set()
    for table in ("tcp", "tcp6"):
        with suppress(OSError):
            for line in (proc / "net" / table).read_text().splitlines()[1:]:
                _, local, _, state, *_, inode = line.split()[:10]
                if state == LISTENING and local.endswith(f":{port:04X}"):
                    found.add(inode)
    return found
