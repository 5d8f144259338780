"""Wakes a process when another one may have put jobs into the ledger."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from onward.storage.engine import Database
from onward.storage.revision import Revision

RECHECK_S = 3600.0  # without a commit nobody is woken


class Wakeups:
    """Calls `wake` on the event loop after commits, and perhaps when there was none."""

    def __init__(self, database: Database, wake: Callable[[], None], *, look_s: float) -> None:
        self._wake = wake
        self._look_s = look_s
        self._revision = Revision(database, RECHECK_S)
        self._looking: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to look. From the event loop."""
        self._revision.has_changed()  # from now on: what was there before is found without a wake-up
        self._looking = asyncio.get_running_loop().call_later(self._look_s, self._look)

    def close(self) -> None:
        """Wake nobody any more. May be called twice, and without a start."""
        if self._looking is not None:
            self._looking.cancel()

    def _look(self) -> None:
        # A timer, and no task that waits: it takes a third of the processor time.
        self._looking = asyncio.get_running_loop().call_later(self._look_s, self._look)
        if self._revision.has_changed():
            self._wake()
