"""What a runner writes: a claim, finished steps, progress, the outcome; and what is written when a runner died.

Each is a compare-and-set: a claim on the status, everything after it on the claim's token and on the status that the
move starts from. A token belongs to one claim, so that a runner whose claim is over can write nothing.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

import sqlalchemy as sa

from onward.jobs import concurrency
from onward.jobs.base import Superseded
from onward.jobs.ledger import ID
from onward.jobs.model import (
    Attempt,
    Job,
    JobError,
    Progress,
    Step,
    dump,
    dump_attempts,
    dump_error,
    dump_steps,
    from_row,
)
from onward.jobs.states import JobStatus, StepStatus
from onward.storage.sql import as_list, in_array
from onward.storage.tables import gates as _gates
from onward.storage.tables import held, jobs, ready, runners
from onward.storage.transaction import Tx

CRASHES_BEFORE_ISOLATION = 2
MAX_CRASHES = 6  # of runners that vanished with everything around them, so that nobody saw whose fault it was
ATTEMPTS_KEPT = 100
CANDIDATES = 500  # so far into the line is looked for jobs that wait at a gate

S = JobStatus
Released = list[tuple[str, JobStatus]]
"""The handler of each job that was taken back, and the status it is in now."""

_p = sa.bindparam
_BUMP = {"version": jobs.c.version + 1, "changed": _p("change")}
_CLAIM = {
    **_BUMP,
    "status": S.RUNNING.value,
    "token": jobs.c.token + 1,
    "runner": _p("runner_"),
    "worker": _p("worker_"),
    "backend": _p("backend_"),
    "attempt": jobs.c.attempt + 1,
    "attempt_started_at": _p("now"),
    "started_at": sa.func.coalesce(jobs.c.started_at, _p("now")),
}
_claim = (
    sa.update(jobs)
    .where(ID, ready, jobs.c.deaths <= _p("deaths_"), ~concurrency.gated)
    .values(_CLAIM)
    .returning(*jobs.c)
)
# Worked out once, as a table of its own: PostgreSQL may run a subselect again for each row, and each time skip what it
# has locked the time before, so that a LIMIT in it limits nothing.
_to_be_had = (
    ready,
    jobs.c.backend == _p("backend_"),
    sa.or_(
        jobs.c.delivered_to.is_(None),
        sa.and_(
            jobs.c.delivered_to == _p("runner_"),
            # A time ahead of now was written before the clock was set back.
            sa.or_(jobs.c.due_at <= _p("before_"), jobs.c.due_at > _p("after_")),
        ),
    ),
    sa.not_(in_array(jobs.c.id, "exclude")),
    jobs.c.deaths < CRASHES_BEFORE_ISOLATION,
)
_due = (
    sa.select(jobs.c.id)
    .where(*_to_be_had)
    .order_by(jobs.c.priority, jobs.c.due_at)
    .limit(_p("limit_", type_=sa.Integer))
    .with_for_update(skip_locked=True)
    .cte("due")
    .prefix_with("MATERIALIZED")
)
_line = (
    sa.select(*concurrency.waits, jobs.c.due_at)
    .where(*_to_be_had)
    .order_by(jobs.c.priority, jobs.c.due_at)
    .limit(CANDIDATES)
    .cte("line")
    .prefix_with("MATERIALIZED")
)
_at_gates = (
    sa.select(*(_line.c[column.name] for column in concurrency.waits))
    .where(_line.c.handler.in_(sa.select(_gates.c.handler)))
    .order_by(_line.c.priority, _line.c.due_at)
)
_claim_through = (
    sa.update(jobs)
    .where(in_array(jobs.c.id, "ids"), ready, jobs.c.deaths <= _p("deaths_"))
    .values(_CLAIM)
    .returning(*jobs.c)
)
_claim_due = (
    sa.update(jobs)
    .where(jobs.c.id.in_(sa.select(_due.c.id)), ready, ~concurrency.gated)
    .values(_CLAIM)
    .returning(*jobs.c)
)
_dangerous = (
    sa.select(jobs.c.id)
    .where(ready, jobs.c.backend == _p("backend_"), jobs.c.deaths >= CRASHES_BEFORE_ISOLATION)
    .limit(1)
)
_waits_alone = sa.select(jobs.c.deaths).where(ID, ready)
_mine = (ID, jobs.c.token == _p("token_"), jobs.c.status == _p("from_"))
_step_done = sa.update(jobs).where(*_mine).values({**_BUMP, "steps": _p("steps_"), "progress": _p("progress_")})
_progress = sa.update(jobs).where(*_mine).values({**_BUMP, "progress": _p("progress_")})
_settle = (
    sa.update(jobs)
    .where(*_mine)
    .values(
        {
            **_BUMP,
            "status": _p("to_"),
            "steps": _p("steps_"),
            "progress": _p("progress_"),
            "attempts": _p("attempts_"),
            "charged": _p("charged_"),
            "deaths": _p("deaths_"),
            "token": _p("next_token"),
            "runner": None,
            "delivered_to": _p("delivered_"),
            "due_at": _p("due_"),
            "finished_at": _p("finished_"),
            "result": _p("result_"),
            "error": _p("error_"),
        }
    )
    .returning(jobs.c.version)
)
_oldest = (
    sa.select(jobs.c.due_at)
    .where(ready, jobs.c.backend == _p("backend_"), jobs.c.priority == _p("priority_"))
    .order_by(jobs.c.due_at)
    .limit(1)
)
# Locked, so that nobody makes RUNNING CANCELLING between this look and what follows from it.
_held_by = sa.select(jobs).where(held, jobs.c.runner == _p("runner_")).with_for_update()
_cancelling = sa.select(jobs.c.id, jobs.c.token).where(
    held, jobs.c.runner == _p("runner_"), jobs.c.status == S.CANCELLING.value
)
_forget = sa.delete(runners).where(runners.c.id == _p("runner_"), runners.c.beat == _p("beat_"))
_forget_mine = sa.delete(runners).where(runners.c.id == _p("runner_"))
_known = sa.select(runners.c.id)
_stray = sa.select(jobs.c.runner).where(held, jobs.c.runner.not_in(_known)).distinct()
_claims_of = sa.select(jobs.c.id, jobs.c.token).where(held, jobs.c.runner == _p("runner_"))
_homeless = sa.update(jobs).where(ready, jobs.c.delivered_to == _p("runner_")).values(delivered_to=None)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt ended, as data: the state it leads to and what goes with it."""

    status: JobStatus  # SUCCEEDED, FAILED, CANCELLED, RETRYING (after `delay_us`) or QUEUED (handed back)
    result: object = None
    error: JobError | None = None
    counts_as_attempt: bool = True
    delay_us: int = 0
    crashed: bool = False


