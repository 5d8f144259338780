"""The one writer of a process: units that come together share one commit.

A unit is a synchronous function of a `Tx`. It may be run more than once, so it has no effect but on the ledger. A batch
is first run as it is; where a unit raises, the batch is rolled back and run again with a savepoint around each unit, so
that the others are kept: savepoints are paid for only when they are needed.
"""

from __future__ import annotations

import asyncio
import queue
import random
import secrets
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Generic, TypeVar

import sqlalchemy as sa
import structlog

from onward.storage import sqlite
from onward.storage.base import StorageError, Unavailable
from onward.storage.engine import Database, Tx
from onward.storage.tables import commits

T = TypeVar("T")
TransactionFunction = Callable[[Tx], Any]

MAX_BATCH = 256
MAX_WAITING = 50_000
LAZY_COMMIT_S = 0.2  # a posted unit waits this long for company
BATCH_WAIT_S = 0.0005  # what a unit waits for others, where the last commit was of several; a lone one waits for nobody
MIN_RETRY_S = (0.5, 0.1)  # even who has waited long enough is given as long; the less where the last write failed too
RETRY_PAUSE_S = 0.0007  # at most, between looks at a lock that another process holds: about as long as it is held
STALE_CHECK_S = 1.0  # at least, for the outcome of a commit whose answer was lost
SLOTS = 16
LOST = ("08", "40", "53", "55", "57", "58", "XX")  # connection, conflict, room, locks, operator, system
AGAIN = ("40001", "40P01", "55P03")  # serialization, deadlock, lock not to be had: nothing was written

BEGIN_SQLITE = sa.update(commits).values(n=commits.c.n + 1).returning(commits.c.n, sa.literal_column(sqlite.NOW))
# A transaction's number does not tell afterwards whether it was committed: a crash forgets numbers that reached no disk
# and gives them out again. So each commit leaves a mark in a row of its writer's, which is locked until it is over.
MARK = sa.text("INSERT INTO marks (writer, mark) VALUES (:writer, '') ON CONFLICT (writer) DO NOTHING")
BEGIN_POSTGRESQL = sa.text(
    "WITH marked AS (UPDATE marks SET mark = :mark WHERE writer = :writer)"
    " SELECT CAST(CAST(pg_current_xact_id() AS TEXT) AS BIGINT),"
    " CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT)"
)
OUTCOME = sa.text("SELECT mark FROM marks WHERE writer = :writer FOR UPDATE")
COUNT = sa.text(
    "INSERT INTO counts (slot, owner, status, n) VALUES (:slot, :owner, :status, :n)"
    " ON CONFLICT (slot, owner, status) DO UPDATE SET n = counts.n + excluded.n"
)


class WriteRequest(Generic[T]):
    """A unit and who waits for it: an event loop's future, a thread's event, or nobody."""

    __slots__ = ("done", "error", "future", "put_at", "result", "unit")

    def __init__(self, unit: Callable[[Tx], T]) -> None:
        self.unit = unit
        self.result: T | None = None
        self.error: BaseException | None = None
        self.future: asyncio.Future[T] | None = None
        self.done: threading.Event | None = None
        self.put_at = time.monotonic()


class _Raised(Exception):
    """A unit of a batch without savepoints raised."""


