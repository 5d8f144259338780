"""Wakes a process when another one may have put jobs into the ledger."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from onward.storage.engine import Database
from onward.storage.revision import RevisionOfOthers


class Wakeups:
    """Calls `wake` on the event loop after commits of others, and may call it without one.

    Jobs of this process's own commits are delivered by it.
    """

    def __init__(self, database: Database, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._others = RevisionOfOthers(database)
        self._database = database
        self._end: Callable[[], None] | None = None

    def start(self) -> None:
        """Begin to look. From the event loop."""
        self._end = self._database.watch(partial(self._wake_in, asyncio.get_running_loop()))

    def close(self) -> None:
        """Wake nobody any more. May be called twice, and without a start."""
        end, self._end = self._end, None
        if end is not None:
            end()

    def _wake_in(self, loop: asyncio.AbstractEventLoop) -> None:
        with suppress(RuntimeError):  # the loop is closed, and nobody is there to be woken
            loop.call_soon_threadsafe(self._look)

    def _look(self) -> None:
        if self._others.has_changed():
            self._wake()