def claim(tx: Tx, job_id: str, *, runner: str, worker: str, backend: str, isolated: bool) -> Job | None:
    """The job, now this runner's; None where it is not to be had. `alone` also takes those that run alone.

    Where its handler's gate is closed it is parked.
    """
    most = MAX_CRASHES if isolated else CRASHES_BEFORE_ISOLATION - 1
    given = {
        "runner_": runner,
        "worker_": worker,
        "backend_": backend,
        "deaths_": most,
        "now": tx.now,
        "change": tx.change,
    }
    row = tx.one(_claim, id_=job_id, **given)
    if row is not None:
        return _claimed(tx, row)
    line = concurrency.at_gate_now(tx, job_id)
    through = concurrency.admit(tx, line, limit=1, deaths=most) if line else []
    rows = tx.all(_claim_through, ids=as_list(through), **given) if through else []
    return replace(_claimed(tx, rows[0]), limited=True) if rows else None


def claim_due(
    tx: Tx, *, runner: str, worker: str, backend: str, limit: int, exclude: Collection[str] = (), grace_us: int = 0
) -> list[Job]:
    """Up to `limit` jobs of the backend that wait and are nobody else's, now this runner's: the most urgent first.

    Not those in `exclude`, nor such as were accepted for this runner within the grace: it is given them otherwise. Of
    those whose handler has a gate none, and they may stand in the way of the rest: `claim_at_gates` takes them.
    """
    which = _which(tx, runner, backend, exclude, grace_us)
    rows = tx.all(_claim_due, **which, worker_=worker, limit_=limit, now=tx.now, change=tx.change)
    return sorted((_claimed(tx, row) for row in rows), key=lambda job: (job.priority, job.due_at, job.id))


