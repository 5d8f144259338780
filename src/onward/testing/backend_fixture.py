"""What the author of a backend brings to the conformance suite."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path


class BackendFixture(ABC):
    """One backend, as the suite sets it up: `name` as in `[backends.NAME]`, its settings, its worker process."""

    name: str

    @abstractmethod
    def settings(self, project: Path) -> str:
        """The backend's own tables of settings.toml, for a project in that folder."""

    def worker(self) -> Sequence[str]:
        """The command of a process that runs the backend's jobs until SIGTERM.

        The process itself, not something that starts it: the laws freeze it and kill it. For a backend that runs jobs
        in the process that accepts them this one does, because it is such a process.
        """
        return (sys.executable, "-P", "-m", "onward.testing.node")

    def database(self, project: Path) -> str:
        """Where the ledger is: an empty database."""
        return f"sqlite:///{project / 'onward.db'}"

    def clear(self) -> None:  # noqa: B027 - a backend that keeps everything in its project has nothing to do
        """Nothing that the laws left in the backend is there any more."""
