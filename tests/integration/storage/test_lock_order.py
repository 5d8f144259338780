"""Two writers on one PostgreSQL ledger lock rows in one order, however their functions arrive."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from onward.jobs import blocked, claims, commands, concurrency, idempotency, ledger, recording
from onward.jobs.base import Superseded
from onward.jobs.limits import Limit
from onward.jobs.model import Job, Progress, Visible
from onward.jobs.outcome import Outcome
from onward.jobs.states import JobStatus
from onward.storage import lock_order
from onward.storage.lock_order import ALONE, LAST, PROCESSES, ROWS, LockOrder
from onward.storage.transaction import Tx
from onward.storage.writer import Writer
from onward.testing.waiting import until
from tests.ledgers import new_job, writing

MEETING_S = 0.3  # by which a transaction that waits for no other one has begun
TIMEOUT_S = 30.0
ALL = Visible(everything=True)
Ordered = tuple[Callable[[Tx], object], LockOrder]


class _Request:
    def __init__(self, order: LockOrder) -> None:
        self.order = order


def test_a_batch_becomes_transactions_in_lock_order() -> None:
    """The functions may arrive in any order; those of equal order keep theirs."""
    given = [lock_order.job("b"), LAST, ALONE, ROWS, lock_order.job("a"), lock_order.key("x"), PROCESSES, ROWS]
    wanted = [PROCESSES, ROWS, ROWS, lock_order.key("x"), lock_order.job("a"), lock_order.job("b"), LAST]
    for orders in itertools.islice(itertools.permutations(given), 0, None, 97):
        shared, alone = lock_order.transactions([_Request(order) for order in orders])
        assert [one.order for one in shared] == wanted
        assert [[one.order for one in group] for group in alone] == [[ALONE]]
    same = [_Request(ROWS) for _ in range(9)]
    assert lock_order.transactions(same) == (same, [])


@contextmanager
def _watched(writer: Writer) -> Iterator[list[str]]:
    """Record the errors after which the writer runs a transaction again."""
    found: list[str] = []
    ask = writer._connection.is_transient

    def is_transient(error: BaseException) -> bool:
        found.append(str(error))
        return ask(error)

    writer._connection.is_transient = is_transient  # type: ignore[method-assign]
    yield found


def _put_together(
    writer: Writer, functions: Sequence[Ordered], both_started: threading.Barrier
) -> list[threading.Thread]:
    """Run the functions in one transaction, which waits for the other transaction after its first function."""
    release, begins = threading.Event(), threading.Event()
    meets = itertools.count()

    def hold(_tx: Tx) -> None:
        begins.set()
        release.wait(TIMEOUT_S)

    def meeting(function: Callable[[Tx], object]) -> Callable[[Tx], object]:
        def run(tx: Tx) -> object:
            result = function(tx)
            if next(meets) == 0:
                with suppress(threading.BrokenBarrierError):  # the other one waits for this one's rows, as it should
                    both_started.wait(MEETING_S)
            return result

        return run

    threads = [threading.Thread(target=writer.run_sync, args=(hold,))]
    threads[0].start()
    assert begins.wait(TIMEOUT_S)
    for n, (function, order) in enumerate(functions, 1):
        threads.append(threading.Thread(target=writer.run_sync, args=(meeting(function), order)))
        threads[-1].start()
        asyncio.run(until(lambda n=n: writer._queue.qsize() == n))  # type: ignore[misc]
    release.set()
    return threads


def _errors(url: str, one: Sequence[Ordered], two: Sequence[Ordered]) -> list[str]:
    """Return the errors of two writers that run the functions at the same time, each in one transaction."""
    both_started = threading.Barrier(2)
    with writing(url) as first, writing(url) as second, _watched(first) as errors, _watched(second) as more:
        for thread in [*_put_together(first, one, both_started), *_put_together(second, two, both_started)]:
            thread.join(TIMEOUT_S)
        return errors + more


def _running(url: str, *handlers: str) -> list[Job]:
    """Create running jobs, and return them by id."""
    with writing(url) as writer:
        accepted = [writer.run_sync(lambda tx, one=one: ledger.accept(tx, new_job(one))) for one in handlers]  # type: ignore[misc]
        found = [writer.run_sync(_claim(job)[0]) for job in accepted]
    return sorted(found, key=lambda job: job.id)


def _claim(job: Job) -> tuple[Callable[[Tx], Any], LockOrder]:
    def claim(tx: Tx) -> Job | None:
        return claims.claim(tx, job.id, runner="runner", worker="worker", backend="here", isolated=False)

    return claim, lock_order.job(job.id)


def _cancel(job: Job) -> Ordered:
    return lambda tx: commands.cancel(tx, job.id, reason=None, visible=ALL), lock_order.job(job.id)


def _progress(job: Job) -> Ordered:
    def report(tx: Tx) -> None:
        with suppress(Superseded):  # cancelled meanwhile
            recording.report_progress(tx, job, Progress(1, 2))

    return report, lock_order.job(job.id)


def _end(job: Job) -> Ordered:
    """End a job of a limited handler, which unblocks the next one."""

    def end(tx: Tx) -> None:
        recording.record_outcome(tx, job, Outcome(JobStatus.SUCCEEDED, result=None), steps=job.steps)
        blocked.unblock(tx, job.handler, limit=1)

    return end, lock_order.job(job.id)


def test_progress_and_cancels_of_the_same_jobs_do_not_deadlock(postgres_ledger: str) -> None:
    """Two processes have both jobs in one transaction each, in opposite orders."""
    low, high = _running(postgres_ledger, "conformance.job", "conformance.job")
    assert _errors(postgres_ledger, [_progress(low), _progress(high)], [_cancel(high), _cancel(low)]) == []


def test_ends_of_limited_jobs_and_cancels_do_not_deadlock(postgres_ledger: str) -> None:
    """One transaction has the limits and needs a job; the other has the job and needs the limits."""
    with writing(postgres_ledger) as writer:
        writer.run_sync(lambda tx: concurrency.configure(tx, {"conformance.limited": Limit(9, None)}))
    low, middle, high = _running(postgres_ledger, "conformance.limited", "conformance.job", "conformance.limited")
    assert _errors(postgres_ledger, [_end(low), _progress(middle)], [_cancel(middle), _end(high)]) == []


def test_the_same_idempotency_keys_at_two_processes_do_not_deadlock(postgres_ledger: str) -> None:
    """Each uses both keys in one transaction, in opposite orders."""

    def take(key: str) -> Ordered:
        return (
            lambda tx: idempotency.replay(tx, viewer="", mutation="m", key=key, fingerprint="f"),
            lock_order.key("", "m", key),
        )

    assert _errors(postgres_ledger, [take("a"), take("b")], [take("b"), take("a")]) == []