def claim_at_gates(
    tx: Tx, *, runner: str, worker: str, backend: str, limit: int, exclude: Collection[str] = (), grace_us: int = 0
) -> tuple[list[Job], bool]:
    """Likewise, of those at the front whose handler has a gate; what may not pass it is parked.

    Whether the front has changed, so that there may be more for `claim_due`.
    """
    which = _which(tx, runner, backend, exclude, grace_us)
    line = [concurrency.Candidate(*row) for row in tx.all(_at_gates, **which)]
    if not line:
        return [], False
    most = CRASHES_BEFORE_ISOLATION - 1
    through = concurrency.admit(tx, line, limit=limit, deaths=most)
    given = {"runner_": runner, "worker_": worker, "backend_": backend, "now": tx.now, "change": tx.change}
    rows = tx.all(_claim_through, ids=as_list(through), deaths_=most, **given) if through else []
    claimed = {job.id: replace(job, limited=True) for job in (_claimed(tx, row) for row in rows)}
    return [claimed[job_id] for job_id in through if job_id in claimed], len(through) < limit


def _which(tx: Tx, runner: str, backend: str, exclude: Collection[str], grace_us: int) -> dict[str, object]:
    """What a look into the line is narrowed by."""
    bounds = {"before_": tx.now - grace_us, "after_": tx.now + grace_us}
    return {"runner_": runner, "backend_": backend, "exclude": as_list(exclude), **bounds}


def _claimed(tx: Tx, row: object) -> Job:
    job = from_row(row)
    tx.count(job.owner, S.QUEUED, -1)
    tx.count(job.owner, S.RUNNING, 1)
    return job


def must_run_isolated(tx: Tx, job_id: str) -> bool:
    """Whether it waits to be run in a process of its own."""
    row = tx.one(_waits_alone, id_=job_id)
    return row is not None and row[0] >= CRASHES_BEFORE_ISOLATION


def next_isolated(tx: Tx, *, backend: str) -> str | None:
    """The id of a job of the backend that waits to be run in a process of its own."""
    row = tx.one(_dangerous, backend_=backend)
    return row[0] if row else None


def step_done(
    tx: Tx, job: Job, steps: tuple[Step, ...], result: object, progress: Progress | None
) -> tuple[tuple[Step, ...], JobStatus]:
    """The step that ran is finished and never run again; the steps and the status as they are. Raises Superseded."""
    after = _advanced(steps, result, tx.now)
    values = {"steps_": dump_steps(after), "progress_": _dumped(progress)}
    for status in (S.RUNNING, S.CANCELLING):
        if tx.execute(_step_done, id_=job.id, token_=job.fencing_token, from_=status.value, change=tx.change, **values):
            return after, status
    raise Superseded(job.id)


def _advanced(steps: tuple[Step, ...], result: object, now: int) -> tuple[Step, ...]:
    """The first unfinished step has succeeded, and the one after it runs."""
    at = next(step.index for step in steps if step.status is not StepStatus.SUCCEEDED)
    after = list(steps)
    after[at] = replace(steps[at], status=StepStatus.SUCCEEDED, finished_at=now, result=result)
    if at + 1 < len(steps):
        after[at + 1] = replace(steps[at + 1], status=StepStatus.RUNNING, started_at=now)
    return tuple(after)


