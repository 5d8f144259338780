"""One ledger of the figures about flows: `python -m benchmarks.flows KIND COUNT JOBS`; ONWARD_DATABASE__URL names it.

It fills the ledger and prints `ready`. Then each line of its input is a round, whose figures it prints as JSON:
microseconds of processor time for each job that is accepted, claimed, and finished, in commits of ten, and the largest
memory that the process has had. KIND says what COUNT is:

plain    nothing
past     nothing; no move of a job is counted for the history
waiting  jobs that wait between two steps, beside which others are measured
keys     keys, over which JOBS finished jobs are spread, and the measured ones
blocked  likewise, with jobs that their limits block
unique   nothing; the measured jobs are unique, beside JOBS finished ones that are
single   nothing; JOBS are enqueued by an application, a hundred at once
batch    the children of a batch; JOBS or more are enqueued by an application
emit     jobs that run at once, and emit JOBS chunks each; the figures are of a chunk
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import sqlalchemy as sa

from benchmarks import progress
from benchmarks.base import PROJECT, BenchError
from benchmarks.without_history import disable_history
from onward import JobRequest, Onward, batch
from onward.backends.base import Role
from onward.config import settings
from onward.jobs import claims, key_limits, ledger, recording, uniqueness
from onward.jobs.key_limits import Rule
from onward.jobs.limits import Limit
from onward.jobs.model import Job, NewJob, Step, UniqueKey
from onward.jobs.outcome import Outcome
from onward.jobs.row import encode_steps
from onward.jobs.states import JobStatus
from onward.runtime import wiring
from onward.runtime.database import database_of
from onward.storage import migrate
from onward.storage.engine import Database
from onward.storage.tables import jobs
from onward.storage.transaction import Tx
from onward.storage.writer import Writer

TEN = 10  # jobs that a commit accepts, claims or ends
MEASURED = 2_000  # jobs of a round
FILLED = 1_000  # jobs that a commit fills in
HANDLER, BACKEND = "bench.nothing", "background"
STEPS = (Step("nothing", 0),)
NEW = NewJob(HANDLER, BACKEND, '{"n": 1}', 1, encode_steps(STEPS), 3, pending=STEPS)
SITUATIONS = ("scheduled", "queued", "running", "retrying", "waiting")
DAY_US = 86_400_000_000
Make = Callable[[int], NewJob]
_over = sa.update(jobs).values(status="SUCCEEDED", finished_at=sa.bindparam("now"), parked=None)
_to_wait = sa.text(
    "UPDATE _ledger.jobs SET status = 'WAITING', steps = :steps_, due_at = :due_, wait = :wait_ WHERE id = :id_"
)
_BETWEEN = (
    '[{"n": "draft", "s": "SUCCEEDED", "b": 1, "e": 2, "r": null},'
    ' {"n": "approval", "s": "PENDING", "b": 2}, {"n": "publish"}]'
)


def accept(tx: Tx, make: Make, numbers: Sequence[int]) -> list[Job]:
    return [uniqueness.accept(tx, make(number), ledger.accept) for number in numbers]


def wait(tx: Tx, numbers: Sequence[int]) -> None:
    """Add jobs that wait for a signal, half of them with a time limit."""
    for number, job in zip(numbers, accept(tx, _plain, numbers), strict=True):
        until = tx.now + DAY_US + number if number % 2 else 2**62
        text = f'["approval", {tx.now}, {until if number % 2 else "null"}, false, []]'
        tx.execute(_to_wait, id_=job.id, steps_=_BETWEEN, due_=until, wait_=text)
        tx.count(None, JobStatus.QUEUED, -1)
        tx.count(None, JobStatus.WAITING, 1)


def claimed_ten(writer: Writer) -> list[Job]:
    """Claim ten jobs. Raises BenchError if there are fewer."""
    claimed = writer.run_sync(lambda tx: claims.claim_due(tx, runner="one", worker="w", backend=BACKEND, limit=TEN))
    if len(claimed) != TEN:
        raise BenchError(f"{len(claimed)} of {TEN} jobs were claimed")
    return claimed


def finish(tx: Tx, claimed: Sequence[Job]) -> None:
    for job in sorted(claimed, key=lambda one: one.id):
        recording.record_outcome(tx, job, Outcome(JobStatus.SUCCEEDED), steps=job.steps)


class Ledger:
    """A filled ledger, and rounds of work on it."""

    def __init__(self, writer: Writer, kind: str, count: int, total: int) -> None:
        self._writer = writer
        self._kind = kind
        self._count = max(count, 1)
        self._made = 0
        if kind in ("keys", "blocked"):
            rule = Rule(HANDLER, Limit(1))
            writer.run_sync(lambda tx: key_limits.configure(tx, {HANDLER: rule}))
        if kind in ("keys", "blocked", "unique"):
            self._fill(total, partial(accept, make=self._new))
            if kind != "blocked":
                writer.run_sync(lambda tx: tx.execute(_over, now=tx.now))
        elif kind == "waiting":
            self._fill(count, wait)

    def _fill(self, count: int, add: Callable[..., object]) -> None:
        for first in range(0, count, FILLED):
            numbers = range(first, min(first + FILLED, count))
            self._writer.run_sync(lambda tx: add(tx, numbers=numbers))  # noqa: B023 - called at once
        self._made = count

    def _new(self, number: int) -> NewJob:
        if self._kind in ("keys", "blocked"):
            # By a prime, so that those of a commit are far apart.
            return replace(NEW, limit_key=f"{HANDLER}:{number * 7_919 % self._count}")
        if self._kind == "unique":
            return replace(NEW, unique=UniqueKey(f"{number:064x}", SITUATIONS))
        return NEW

    def round(self) -> dict[str, float]:
        """Accept, claim and finish jobs; return microseconds of processor time for each."""
        took = dict.fromkeys(("accept", "claim", "finish"), 0.0)
        for _ in range(0, MEASURED, TEN):
            numbers = range(self._made, self._made + TEN)
            self._made += TEN
            marks = [time.process_time()]
            self._writer.run_sync(lambda tx: accept(tx, self._new, numbers))  # noqa: B023 - called at once
            marks.append(time.process_time())
            claimed = claimed_ten(self._writer)
            marks.append(time.process_time())
            self._writer.run_sync(lambda tx: finish(tx, claimed))  # noqa: B023 - called at once
            marks.append(time.process_time())
            for name, began, ended in zip(took, marks, marks[1:], strict=False):
                took[name] += (ended - began) / MEASURED * 1e6
        return took


class Application:
    """A program that enqueues jobs one by one or in batches; they are claimed and finished as above."""

    def __init__(self, database: Database, writer: Writer, count: int, total: int) -> None:
        """Enqueue jobs without a batch if `count` is 0."""
        self._database = database
        self._writer = writer
        self._count = count
        self._total = max(total, count)
        self._enqueued = False

    def round(self) -> dict[str, float]:
        """Enqueue all jobs in the first round; claim and finish some of them in each."""
        took, marks = dict[str, float](), [0.0, 0.0]
        if not self._enqueued:
            began = time.process_time()
            asyncio.run(self._enqueue())
            took["accept"] = (time.process_time() - began) / self._total * 1e6
            self._enqueued = True
        for _ in range(0, MEASURED, TEN):
            at = time.process_time()
            claimed = claimed_ten(self._writer)
            then = time.process_time()
            self._writer.run_sync(lambda tx: finish(tx, claimed))  # noqa: B023 - called at once
            marks[0] += then - at
            marks[1] += time.process_time() - then
        return took | {"claim": marks[0] / MEASURED * 1e6, "finish": marks[1] / MEASURED * 1e6}

    async def _enqueue(self) -> None:
        wanted = progress.in_ledger(self._database) + self._total
        async with Onward.from_settings(PROJECT) as onward:
            if self._count:
                for _ in range(self._total // self._count):
                    await onward.enqueue(batch(_requests(self._count)))
            else:
                for first in range(0, self._total, 100):
                    await onward.enqueue_many(list(_requests(min(100, self._total - first))))
            while progress.in_ledger(self._database) < wanted:  # noqa: ASYNC110 - the last commit has no event here
                await asyncio.sleep(0.05)


class Emitting:
    """A process that runs jobs which emit."""

    def __init__(self, count: int, chunks: int) -> None:
        self._count = count
        self._chunks = chunks

    def round(self) -> dict[str, float]:
        return asyncio.run(self._run())

    async def _run(self) -> dict[str, float]:
        async with wiring.run_process(settings.enter(), Role.ACCEPT) as parts:
            new = parts.dispatcher.prepare("bench.emit", {"chunks": self._chunks}, owner=None)
            began, cpu_s = time.perf_counter(), time.process_time()
            accepted = [await parts.writer.run(lambda tx: parts.dispatcher.accept(tx, new)) for _ in range(self._count)]
            await parts.dispatcher.deliver(accepted, after_response=parts.dispatcher.defer)
            while await parts.database.read(_open):  # noqa: ASYNC110 - the end of a job has no event here
                await asyncio.sleep(0.01)
            emitted = self._count * self._chunks
            took_s, cpu_s = time.perf_counter() - began, time.process_time() - cpu_s
            return {"per_second": emitted / took_s, "cpu_us": cpu_s / emitted * 1e6}


def memory_mb() -> float:
    """Return the largest resident memory that this process has had."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def _open(tx: Tx) -> int:
    return int(tx.scalar(sa.select(sa.func.count()).where(jobs.c.finished_at.is_(None))) or 0)


def _plain(_number: int) -> NewJob:
    return NEW


def _requests(count: int) -> Iterator[JobRequest]:
    return (JobRequest(HANDLER, {"n": n}) for n in range(count))


@contextmanager
def _side(given: argparse.Namespace) -> Iterator[Ledger | Application | Emitting]:
    database = database_of(settings.enter(), embedded=True)
    migrate.upgrade(database)
    if given.kind == "emit":
        yield Emitting(given.count, given.jobs)
        return
    if given.kind == "past":
        disable_history()
    writer = Writer(database)
    writer.start()
    if given.kind in ("single", "batch"):
        yield Application(database, writer, given.count, given.jobs)
    else:
        yield Ledger(writer, given.kind, given.count, given.jobs)
    writer.close()
    database.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind")
    parser.add_argument("count", type=int)
    parser.add_argument("jobs", type=int)
    with _side(parser.parse_args()) as side:
        print("ready", flush=True)  # noqa: T201
        for _ in sys.stdin:
            found = side.round()
            print(json.dumps(found | {"memory": memory_mb()}), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
