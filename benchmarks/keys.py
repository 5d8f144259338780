"""Measure limits by key, with few keys and with many: `python -m benchmarks.keys [--jobs N] [--database URL]`.

On one ledger after another: so many jobs of ten keys, or of a key each, and then accepts, claims and ends beside them.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import sqlalchemy as sa

from benchmarks.base import BenchError
from onward.jobs import claims, key_limits, ledger, recording
from onward.jobs.key_limits import Rule
from onward.jobs.limits import Limit
from onward.jobs.model import Job, NewJob, Step
from onward.jobs.outcome import Outcome
from onward.jobs.row import encode_steps
from onward.jobs.states import JobStatus
from onward.storage import migrate
from onward.storage.engine import Database
from onward.storage.tables import jobs
from onward.storage.transaction import Tx
from onward.storage.writer import Writer

HANDLER = "bench.keyed"
BATCH = 10  # jobs that a commit accepts, claims or ends
MEASURED, ROUNDS = 3_200, 5
STEPS = (Step("only", 0),)
OVER = sa.update(jobs).values(status="SUCCEEDED", finished_at=sa.bindparam("now"), parked=None)


def accept(tx: Tx, keys: list[int]) -> list[Job]:
    steps = encode_steps(STEPS)
    new = [NewJob(HANDLER, "here", "{}", 1, steps, 3, pending=STEPS, limit_key=f"{HANDLER}:{key}") for key in keys]
    return [ledger.accept(tx, one) for one in new]


def claim(tx: Tx) -> list[Job]:
    return claims.claim_due(tx, runner="one", worker="w", backend="here", limit=BATCH)


def end(tx: Tx, claimed: list[Job]) -> None:
    for job in sorted(claimed, key=lambda one: one.id):
        recording.record_outcome(tx, job, Outcome(JobStatus.SUCCEEDED), steps=job.steps)


def measure(url: str, keys: int, count: int, *, blocked: bool) -> dict[str, float]:
    """Return microseconds of processor time a job; the first jobs are `blocked` by their limits, or are over."""
    database = Database(url)
    migrate.upgrade(database)
    writer = Writer(database)
    writer.start()
    rule = Rule(HANDLER, Limit(1))
    writer.run_sync(lambda tx: key_limits.configure(tx, {HANDLER: rule}))
    for first in range(0, count, 1_000):
        writer.run_sync(lambda tx, first=first: accept(tx, [n % keys for n in range(first, first + 1_000)]))  # type: ignore[misc]
    if not blocked:
        writer.run_sync(lambda tx: tx.execute(OVER, now=tx.now))
    figures: dict[str, list[float]] = {"accept": [], "claim": [], "end": []}
    for number in range(ROUNDS):
        took = dict.fromkeys(figures, 0.0)
        done = 0
        while done < MEASURED:
            batch = [(number * MEASURED + done + n) * 7_919 % keys for n in range(BATCH)]
            marks = [time.process_time()]
            writer.run_sync(lambda tx: accept(tx, batch))  # noqa: B023 - called at once
            marks.append(time.process_time())
            claimed = writer.run_sync(claim)
            marks.append(time.process_time())
            writer.run_sync(lambda tx: end(tx, claimed))  # noqa: B023 - called at once
            marks.append(time.process_time())
            if len(claimed) != BATCH:
                raise BenchError(f"{len(claimed)} of {BATCH} jobs were claimed: take an even number of --jobs")
            for name, began, ended in zip(took, marks, marks[1:], strict=False):
                took[name] += ended - began
            done += BATCH
        for name, seconds in took.items():
            figures[name].append(seconds / done * 1e6)
    writer.close()
    database.close()
    return {name: statistics.median(values) for name, values in figures.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=100_000)
    parser.add_argument("--database", default="", help="of PostgreSQL, empty; without it SQLite in a new file")
    parser.add_argument("--one", nargs=2, metavar=("KEYS", "BLOCKED"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        keys, blocked = int(given.one[0]), given.one[1] == "True"
        found = measure(given.database, keys, given.jobs, blocked=blocked)
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        sys.stdout.write(" ".join(f"{name} {value:6.1f} us" for name, value in found.items()))
        sys.stdout.write(f" memory {memory:.0f} MB\n")
        return
    for blocked in (False, True):
        # One in line for each key and one behind it, or the same number of jobs behind ten.
        many = given.jobs // 2 if blocked else given.jobs
        for keys in (10, many):
            with tempfile.TemporaryDirectory() as folder:
                url = given.database or f"sqlite:///{Path(folder) / 'onward.db'}"
                command = [sys.executable, "-m", "benchmarks.keys", "--jobs", str(given.jobs), "--database", url]
                words = "limits reached" if blocked else "keys at rest"
                sys.stdout.write(f"{words:20} {keys:7} keys: ")
                sys.stdout.flush()
                subprocess.run([*command, "--one", str(keys), str(blocked)], check=True)


if __name__ == "__main__":
    main()
