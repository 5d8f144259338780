"""The ledger's jobs: accepting them, reading them, counting them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import cache
from typing import Any

import sqlalchemy as sa

from onward.jobs import history, key_limits, row
from onward.jobs.concurrency import KEY
from onward.jobs.key_limits import UNPLACED
from onward.jobs.model import Job, NewJob, Visible
from onward.jobs.states import HELD, TERMINAL, UNCLAIMED, JobStatus
from onward.storage.sql import as_list, in_array, one_of
from onward.storage.tables import SLOTS, jobs
from onward.storage.tables import counts as _counts
from onward.storage.transaction import Tx

ID = jobs.c.id == sa.bindparam("id_")
_insert = sa.insert(jobs)
_get = sa.select(*row.ALL).where(ID)
_claim = (
    sa.select(jobs.c.id)
    .where(ID, jobs.c.token == sa.bindparam("token_"), one_of(jobs.c.status, HELD))
    .with_for_update()  # until the commit: nobody claims the job meanwhile
)
_get_many = sa.select(*row.ALL).where(in_array(jobs.c.id, "ids"))
_ID = row.COLUMNS.index("id")
# Each slot is named because the key begins with it: without, all owners' counters are read for one's.
_slots = _counts.c.slot.in_([sa.literal_column(str(n)) for n in range(SLOTS)])
_callers = _counts.c.slot >= sa.literal_column(str(SLOTS))
_count = (
    sa.select(_counts.c.status, sa.cast(sa.func.sum(_counts.c.n), sa.BigInteger))
    .where(_counts.c.owner == sa.bindparam("owner"))
    .group_by(_counts.c.status)
)
_COUNTS = {"sqlite": _count.where(_slots), "postgresql": _count.where(sa.or_(_slots, _callers))}
_OPEN = tuple(status for status in JobStatus if status not in TERMINAL)
_unfolded = sa.select(_counts.c.n).where(_callers).limit(1)
_fold = (
    sa.delete(_counts)
    .where(
        sa.tuple_(_counts.c.slot, _counts.c.owner, _counts.c.status).in_(
            sa.select(_counts.c.slot, _counts.c.owner, _counts.c.status)
            .where(_callers)
            .limit(sa.bindparam("limit_", type_=sa.Integer))
        )
    )
    .returning(_counts.c.owner, _counts.c.status, _counts.c.n)
)
# The next owners in order: each slot gives its first ones by the key, and no other counters are read.
_limit = sa.bindparam("limit_", type_=sa.Integer)
_first_owners = [
    sa.select(_counts.c.owner)
    .where(_counts.c.slot == sa.literal_column(str(n)), _counts.c.owner > sa.bindparam("after_"))
    .distinct()
    .order_by(_counts.c.owner)
    .limit(_limit)
    .subquery(f"slot_{n}")
    for n in range(SLOTS)
]
_owners = sa.union(*(sa.select(one.c.owner) for one in _first_owners)).order_by("owner").limit(_limit)
_have_jobs = (
    sa.select(_counts.c.owner)
    .where(_slots, in_array(_counts.c.owner, "owners"))
    .group_by(_counts.c.owner, _counts.c.status)
    .having(sa.func.sum(_counts.c.n) != sa.literal_column("0"))
)
_forget_owners = (
    sa.delete(_counts)
    .where(_slots, in_array(_counts.c.owner, "owners"))
    .returning(_counts.c.owner, _counts.c.status, _counts.c.n)
)
_open_anonymous = sa.select(sa.func.count()).select_from(
    sa.select(jobs.c.id)
    .where(
        # As an expression: the handler's own index has its finished jobs as well.
        sa.text("handler || '' = :handler_"),
        jobs.c.owner.is_(None),
        one_of(jobs.c.status, _OPEN),
    )
    .limit(sa.bindparam("most_"))
    .subquery()
)
_next_handler = sa.select(sa.func.min(jobs.c.handler)).where(jobs.c.handler > sa.bindparam("after_"))
_waiting_of = sa.select(sa.func.count()).where(
    jobs.c.handler == sa.bindparam("handler_"), one_of(jobs.c.status, {*UNCLAIMED, JobStatus.WAITING})
)


UNDELIVERED = ""
"""In `delivered_to`: nobody delivers the job but maintenance, which does it at once."""


def accept(tx: Tx, new: NewJob, *, local_runner: str | None = None) -> Job:
    """Insert the job, which is accepted once the transaction is committed.

    `local_runner` is the runner that will be handed the job at once; None if any runner may claim it, or if the caller
    will deliver it; UNDELIVERED if the caller cannot. A job with a key is blocked until the end of the transaction,
    which is when the returned job tells whether it may start, or, in a caller's transaction, until it is committed.
    """
    now = tx.now
    due_at = now if new.run_at is None else max(new.run_at, now)
    later = due_at > now
    status = JobStatus.SCHEDULED if later else JobStatus.QUEUED
    values = row.new(
        {
            "id": new.id or tx.new_id("job"),
            "handler": new.handler,
            "status": status._value_,
            "backend": new.backend,
            "owner": new.owner,
            "priority": new.priority,
            "changed": tx.change,
            "params": new.params,
            "params_version": new.params_version,
            "steps": new.steps,
            "max_attempts": new.max_attempts,
            "delivered_to": None if later else local_runner,
            "due_at": due_at,
            "created_at": new.created_at or now,
            "run_at": new.run_at,
            "trace": new.trace,
            "parent": new.parent,
            "unique_key": new.unique.digest if new.unique else None,
            "expires_at": None if new.expires is None else due_at + new.expires,
            "expires_in": new.expires,
            "on_failure": new.on_failure,
            "batch": new.batch,
            "position": new.position,
        }
    )
    if new.limit_key is not None:
        values["limit_key"] = new.limit_key
        if local_runner != UNDELIVERED or not tx.ends_soon:
            values["delivered_to"] = None
        if not later:
            values["parked"] = KEY
            values["placed"] = None if tx.ends_soon else UNPLACED
    tx.insert(_insert, values)
    history.accepted(tx, new.owner, new.handler, status)
    job = row.decode(values.values(), new.pending)
    if job.blocked is not None and tx.ends_soon:
        key_limits.note(tx, job.limit_key, fresh=job)
    return job


def get(tx: Tx, job_id: str) -> Job | None:
    found = tx.one(_get, id_=job_id)
    return row.decode(found) if found else None


def lock_claim(tx: Tx, job: Job) -> bool:
    """Lock the job until the commit, and return whether its claim still holds."""
    return tx.one(_claim, id_=job.id, token_=job.fencing_token) is not None


def get_many(tx: Tx, ids: Sequence[str]) -> dict[str, Job]:
    """Return the jobs that exist, by their ids."""
    return {job.id: job for job in map(row.decode, tx.all(_get_many, ids=as_list(ids)))}


def rows(tx: Tx, ids: Sequence[str], without: frozenset[str] = frozenset()) -> list[Any]:
    """Return the rows that exist, in the order of their ids; the columns `without` are left empty."""
    found = {values[_ID]: values for values in tx.all(_rows(without), ids=as_list(ids))}
    return [found[job_id] for job_id in ids if job_id in found]


@cache
def _rows(without: frozenset[str]) -> Any:
    return sa.select(*row.columns_without(without)).where(in_array(jobs.c.id, "ids"))


def count_open(tx: Tx, owner: str) -> int:
    """Count the owner's jobs that are not over, including those of this transaction; reads once a commit."""
    before = tx.open_before.get(owner)
    if before is None:
        with tx.ahead():  # counters are written with the commit, whatever jobs it has
            found = counts(tx, visible=Visible(owner=owner))
        before = tx.open_before[owner] = sum(found[status] for status in _OPEN)
    deltas = tx.deltas
    return before + sum(deltas.get((owner, status.value), 0) for status in _OPEN)


