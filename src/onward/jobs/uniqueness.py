"""Unique jobs: one job of a handler at a time holds a key.

A row of `uniques` names the job that holds a key. Nothing releases it: whether that job still counts is read from its
state when another one wants the key, so that the end of a job costs nothing, and both are one commit. A transaction
takes its keys first, in order, and then locks the jobs that hold them (`lock_order`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import sqlalchemy as sa

from onward.jobs.base import NotUnique
from onward.jobs.expiry import SPAN
from onward.jobs.ledger import ID, get
from onward.jobs.model import Job, NewJob, UniqueKey
from onward.jobs.states import HELD, JobStatus
from onward.storage import lock_order
from onward.storage.lock_order import ALONE, ROWS, LockOrder
from onward.storage.sql import insert_new
from onward.storage.tables import jobs
from onward.storage.tables import uniques as _uniques
from onward.storage.transaction import Tx

S = JobStatus
Insert = Callable[[Tx, NewJob], Job]
ANY = "scheduled queued running retrying waiting"
_SITUATIONS = {
    S.SCHEDULED.value: {"scheduled"},
    S.QUEUED.value: {"queued"},
    S.RUNNING.value: {"running"},
    S.CANCELLING.value: {"running"},
    S.RETRYING.value: {"retrying"},
    S.WAITING.value: {"waiting"},
}
_INTERRUPTED = {"running", "retrying"}  # the situations of a job that has begun and is in the queue again
_p = sa.bindparam
_this = (_uniques.c.handler == _p("handler_"), _uniques.c.key == _p("key_"))
_take = insert_new(_uniques)
_find = sa.select(_uniques.c.job, _uniques.c.until, _uniques.c.situations).where(*_this).with_for_update()
_pass_on = sa.update(_uniques).where(*_this).values(job=_p("job_"), until=_p("until_"), situations=_p("situations_"))
_lock_job = sa.select(jobs.c.id).where(ID).with_for_update()
_free = sa.select(_uniques.c.job).where(*_this, _uniques.c.job == _p("job_")).with_for_update(skip_locked=True)
_drop = sa.delete(_uniques).where(*_this, _uniques.c.job == _p("job_"))
_unchanged = sa.update(jobs).where(ID, jobs.c.version == _p("version_"))
_BUMP = {"version": jobs.c.version + 1, "changed": _p("change")}
_WORK: dict[str, Any] = {
    "params": _p("params_"),
    "params_version": _p("params_version_"),
    "steps": _p("steps_"),
    "max_attempts": _p("max_attempts_"),
}
_TIME: dict[str, Any] = {
    "due_at": _p("due_"),
    "run_at": _p("due_"),
    "expires_at": _p("due_") + SPAN,  # as long after the new time as after the old one
}
_CHANGES = {
    (True, False): _unchanged.values({**_BUMP, **_WORK}),
    (False, True): _unchanged.values({**_BUMP, **_TIME}),
    (True, True): _unchanged.values({**_BUMP, **_WORK, **_TIME}),
}


class Holder(NamedTuple):
    """The job that holds a key, the time until which it counts in any case, and the situations in which it counts."""

    job: str
    until: int | None
    situations: str


def order(new: NewJob, otherwise: LockOrder = ROWS) -> LockOrder:
    """Return the lock order of a function that accepts the job, which is `otherwise` without a unique key."""
    if new.unique is None:
        return otherwise
    alone = new.unique.changes or new.unique.locks_holder
    return ALONE if alone else lock_order.unique(new.handler, new.unique.digest)


def order_of_many(news: Iterable[NewJob], otherwise: LockOrder = ROWS) -> LockOrder:
    """Return the lock order of a function that accepts these jobs."""
    return ALONE if any(new.unique is not None for new in news) else otherwise


def accept(tx: Tx, new: NewJob, insert: Insert) -> Job:
    """Insert the job, or return the one that holds its key, which is `replayed` then.

    The job that is there is changed as the key says, unless it has another owner.
    """
    return insert(tx, new) if new.unique is None else accept_each(tx, [new], insert)[0]


def accept_each(tx: Tx, news: Sequence[NewJob], insert: Insert) -> list[Job]:
    """Do the same for several jobs, in order."""
    if not any(new.unique for new in news):
        return [insert(tx, new) for new in news]
    named = [new if new.unique is None or new.id else replace(new, id=tx.new_id("job")) for new in news]
    holders = reserve(tx, named)
    accepted = []
    for new in named:
        there = None if new.unique is None else _given(tx, new, new.unique, holders)
        accepted.append(insert(tx, _put_off(tx, new)) if there is None else replace(there, replayed=True))
    return accepted


def refuse_foreign(accepted: Job, new: NewJob) -> Job:
    """Return the job that was accepted for a caller. Raises NotUnique if it is another owner's."""
    if accepted.replayed and accepted.owner != new.owner:
        raise NotUnique(new.handler)
    return accepted


