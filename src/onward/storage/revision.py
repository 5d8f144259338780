"""A cheap check of whether the ledger has changed, for readers that poll it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from onward.storage.engine import Database

POLL_S = 0.03  # between two looks of the thread, while somebody asks as often
OFTEN_S = 0.045
WATCH_POLL_S = 0.075  # else: most of what an idle server costs are these looks
RECONNECT_S = 0.5
STALE_S = 1.0  # after which an answer counts no more: the next one may be on its way over a network that is cut
UNUSED_S = 5.0  # after which the thread ends; the next question starts it again


class Revision:
    """The state of the ledger at the last look."""

    def __init__(self, database: Database, recheck_s: float) -> None:
        self._database = database
        self._recheck_s = recheck_s
        self._seen: int | None = None
        self._recheck_at = 0.0

    def has_changed(self) -> bool:
        """Return whether the ledger may have changed since the last True; always True after `recheck_s`."""
        found, now = self._database.revision(), monotonic()
        if found is not None and found == self._seen and now < self._recheck_at:
            return False
        self._seen, self._recheck_at = found, now + self._recheck_s
        return True

    def forget(self) -> None:
        """Report a change at the next check, because the read after the last one failed."""
        self._seen = None


class RevisionOfOthers:
    """The state of the ledger at the last look, without what this process's writer has committed since.

    Where commits are numbered, as on SQLite, the writer notes its own; elsewhere each change may be another's.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._own = database.own_commits
        self._seen: tuple[int, int | None] = (-1, None)

    def has_changed(self) -> bool:
        """Return whether another connection may have committed since the last True."""
        if self._own.last is None:
            return True
        found = self._database.revision()
        last_own, interrupted = self._own.last, self._own.interrupted  # in this order, and after the revision
        if found is None:
            return True
        if interrupted == self._seen[0] and (found <= last_own or found == self._seen[1]):
            return False
        self._seen = interrupted, found
        return True


class OwnCommits:
    """The numbers of the commits of this process's writer.

    `last` is the newest one, which may still be on its way; `interrupted` counts the gaps, each of which is another's.
    """

    def __init__(self) -> None:
        self.last: int | None = None
        self.interrupted = 0

    def begin(self, number: int) -> None:
        """Note the number of the transaction that has begun."""
        if self.last is None or number != self.last + 1:
            self.interrupted += 1  # before `last`, by which a reader knows that it has to look here
        self.last = number

    def undo(self) -> None:
        """Note that the transaction was rolled back: another may get its number."""
        if self.last is not None:
            self.last -= 1


class RevisionReader:
    """Reads the ledger's revision: at once where that takes microseconds, else in a thread that looks all the time.

    The thread costs a quarter of a percent of a processor. Notifications by the database would cost nothing while
    nothing happens, but PostgreSQL makes commits that notify wait for each other, those of callers as well.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._connection: Any = None
        self._thread: threading.Thread | None = None
        self._closed = threading.Event()
        self._asked_at = 0.0
        self._was_asked = False  # before the last look
        self._latest: int | None = None
        self._looked_at = 0.0
        self._watchers: list[Callable[[], None]] = []

    def revision(self) -> int | None:
        """Return a number that is another one after each commit; None if it is not known. Call it from one thread."""
        self._asked_at = monotonic()
        if self._database.driver.is_local and self._connection is not None:
            try:
                return self._database.driver.read_revision(self._connection)
            except Exception:  # noqa: BLE001 - whoever asks reads the ledger then, and meets the error there
                self._disconnect()
                return None
        self._start()
        return self._latest if self._asked_at - self._looked_at < STALE_S else None

    def watch(self, changed: Callable[[], None]) -> Callable[[], None]:
        """Call the function in the thread after each change, until the returned one is called."""
        self._watchers.append(changed)
        self._start()
        return lambda: self._watchers.remove(changed)

    def close(self) -> None:
        """Close the connection. May be called twice."""
        self._closed.set()
        if self._thread is not None:
            self._thread.join(POLL_S * 10)  # a network that does not answer keeps nobody
        self._disconnect()

    def _start(self) -> None:
        """Start the thread if it does not run: to connect may wait for a lock, or for a network."""
        if (self._thread is None or not self._thread.is_alive()) and not self._closed.is_set():
            run = self._connect if self._database.driver.is_local else self._poll_forever
            self._thread = threading.Thread(target=run, name="ledger-observer", daemon=True)
            self._thread.start()

    def _connect(self) -> None:
        with suppress(Exception):  # as in `revision`
            connection = self._database.connect()
            connection.execute("PRAGMA busy_timeout=0")
            self._connection = connection
            if self._closed.is_set():
                self._disconnect()

    def _poll_forever(self) -> None:
        while self._is_used() and not self._closed.is_set():
            with suppress(Exception):
                connection = self._database.connect()
                try:
                    while self._is_used() and not self._closed.is_set():
                        sleep(self._pause_s())  # a wait for `_closed` costs half as much again as the look
                        found = self._database.driver.read_revision(connection)
                        self._looked_at = monotonic()
                        if found != self._latest:
                            self._latest = found
                            for changed in list(self._watchers):
                                changed()
                finally:
                    self._latest = None
                    connection.close()
            self._closed.wait(RECONNECT_S)

    def _pause_s(self) -> float:
        """Return a short pause if somebody asked before this look and before the last one, too."""
        before, self._was_asked = self._was_asked, monotonic() - self._asked_at < OFTEN_S
        return POLL_S if before and self._was_asked else WATCH_POLL_S

    def _is_used(self) -> bool:
        return bool(self._watchers) or monotonic() - self._asked_at < UNUSED_S

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(Exception):
                connection.close()
