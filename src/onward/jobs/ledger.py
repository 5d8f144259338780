"""The ledger's rows: accepting a job, reading jobs, the counters."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import orjson
import sqlalchemy as sa

from onward.jobs.model import Job, NewJob, Visible, from_row
from onward.jobs.states import TERMINAL, WAITING, JobStatus
from onward.storage.sql import as_list, in_array
from onward.storage.tables import commits as _commits
from onward.storage.tables import counts as _counts
from onward.storage.tables import jobs
from onward.storage.transaction import Tx
from onward.storage.writer import SLOTS

ID = jobs.c.id == sa.bindparam("id_")
_insert = sa.insert(jobs)
_get = sa.select(jobs).where(ID)
_get_many = sa.select(jobs).where(in_array(jobs.c.id, "ids"))
_count = (
    sa.select(_counts.c.status, sa.cast(sa.func.sum(_counts.c.n), sa.BigInteger))
    # Each slot is named because the key begins with it: without, all owners' counters are read for one's.
    .where(_counts.c.slot.in_([sa.literal_column(str(n)) for n in range(SLOTS)]))
    .where(_counts.c.owner == sa.bindparam("owner"))
    .group_by(_counts.c.status)
)
_next_handler = sa.select(sa.func.min(jobs.c.handler)).where(jobs.c.handler > sa.bindparam("after_"))
_waiting_of = sa.select(sa.func.count()).where(
    jobs.c.handler == sa.bindparam("handler_"),
    jobs.c.status.in_([sa.literal_column(f"'{status}'") for status in sorted(WAITING)]),
)
_next_sqlite = sa.select(_commits.c.n + 1)
_oldest_postgresql = sa.text("SELECT CAST(CAST(pg_snapshot_xmin(pg_current_snapshot()) AS TEXT) AS BIGINT)")


def accept(tx: Tx, new: NewJob, *, home: str | None = None) -> Job:
    """The job is in the ledger as soon as the unit's commit is; `home` is the runner that will run it at once."""
    now = tx.now
    later = new.run_at is not None and new.run_at > now
    status = JobStatus.SCHEDULED if later else JobStatus.QUEUED
    values: dict[str, Any] = {
        "id": new.id or tx.new_id("job"),
        "handler": new.handler,
        "status": status.value,
        "backend": new.backend,
        "owner": new.owner,
        "priority": new.priority,
        "version": 1,
        "changed": tx.change,
        "run": 1,
        "params": new.params,
        "params_version": new.params_version,
        "progress": None,
        "steps": new.steps,
        "attempts": "[]",
        "attempt": 0,
        "charged": 0,
        "max_attempts": new.max_attempts,
        "deaths": 0,
        "token": 0,
        "runner": None,
        "worker": None,
        "attempt_started_at": None,
        "delivered_to": None if later else home,
        "due_at": new.run_at if later else now,
        "created_at": now,
        "run_at": new.run_at,
        "started_at": None,
        "finished_at": None,
        "result": None,
        "error": None,
        "reason": None,
        "trace": new.trace,
        "parked": None,
        "promised": None,
    }
    tx.insert(_insert, values)
    tx.count(new.owner, status, 1)
    return Job(
        values["id"], new.handler, status, new.backend, new.owner, new.priority, 1, 1, orjson.loads(new.params),
        new.params_version, None, new.pending, (), 0, 0, new.max_attempts, 0, 0, None, values["delivered_to"],
        values["due_at"], now, new.run_at, None, None, None, None, None, new.trace,
    )  # fmt: skip


def get(tx: Tx, job_id: str) -> Job | None:
    row = tx.one(_get, id_=job_id)
    return from_row(row) if row else None


def get_many(tx: Tx, ids: Sequence[str]) -> dict[str, Job]:
    """Those of the jobs that there are, by id."""
    return {row[0]: from_row(row) for row in tx.all(_get_many, ids=as_list(ids))}


def horizon(tx: Tx) -> int:
    """Whatever is not seen yet and will be has this number in `changed`, or a greater one.

    On SQLite commits are numbered one after another; on PostgreSQL it is the oldest transaction that is not over.
    """
    row = tx.one(_next_sqlite if tx.dialect == "sqlite" else _oldest_postgresql)
    return int(row[0]) if row else 0


def count_open(tx: Tx, owner: str) -> int:
    """How many jobs of the owner are not over, those of this unit included."""
    found = counts(tx, visible=Visible(owner=owner))
    return sum(
        found[status] + tx.deltas.get((owner, status.value), 0) for status in JobStatus if status not in TERMINAL
    )


def counts(tx: Tx, *, visible: Visible) -> dict[JobStatus, int]:
    """How many jobs of each status the viewer has, those with none included."""
    owner = "" if visible.everything else visible.owner
    found = dict.fromkeys(JobStatus, 0)
    if owner is not None:
        found.update({JobStatus(status): int(n) for status, n in tx.all(_count, owner=owner)})
    return found


def count_unknown_handlers(tx: Tx, handlers: Collection[str]) -> dict[str, int]:
    """How many jobs wait of each handler that is none of these; for who has time, where finished ones are many."""
    found: dict[str, int] = {}
    name = ""
    while (row := tx.one(_next_handler, after_=name)) and row[0] is not None:
        name = row[0]
        if name not in handlers and (counted := tx.one(_waiting_of, handler_=name)) and counted[0]:
            found[name] = counted[0]
    return found