Holders = dict[tuple[str, str], Holder]


def reserve(tx: Tx, news: Sequence[NewJob], *, parent: str | None = None) -> Holders:
    """Take the keys of jobs that have ids, in order, and then lock the jobs that hold them and may not begin now.

    `parent` is a job that the transaction changes, and is locked with them. Does nothing without unique jobs. Until the
    end of the transaction nobody else gets the keys.
    """
    keyed = [(new.handler, new.unique.digest, new, new.unique) for new in news if new.unique is not None]
    if not keyed:
        return {}
    holders: Holders = {}
    wanted = {parent} if parent is not None else set()
    ordered = sorted(keyed, key=lambda one: one[:2])
    with tx.brief_waits():
        for handler, digest, new, key in ordered:
            if (handler, digest) not in holders:
                holders[handler, digest] = _held(tx, new, key)
    for handler, digest, new, key in ordered:
        holder = holders[handler, digest]
        if holder.job != new.id and (key.changes or key.locks_holder):
            job = get(tx, holder.job)
            if job is not None and not _has_begun(job):
                wanted.add(job.id)
    for job_id in sorted(wanted):
        tx.one(_lock_job, id_=job_id)
    return holders


def is_held_by_running(tx: Tx, new: NewJob, job_id: str, holders: Holders) -> bool:
    """Return whether the job runs and holds the key of the new one: it keeps the key until it has ended.

    `holders` are those of `reserve`.
    """
    if new.unique is None or (holder := holders[new.handler, new.unique.digest]).job != job_id:
        return False
    job = get(tx, job_id)
    return job is not None and job.status in HELD and _counts(job, new.unique.situations, holder.until, tx.now)


def retake(tx: Tx, again: Iterable[Job]) -> dict[str, Job]:
    """Take the keys of jobs that are about to run again.

    Return the jobs that hold one of them now, by the ids of those that may not run again.
    """
    taken: set[str] = set()
    refused: dict[str, Job] = {}
    keyed = [(job.handler, job.unique_key, job.id, job.created_at) for job in again if job.unique_key is not None]
    for handler, digest, job_id, created_at in sorted(keyed):
        with tx.brief_waits():
            holder = _take_or_find(tx, handler, digest, Holder(job_id, None, ANY))
        if holder is None:
            taken.add(job_id)
            continue
        if holder.job != job_id:
            other = get(tx, holder.job)
            if other is not None and (
                other.id in taken or _counts(other, holder.situations.split(), holder.until, tx.now)
            ):
                refused[job_id] = other
                continue
            # It counts for as long after its own acceptance.
            until = None if other is None or holder.until is None else created_at + holder.until - other.created_at
            _hold(tx, handler, digest, Holder(job_id, until, holder.situations))
        taken.add(job_id)
    return refused


def forget(tx: Tx, keys: Iterable[tuple[str, str, str]]) -> None:
    """Delete the rows of deleted jobs, given as handler, key and job; leave those that somebody is taking just now."""
    for handler, digest, job_id in keys:
        named = {"handler_": handler, "key_": digest, "job_": job_id}
        if tx.one(_free, **named) is not None:
            tx.execute(_drop, **named)


