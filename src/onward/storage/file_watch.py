"""Tells an event loop of commits to a SQLite file.

Linux reports writes to the files of a folder, and costs nothing while there are none; other systems are asked for the
ledger's revision all the time. Python has no function for it, and the libraries that have one wrap these two calls.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from onward.storage.revision import Revision

if TYPE_CHECKING:
    from onward.storage.engine import Database

RECHECK_S = 3600.0  # without a commit nobody is called
POLL_S = 0.05  # between two looks, while the file is written or where the system reports nothing
# A commit is seen once the disk has confirmed its writes: in a moment, and on a slow disk a good while later.
SYNC_S, SLOW_SYNC_S = 0.005, 0.25
IN_MODIFY = 0x2  # of inotify(7)
EVENTS = 65_536  # bytes, read at a time


class FileWatch:
    """Calls functions on the running event loop after commits, and perhaps when there was none."""

    def __init__(self, path: Path, database: Database) -> None:
        self._watchers: list[Callable[[], None]] = []
        self._path = path
        self._revision = Revision(database, RECHECK_S)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._events: int | None = None  # the descriptor of the system's reports
        self._timer: asyncio.TimerHandle | None = None

    def watch(self, changed: Callable[[], None]) -> Callable[[], None]:
        """Call the function after each commit from now on, until the returned one is called. From the event loop."""
        self._watchers.append(changed)
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
            self._revision.has_changed()  # it is asked about later commits
            self._events = _reports(self._path.parent)
            self._listen()
        return partial(self._end, changed)

    def _end(self, changed: Callable[[], None]) -> None:
        self._watchers.remove(changed)
        if self._watchers or self._loop is None:
            return
        if self._timer is not None:
            self._timer.cancel()
        if self._events is not None:
            if not self._loop.is_closed():
                self._loop.remove_reader(self._events)
            os.close(self._events)
        self._loop = self._events = self._timer = None

    def _listen(self) -> None:
        if self._events is None:
            self._in(POLL_S, self._look)
        else:
            assert self._loop is not None  # noqa: S101 - it has begun
            self._loop.add_reader(self._events, self._written)

    def _written(self) -> None:
        """Look once the commit can be seen, and hear of no write until then: a busy file reports thousands."""
        assert self._loop is not None and self._events is not None  # noqa: S101, PT018 - it has reported
        self._loop.remove_reader(self._events)
        self._in(SYNC_S, self._look)

    def _look(self) -> None:
        self._check()
        if self._was_written():
            self._in(POLL_S, self._look)
        elif self._loop is not None:
            self._listen()
            if self._events is not None:
                self._in(SLOW_SYNC_S, self._check)

    def _check(self) -> None:
        if self._revision.has_changed():
            for changed in list(self._watchers):
                changed()

    def _in(self, pause_s: float, call: Callable[[], None]) -> None:
        """Call the function once, in place of the one that is to be called."""
        if self._timer is not None:
            self._timer.cancel()
        assert self._loop is not None  # noqa: S101 - as above
        # A timer, and no task that waits: it takes a third of the processor time.
        self._timer = self._loop.call_later(pause_s, self._run, call)

    def _run(self, call: Callable[[], None]) -> None:
        self._timer = None
        call()

    def _was_written(self) -> bool:
        """Return whether there are reports, and forget them."""
        found = False
        if self._events is not None:
            with suppress(BlockingIOError):
                while os.read(self._events, EVENTS):
                    found = True
        return found


def _reports(folder: Path) -> int | None:
    """Return a descriptor that can be read when a file in the folder is written; None where the system has none."""
    if sys.platform != "linux":
        return None
    library = ctypes.CDLL(None)
    found = library.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
    if found < 0:  # each user has a number of them
        return None
    if library.inotify_add_watch(found, os.fsencode(folder), IN_MODIFY) < 0:
        os.close(found)
        return None
    return int(found)
