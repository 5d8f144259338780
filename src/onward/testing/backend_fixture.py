"""The description of a backend that its author hands to the conformance suite."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

from onward.jobs.timings import Timings
from onward.testing import processes
from onward.testing.processes import Worker


class BackendFixture(ABC):
    """One backend as the suite sets it up: its settings, its worker command and its database.

    `name` is the NAME of its table `[backends.NAME]`, `schema` the `database.schema` of the ledger.
    """

    name: str
    schema: str = "onward"

    @abstractmethod
    def settings(self, project: Path) -> str:
        """Return the backend's tables of settings.toml, for a project in that folder."""

    def worker(self) -> Sequence[str]:
        """Return the command of a process that runs the backend's jobs until SIGTERM.

        The command must be the process itself and not a launcher of it, because tests freeze and kill it. The default
        is a process that accepts jobs; it suits a backend that runs jobs where they are accepted.
        """
        return (sys.executable, "-P", "-m", "onward.testing.node")

    def start(self, project: Path, timings: Timings, queues: str = "") -> Worker:
        """Start a process of that command on the project, for these queues, with commas between; empty for all."""
        return processes.start(self.worker(), project, timings, queues)

    def database(self, project: Path) -> str:
        """Return the URL of an empty database for the ledger."""
        return f"sqlite:///{project / 'onward.db'}"

    def clear(self) -> None:  # noqa: B027 - a backend that keeps everything in its project needs no clearing
        """Remove everything that the tests left in the backend."""
