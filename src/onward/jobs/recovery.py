"""The end of claims that no runner works on: their jobs wait again.

A crash counts towards POISON; a stop, and a claim that its runner lost track of, count as nothing.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import sqlalchemy as sa

from onward.jobs import leadership, on_failure, overruns, recording, refused, row
from onward.jobs.claims import CRASHES_BEFORE_ISOLATION, MAX_CRASHES
from onward.jobs.dispatched import JobEnqueuer
from onward.jobs.key_limits import may_start
from onward.jobs.model import Job, JobError
from onward.jobs.outcome import Outcome
from onward.jobs.states import JobStatus, StepStatus
from onward.storage.sql import as_list, in_array
from onward.storage.tables import BY_ASSIGNMENT, BY_HOLDER, assigned, held, jobs, ready_row, runners
from onward.storage.transaction import Tx

S = JobStatus
ROWS = 200  # jobs that one commit changes at most
Released = list[tuple[str, JobStatus]]
"""The handler of each job whose claim was ended, and the status that the job is in now."""


class Batch(NamedTuple):
    """A part of a runner's jobs that are free again; `more` if there may be others, for another commit.

    `left` if another transaction has locked some of its jobs, for a later look; the next commit begins after `last`.
    """

    released: Released
    more: bool
    left: bool = False
    last: str = ""


_p = sa.bindparam
# Locked, so that nobody makes RUNNING CANCELLING between this read and the writes that follow from it; by id, as all
# transactions lock jobs.
_held = (
    sa.select(*row.ALL)
    .where(held, jobs.c.runner == _p("runner_"))
    .order_by(jobs.c.id)
    .with_for_update()
    .with_hint(jobs, BY_HOLDER, "sqlite")
)
_held_by = _held.where(jobs.c.id > _p("after_")).limit(_p("limit_", type_=sa.Integer))
# One locked job must not keep the others of a dead process waiting, nor this process's writer.
_idle_held_by = _held_by.with_for_update(skip_locked=True)
_any_held = (
    sa.select(jobs.c.id).where(held, jobs.c.runner == _p("runner_")).limit(1).with_hint(jobs, BY_HOLDER, "sqlite")
)
_assigned_to = sa.select(jobs.c.id).where(assigned, jobs.c.delivered_to == _p("runner_"))
_assigned_to = _assigned_to.with_hint(jobs, BY_ASSIGNMENT, "sqlite")
_any_assigned = _assigned_to.limit(1)
_held_among = _held.where(in_array(jobs.c.id, "ids"))
_beat = sa.select(runners.c.beat).where(runners.c.id == _p("runner_")).with_for_update()
_forget = sa.delete(runners).where(runners.c.id == _p("runner_"))
_known = sa.select(runners.c.id)
_unknown_holders = (
    sa.select(jobs.c.runner).where(held, jobs.c.runner.not_in(_known)).distinct().with_hint(jobs, BY_HOLDER, "sqlite")
)
_resumable = (
    sa.select(*row.ALL)
    .where(
        jobs.c.id == _p("id_"),
        jobs.c.attempt == _p("attempt_"),
        jobs.c.run == _p("run_"),
        sa.or_(
            sa.and_(jobs.c.status == S.QUEUED.value, may_start),
            sa.and_(held, jobs.c.token == _p("token_")),  # its own: only the runner is another one
        ),
    )
    .with_for_update()
)
_resume = (
    sa.update(jobs)
    .where(jobs.c.id == _p("id_"), jobs.c.version == _p("version_"))
    .values(
        {
            "version": jobs.c.version + 1,
            "changed": _p("change"),
            "status": sa.case((jobs.c.status == S.CANCELLING.value, S.CANCELLING.value), else_=S.RUNNING.value),
            "token": jobs.c.token + 1,
            "runner": _p("runner_"),
            "worker": _p("worker_"),
            "attempts": _p("attempts_"),
            "deaths": _p("crashes_"),
            "delivered_to": None,
            "parked": None,
            "promised": None,
        }
    )
    .returning(*row.ALL)
)
_assigned = (
    _assigned_to.limit(_p("limit_", type_=sa.Integer))
    .with_for_update(skip_locked=True)
    .cte("assigned")
    .prefix_with("MATERIALIZED")
)
_clear_affinity = (
    sa.update(jobs)
    .where(jobs.c.id.in_(sa.select(_assigned.c.id)), ready_row, jobs.c.delivered_to == _p("runner_"))
    .values(delivered_to=None)
)


def release_runner(tx: Tx, limit: int = ROWS, *, runner: str) -> Batch:
    """End claims of the runner without counting an attempt, and forget it with the last of them.

    A runner with functions that go on keeps their places, and stays known until its process is gone. Jobs that another
    transaction has locked are those of an orphaned runner afterwards.
    """
    if tx.scalar(_beat, runner_=runner) is None:
        return Batch([], more=False)
    batch = _release_batch(tx, runner, limit, crashed=False)
    if overruns.any_of(tx, runner=runner):
        leadership.resign(tx, runner)
    elif not batch.more:
        tx.execute(_forget, runner_=runner)
    return batch


def reclaim_dead(
    tx: Tx,
    limit: int = ROWS,
    *,
    runner: str,
    beat: int | None,
    after: str = "",
    enqueuer: JobEnqueuer | None = None,
) -> Batch | None:
    """End claims of a dead runner, and forget it with the last of them, so that another process may go on with them.

    It stays known while another transaction has locked one of its jobs: to a later call that job counts the crash too.
    None if it was reclaimed before, or its counter is another one than `beat`. Pass None for further batches: with the
    first one it is dead, and when it is forgotten it notices that, should it live; `after` is the `last` of the batch
    before. `enqueuer` accepts the jobs of `on_failure`.
    """
    found = tx.scalar(_beat, runner_=runner)
    if found is None or beat not in (None, found):
        return None
    batch = _release_batch(tx, runner, limit, crashed=True, after=after, enqueuer=enqueuer)
    if not batch.more and not batch.left:
        tx.execute(_forget, runner_=runner)
        overruns.forget(tx, runner=runner)
    return batch


def reclaim_isolated(
    tx: Tx, *, runner: str, crashed: bool = True, enqueuer: JobEnqueuer | None = None
) -> Released | None:
    """End the claims of a child process that ran one job at a time, so that the job is known to have killed it.

    Not `crashed` if the parent killed it at a stop. None if it gave back its lease itself.
    """
    if not tx.execute(_forget, runner_=runner):
        return None
    overruns.forget(tx, runner=runner)
    return _release_batch(tx, runner, ROWS, crashed=crashed, isolated=True, enqueuer=enqueuer).released


def orphaned_runners(tx: Tx, *, assigned: Collection[str]) -> list[str]:
    """Return runners that the ledger does not know, and that hold jobs or had jobs delivered (`assigned`).

    Such a runner stood still, was reclaimed, and claimed or accepted once more before it noticed.
    """
    known = set(tx.scalars(_known))
    return sorted({*tx.scalars(_unknown_holders)} | ({*assigned} - known))


def has_jobs(tx: Tx, *, runner: str) -> bool:
    """Return whether the runner holds a job, or a queued one was accepted for it."""
    return any(tx.one(statement, runner_=runner) is not None for statement in (_any_held, _any_assigned))


def release_orphan(tx: Tx, limit: int = ROWS, *, runner: str) -> int:
    """End claims of an orphaned runner without counting an attempt; return the number of jobs that are free again.

    Jobs that another transaction has locked are left.
    """
    released, _, cleared, _ = _free(tx, runner, limit, crashed=False)
    return len(released) + cleared


def resume(tx: Tx, job: Job, *, runner: str, worker: str) -> Job | None:
    """Undo the end of a claim whose process was declared dead and lives: it goes on under the new runner.

    None if somebody has claimed the job since or has the place of its key, or if it is over. A crash that was counted
    for it is taken back.
    """
    found = tx.one(_resumable, id_=job.id, attempt_=job.attempt, run_=job.run, token_=job.fencing_token)
    if found is None:
        return None
    now = row.decode(found)
    attempts = now.attempts
    crashed = False
    if now.status is S.QUEUED:
        ended = attempts[-1]
        if ended.error is None or ended.counts_as_attempt or ended.error.code not in ("LEASE_LOST", "HANDED_BACK"):
            return None  # it has ended by itself, and a wait of the job has ended since, or its next attempt is due
        crashed = ended.error.code == "LEASE_LOST"
        attempts = attempts[:-1]
        tx.count(now.owner, S.QUEUED, -1)
        tx.count(now.owner, S.RUNNING, 1)
    else:
        attempts = attempts[:-1]  # the one in progress, which is in columns of its own
    values = {"attempts_": row.encode_attempts(attempts), "crashes_": now.crash_count - crashed}
    after = tx.one(
        _resume, id_=job.id, version_=now.version, runner_=runner, worker_=worker, change=tx.change, **values
    )
    return None if after is None else replace(row.decode(after), limited=job.limited)


def release(tx: Tx, claims: Collection[row.Claim], *, runner: str) -> None:
    """End these claims of the runner without counting an attempt."""
    for job in map(row.decode, tx.all(_held_among, runner_=runner, ids=as_list([claim.id for claim in claims]))):
        if row.Claim(job.id, job.fencing_token) in claims:
            _release(tx, job, _outcome(job, crashed=False, isolated=False))


def clear_affinity(tx: Tx, limit: int = ROWS, *, runner: str) -> int:
    """Let any runner claim queued jobs that were accepted for this one, except those that change at this moment.

    Returns how many, at most `limit`.
    """
    return tx.execute(_clear_affinity, runner_=runner, limit_=limit)


def _release_batch(tx: Tx, runner: str, limit: int, *, crashed: bool, **options: Any) -> Batch:
    released, found, cleared, last = _free(tx, runner, limit, crashed=crashed, **options)
    more = found + cleared >= limit
    return Batch(released, more=more, left=not more and tx.one(_any_held, runner_=runner) is not None, last=last)


def _free(
    tx: Tx,
    runner: str,
    limit: int,
    *,
    crashed: bool,
    isolated: bool = False,
    after: str = "",
    enqueuer: JobEnqueuer | None = None,
) -> tuple[Released, int, int, str]:
    """End claims of the runner, of jobs after an id, then clear its affinity.

    Returns the numbers of jobs that were found and cleared, `limit` or more if any are left, and the last found id.
    Jobs that another transaction has locked are left, and those whose failure brings a job with a locked unique key;
    not so the one of an isolated runner.
    """
    claims = _held_by if isolated else _idle_held_by
    found = [row.decode(values) for values in tx.all(claims, runner_=runner, after_=after, limit_=limit)]
    released: Released = []
    for job in found:
        outcome = _outcome(job, crashed=crashed, isolated=isolated)
        end = partial(_release, tx, job, outcome, enqueuer)
        may_wait = outcome.status is S.FAILED and job.on_failure is not None and not isolated
        status = tx.unless_locked(end) if may_wait else end()
        if status is not None:
            released.append((job.handler, status))
    last = found[-1].id if found else after
    return released, len(found), clear_affinity(tx, limit, runner=runner), last


def _release(tx: Tx, job: Job, outcome: Outcome, enqueuer: JobEnqueuer | None = None) -> JobStatus:
    notice = None
    if enqueuer is not None:
        outcome, notice = on_failure.prepared(job, outcome, enqueuer)
    recording.write(tx, job, job.status, outcome, job.steps, job.progress)
    if enqueuer is not None and notice is not None:
        refused.accept(tx, notice, insert=enqueuer.accept_undelivered, enqueuer=enqueuer)
    return outcome.status


def _outcome(job: Job, *, crashed: bool, isolated: bool) -> Outcome:
    """Decide how the attempt ended: queued again, CANCELLED on request, or FAILED as POISON."""
    crashes = job.crash_count + crashed
    step = next((step.name for step in job.steps if step.status is StepStatus.RUNNING), None)
    code = "LEASE_LOST" if crashed else "HANDED_BACK"
    message = "the process that ran it died" if crashed else "the process that ran it was stopped"
    error = JobError(code, message, retryable=True, step=step, occurred_at=0)
    status = S.QUEUED
    if job.status is S.CANCELLING:
        status = S.CANCELLED
    elif (isolated and crashes > CRASHES_BEFORE_ISOLATION) or crashes > MAX_CRASHES:
        message = f"the job killed the process that ran it {crashes} times; fix the handler, then retry the job"
        status, error = S.FAILED, JobError("POISON", message, retryable=False, step=step, occurred_at=0)
    return Outcome(status, error=error, counts_as_attempt=False, crashed=crashed)
