"""The reason why a job does not run, for people: `waitingFor`; and the queues that processes take."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC
from types import MappingProxyType

import sqlalchemy as sa

from onward.jobs import concurrency, key_limits
from onward.jobs.limits import Limit
from onward.jobs.model import Job, JobWait, to_datetime
from onward.jobs.states import JobStatus
from onward.storage.tables import runners
from onward.storage.transaction import Tx

_takes = sa.select(runners.c.id, runners.c.takes).where(runners.c.takes.is_not(None)).order_by(runners.c.id)


def taken(tx: Tx) -> set[str]:
    """Return the destinations whose jobs a living process runs; those of an older release tell nothing."""
    return {destination for _, takes in tx.all(_takes) for destination in takes.split()}


def first_taker(tx: Tx, destination: str) -> str | None:
    """Return one of the runners that take the destination, the same to all who ask."""
    return next((runner for runner, takes in tx.all(_takes) if destination in takes.split()), None)


def waits_for(
    job: Job,
    limits: concurrency.HandlerLimits | None,
    *,
    by_key: Mapping[str, Limit] = MappingProxyType({}),
    answers: bool | None,
    reason: str = "",
    taken: bool = True,
) -> str | None:
    """Say what the job waits for; None if it runs or is over.

    `limits` are those of its handler, `by_key` the limits by key by their names.

    `answers` says whether its backend can be reached, and `reason` why not, if that is known. None for a backend that
    the settings do not use, so that nobody here has asked it. Without `taken`, no process takes its queue.
    """
    match job.status:
        case JobStatus.SCHEDULED:
            return f"its time, {_moment(job.due_at)}"
        case JobStatus.RETRYING:
            return f"its next attempt, at {_moment(job.due_at)}"
        case JobStatus.WAITING if job.wait is not None:
            return _end_of(job.wait)
        case JobStatus.QUEUED:
            return _in_line(job, limits, by_key, answers=answers, reason=reason, taken=taken)
        case JobStatus.RUNNING if job.blocked == concurrency.THREAD:
            return "a free thread: too many functions go on past their time limit where it runs"
    return None


def _end_of(wait: JobWait) -> str:
    until = None if wait.until is None else _moment(wait.until)
    if wait.is_sleep:
        return f"its time, {until}"
    return f"the signal {wait.name}" + (f", until {until}" if until else "")


def _moment(us: int) -> str:
    return to_datetime(us).astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _in_line(
    job: Job,
    limits: concurrency.HandlerLimits | None,
    by_key: Mapping[str, Limit],
    *,
    answers: bool | None,
    reason: str,
    taken: bool,
) -> str:
    # After the pause of a handler with limits, all that was blocked meanwhile waits for its turn.
    its_turn = limits is not None and limits.pause is None and limits.limit != Limit()
    if (job.blocked == concurrency.PAUSED and not its_turn) or (limits is not None and limits.pause is not None):
        return f"the handler {job.handler} to be resumed"
    if job.blocked == concurrency.KEY and job.limit_key is not None:
        return _key_reason(job.limit_key, by_key)
    if job.blocked is not None:
        return _limit_reason(job, limits)
    if answers is None:
        return f"a free worker of the backend {job.backend_name}, which the settings do not use"
    if not answers:
        return f"the backend {job.backend_name} to answer" + (f": {reason}" if reason else "")
    return "a free worker" if taken else f"a worker that takes the queue {job.queue}"


def _limit_reason(job: Job, limits: concurrency.HandlerLimits | None) -> str:
    """Return what a job waits for whose handler's limits block it."""
    limit = limits.limit if limits is not None else Limit()
    if limit.rate is not None and (job.blocked == concurrency.RATE or limit.concurrency is None):
        return f"its turn: at most {limit.rate} of {job.handler} begin"
    if limit.concurrency is not None:
        return f"its turn: at most {limit.concurrency} of {job.handler} run at once"
    return "its turn"


def _key_reason(key: str, by_key: Mapping[str, Limit]) -> str:
    """Return what a job waits for that has no place of its key."""
    name, value = key_limits.name_of(key), key_limits.value_of(key)
    limit = by_key.get(name, Limit())
    wanted = [] if limit.concurrency is None else [f"at most {limit.concurrency} of {name} run at once"]
    wanted += [] if limit.rate is None else [f"at most {limit.rate} of {name} begin"]
    words = " and ".join(wanted)
    return f"its turn{': ' if words else ''}{words}{f' for {value}' if value else ''}"