def report(tx: Tx, job: Job, progress: Progress) -> None:
    """The progress can be seen. Raises Superseded, also when the job is being cancelled."""
    values = {"progress_": _dumped(progress), "change": tx.change}
    if not tx.execute(_progress, id_=job.id, token_=job.fencing_token, from_=S.RUNNING.value, **values):
        raise Superseded(job.id)


def _dumped(progress: Progress | None) -> str | None:
    return dump([progress.completed, progress.total, progress.message]) if progress else None


def record_outcome(
    tx: Tx, job: Job, outcome: Outcome, *, steps: tuple[Step, ...], progress: Progress | None = None
) -> JobStatus:
    """The attempt is over, the claim with it; gives the state the job is in now. Raises Superseded.

    A job that is being cancelled is not tried again: what would be RETRYING or handed back is CANCELLED.
    """
    if _write(tx, job, S.RUNNING, outcome, steps, progress):
        return outcome.status
    if outcome.status in (S.RETRYING, S.QUEUED):
        outcome = replace(outcome, status=S.CANCELLED, error=None)
    if _write(tx, job, S.CANCELLING, outcome, steps, progress):
        return outcome.status
    raise Superseded(job.id)


def _write(  # noqa: PLR0917 - private, and called three times
    tx: Tx, job: Job, source: JobStatus, outcome: Outcome, steps: tuple[Step, ...], progress: Progress | None
) -> bool:
    now, status = tx.now, outcome.status
    over = status in (S.SUCCEEDED, S.FAILED, S.CANCELLED)
    begun = job.attempts[-1]
    error = replace(outcome.error, occurred_at=now) if outcome.error else None
    attempt = Attempt(
        begun.number, outcome.counts_as_attempt, begun.backend, begun.worker, begun.started_at, now, error
    )
    row = tx.one(
        _settle,
        id_=job.id,
        token_=job.fencing_token,
        from_=source.value,
        to_=status.value,
        change=tx.change,
        steps_=dump_steps(_closed(steps, status, outcome.result, now)),
        progress_=_dumped(progress or job.progress),
        attempts_=dump_attempts((*job.attempts[:-1], attempt)[-ATTEMPTS_KEPT:]),
        charged_=job.counted_attempts + outcome.counts_as_attempt,
        deaths_=job.crash_count + outcome.crashed,
        next_token=job.fencing_token + 1,
        delivered_=None,
        due_=_front(tx, job) if status is S.QUEUED else now + outcome.delay_us,
        finished_=now if over else None,
        result_=dump(outcome.result) if status is S.SUCCEEDED else None,
        error_=dump(dump_error(error)) if error and status is not S.CANCELLED else None,
    )
    if row is None:
        return False
    tx.count(job.owner, source, -1)
    tx.count(job.owner, status, 1)
    return True


def _front(tx: Tx, job: Job) -> int:
    """Handed back, it goes before what has not begun: however long that line is, it has been through it."""
    row = tx.one(_oldest, backend_=job.backend, priority_=job.priority)
    return min(job.due_at, row[0]) if row else job.due_at


def _closed(steps: tuple[Step, ...], status: JobStatus, result: object, now: int) -> tuple[Step, ...]:
    """The steps as they stand when the attempt ends so: what ran is done, failed, cancelled, or waits again."""
    if status is S.SUCCEEDED:
        return _advanced(steps, result, now)
    closed = []
    for step in steps:
        if step.status is StepStatus.SUCCEEDED:
            closed.append(step)
        elif status in (S.QUEUED, S.RETRYING):
            closed.append(Step(step.name, step.index))
        elif step.status is StepStatus.RUNNING:
            ended = StepStatus.FAILED if status is S.FAILED else StepStatus.CANCELLED
            closed.append(replace(step, status=ended, finished_at=now))
        else:
            closed.append(Step(step.name, step.index, StepStatus.SKIPPED))
    return tuple(closed)


