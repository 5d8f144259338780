"""The one order in which transactions lock rows, so that no two wait for each other on PostgreSQL.

1. the rows of processes, and the leader's (`PROCESSES`)
2. the project's own rows and idempotency keys, by key (`ROWS`, `key`)
3. the keys of unique jobs, by handler and digest (`unique`)
4. the rows of jobs, by id (`job`)
5. the limits of handlers, and then rows that are free: with SKIP LOCKED nobody waits (`LAST`)
6. the keys of limits, all at once and in order, after the last function (`Tx.lock_keys`)
7. the counters, by their key: the writer adds them

A transaction combines functions that arrive together, so the writer runs them in this order. Claims and ends of jobs
lock the limits after the job; where any handler has limits the writer locks the jobs of the whole batch before. A
function that waits for several jobs, or for several keys, or for jobs after keys, locks them in this order in a
transaction of its own (`ALONE`).

A project's own rows are in no order that the library knows. PostgreSQL ends one of two that wait for each other, and
the writer runs it again.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from enum import IntEnum
from operator import attrgetter
from typing import NamedTuple, Protocol, TypeVar


class Rank(IntEnum):
    """The kind of rows that a transaction function waits for first."""

    PROCESSES = 1
    ROWS = 2
    KEYS = 3
    JOB = 4
    LAST = 5
    ALONE = 6


class LockOrder(NamedTuple):
    """The place of a transaction function among those of its transaction: the kind of its rows, then their key."""

    rank: Rank
    key: str = ""


PROCESSES, ROWS, LAST, ALONE = map(LockOrder, (Rank.PROCESSES, Rank.ROWS, Rank.LAST, Rank.ALONE))


def job(job_id: str) -> LockOrder:
    """Return the order of a function that waits for the row of this job."""
    return LockOrder(Rank.JOB, job_id)


def key(*parts: str) -> LockOrder:
    """Return the order of a function that uses the idempotency key of these parts."""
    return LockOrder(Rank.ROWS, "\0".join(parts))


def unique(handler: str, digest: str) -> LockOrder:
    """Return the order of a function that takes this key of a unique job, and waits for no job."""
    return LockOrder(Rank.KEYS, f"{handler}\0{digest}")


class Ordered(Protocol):
    """A thing with a lock order."""

    @property
    def order(self) -> LockOrder: ...


T = TypeVar("T", bound=Ordered)
_order = attrgetter("order")


def transactions(batch: Sequence[T]) -> tuple[list[T], list[list[T]]]:
    """Divide a batch into one transaction for most functions, in lock order, and one for each that needs its own.

    Functions of equal order stay in the order they came in.
    """
    ordered = sorted(batch, key=_order)
    shared = bisect_left(ordered, ALONE, key=_order)  # the last rank
    return ordered[:shared], [[one] for one in ordered[shared:]]


def job_ids(batch: Iterable[Ordered]) -> list[str]:
    """Return the ids of the jobs that the functions of a transaction wait for, in order."""
    return sorted({one.order.key for one in batch if one.order.rank is Rank.JOB})