class Writer:
    """Runs units in batches on a thread of its own, a durable commit a batch."""

    def __init__(self, database: Database, *, patience_s: float = 5.0) -> None:
        self.database = database
        self.patience_s = patience_s
        self.on_commit: Callable[[], None] = lambda: None
        self._slot = random.randrange(SLOTS)  # noqa: S311 - spreads rows, guards nothing
        self._queue: queue.SimpleQueue[WriteRequest[Any] | None] = queue.SimpleQueue()
        self._lazy: list[WriteRequest[Any]] = []
        self._lazy_lock = threading.Lock()
        self._connection: Any = None
        self._thread: threading.Thread | None = None
        self._closed = False
        self._door = threading.Lock()  # nothing comes in behind the end: nobody would ever answer it
        self.failing = False  # whether the newest batch could not be written; a process writes once a second at least
        self._name = secrets.token_hex(8)
        self._mark = ""
        self._log = structlog.get_logger("ledger")

    def start(self) -> None:
        self._thread = threading.Thread(target=self._loop, name="ledger-write", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """What was handed in is written or refused, and the thread has ended. May be called twice."""
        if self._thread is None:
            return
        with self._door:
            if not self._closed:
                self._closed = True
                self._queue.put(None)
        self._thread.join(self.patience_s * 2)

    async def run(self, unit: Callable[[Tx], T]) -> T:
        """What the unit gave, after a durable commit. Raises Unavailable, or what the unit raised."""
        waiter = WriteRequest(unit)
        waiter.future = asyncio.get_running_loop().create_future()
        self._put(waiter)
        return await waiter.future

    def run_sync(self, unit: Callable[[Tx], T], *, urgent: bool = False) -> T:
        """The same for a thread that may wait; what is urgent goes with the next commit, past all who wait."""
        waiter = WriteRequest(unit)
        waiter.done = threading.Event()
        self._put(waiter, urgent=urgent)
        waiter.done.wait()
        if waiter.error is not None:
            raise waiter.error
        return waiter.result  # type: ignore[return-value]

    def post(self, unit: TransactionFunction) -> None:
        """Runs the unit with a later commit. Nobody waits for it, and it is lost where that commit fails."""
        with self._lazy_lock:
            self._lazy.append(WriteRequest(unit))

    def _put(self, waiter: WriteRequest[Any], *, urgent: bool = False) -> None:
        with self._door:
            if self._closed or self._thread is None:
                raise Unavailable("the ledger is closed")
            if urgent:
                with self._lazy_lock:
                    self._lazy.append(waiter)
                return
            if self._queue.qsize() > MAX_WAITING:
                raise Unavailable("too much is waiting to be written; send again in a while")
            self._queue.put(waiter)

    def _loop(self) -> None:
        going, several = True, False
        while going:
            batch: list[WriteRequest[Any]] = []
            with suppress(queue.Empty):
                waiter = self._queue.get(timeout=LAZY_COMMIT_S)
                if several:
                    time.sleep(BATCH_WAIT_S)
                while waiter is not None:
                    batch.append(waiter)
                    if len(batch) >= MAX_BATCH:
                        break
                    waiter = self._queue.get_nowait()
                else:
                    going = False
            several = len(batch) > 1
            with self._lazy_lock:
                batch += self._lazy
                self._lazy = []
            if batch:
                self._write(batch)
        self._discard()

    def _write(self, batch: list[WriteRequest[Any]]) -> None:
        """Commits the batch and tells who waits, or tells them why not."""
        # Of those who wait, not of the batch: in an outage it was another batch's turn before.
        waited_s = time.monotonic() - min(waiter.put_at for waiter in batch)
        deadline = time.monotonic() + max(self.patience_s - waited_s, MIN_RETRY_S[self.failing])
        guarded = False
        while True:
            try:
                self._commit(batch, deadline, guarded=guarded)
            except _Raised:
                self._rollback()
                if len(batch) > 1 and not guarded:
                    guarded = True
                    continue
            except Exception as error:  # noqa: BLE001 - whatever it is, those who wait are told
                passing = self._is_transient(error)
                self._discard()
                if passing and time.monotonic() < deadline:
                    time.sleep(random.uniform(0.001, 0.02))  # noqa: S311 - spreads, guards nothing
                    continue
                self.failing = True
                self._log.warning("ledger not written", error=str(error), units=len(batch))
                for waiter in batch:
                    waiter.error = Unavailable("the ledger cannot be written at the moment")
                    waiter.error.__cause__ = error
            else:
                self.failing = False
                self.on_commit()
            return _settle(batch)

    def _commit(self, batch: list[WriteRequest[Any]], deadline: float, *, guarded: bool) -> None:
        tx = self._begin(deadline)
        before = self._touched()
        self._apply(tx, batch, guarded=guarded)
        for (owner, status), n in sorted(tx.deltas.items()):
            if n:
                tx.insert(COUNT, {"slot": self._slot, "owner": owner, "status": status, "n": n})
        tx.flush()
        if before is not None and before == self._touched():
            self._rollback()  # nothing was written, so there is nothing to wait for the disk for
            return
        try:
            tx.raw("COMMIT")
        except Exception:
            if not self._committed_after_all(deadline):
                raise

    def _touched(self) -> int | None:
        """A count of the rows written over this connection; None where the driver does not tell."""
        return self._connection.total_changes if self.database.dialect == "sqlite" else None

    def _begin(self, deadline: float) -> Tx:
        if self._connection is None:
            self._connection = self.database.connect()
            if self.database.dialect == "sqlite":
                # SQLite's own waiting sleeps up to 100 ms at a time, and so keeps losing to a busier process.
                self._connection.execute("PRAGMA busy_timeout=0")
            else:
                Tx(self.database, self._connection).execute(MARK, writer=self._name)
        tx = Tx(self.database, self._connection)
        if self.database.dialect == "sqlite":
            pause = 0.0001
            while True:
                try:
                    tx.raw("BEGIN IMMEDIATE")
                    break
                except Exception as error:
                    if not self._is_transient(error) or time.monotonic() > deadline:
                        raise
                    time.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311
                    pause = min(pause * 1.5, RETRY_PAUSE_S)
            change, now = tx.one(BEGIN_SQLITE)  # type: ignore[misc]
        else:
            tx.raw("BEGIN")
            self._mark = f"{time.time():.0f}/{secrets.token_hex(8)}"
            change, now = tx.one(BEGIN_POSTGRESQL, writer=self._name, mark=self._mark)  # type: ignore[misc]
        tx.set_clock(change, now)
        return tx

    def _apply(self, tx: Tx, batch: list[WriteRequest[Any]], *, guarded: bool) -> None:
        for waiter in batch:
            waiter.error = None
            before = dict(tx.deltas) if guarded else None
            try:
                if guarded:
                    tx.raw("SAVEPOINT unit")
                waiter.result = waiter.unit(tx)
                if guarded or waiter is batch[-1]:
                    tx.flush()
                if guarded:
                    tx.raw("RELEASE SAVEPOINT unit")
            except Exception as error:
                if self._batch_is_lost(error):
                    raise
                waiter.error = error
                if before is None:
                    raise _Raised from error
                tx.forget()
                tx.raw("ROLLBACK TO SAVEPOINT unit")
                tx.deltas = before

    def _batch_is_lost(self, error: BaseException) -> bool:
        """Whether it is the connection, the disk or a lock that failed, and not one unit."""
        return self.database.is_driver_error(error) and (
            type(error).__name__ in ("OperationalError", "InterfaceError", "InternalError", "AdminShutdown")
            or (getattr(error, "sqlstate", None) or "")[:2] in LOST
            or bool(getattr(self._connection, "closed", False))
        )

    def _is_transient(self, error: BaseException) -> bool:
        """Whether trying again may help, and nothing was written."""
        if self.database.dialect == "sqlite":
            return "locked" in str(error) or "busy" in str(error)
        if getattr(error, "sqlstate", None) in AGAIN:
            return True
        return isinstance(error, Unavailable) or bool(getattr(self._connection, "closed", True))

    def _committed_after_all(self, deadline: float) -> bool:
        """Whether a commit whose answer was lost has left its mark; False where not, or where nobody can be asked."""
        if self.database.dialect == "sqlite":
            return False
        self._discard()
        deadline = max(
            deadline, time.monotonic() + STALE_CHECK_S
        )  # never before it: who is not sure does not try again
        while time.monotonic() < deadline:
            with suppress(StorageError):
                found = self.database.read_sync(lambda tx: tx.one(OUTCOME, writer=self._name))
                return found is not None and bool(found[0] == self._mark)
            time.sleep(0.05)
        return False

    def _rollback(self) -> None:
        try:
            self._connection.cursor().execute("ROLLBACK")
        except Exception:  # noqa: BLE001 - a broken connection takes its transaction along
            self._discard()

    def _discard(self) -> None:
        """The connection is closed, and with it whatever it had begun."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(Exception):
                connection.close()


def _settle(batch: list[WriteRequest[Any]]) -> None:
    by_loop: dict[asyncio.AbstractEventLoop, list[WriteRequest[Any]]] = {}
    for waiter in batch:
        if waiter.future is not None:
            by_loop.setdefault(waiter.future.get_loop(), []).append(waiter)
        elif waiter.done is not None:
            waiter.done.set()
    for loop, waiters in by_loop.items():
        with suppress(RuntimeError):  # the loop has closed, and nobody waits there
            loop.call_soon_threadsafe(_resolve, waiters)


def _resolve(waiters: list[WriteRequest[Any]]) -> None:
    for waiter in waiters:
        future = waiter.future
        if future is None or future.done():
            continue
        if waiter.error is not None:
            future.set_exception(waiter.error)
        else:
            future.set_result(waiter.result)