def count_open_anonymous(tx: Tx, handler: str, most: int) -> int:
    """Count the handler's unfinished jobs without an owner, up to `most`."""
    row = tx.one(_open_anonymous, handler_=handler, most_=most)
    return int(row[0]) if row else 0


def counts(tx: Tx, *, visible: Visible) -> dict[JobStatus, int]:
    """Count the viewer's jobs by status; a status without jobs is 0."""
    owner = "" if visible.everything else visible.owner
    found = dict.fromkeys(JobStatus, 0)
    if owner is not None:
        found.update({JobStatus(status): int(n) for status, n in tx.all(_COUNTS[tx.dialect], owner=owner)})
    return found


def has_unfolded_counts(tx: Tx) -> bool:
    """Return whether callers' transactions have left counters of their own, as they do on PostgreSQL alone."""
    return tx.dialect == "postgresql" and tx.one(_unfolded) is not None


def fold_counts(tx: Tx, limit: int) -> int:
    """Add the counters that callers' transactions have left to this process's; return how many, at most `limit`."""
    return _count_again(tx, tx.all(_fold, limit_=limit))


def idle_owners(tx: Tx, after: str, limit: int) -> tuple[list[str], str]:
    """Return the owners without a job among the next `limit`, and the last owner of these; "" after the last of all."""
    found = tx.scalars(_owners, after_=after, limit_=limit)
    busy = set(tx.scalars(_have_jobs, owners=as_list(found))) if found else set()
    return [owner for owner in found if owner not in busy], found[-1] if len(found) == limit else ""


def forget_owners(tx: Tx, owners: Sequence[str]) -> None:
    """Delete the counters of owners without a job; a job that has come since the look stays counted."""
    _count_again(tx, tx.all(_forget_owners, owners=as_list(owners)))


def _count_again(tx: Tx, deleted: Sequence[tuple[str, str, int]]) -> int:
    """Add deleted counters to those that the commit writes; return how many were deleted."""
    for owner, status, n in deleted:
        tx.deltas[owner, status] = tx.deltas.get((owner, status), 0) + n
    tx.open_before.clear()
    return len(deleted)


def count_unknown_handlers(tx: Tx, handlers: Collection[str]) -> dict[str, int]:
    """Count the waiting jobs of each handler that is not among `handlers`. Slow where many jobs have finished."""
    found: dict[str, int] = {}
    name: str | None = ""
    while (name := tx.scalar(_next_handler, after_=name)) is not None:
        if name not in handlers and (waiting := tx.scalar(_waiting_of, handler_=name)):
            found[name] = waiting
    return found
