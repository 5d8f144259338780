"""Results of checks: each part checks itself and reports its findings."""

from __future__ import annotations

import os
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
    """Check that a file could be made in the folder, which need not exist yet; make nothing."""
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    if existing.is_dir() and os.access(existing, os.W_OK | os.X_OK):
        return Finding(part, State.OK, f"{folder} can be written")
    return Finding(part, State.WRONG, f"{folder} cannot be written", f"give it to this user, or correct {key}")
