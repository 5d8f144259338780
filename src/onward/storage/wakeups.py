"""Wakes a process when another one may have put jobs into the ledger."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from onward.storage.engine import Database
from onward.storage.revision import Revision

RECHECK_S = 3600.0  # without a commit nobody is woken


class Wakeups:
    """Calls `wake` on the event loop after commits, and perhaps when there was none."""

    def __init__(self, database: Database, wake: Callable[[], None], *, interval_s: float) -> None:
        self._wake = wake
        self._interval_s = interval_s
        self._revision = Revision(database, RECHECK_S)
        self._database = database
        self._end: Callable[[], None] | None = None

    def start(self) -> None:
        """Begin to look. From the event loop."""
        if self._database.driver.is_local:
            self._revision.has_changed()  # from now on: what was there before is found without a wake-up
            self._end = asyncio.get_running_loop().call_later(self._interval_s, self._poll).cancel
        else:
            self._end = self._database.watch(partial(self._wake_in, asyncio.get_running_loop()))

    def close(self) -> None:
        """Wake nobody any more. May be called twice, and without a start."""
        end, self._end = self._end, None
        if end is not None:
            end()

    def _poll(self) -> None:
        # A timer, and no task that waits: it takes a third of the processor time.
        self._end = asyncio.get_running_loop().call_later(self._interval_s, self._poll).cancel
        if self._revision.has_changed():
            self._wake()

    def _wake_in(self, loop: asyncio.AbstractEventLoop) -> None:
        with suppress(RuntimeError):  # the loop is closed, and nobody is there to be woken
            loop.call_soon_threadsafe(self._wake)
