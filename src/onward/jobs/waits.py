"""Waits between two steps: their end by a signal or by their time, and the signals that come before a wait.

A signal locks the job's row first, and a wait begins with a change of that row: so each finds what the other has
written, and no signal is lost between the two.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import orjson
import sqlalchemy as sa

from onward.handlers.base import Handler, InvalidParameters, Wait
from onward.jobs import history, key_limits, on_failure, refused, row
from onward.jobs.base import Conflict, NotAllowed, NotFound, OtherPayload, UnknownSignal
from onward.jobs.concurrency import KEY
from onward.jobs.dispatched import JobEnqueuer
from onward.jobs.key_limits import UNPLACED
from onward.jobs.ledger import ID
from onward.jobs.model import EVERYTHING, Job, JobError, JobWait, Step, Visible
from onward.jobs.outcome import Outcome
from onward.jobs.results import RESULT_BYTES
from onward.jobs.states import TERMINAL, JobStatus, StepStatus
from onward.storage.sql import as_list, in_array
from onward.storage.tables import BY_WAIT, between_steps, jobs, signals
from onward.storage.transaction import Tx

ADMIN = "admin"

S = JobStatus
Route = Callable[[str, str], str]
"""Gives the destination of a handler's job from the present one."""
_p = sa.bindparam
_locked = sa.select(*row.ALL).where(ID).with_for_update()
_find = sa.select(signals.c.payload).where(
    signals.c.job == _p("id_"), signals.c.run == _p("run_"), signals.c.name == _p("name_")
)
_keep = sa.insert(signals)
_forget = sa.delete(signals).where(in_array(signals.c.job, "ids"))
_end = (
    sa.update(jobs)
    .where(ID, jobs.c.version == _p("version_"))
    .values(
        {
            "version": jobs.c.version + 1,
            "changed": _p("change"),
            "status": _p("to_"),
            "steps": _p("steps_"),
            "backend": _p("backend_"),
            "delivered_to": _p("delivered_"),
            "due_at": _p("now"),
            "finished_at": _p("finished_"),
            "error": _p("error_"),
            "wait": None,
            "parked": _p("blocked_"),
            "placed": _p("place_"),
        }
    )
)
_due = (
    sa.select(*row.ALL)
    .where(between_steps, jobs.c.due_at <= _p("now"), sa.not_(in_array(jobs.c.id, "exclude")))
    .order_by(jobs.c.due_at)
    .limit(_p("limit_", type_=sa.Integer))
    .with_for_update(skip_locked=True)
    .with_hint(jobs, BY_WAIT, "sqlite")
)


class Sender(NamedTuple):
    """The sender of a signal: the jobs that it sees, its roles, and its name, which is kept with the signal."""

    visible: Visible = EVERYTHING
    roles: Collection[str] = (ADMIN,)
    name: str | None = None


THE_PROGRAM = Sender()


def checked(
    job: Job | None, name: str, payload: Any, *, handlers: Mapping[str, Handler], sender: Sender = THE_PROGRAM
) -> str:
    """Return the payload of a signal as it is stored.

    Raises NotFound, UnknownSignal, NotAllowed, and InvalidParameters with paths that begin at `payload`.
    """
    handler = None if job is None else handlers.get(job.handler)
    wait = None if handler is None else handler.wait(name)
    if job is None or not (sender.visible.sees(job) or (wait is not None and _has_role(sender, wait))):
        raise NotFound("there is no such job")
    if handler is None or wait is None:
        raise UnknownSignal(f"the handler {job.handler} {handler.no_signal(name) if handler else 'is not known here'}")
    if wait.roles and not _has_role(sender, wait):
        raise NotAllowed(f"the signal {name!r} needs one of the roles {', '.join(wait.roles)}")
    stored = _text(wait.bind(payload))
    if len(stored) > RESULT_BYTES:
        raise InvalidParameters([("payload", f"has {len(stored):,} bytes; {RESULT_BYTES:,} may be kept")])
    return stored


def _has_role(sender: Sender, wait: Wait) -> bool:
    return bool(wait.roles) and (ADMIN in sender.roles or any(role in sender.roles for role in wait.roles))


def signal(
    tx: Tx,
    job_id: str,
    name: str,
    stored: str,
    *,
    route: Route,
    sender: Sender = THE_PROGRAM,
    run: int | None = None,
    delivered_to: str | None = None,
) -> Job:
    """Keep a checked signal, and end the wait for it if that one has begun: then the job is QUEUED.

    The same signal again changes nothing. `delivered_to` is UNDELIVERED if nobody delivers the job after the commit.
    Raises NotFound, UnknownSignal; OtherPayload than the first one; Conflict if the job is over, and if it is in
    another run than `run`.
    """
    found = tx.one(_locked, id_=job_id)
    if found is None:
        raise NotFound("there is no such job")
    job = row.decode(found)
    check_run(job, run)
    step = next((step for step in job.steps if step.name == name), None)
    if step is None:
        raise UnknownSignal(f"the job began before {job.handler} waited for a signal {name!r}")
    ended = step.status is StepStatus.SUCCEEDED
    before = _text(step.result) if ended else tx.scalar(_find, id_=job.id, run_=job.run, name_=name)
    if before == stored:
        return job
    if before is not None:
        raise OtherPayload(f"the signal {name} has come before, with another payload", job)
    if job.status in TERMINAL or job.status is S.CANCELLING:
        raise Conflict(f"the job is {job.status} already", job)
    values = {"job": job.id, "run": job.run, "name": name, "payload": stored, "sent_at": tx.now}
    tx.insert(_keep, {**values, "sent_by": sender.name})
    if job.wait is None or job.wait.name != name:
        return job
    return _go_on(tx, job, orjson.loads(stored), route=route, delivered_to=delivered_to)