def _held(tx: Tx, new: NewJob, key: UniqueKey) -> Holder:
    """Take the key for a new job if it is free, and return its holder."""
    mine = _holder(tx, new, key)
    return _take_or_find(tx, new.handler, key.digest, mine) or mine


def _take_or_find(tx: Tx, handler: str, digest: str, mine: Holder) -> Holder | None:
    """Insert the row of a key; if there is one, lock it and return it."""
    while True:
        if tx.execute(_take, handler=handler, key=digest, **mine._asdict()):
            return None
        if (found := tx.one(_find, handler_=handler, key_=digest)) is not None:
            return Holder._make(found)
        # Deleted in between, with its job.


def _holder(tx: Tx, new: NewJob, key: UniqueKey) -> Holder:
    until = None if key.within is None else tx.now + key.within
    return Holder(str(new.id), until, " ".join(key.situations))


def _given(tx: Tx, new: NewJob, key: UniqueKey, holders: Holders) -> Job | None:
    """Return the job that is given in place of the new one, changed as the key says; None if the new one holds the key.

    Its keys and the jobs that hold them are locked.
    """
    holder = holders[new.handler, key.digest]
    if holder.job == new.id:
        return None
    job = get(tx, holder.job)
    if job is not None and _counts(job, key.situations, holder.until, tx.now):
        if not key.changes or job.owner != new.owner:
            return job
        if (changed := _changed(tx, job, new, key)) is not None:
            return changed
    holders[new.handler, key.digest] = mine = _holder(tx, new, key)
    _hold(tx, new.handler, key.digest, mine)
    return None


def _hold(tx: Tx, handler: str, digest: str, holder: Holder) -> None:
    values = {"job_": holder.job, "until_": holder.until, "situations_": holder.situations}
    tx.execute(_pass_on, handler_=handler, key_=digest, **values)


def _counts(job: Job, situations: Collection[str], until: int | None, now: int) -> bool:
    """Return whether a job that holds a key keeps others from it."""
    if job.status in (S.FAILED, S.CANCELLED) or (
        job.expires_at is not None and not job.attempt and job.expires_at <= now
    ):
        return False
    if until is not None and until > now:
        return True
    its = _INTERRUPTED if job.status is S.QUEUED and job.attempt > 0 else _SITUATIONS.get(job.status.value, set())
    return not its.isdisjoint(situations)


def _has_begun(job: Job) -> bool:
    return job.attempt > 0 or job.status not in (S.SCHEDULED, S.QUEUED)


def _changed(tx: Tx, job: Job, new: NewJob, key: UniqueKey) -> Job | None:
    """Change a job that has not begun, and return it as it is then; None if it has begun."""
    if _has_begun(job):
        return None
    due = _later(tx, job, new, key)
    if not key.replaces and due is None:
        return job
    values: dict[str, Any] = {"due_": due}
    if key.replaces:
        values |= {
            "params_": new.params,
            "params_version_": new.params_version,
            "steps_": new.steps,
            "max_attempts_": new.max_attempts,
        }
    statement = _CHANGES[key.replaces, due is not None]
    return get(tx, job.id) if _is_written(tx, statement, job, values) else None


def _is_written(tx: Tx, statement: sa.Update, job: Job, values: dict[str, Any]) -> bool:
    return bool(tx.execute(statement, id_=job.id, version_=job.version, change=tx.change, **values))


def _later(tx: Tx, job: Job, new: NewJob, key: UniqueKey) -> int | None:
    """Return the later due time of a job that is put off; None if it stays as it is.

    A job whose time has come is about to begin, and nothing puts it off.
    """
    if key.debounce is None or job.status is not S.SCHEDULED:
        return None
    wanted = max(tx.now + key.debounce, new.run_at or 0)
    due = min(wanted, job.created_at + key.max_wait)
    return due if due > job.due_at else None


def _put_off(tx: Tx, new: NewJob) -> NewJob:
    """Return a new job with the delay of its key."""
    if new.unique is None or new.unique.debounce is None:
        return new
    return replace(new, run_at=max(tx.now + new.unique.debounce, new.run_at or 0))
