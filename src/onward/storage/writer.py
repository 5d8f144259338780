"""The one writer of a process: transaction functions that come together share one commit.

A batch is first run as it is; where a function raises, the batch is rolled back and run again with a savepoint around
each function, so that the others are kept: savepoints are paid for only when they are needed. Where not even they keep
the others, as for a constraint that is checked at the commit, each function gets a transaction of its own.
The functions of a batch run in the order of the rows that they lock (`lock_order`).

The file is long because what a failed commit means for each of its requests is decided in one place.
"""

from __future__ import annotations

import asyncio
import queue
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from operator import attrgetter, le
from typing import Any, Generic, NamedTuple, TypeVar

from onward.storage import lock_order
from onward.storage.base import DiskFull, FileReplaced, Locked, StorageError, TransactionEnded, Unavailable
from onward.storage.engine import Database
from onward.storage.ledger_outage import Outage
from onward.storage.lock_order import ALONE, ROWS, LockOrder, Rank
from onward.storage.tables import SLOTS
from onward.storage.transaction import LOCKED, TransactionFunction, Tx

A = TypeVar("A")
T = TypeVar("T")
_put_at = attrgetter("put_at")

MAX_BATCH = 256
MAX_WAITING = 50_000
LAZY_COMMIT_S = 0.2  # a posted function waits this long for others
BATCH_WAIT_S = 0.0005  # for others, where the last commit was of several; a lone request waits for nobody
# For a request that has waited too long already, so that it is tried at all; less where the last write failed too.
MIN_RETRY_S, MIN_RETRY_FAILING_S = 0.5, 0.1
# The longest pause before a batch is tried again: at first, since a deadlock is over at once, and in an outage.
RETRY_PAUSE_S, MAX_RETRY_PAUSE_S = 0.02, 0.5
LOCKED_PAUSE_S = (0.02, 0.1)  # before a function is run again that found a row locked
WENT_ON = (
    "the database refused a statement of the transaction function, which went on, and nothing of it is written:"
    " let the statement's error end the function"
)


class Grouped(NamedTuple, Generic[A, T]):
    """A function that does for many requests what the request's own does for one, and its argument for this one.

    It gets the arguments of all such requests of a commit, in their order, and returns their results. It raises if it
    cannot do the same for all: then the requests run again, each by its own function.
    """

    run: Callable[[Tx, Sequence[A]], Sequence[T]]
    argument: A


class WriteRequest(Generic[T]):
    """A transaction function, and the way back for its result: an event loop's future, a thread's event, or none."""

    __slots__ = (
        "again",
        "done",
        "error",
        "future",
        "grouped",
        "of_project",
        "order",
        "put_at",
        "result",
        "transaction",
    )

    def __init__(
        self,
        transaction: Callable[[Tx], T],
        order: LockOrder,
        grouped: Grouped[Any, T] | None = None,
        *,
        again: bool = False,  # it has found rows locked before
        of_project: bool = False,  # so that a statement which takes too long is its own error
    ) -> None:
        self.transaction = transaction
        self.again = again
        self.of_project = of_project
        self.order = order
        self.grouped = grouped
        self.result: T | None = None
        self.error: BaseException | None = None
        self.future: asyncio.Future[T] | None = None
        self.done: threading.Event | None = None
        self.put_at = time.monotonic()

    def outcome(self) -> T:
        """Return the result, or raise the error. Call it once: what it gives is kept no longer.

        An error's traceback refers to the request, and each would keep the other until the collector comes.
        """
        error, self.error = self.error, None
        try:
            if error is not None:
                raise error
        finally:
            del error
        return self.result  # type: ignore[return-value]


class _Refused(Exception):
    """An error of a function that its batch, as it is run, cannot leave out."""


