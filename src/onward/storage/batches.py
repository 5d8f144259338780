"""Changes of many rows, in commits of a bounded time, with as much time for others between them.

A number of rows says little of how long a commit takes on a busy machine, and everybody who writes waits for it. So
the statements of each commit are timed, and the next one gets the number of rows that fits. The wait for the disk is
not counted: it is the same for one row, and many small commits on a slow disk would never end.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from typing import Generic, TypeVar

from onward.storage.lock_order import ALONE, LockOrder
from onward.storage.transaction import Tx
from onward.storage.writer import Writer

STATEMENTS_S = 0.05  # that the statements of one commit of a long change may take of the process's writer
FIRST_ROWS = 50  # in the first commit, of which nothing is known
T = TypeVar("T")
Item = TypeVar("Item")


class ShortCommits:
    """The commits of one long change: each of at most `limit` rows, which follows from the time of the one before.

    `most` is the largest limit, `pause` the part of a commit's time in which others get the writer and the database's
    lock.
    """

    def __init__(self, writer: Writer, *, most: int, order: LockOrder = ALONE, pause: float = 1.0) -> None:
        self.limit = min(FIRST_ROWS, most)
        self.pause_s = 0.0
        self._writer = writer
        self._most = most
        self._order = order
        self._pause = pause

    async def run(self, change: Callable[[Tx, int], T]) -> T:
        """Call the change with the limit in a commit, and return its result. Raises what `Writer.run` raises."""
        put_at, timed = time.monotonic(), _Timed(change, self.limit)
        try:
            return await self._writer.run(timed, self._order)
        finally:
            self._adapt(timed, time.monotonic() - put_at)

    def run_sync(self, change: Callable[[Tx, int], T]) -> T:
        """Do the same in a thread that may block."""
        put_at, timed = time.monotonic(), _Timed(change, self.limit)
        try:
            return self._writer.run_sync(timed, self._order)
        finally:
            self._adapt(timed, time.monotonic() - put_at)

    async def rest(self) -> None:
        """Leave the writer and the lock to others after a commit."""
        await asyncio.sleep(self.pause_s)

    def _adapt(self, timed: _Timed[T], took_s: float) -> None:
        self.pause_s = took_s * self._pause  # longer where others had the commit wait
        if timed.statements_s is not None:
            fitting = self.limit * STATEMENTS_S / max(timed.statements_s, 1e-6)
            self.limit = max(1, min(int(fitting), 2 * self.limit, self._most))


class _Timed(Generic[T]):
    """A transaction function that times its statements; the writer may run it again."""

    def __init__(self, change: Callable[[Tx, int], T], limit: int) -> None:
        self.statements_s: float | None = None
        self._change = change
        self._limit = limit

    def __call__(self, tx: Tx) -> T:
        began = time.monotonic()
        result = self._change(tx, self._limit)
        tx.flush()
        self.statements_s = time.monotonic() - began
        return result


async def in_batches(writer: Writer, change: Callable[[Tx, int], int], *, most: int, order: LockOrder = ALONE) -> int:
    """Repeat a change of at most so many rows, a commit each, until it finds none; return how many rows it changed.

    Raises Unavailable.
    """
    commits = ShortCommits(writer, most=most, order=order)
    changed = 0
    while (rows := await commits.run(change)) > 0:
        changed += rows
        await commits.rest()
    return changed


async def in_slices(
    writer: Writer,
    items: Sequence[Item],
    change: Callable[[Tx, Sequence[Item]], T],
    *,
    most: int,
    order: LockOrder = ALONE,
) -> AsyncIterator[T]:
    """Change the rows of a long list, a slice a commit, and yield the result of each. Raises Unavailable."""
    commits = ShortCommits(writer, most=most, order=order)
    at = 0
    while at < len(items):
        if at:
            await commits.rest()
        some = items[at : at + commits.limit]
        yield await commits.run(partial(_of_slice, change, some))
        at += len(some)


def _of_slice(change: Callable[[Tx, Sequence[Item]], T], items: Sequence[Item], tx: Tx, _limit: int) -> T:
    return change(tx, items)
