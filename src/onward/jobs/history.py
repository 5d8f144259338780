"""The history's figures: each move of a job is counted in its own transaction, and added up later by `history_rows`.

A transaction's figures are one new row of `figures`, so nobody waits for a row, and they are committed, or rolled back,
with the moves that they count.
"""

from __future__ import annotations

from types import MappingProxyType

from onward.jobs import sketch
from onward.jobs.error_text import CODE_CHARACTERS, one_line
from onward.jobs.model import Job, JobError
from onward.jobs.states import JobStatus
from onward.storage.transaction import Tx

S = JobStatus
KIND = 1_000  # a figure is a kind, plus the bucket of a duration
NO_TIME = KIND - 1  # in place of a bucket: the job did not run
ENQUEUED, STARTED, SUCCEEDED, FAILED, CANCELLED, RETRIED, PARTED = range(0, 7 * KIND, KIND)
# By their texts, here and below: the hash of an enumeration's member is a call of Python's.
_KINDS = MappingProxyType(
    {
        "RUNNING": STARTED,
        "SUCCEEDED": SUCCEEDED,
        "FAILED": FAILED,
        "CANCELLED": CANCELLED,
        "RETRYING": RETRIED,
        "WAITING": PARTED,  # an attempt that ends because a wait comes next: its time is counted, and nothing else
    }
)


def accepted(tx: Tx, owner: str | None, handler: str, status: JobStatus) -> None:
    """Count a new job."""
    tx.count(owner, status._value_, 1)
    tx.add_figure((handler, ENQUEUED))


def moved(tx: Tx, job: Job, source: JobStatus, target: JobStatus, error: JobError | None = None) -> None:
    """Count a job's move from one status to another. `job` is as it was before, or as it is after a claim."""
    kind = _KINDS.get(target._value_)
    if kind is None:
        tx.move(job.owner, source._value_, target._value_)
        return
    if target is S.RUNNING:
        kind += sketch.bucket(tx.now - job.due_at)
    elif source is S.RUNNING or source is S.CANCELLING:
        kind += sketch.bucket(tx.now - job.attempts[-1].started_at)
    else:
        kind += NO_TIME
    tx.move(job.owner, source._value_, target._value_, (job.handler, kind))
    if target is S.FAILED and error is not None:
        tx.add_figure((job.handler, one_line(error.code, CODE_CHARACTERS), one_line(error.message)))