class Writer:
    """Runs transaction functions in batches on a thread of its own, a durable commit a batch."""

    def __init__(self, database: Database, *, timeout_s: float = 5.0) -> None:
        self.database = database
        self.timeout_s = timeout_s
        self.on_commit: Callable[[], None] = lambda: None
        self.on_end: Callable[[list[Any]], object] = left_to_maintenance  # gets what `Tx.at_end` returned
        self.failing = False  # whether the newest batch could not be written; a process writes once a second at least
        self.disk_is_full = False  # the reason, where it failed for that
        self._connection = database.driver.write_connection(database)
        self._slot = random.randrange(SLOTS)  # noqa: S311 - spreads rows, guards nothing
        self._queue: queue.SimpleQueue[WriteRequest[Any] | None] = queue.SimpleQueue()
        self._lazy: list[WriteRequest[Any]] = []
        self._lazy_lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closed = False
        self._closing = threading.Lock()  # held to put a request, so that none comes after the end of the queue
        self._outage = Outage()

    def start(self) -> None:
        self._thread = threading.Thread(target=self._loop, name="ledger-write", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Write or refuse the queued functions, and end the thread; reject later writes. May be called twice."""
        if self._thread is None:
            return
        with self._closing:
            if not self._closed:
                self._closed = True
                self._queue.put(None)
        self._thread.join(self.timeout_s * 2)

    async def run(
        self,
        transaction: Callable[[Tx], T],
        order: LockOrder = ROWS,
        grouped: Grouped[Any, T] | None = None,
        *,
        of_project: bool = False,
    ) -> T:
        """Return the function's result after a durable commit. Raises Unavailable, or what the function raised.

        A function that finds a row locked is run again, in a transaction of its own, so that no other waits with it.
        Requests of one commit that are `grouped` by the same function run by that one. A function `of_project` that
        reaches the server's limit for statements raises the driver's error; any other one is Unavailable then.
        """
        deadline, again = time.monotonic() + self.timeout_s, False
        while True:
            request = WriteRequest(transaction, order, grouped, again=again, of_project=of_project)
            request.future = asyncio.get_running_loop().create_future()
            self._put(request)
            try:
                return await request.future
            except Locked:
                if time.monotonic() > deadline:
                    raise
            await asyncio.sleep(random.uniform(*LOCKED_PAUSE_S))  # noqa: S311 - spreads, guards nothing
            order, again = ALONE, True

    def run_sync(self, transaction: Callable[[Tx], T], order: LockOrder = ROWS, *, urgent: bool = False) -> T:
        """Do the same in a thread that may block; an urgent function goes with the next commit, ahead of the queue."""
        deadline, again = time.monotonic() + self.timeout_s, False
        while True:
            request = WriteRequest(transaction, order, again=again)
            request.done = threading.Event()
            self._put(request, urgent=urgent)
            request.done.wait()
            try:
                return request.outcome()
            except Locked:
                if time.monotonic() > deadline:
                    raise
            time.sleep(random.uniform(*LOCKED_PAUSE_S))  # noqa: S311 - as above
            order, again = ALONE, True

    def post(self, transaction: TransactionFunction, order: LockOrder = ROWS) -> None:
        """Run the function with a later commit, without a result. It is lost if that commit fails."""
        with self._lazy_lock:
            self._lazy.append(WriteRequest(transaction, order))

    def _put(self, request: WriteRequest[Any], *, urgent: bool = False) -> None:
        with self._closing:
            if self._closed or self._thread is None:
                raise Unavailable("the ledger is closed")
            if urgent:
                with self._lazy_lock:
                    self._lazy.append(request)
                return
            if self._queue.qsize() > MAX_WAITING:
                raise Unavailable("too much is waiting to be written; send again in a while")
            self._queue.put(request)

    def _loop(self) -> None:
        going, several = True, False
        alone: deque[list[WriteRequest[Any]]] = deque()  # one of them a round: whatever is urgent comes in between
        while going or alone:
            batch: list[WriteRequest[Any]] = []
            with suppress(queue.Empty):
                request = self._queue.get_nowait() if alone else self._queue.get(timeout=LAZY_COMMIT_S)
                if several:
                    time.sleep(BATCH_WAIT_S)
                while request is not None:
                    batch.append(request)
                    if len(batch) >= MAX_BATCH:
                        break
                    request = self._queue.get_nowait()
                else:
                    going = False
            several = len(batch) > 1
            with self._lazy_lock:
                batch += self._lazy
                self._lazy = []
            shared, further = lock_order.transactions(batch)
            alone.extend(further)
            for transaction in (shared, alone.popleft() if alone else []):
                if transaction:
                    self._write(transaction)
                    _answer(transaction)
        self._connection.close()

    def _write(self, batch: list[WriteRequest[Any]]) -> None:
        """Commit the batch, or set the error of its requests."""
        # Of the requests, not of the batch: in an outage it was another batch's turn before.
        waited_s = time.monotonic() - min(map(_put_at, batch))
        least_s = MIN_RETRY_FAILING_S if self.failing else MIN_RETRY_S
        deadline = time.monotonic() + max(self.timeout_s - waited_s, least_s)
        with_savepoints, pause_s = False, RETRY_PAUSE_S
        while True:
            try:
                found, committed = self._commit(batch, deadline, with_savepoints=with_savepoints)
            except _Refused:
                self._connection.rollback()
                if len(batch) > 1 and not with_savepoints:
                    if self._answer_slow(batch):
                        deadline = max(deadline, time.monotonic() + least_s)
                    else:
                        with_savepoints = True
                    continue
                self._write_apart(batch)
            except Exception as error:  # noqa: BLE001 - whatever it is, the requests are answered
                transient = self._connection.is_transient(error)
                if not isinstance(error, FileReplaced):  # its connection is the last way to what it holds
                    self._connection.close()
                if transient and (left_s := deadline - time.monotonic()) > 0:
                    time.sleep(min(random.uniform(0.001, pause_s), left_s))  # noqa: S311 - spreads, guards nothing
                    pause_s = min(pause_s * 2, MAX_RETRY_PAUSE_S)
                    continue
                self.failing = True
                self.disk_is_full = self.database.driver.is_disk_full(error)
                self._outage.refused(error, len(batch))
                for request in batch:
                    request.error = _refusal(error, disk_is_full=self.disk_is_full)
            else:
                self.failing = self.disk_is_full = False
                self._outage.over()
                self._tell(found, committed)
            return

    def _tell(self, found: list[Any], committed: list[Callable[[], object]]) -> None:
        """Call what waits for the commit."""
        self.on_commit()
        for function in committed:
            function()
        if found:
            with suppress(RuntimeError):  # the loop that it calls has closed
                self.on_end(found)

    def _answer_slow(self, batch: list[WriteRequest[Any]]) -> bool:
        """Answer the project's function that took too long, and leave it out: the others do not wait for it again.

        False if there is none.
        """
        for request in batch:
            if request.of_project and request.error is not None and self.database.driver.is_too_slow(request.error):
                batch.remove(request)
                _answer([request])
                return True
        return False

    def _write_apart(self, batch: list[WriteRequest[Any]]) -> None:
        """Commit each function by itself; one that was by itself has its error."""
        if len(batch) > 1:
            for request in batch:
                self._write([request])

    def _commit(
        self, batch: list[WriteRequest[Any]], deadline: float, *, with_savepoints: bool
    ) -> tuple[list[Any], list[Callable[[], object]]]:
        # A batch of heartbeats alone leaves the revision as it is: else idle processes would keep waking each other.
        is_change = any(request.order.rank is not Rank.PROCESSES for request in batch)
        if not is_change:
            self.database.heartbeat_at = time.monotonic()
        tx = self._connection.begin(deadline, is_change=is_change)
        if with_savepoints or any(request.again for request in batch):
            tx.wait_briefly()
        self._apply(tx, batch, with_savepoints=with_savepoints)
        try:
            found = tx.at_end(tx) if tx.at_end else []
            self._connection.commit(tx, self._slot, deadline)
        except Exception as error:
            locked = self._locked(error, tx.lock_wait_s, tx)
            if locked is None and (isinstance(error, StorageError) or self._connection.is_lost(error)):
                raise
            for request in batch:
                request.error = locked or error
            raise _Refused from error
        return found, tx.once_committed

    def _apply(self, tx: Tx, batch: list[WriteRequest[Any]], *, with_savepoints: bool) -> None:
        began = time.monotonic()
        groups = [[request] for request in batch] if with_savepoints else _groups(batch)
        first_of_jobs = next((group for group in groups if group[0].order.rank >= Rank.JOB), None)
        for group in groups:
            request = group[0]
            request.error = None
            before = tx.copy_counts() if with_savepoints else None
            noted, later = len(tx.noted), len(tx.once_committed)
            try:
                if with_savepoints:
                    tx.raw("SAVEPOINT request")
                if group is first_of_jobs:
                    self._connection.lock_jobs(tx, batch, in_order=_are_in_order(groups))
                _run(tx, group)
                if with_savepoints or request.of_project:  # so that an error of its rows is its own
                    tx.flush()  # else the last rows go with the commit: one wait less for a server's answer
                if not self._connection.is_open():
                    raise TransactionEnded(WENT_ON)  # noqa: TRY301 - as an error of the function
                if with_savepoints:
                    tx.raw("RELEASE SAVEPOINT request")
            except Exception as error:
                request.error = self._judged(error, began, tx, of_project=request.of_project)
                if before is None or not self._connection.undo(tx):
                    raise _Refused from error
                if isinstance(request.error, Locked):  # nor do the others wait long for what it may have locked as well
                    tx.wait_briefly(1)
                tx.restore_counts(before)
                del tx.noted[noted:], tx.once_committed[later:]

    def _locked(self, error: Exception, waited_s: float, tx: Tx) -> Locked | None:
        """Return the error of rows, or keys, that are locked for too long, as by a caller's open transaction.

        A statement that has waited for less than the transaction's limit had a limit of its own.
        """
        if not self.database.driver.is_lock_timeout(error) or waited_s < tx.lock_wait_s:
            return None
        locked = Locked(LOCKED)
        locked.__cause__ = error
        return locked

    def _judged(self, error: Exception, began: float, tx: Tx, *, of_project: bool) -> Exception:
        """Return the error of a request. Raises it if it is the connection's, and so that of all."""
        if (locked := self._locked(error, time.monotonic() - began, tx)) is not None:
            return locked
        if not self._connection.is_lost(error):
            return error
        driver = self.database.driver
        limit_s = driver.server_limit_s(error)
        is_own = of_project and driver.is_too_slow(error)
        if limit_s is None or not (is_own or time.monotonic() - began < limit_s):
            raise error
        return error if of_project else _refusal(error)


def _groups(batch: Sequence[WriteRequest[Any]]) -> list[list[WriteRequest[Any]]]:
    """Divide a transaction's requests into groups, each in the place of its first request.

    A request of the same rows as the one before it stays behind that one.
    """
    groups: list[list[WriteRequest[Any]]] = []
    known: dict[Any, list[WriteRequest[Any]]] = {}
    before: LockOrder | None = None
    for request in batch:
        run = None if request.grouped is None or request.order == before else request.grouped.run
        before = request.order
        if run is not None and run in known:
            known[run].append(request)
            continue
        groups.append([request])
        if run is not None:
            known[run] = groups[-1]
    return groups


def _are_in_order(groups: list[list[WriteRequest[Any]]]) -> bool:
    """Return whether the requests of groups, one after another, are in their lock order."""
    orders = [request.order for group in groups for request in group]
    return all(map(le, orders, orders[1:]))


def _run(tx: Tx, group: Sequence[WriteRequest[Any]]) -> None:
    """Run the function of a request, or the one that groups several."""
    grouped = [request.grouped for request in group if request.grouped is not None]
    if len(group) == 1 or not grouped:
        group[0].result = group[0].transaction(tx)
        return
    results = grouped[0].run(tx, [one.argument for one in grouped])
    for request, result in zip(group, results, strict=True):
        request.error, request.result = None, result


def left_to_maintenance(_found: list[Any]) -> None:
    """Do nothing about what the end of a transaction has found."""


def _refusal(cause: Exception, *, disk_is_full: bool = False) -> Unavailable:
    if disk_is_full:
        refusal: Unavailable = DiskFull("the ledger's disk is full, and nothing was written: free some space")
    elif isinstance(cause, FileReplaced):
        refusal = FileReplaced(str(cause))
    else:
        refusal = Unavailable("the ledger cannot be written at the moment")
    refusal.__cause__ = cause
    return refusal


def _answer(batch: list[WriteRequest[Any]]) -> None:
    """Wake up the callers of a batch's requests."""
    by_loop: dict[asyncio.AbstractEventLoop, list[WriteRequest[Any]]] = {}
    for request in batch:
        if request.future is not None:
            by_loop.setdefault(request.future.get_loop(), []).append(request)
        elif request.done is not None:
            request.done.set()
        else:
            request.error = None  # as in `outcome`
    for loop, requests in by_loop.items():
        with suppress(RuntimeError):  # the loop has closed, and nobody waits there
            loop.call_soon_threadsafe(_resolve, requests)


def _resolve(requests: list[WriteRequest[Any]]) -> None:
    for request in requests:
        future, request.future = request.future, None
        if future is None or future.done():
            continue
        if request.error is not None:
            future.set_exception(request.error)
            request.error = None  # as in `outcome`
        else:
            future.set_result(request.result)
