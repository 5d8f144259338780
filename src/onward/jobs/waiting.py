"""Why a job does not run, in words: `waitingFor`."""

from __future__ import annotations

from datetime import UTC

from onward.jobs import concurrency
from onward.jobs.limits import Limit
from onward.jobs.model import Job, to_datetime
from onward.jobs.states import JobStatus


def waits_for(job: Job, gate: concurrency.HandlerLimits | None, *, answers: bool) -> str | None:
    """None where it runs or is over. `gate` is its handler's, if it has one; `answers` is of the job's backend."""
    at = to_datetime(job.due_at).astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    match job.status:
        case JobStatus.SCHEDULED:
            return f"its time, {at}"
        case JobStatus.RETRYING:
            return f"its next attempt, at {at}"
        case JobStatus.QUEUED:
            return _in_line(job, gate, answers=answers)
    return None


def _in_line(job: Job, gate: concurrency.HandlerLimits | None, *, answers: bool) -> str:
    # Resumed with a limit, all that was parked meanwhile waits for its turn.
    its_turn = gate is not None and gate.pause is None and gate.limit != Limit()
    if (job.blocked == concurrency.PAUSED and not its_turn) or (gate is not None and gate.pause is not None):
        return f"the handler {job.handler} to be resumed"
    if job.blocked is not None:
        return _turn(job, gate)
    return "a free worker" if answers else f"the backend {job.backend} to answer"


def _turn(job: Job, gate: concurrency.HandlerLimits | None) -> str:
    """What a job waits for that is parked for its handler's limits."""
    limit = gate.limit if gate is not None else Limit()
    if limit.rate is not None and (job.blocked == concurrency.RATE or limit.concurrency is None):
        return f"its turn: at most {limit.rate} of {job.handler} begin"
    if limit.concurrency is not None:
        return f"its turn: at most {limit.concurrency} of {job.handler} run at once"
    return "its turn"