def check_run(job: Job, run: int | None) -> None:
    """Raise Conflict if the job is in another run than the one that is meant."""
    if run is not None and job.run != run:
        raise Conflict(f"this was for run {run} of the job, which has been retried since: ask for a new address", job)


def take_early(tx: Tx, job_id: str, *, route: Route) -> Job | None:
    """End a wait that has just begun, if its signal has come before; return the job then, which is QUEUED."""
    found = tx.one(_locked, id_=job_id)
    job = None if found is None else row.decode(found)
    if job is None or job.wait is None or job.wait.is_sleep:
        return None
    stored = tx.scalar(_find, id_=job.id, run_=job.run, name_=job.wait.name)
    return None if stored is None else _go_on(tx, job, orjson.loads(stored), route=route)


def end_due(tx: Tx, limit: int, *, enqueuer: JobEnqueuer, exclude: Collection[str] = ()) -> list[Job]:
    """End at most `limit` waits whose time has come, except those of the jobs in `exclude`; return the jobs.

    Each is QUEUED, or FAILED with the code WAIT_TIMEOUT. One is WAITING still, and left for later, if another
    transaction has locked the unique key of the job that its failure brings.
    """
    found = []
    for job in map(row.decode, tx.all(_due, now=tx.now, limit_=limit, exclude=as_list(exclude))):
        if job.wait is not None and job.wait.otherwise:
            found.append(_go_on(tx, job, job.wait.otherwise[0], route=enqueuer.route))
        elif job.wait is not None:
            fail = partial(_fail, tx, job, job.wait, enqueuer)
            failed = fail() if job.on_failure is None else tx.unless_locked(fail)
            found.append(job if failed is None else failed)
    return found


def forget(tx: Tx, ids: Collection[str]) -> None:
    """Delete the signals of jobs that have been deleted."""
    tx.execute(_forget, ids=as_list(ids))


def _go_on(tx: Tx, job: Job, result: Any, *, route: Route, delivered_to: str | None = None) -> Job:
    steps = _closed(job, StepStatus.SUCCEEDED, StepStatus.PENDING, tx.now, result)
    queued = replace(job, status=S.QUEUED, steps=steps, backend=route(job.handler, job.backend), due_at=tx.now)
    return _write(tx, job, replace(queued, delivered_to=delivered_to))


def _fail(tx: Tx, job: Job, wait: JobWait, enqueuer: JobEnqueuer) -> Job:
    words = f"no signal {wait.name} has come in its time"
    error = JobError("WAIT_TIMEOUT", words, retryable=False, step=wait.name, occurred_at=tx.now)
    outcome, notice = on_failure.prepared(job, Outcome(S.FAILED, error=error), enqueuer)
    steps = _closed(job, StepStatus.FAILED, StepStatus.SKIPPED, tx.now)
    failed = _write(tx, job, replace(job, status=S.FAILED, steps=steps, error=outcome.error, finished_at=tx.now))
    if notice is not None:
        refused.accept(tx, notice, insert=enqueuer.accept_undelivered, enqueuer=enqueuer)
    return failed


def _closed(job: Job, status: StepStatus, further: StepStatus, now: int, result: Any = None) -> tuple[Step, ...]:
    """Return the steps at the end of the wait, with the status of the wait and that of the steps after it."""
    closed = []
    for step in job.steps:
        if step.status is StepStatus.RUNNING:
            closed.append(replace(step, status=status, finished_at=now, result=result))
        else:
            closed.append(step if step.status is StepStatus.SUCCEEDED else Step(step.name, step.index, further))
    return tuple(closed)


def _write(tx: Tx, job: Job, after: Job) -> Job:
    place = None
    if after.status is S.QUEUED and job.limit_key is not None:  # it needs a place of its key again
        after = replace(after, blocked=KEY, delivered_to=after.delivered_to if tx.ends_soon else None)
        place = None if tx.ends_soon else UNPLACED
    tx.execute(
        _end,
        id_=job.id,
        version_=job.version,
        change=tx.change,
        to_=after.status.value,
        steps_=row.encode_steps(after.steps),
        backend_=after.backend,
        delivered_=after.delivered_to,
        now=tx.now,
        finished_=after.finished_at,
        error_=row.encode_error(after.error),
        blocked_=after.blocked,
        place_=place,
    )
    history.moved(tx, job, S.WAITING, after.status, after.error)
    written = replace(after, version=job.version + 1, changed=tx.change, wait=None)
    if written.blocked is not None and tx.ends_soon:
        key_limits.note(tx, job.limit_key, fresh=written)
    return written


def _text(value: Any) -> str:
    """Return the value as JSON, the same for equal values."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
