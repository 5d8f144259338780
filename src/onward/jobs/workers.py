"""The processes of the installation, as their heartbeats show them, and the wish that one drains."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

import sqlalchemy as sa

from onward.jobs.base import NotFound, WorkerRefused
from onward.storage.sql import as_list, in_array
from onward.storage.tables import BY_HOLDER, held, jobs, runners
from onward.storage.transaction import Tx
from onward.text.queues import split

API = "api"  # answers requests, and may run jobs beside that
WORKER = "worker"  # of `onward worker`, which ends when it has drained
DRAMATIQ = "dramatiq"  # of Dramatiq's own command line, which ends all its processes together
ISOLATED = "isolated"  # runs jobs whose runners died, and ends with them
UNKNOWN = "unknown"  # of an older release

_p = sa.bindparam
_columns = (
    runners.c.id,
    runners.c.name,
    runners.c.role,
    runners.c.version,
    runners.c.started_at,
    runners.c.memory,
    runners.c.takes,
    runners.c.draining,
)
_all = sa.select(*_columns).order_by(runners.c.started_at, runners.c.id)
_one = sa.select(*_columns).where(runners.c.id == _p("id_")).with_for_update()
_running = (
    sa.select(jobs.c.runner, sa.func.count()).where(held).group_by(jobs.c.runner).with_hint(jobs, BY_HOLDER, "sqlite")
)
_running_handlers = (
    sa.select(jobs.c.runner, jobs.c.handler, sa.func.count())
    .where(held)
    .group_by(jobs.c.runner, jobs.c.handler)
    .order_by(jobs.c.runner, jobs.c.handler)
    .with_hint(jobs, BY_HOLDER, "sqlite")
)
_running_in = sa.select(sa.func.count()).where(held, jobs.c.runner == _p("id_")).with_hint(jobs, BY_HOLDER, "sqlite")
_by_age = (
    sa.select(
        jobs.c.runner,
        jobs.c.id,
        sa.func.row_number()
        .over(partition_by=jobs.c.runner, order_by=(jobs.c.attempt_started_at, jobs.c.id))
        .label("number"),
    )
    .where(held, in_array(jobs.c.runner, "ids"))
    .with_hint(jobs, BY_HOLDER, "sqlite")
    .subquery()
)
_longest = (
    sa.select(_by_age.c.runner, _by_age.c.id)
    .where(_by_age.c.number <= _p("limit_", type_=sa.Integer))
    .order_by(_by_age.c.runner, _by_age.c.number)
)
_drain = sa.update(runners).where(runners.c.id == _p("id_")).values(draining=1)


class Worker(NamedTuple):
    """A process: `started_at` in microseconds, `memory_bytes` at its newest heartbeat, `running` jobs now."""

    id: str
    name: str  # of the machine, and its process id; `worker` of the attempts that it runs
    role: str
    version: str  # "" for an older release, which does not say
    started_at: int
    running: int
    memory_bytes: int | None
    queues: tuple[str, ...] | None  # whose jobs it runs; None for an older release, which does not say
    draining: bool


def all_workers(tx: Tx) -> list[Worker]:
    """Return the processes, oldest first; a dead one until another has noticed."""
    running = dict(tx.all(_running))
    return [_decode(row, running.get(row[0], 0)) for row in tx.all(_all)]


def running_by_handler(tx: Tx) -> dict[str, dict[str, int]]:
    """Return the number of jobs that each process runs, by its id and their handler."""
    found: dict[str, dict[str, int]] = {}
    for runner, handler, n in tx.all(_running_handlers):
        found.setdefault(runner, {})[handler] = n
    return found


def longest_running(tx: Tx, ids: Collection[str], limit: int) -> dict[str, list[str]]:
    """Return the ids of the jobs that each of the processes runs, those of the oldest attempts first, up to `limit`."""
    found: dict[str, list[str]] = {}
    for runner, job_id in tx.all(_longest, ids=as_list(ids), limit_=limit):
        found.setdefault(runner, []).append(job_id)
    return found


def drain(tx: Tx, worker_id: str) -> Worker:
    """Have a worker process drain, which learns of it at its next heartbeat. May be called again.

    Raises NotFound, and WorkerRefused for a process that does not end by itself when it has drained.
    """
    row = tx.one(_one, id_=worker_id)
    if row is None:
        raise NotFound(worker_id)
    worker = _decode(row, tx.scalar(_running_in, id_=worker_id) or 0)
    if worker.role != WORKER:
        raise WorkerRefused(
            f"only a process of `onward worker` drains on request, and the role of this one is {worker.role}: stop the"
            " process itself, and it drains",
            worker,
        )
    tx.execute(_drain, id_=worker_id)
    return _decode((*row[:-1], 1), worker.running)


def _decode(
    row: tuple[str, str, str | None, str | None, int, int | None, str | None, int | None], running: int
) -> Worker:
    id_, name, role, version, started_at, memory, takes, draining = row
    queues = None if takes is None else tuple(sorted({split(destination)[1] for destination in takes.split()}))
    return Worker(id_, name, role or UNKNOWN, version or "", started_at, running, memory, queues, draining is not None)
