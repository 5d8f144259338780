"""Turns stored jobs that the ledger refuses, in whichever process, into FAILED jobs, so that their batches end.

A chunk of several is divided first, and each of its jobs is tried by itself.
"""

from __future__ import annotations

from dataclasses import replace

import orjson
import sqlalchemy as sa

from onward.jobs import batches, history, ledger, on_failure, row
from onward.jobs.batches import Insert
from onward.jobs.ledger import ID
from onward.jobs.model import Job, JobError, NewJob, Step
from onward.jobs.on_failure import FailureEnqueuer
from onward.jobs.outcome import Outcome
from onward.jobs.states import JobStatus, StepStatus
from onward.storage.tables import dispatched, jobs
from onward.storage.transaction import Tx

S = JobStatus
CODE = "NOT_ACCEPTED"
UNKNOWN = {"params": '{"not accepted":null}', "params_version": 1, "steps": "[]"}
"""In place of values that are refused themselves; no handler takes these parameters, should the job be retried."""
_p = sa.bindparam
_this = dispatched.c.id == _p("chunk_")
_lock = sa.select(dispatched.c.accepted_at, dispatched.c.batch, dispatched.c.jobs).where(_this).with_for_update()
_delete = sa.delete(dispatched).where(_this)
_insert = sa.insert(dispatched)
_fail = (
    sa.update(jobs)
    .where(ID)
    .values(status=S.FAILED.value, finished_at=_p("now"), steps=_p("steps_"), error=_p("error_"))
)


def give_up(tx: Tx, *, chunk: str, reason: str, keeps: bool, insert: Insert, enqueuer: FailureEnqueuer) -> list[Job]:
    """Make a FAILED job of a chunk of one, and return it with the job of its failure; divide any other chunk.

    Without `keeps` the job has other parameters. Returns no job if the chunk was divided, if it is gone because another
    process could accept it, or if its job is there.
    """
    found = tx.one(_lock, chunk_=chunk)
    if found is None:
        return []
    accepted_at, batch, text = found
    children = orjson.loads(text)
    tx.execute(_delete, chunk_=chunk)
    if len(children) > 1:
        for child in children:
            one = orjson.dumps([child]).decode()
            tx.insert(_insert, {"id": child["id"], "accepted_at": accepted_at, "jobs": one, "batch": batch})
        return []
    (child,) = children
    keeps = keeps and child.get("limit_key") is None and child.get("unique") is None  # a retry would run without them
    kept = ("handler", "backend", "owner", "max_attempts", "parent", "on_failure", "batch", "position", *UNKNOWN)
    values = {name: child[name] for name in kept if name in child} | ({} if keeps else UNKNOWN)
    if ledger.get(tx, child["id"]) is not None:
        return []
    return _failed(tx, NewJob(**values, id=child["id"]), reason, insert, enqueuer)


def _failed(tx: Tx, new: NewJob, reason: str, insert: Insert, enqueuer: FailureEnqueuer) -> list[Job]:
    accepted = ledger.accept(tx, new)
    job = ledger.get(tx, accepted.id) or accepted  # with its steps
    error = JobError(CODE, reason, retryable=False, step=None, occurred_at=tx.now)
    outcome, notice = on_failure.prepared(job, Outcome(S.FAILED, error=error), enqueuer)
    error = outcome.error or error
    steps = tuple(Step(step.name, step.index, StepStatus.SKIPPED) for step in job.steps)
    tx.execute(_fail, id_=job.id, now=tx.now, steps_=row.encode_steps(steps), error_=row.encode_error(error))
    history.moved(tx, job, S.QUEUED, S.FAILED, error)
    batches.count_made(tx, [job])
    failed = replace(job, status=S.FAILED, finished_at=tx.now, error=error, steps=steps)
    return [failed] if notice is None else [failed, insert(tx, notice)]
