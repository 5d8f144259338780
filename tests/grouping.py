"""Tests that share something costly run in one process.

pytest-xdist's own groups are written into a test's id, which pytest 9.2 no longer lets it change: they were ignored
without a word. Here the processes that collect write down who belongs together, and the one that hands out reads it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from xdist.scheduler import LoadScopeScheduling


class Groups(LoadScopeScheduling):  # type: ignore[misc] # it carries no types
    """Hands out each group as a whole, and any other test by itself, in the order in which they were collected."""

    def __init__(self, config: Any, log: Any, file: Path) -> None:
        super().__init__(config, log)
        self._file = file

    def _split_scope(self, nodeid: str) -> str:
        return self._groups.get(nodeid, nodeid)

    @cached_property
    def _groups(self) -> Mapping[str, str]:
        groups: dict[str, str] = json.loads(self._file.read_text("utf-8"))
        return groups


def write(groups: Mapping[str, str], file: Path) -> None:
    """Write the groups, by test, atomically: each process that collects writes the same."""
    aside = file.with_suffix(f".{os.getpid()}")
    aside.write_text(json.dumps(groups), "utf-8")
    aside.rename(file)
