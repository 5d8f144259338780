"""The rate of finished jobs, from the time at which each finished; the first fifth is warm-up and does not count."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import sqlalchemy as sa

from benchmarks.base import BenchError
from onward.storage.engine import Database
from onward.storage.tables import counts, jobs

FROM, TO = 0.2, 0.98
_finished = (
    sa.select(jobs.c.finished_at, sa.func.count())
    .where(jobs.c.finished_at.is_not(None))
    .group_by(jobs.c.finished_at)
    .order_by(jobs.c.finished_at)
)
_all = sa.select(sa.func.sum(counts.c.n)).where(counts.c.owner == "")
_succeeded = _all.where(counts.c.status == "SUCCEEDED")


def rate(totals: list[tuple[float, int]], count: int) -> float:
    """Return jobs a second between the first fifth and (nearly) the end; `totals` are pairs of a time and a total."""
    from_ = next((at, n) for at, n in totals if n >= FROM * count)
    to = next((at, n) for at, n in totals if n >= TO * count)
    if to[0] <= from_[0]:
        raise BenchError("too few jobs to tell a rate")
    return (to[1] - from_[1]) / (to[0] - from_[0])


def of_tallies(folder: Path) -> list[tuple[float, int]]:
    """Return the total of all processes of a rival, over time."""
    steps: list[tuple[float, int]] = []
    for file in folder.iterdir():
        before = 0
        for line in file.read_text().splitlines():
            at, n = line.split()
            steps.append((float(at), int(n) - before))
            before = int(n)
    return _summed(sorted(steps))


def tallied(folder: Path) -> int:
    """Return the number of jobs that a rival has done."""
    totals = of_tallies(folder)
    return totals[-1][1] if totals else 0


def of_ledger(ledger: Path | Database) -> list[tuple[float, int]]:
    """Return the times at which the ledger's jobs finished."""
    return _summed([(at / 1e6, n) for at, n in _read(ledger, _finished)])


def done_in_ledger(ledger: Path | Database) -> int:
    """Return the number of jobs that succeeded."""
    return int(_read(ledger, _succeeded)[0][0] or 0)


def in_ledger(ledger: Path | Database) -> int:
    """Return the number of accepted jobs."""
    return int(_read(ledger, _all)[0][0] or 0)


def _read(ledger: Path | Database, statement: Any) -> list[Any]:
    if isinstance(ledger, Database):
        return ledger.read_sync(lambda tx: tx.all(statement))
    database = Database(f"sqlite:///{ledger}")
    try:
        return _read(database, statement)
    finally:
        database.close()


def _summed(steps: list[tuple[float, int]]) -> list[tuple[float, int]]:
    total, summed = 0, []
    for at, n in steps:
        total += n
        summed.append((at, total))
    return summed
