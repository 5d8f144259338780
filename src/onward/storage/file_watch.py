"""Watch a SQLite file for commits.

Linux reports writes to the files of a folder, and costs nothing while there are none; elsewhere the ledger's revision
is read all the time. Python has no function for inotify, and the libraries that have one wrap the two calls below.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from onward.children import shield
from onward.storage.revision import Revision
from onward.telemetry import logger

if TYPE_CHECKING:
    from onward.storage.engine import Database

RECHECK_S = 3600.0  # without a commit nobody is called
POLL_S = 0.05  # between two looks, while the file is written or where the system reports nothing
# A commit is seen once the disk has confirmed its writes: in a moment, and on a slow disk a good while later.
SYNC_S, GROWTH = 0.005, 2
SLOW_SYNC_S = (0.25, 0.5, 1.0, 2.0)
IN_MODIFY = 0x2  # of inotify(7)
EVENTS = 65_536  # bytes, read at a time


class FileWatch:
    """Calls functions on the running event loop after commits; it may also call them without one."""

    def __init__(self, path: Path, database: Database) -> None:
        self._watchers: list[Callable[[], None]] = []
        self._folder = Path(os.path.realpath(path)).parent
        self._database = database
        self._revision = Revision(database, RECHECK_S)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._events: int | None = None  # the descriptor of the system's reports
        self._timer: asyncio.TimerHandle | None = None
        self._pause_s = POLL_S
        self._log = logger("changes")
        shield(self._descriptors)

    def watch(self, changed: Callable[[], None]) -> Callable[[], None]:
        """Call the function after each commit from now on, until the returned one is called. From the event loop."""
        self._watchers.append(changed)
        if self._loop is not None and self._loop.is_closed():
            self._close()
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
            self._revision.has_changed()  # it is asked about later commits
            self._events = _open_inotify(self._folder)
            self._await_write()
        return partial(self._end, changed)

    def _descriptors(self) -> Iterable[int]:
        return () if self._events is None else (self._events,)

    def _end(self, changed: Callable[[], None]) -> None:
        self._watchers.remove(changed)
        if not self._watchers:
            self._close()

    def _close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._events is not None:
            if self._loop is not None and not self._loop.is_closed():
                self._loop.remove_reader(self._events)
            os.close(self._events)
        self._loop = self._events = self._timer = None

    def _await_write(self) -> None:
        assert self._loop is not None  # noqa: S101 - it has begun
        if self._events is not None:
            try:
                self._loop.add_reader(self._events, self._written)
            except NotImplementedError:  # a loop of somebody else's
                os.close(self._events)
                self._events = None
        if self._events is None:
            self._schedule(POLL_S, self._look)

    def _written(self) -> None:
        """Look once the commit can be seen, and hear of no write until then: a busy file reports thousands."""
        assert self._loop is not None and self._events is not None  # noqa: S101, PT018 - it has reported
        self._loop.remove_reader(self._events)
        self._pause_s = POLL_S if self._is_heartbeat() else SYNC_S
        self._schedule(self._pause_s, self._look)

    def _is_heartbeat(self) -> bool:
        """Return whether this process's own heartbeat is what is written, so that a single look is enough."""
        return time.monotonic() - self._database.heartbeat_at < POLL_S

    def _look(self) -> None:
        """Look; while there is reason to, look again, ever later: every `POLL_S` while commit follows commit."""
        found, written = self._check(), self._was_written()
        if self._loop is None:  # a watcher has ended it
            return
        if written or not (found or self._pause_s >= POLL_S):
            self._pause_s = POLL_S if found else min(self._pause_s * GROWTH, POLL_S)
            self._schedule(self._pause_s, self._look)
            return
        self._await_write()
        if not found and self._events is not None:
            self._schedule(SLOW_SYNC_S[0], partial(self._look_again, SLOW_SYNC_S[1:]))

    def _look_again(self, pauses_s: Sequence[float]) -> None:
        """Look, and again after each of these pauses, until a commit is found or something is written."""
        if not self._check() and pauses_s and self._loop is not None:
            self._schedule(pauses_s[0], partial(self._look_again, pauses_s[1:]))

    def _check(self) -> bool:
        """Return whether the ledger may have changed; call the watchers then."""
        try:
            found = self._revision.has_changed()
            for changed in list(self._watchers) if found else ():
                changed()
        except Exception:  # noqa: BLE001 - the next look comes all the same
            self._log.exception("commits cannot be watched")
            return False
        return found

    def _schedule(self, pause_s: float, call: Callable[[], object]) -> None:
        """Call the function once, in place of the one that is to be called."""
        if self._timer is not None:
            self._timer.cancel()
        assert self._loop is not None  # noqa: S101 - as above
        # A timer, and no task that waits: it takes a third of the processor time.
        self._timer = self._loop.call_later(pause_s, self._run, call)

    def _run(self, call: Callable[[], object]) -> None:
        self._timer = None
        call()

    def _was_written(self) -> bool:
        """Return whether there are reports, and forget them; many of a busy folder are left for the next look."""
        if self._events is None:
            return False
        try:
            return bool(os.read(self._events, EVENTS))
        except BlockingIOError:
            return False


def _open_inotify(folder: Path) -> int | None:
    """Return a descriptor that can be read when a file in the folder is written; None where the system has none."""
    if sys.platform != "linux":
        return None
    try:
        library = ctypes.CDLL(None)
        found = int(library.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))
    except (OSError, AttributeError):  # a C library that is linked statically
        return None
    if found < 0:  # a user may have a number of them
        return None
    if library.inotify_add_watch(found, os.fsencode(folder), IN_MODIFY) < 0:
        os.close(found)
        return None
    return found
