"""Turns jobs that the ledger refuses, in whichever process, into FAILED jobs, so that what they belong to goes on.

These are stored children of batches and of steps, and jobs that follow: after a batch, or after a failure. A chunk of
several children is divided first, and each of its jobs is tried by itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

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
from onward.telemetry import logger

S = JobStatus
CODE = "NOT_ACCEPTED"
UNKNOWN = {"params": '{"not accepted":null}', "params_version": 1, "steps": "[]"}
"""In place of values that are refused themselves; no handler takes these parameters, should the job be retried."""
_KEPT = ("handler", "backend", "owner", "max_attempts", "parent", "on_failure", "batch", "position", *UNKNOWN)
_KEYS = ("limit_key", "unique")  # a retry would run without them
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


def accept(tx: Tx, new: NewJob, *, insert: Insert, enqueuer: FailureEnqueuer, reports: bool = True) -> Job:
    """Accept a job that follows something; one that the ledger refuses is FAILED.

    Maintenance delivers the job of that failure: the caller gets the failed job alone.
    """
    try:
        with tx.part():
            return insert(tx, new)
    except Exception as error:
        if not tx.refuses_values(error):
            raise
        id_ = new.id or tx.new_id("job")
        log = partial(logger("runner").error, "a job was refused, and has failed", job=id_, handler=new.handler)
        tx.once_committed.append(partial(log, exc_info=error))
        values = {name: getattr(new, name) for name in (*_KEPT, *_KEYS)}
        undelivered, reporter = enqueuer.accept_undelivered, enqueuer if reports else None
        return _failed(tx, id_, values, reason=reason_of(error), insert=undelivered, enqueuer=reporter)[0]


def reason_of(error: Exception) -> str:
    """Return the message of a job that the ledger has refused with the error."""
    return f"the ledger refuses the job ({type(error).__name__}); the log tells more of it"


def give_up(tx: Tx, *, chunk: str, reason: str, insert: Insert, enqueuer: FailureEnqueuer) -> list[Job]:
    """Make a FAILED job of a chunk of one, and return it with the job of its failure; divide any other chunk.

    Returns no job if the chunk was divided, if it is gone because another process could accept it, or if its job is
    there.
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
    if ledger.get(tx, child["id"]) is not None:
        return []
    failed, *notices = _failed(tx, child["id"], child, reason=reason, insert=insert, enqueuer=enqueuer)
    return [*batches.count_made(tx, [failed]), *notices]


def _failed(
    tx: Tx, id_: str, values: Mapping[str, Any], *, reason: str, insert: Insert, enqueuer: FailureEnqueuer | None
) -> list[Job]:
    """Insert a FAILED job of the values that are kept, with other parameters if they are refused as well.

    Returns it with the job of its failure.
    """
    kept = {name: values[name] for name in _KEPT if name in values}
    write = partial(_write, tx, reason=reason, insert=insert, enqueuer=enqueuer)
    if all(values.get(name) is None for name in _KEYS):
        try:
            with tx.part():
                return write(NewJob(**kept, id=id_))
        except Exception as error:
            if not tx.refuses_values(error):
                raise
    return write(NewJob(**(kept | UNKNOWN), id=id_))


def _write(tx: Tx, new: NewJob, *, reason: str, insert: Insert, enqueuer: FailureEnqueuer | None) -> list[Job]:
    accepted = ledger.accept(tx, new)
    job = ledger.get(tx, accepted.id) or accepted  # with its steps
    error = JobError(CODE, reason, retryable=False, step=None, occurred_at=tx.now)
    notice = None
    if enqueuer is not None:
        outcome, notice = on_failure.prepared(job, Outcome(S.FAILED, error=error), enqueuer)
        error = outcome.error or error
    steps = tuple(Step(step.name, step.index, StepStatus.SKIPPED) for step in job.steps)
    tx.execute(_fail, id_=job.id, now=tx.now, steps_=row.encode_steps(steps), error_=row.encode_error(error))
    history.moved(tx, job, S.QUEUED, S.FAILED, error)
    failed = replace(job, status=S.FAILED, finished_at=tx.now, error=error, steps=steps)
    if notice is None or enqueuer is None:
        return [failed]
    # Its own failure brings none, which the ledger would refuse as well, and so on.
    return [failed, accept(tx, notice, insert=insert, enqueuer=enqueuer, reports=False)]
