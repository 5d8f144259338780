"""Accept, claim and finish jobs while many others wait between two steps, and while ten do.

`python -m benchmarks.waiting [POSTGRESQL_URL]` prints the jobs a second of each, in turns on two ledgers, and their
ratio. Without a URL the ledgers are SQLite files in a folder of their own.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, cast

import sqlalchemy as sa

from onward.jobs import claims, due, ledger, recording, waits
from onward.jobs.model import Job, NewJob
from onward.jobs.outcome import Outcome
from onward.jobs.states import JobStatus
from onward.storage import migrate
from onward.storage.engine import Database
from onward.storage.transaction import Tx
from onward.storage.writer import Writer

FEW, MANY = 10, 100_000
JOBS, AT_ONCE, ROUNDS = 2_000, 64, 5
STEPS = (
    '[{"n": "draft", "s": "SUCCEEDED", "b": 1, "e": 2, "r": null},'
    ' {"n": "approval", "s": "PENDING", "b": 2}, {"n": "publish"}]'
)
NEW = NewJob("bench.work", "here", "{}", 1, '[{"n": "only"}]', 3)


@contextmanager
def ledger_with(url: str, schema: str, n: int) -> Iterator[Writer]:
    database = Database(url, schema=schema) if url.startswith("postgresql") else Database(url)
    migrate.upgrade(database)
    writer = Writer(database)
    writer.start()
    try:
        for start in range(0, n, 2_000):
            writer.run_sync(partial(_fill, start=start, n=min(2_000, n - start)))
        yield writer
    finally:
        writer.close()
        database.close()


def _fill(tx: Tx, *, start: int, n: int) -> None:
    """Add jobs that wait for a signal, half of them with a time limit."""
    for number in range(start, start + n):
        job = ledger.accept(tx, NEW)
        until = tx.now + 86_400_000_000 + number if number % 2 else 2**62
        wait = f'["approval", {tx.now}, {until if number % 2 else "null"}, false, []]'
        tx.execute(_to_wait, id_=job.id, steps_=STEPS, due_=until, wait_=wait)
        tx.count(None, JobStatus.QUEUED, -1)
        tx.count(None, JobStatus.WAITING, 1)


_to_wait = sa.text(
    "UPDATE _ledger.jobs SET status = 'WAITING', steps = :steps_, due_at = :due_, wait = :wait_ WHERE id = :id_"
)


async def measure(writer: Writer) -> dict[str, float]:
    """Return the jobs a second of one round."""
    found: dict[str, float] = {}
    at = time.perf_counter()
    jobs: list[Job] = []
    for _ in range(JOBS // AT_ONCE):
        jobs += await asyncio.gather(*(writer.run(lambda tx: ledger.accept(tx, NEW)) for _ in range(AT_ONCE)))
    found["accept"] = len(jobs) / (time.perf_counter() - at)
    at, claimed = time.perf_counter(), list[Job]()
    claim: dict[str, Any] = {"runner": "bench", "worker": "bench", "backend": "here", "limit": 32}
    while more := await writer.run(lambda tx: claims.claim_due(tx, **claim)):
        claimed += more
    found["claim"] = len(claimed) / (time.perf_counter() - at)
    at = time.perf_counter()
    for start in range(0, len(claimed), AT_ONCE):
        ends = (partial(_finish, job=job) for job in claimed[start : start + AT_ONCE])
        await asyncio.gather(*(writer.run(end) for end in ends))
    found["finish"] = len(claimed) / (time.perf_counter() - at)
    found["look for due"] = await _quickest(lambda: writer.database.read(due.next_due))
    end_due = partial(waits.end_due, limit=500, enqueuer=cast("Any", None))  # no wait is over
    found["end waits"] = await _quickest(lambda: writer.database.read(end_due))
    return found


async def _quickest(look: Callable[[], Awaitable[Any]]) -> float:
    """Return how often a second the quickest of many looks could be taken."""
    took = []
    for _ in range(200):
        at = time.perf_counter()
        await look()
        took.append(time.perf_counter() - at)
    return 1 / min(took)


def _finish(tx: Tx, job: Job) -> None:
    recording.record_outcome(tx, job, Outcome(JobStatus.SUCCEEDED), steps=job.steps)


def main(url: str | None) -> None:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        writers = {
            n: stack.enter_context(ledger_with(url or f"sqlite:///{folder}/{n}.db", f"waiting_{n}", n))
            for n in (FEW, MANY)
        }
        rounds: dict[int, list[dict[str, float]]] = {n: [] for n in writers}
        for _ in range(ROUNDS):
            for n, writer in writers.items():
                rounds[n].append(asyncio.run(measure(writer)))
    for name in rounds[FEW][0]:
        few, many = (statistics.median(one[name] for one in rounds[n]) for n in (FEW, MANY))
        words = f"{few:10,.0f}/s with {FEW}, {many:10,.0f}/s with {MANY:,}: {few / many:.2f} times as long"
        sys.stdout.write(f"{name:14} {words}\n")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else None)