def cancelling(tx: Tx, *, runner: str) -> list[tuple[str, int]]:
    """Id and token of the runner's claims that somebody wants cancelled."""
    return [(row[0], row[1]) for row in tx.all(_cancelling, runner_=runner)]


def hand_back(tx: Tx, *, runner: str) -> int:
    """Whatever the runner holds waits again, charged to nobody, and the runner is gone. How many jobs that were."""
    return len(_release(tx, runner, died=False)) if tx.execute(_forget_mine, runner_=runner) else 0


def reclaim_dead(tx: Tx, *, runner: str, beat: int) -> Released | None:
    """What a dead runner held waits again; None where it was alive after all, or somebody else was quicker."""
    return _release(tx, runner, died=True) if tx.execute(_forget, runner_=runner, beat_=beat) else None


def reclaim_isolated(tx: Tx, *, runner: str) -> Released | None:
    """The same for a process that ran one job alone, before its parent's eyes: whose fault it was is sure then.

    None where it did not die, but gave back its lease.
    """
    return _release(tx, runner, died=True, seen=True) if tx.execute(_forget_mine, runner_=runner) else None


def orphaned_runners(tx: Tx, *, promised: Collection[str]) -> list[str]:
    """Runners that hold jobs, or were `promised` some, and that the ledger does not know.

    Such a one stood still, was buried, and claimed or accepted once more before it heard of it.
    """
    known = {row[0] for row in tx.all(_known)}
    return sorted({row[0] for row in tx.all(_stray)} | ({*promised} - known))


def release_orphans(tx: Tx, *, promised: Collection[str]) -> int:
    """What strays hold, or were promised, waits again, charged to nobody. How many jobs they held."""
    return sum(len(_release(tx, runner, died=False)) for runner in orphaned_runners(tx, promised=promised))


def held_claims(tx: Tx, *, runner: str) -> set[tuple[str, int]]:
    """Id and token of the runner's claims."""
    return {(row[0], row[1]) for row in tx.all(_claims_of, runner_=runner)}


def release(tx: Tx, claims: Collection[tuple[str, int]], *, runner: str) -> None:
    """These claims of the runner are over, and the jobs wait again, charged to nobody."""
    for row in tx.all(_held_by, runner_=runner):
        job = from_row(row)
        if (job.id, job.fencing_token) in claims:
            _hand_back(tx, job, died=False)


def clear_affinity(tx: Tx, *, runner: str) -> None:
    """What waits for the runner may be claimed by any."""
    tx.execute(_homeless, runner_=runner)


def _release(tx: Tx, runner: str, *, died: bool, seen: bool = False) -> Released:
    tx.execute(_homeless, runner_=runner)
    jobs_held = [from_row(row) for row in tx.all(_held_by, runner_=runner)]
    return [(job.handler, _hand_back(tx, job, died=died, seen=seen)) for job in jobs_held]


def _hand_back(tx: Tx, job: Job, *, died: bool, seen: bool = False) -> JobStatus:
    deaths = job.crash_count + died
    code = "LEASE_LOST" if died else "HANDED_BACK"
    message = "the process that ran it died" if died else "the process that ran it was stopped"
    running = next((step.name for step in job.steps if step.status is StepStatus.RUNNING), None)
    error = JobError(code, message, retryable=True, step=running, occurred_at=tx.now)
    outcome = Outcome(S.QUEUED, error=error, counts_as_attempt=False, crashed=died)
    if (seen and deaths > CRASHES_BEFORE_ISOLATION) or deaths > MAX_CRASHES:
        words = f"it killed the process that ran it {deaths} times; mend the handler, then retry it"
        outcome = Outcome(
            S.FAILED, error=JobError("POISON", words, False, running, tx.now), counts_as_attempt=False, crashed=True
        )
    if job.status is S.CANCELLING:
        outcome = Outcome(S.CANCELLED, error=error, counts_as_attempt=False, crashed=died)
    _write(tx, job, job.status, outcome, job.steps, job.progress)
    return outcome.status
