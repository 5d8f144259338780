"""Results of checks: each part checks itself and reports its findings."""

from __future__ import annotations

import tempfile
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple


class State(StrEnum):
    OK = "ok"
    WARNING = "warning"
    WRONG = "wrong"


class Finding(NamedTuple):
    """The state of one part, with the fix unless it is right."""

    part: str
    state: State
    message: str
    fix: str = ""


def in_one_line(error: BaseException) -> str:
    """Return an error's message in one line; its type's name if it has none."""
    return " ".join(str(error).split()) or type(error).__name__


def check_writable(part: str, folder: Path, key: str) -> Finding:
    """Check that a file could be made in the folder, which need not exist yet; leave nothing there.

    A folder is made and removed, because rights alone do not tell: nobody makes one in /proc.
    """
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    try:
        Path(tempfile.mkdtemp(prefix=".onward-check-", dir=existing)).rmdir()
    except OSError:
        return Finding(part, State.WRONG, f"{folder} cannot be written", f"give it to this user, or correct {key}")
    return Finding(part, State.OK, f"{folder} can be written")
