"""A job and its parts: plain frozen values, times as integer microseconds UTC.

The file is long because it holds plain values alone, which all that is below it shares.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID

from onward.jobs.error_text import one_line
from onward.jobs.frozen import made_quickly
from onward.jobs.log_level import LogLevel
from onward.jobs.param_filter import ParamFilter
from onward.jobs.states import ENDED_BY_ERROR, RETRYABLE, TERMINAL, JobStatus, StepStatus
from onward.text.patterns import matches
from onward.text.queues import split

if TYPE_CHECKING:
    from onward.jobs.row import Missed

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def to_datetime(us: int) -> datetime:
    """Convert microseconds since 1970 to an aware datetime in UTC."""
    return EPOCH + timedelta(microseconds=us)


def to_us(moment: datetime) -> int:
    """Convert an aware datetime to microseconds since 1970."""
    return (moment - EPOCH) // timedelta(microseconds=1)


def as_subject(value: str | int | UUID | None) -> str | None:
    """Return an integer or a UUID as its text, by which it owns jobs, and any other value as it is."""
    if isinstance(value, bool) or not isinstance(value, int | UUID):
        return value  # type: ignore[return-value]  # a bool, which the callers refuse
    return str(value)


@dataclass(frozen=True, slots=True)
class Progress:
    completed: int
    total: int | None = None
    message: str | None = None


@dataclass(frozen=True, slots=True)
class JobError:
    """The reason why an attempt failed; its message may be shown to callers."""

    code: str
    message: str
    retryable: bool
    step: str | None
    occurred_at: int


@made_quickly
@dataclass(frozen=True, slots=True)
class Step:
    name: str
    index: int
    status: StepStatus = StepStatus.PENDING
    started_at: int | None = None
    finished_at: int | None = None
    result: Any = None


class JobWait(NamedTuple):
    """The wait of a job between two steps. Without a time limit `until` is None.

    At the end of its time the job goes on with the result in `otherwise`; where that is empty, it has failed.
    """

    handler: str
    name: str
    since: int
    until: int | None
    is_sleep: bool
    otherwise: Sequence[Any] = ()


@made_quickly
@dataclass(frozen=True, slots=True)
class Attempt:
    """One claim of the job. Crashes, drains and outages do not count against `max_attempts`."""

    number: int
    counts_as_attempt: bool
    backend: str  # a destination
    worker: str
    started_at: int
    finished_at: int | None = None
    error: JobError | None = None

    @property
    def backend_name(self) -> str:
        return split(self.backend)[0]


@made_quickly
@dataclass(frozen=True, slots=True)
class Job:
    id: str
    handler: str
    status: JobStatus
    backend: str  # its destination: with its queue, as in "dramatiq:gpu"
    owner: str | None
    priority: int
    version: int
    changed: int  # the number of the commit that made this version
    run: int
    params: dict[str, Any]
    params_version: int
    progress: Progress | None
    steps: tuple[Step, ...]
    attempts: tuple[Attempt, ...]
    attempt: int
    counted_attempts: int
    max_attempts: int
    crash_count: int
    fencing_token: int
    runner: str | None
    delivered_to: str | None
    due_at: int
    created_at: int
    run_at: int | None
    started_at: int | None
    finished_at: int | None
    result: Any
    error: JobError | None
    reason: str | None
    trace: str | None
    blocked: str | None = None
    limited: bool = False  # claimed under its handler's limits, so that its end may unblock another job
    parent: str | None = None  # the job whose handler dispatched it
    unique_key: str | None = None  # the digest of the key that no other job of its handler may hold
    replayed: bool = False  # given in place of a new one, because it holds the unique key
    expires_at: int | None = None  # unless its first attempt has begun by then, it is cancelled
    on_failure: str | None = None  # the handler of the job that is accepted when this one fails
    wait: JobWait | None = None  # while it is WAITING
    batch: str | None = None
    position: int | None = None  # in the batch, from 0
    limit_key: str | None = None  # the limit by key that it is under, and its value, as in crm:acme

    @property
    def done(self) -> bool:
        return self.status in TERMINAL

    @property
    def backend_name(self) -> str:
        return split(self.backend)[0]

    @property
    def queue(self) -> str:
        return split(self.backend)[1]

    @property
    def can_cancel(self) -> bool:
        return self.status not in TERMINAL and self.status is not JobStatus.CANCELLING

    @property
    def can_retry(self) -> bool:
        return self.status in RETRYABLE


@dataclass(frozen=True, slots=True)
class JobChunk:
    """A piece of a job's output: text, or any other JSON."""

    offset: int
    """The number of the chunk, from 0 over all attempts and runs of the job."""
    attempt: int
    """The number of the attempt that emitted it."""
    step: str
    """The name of the step that emitted it."""
    data: Any


@dataclass(frozen=True, slots=True)
class JobLogLine:
    """A log line of a job."""

    time: int
    """By the ledger's clock, in microseconds."""
    level: LogLevel
    logger: str
    attempt: int
    step: str
    """The name of the step that ran."""
    text: str
    """The message; below it, on lines of their own, a traceback."""


class Visible(NamedTuple):
    """The jobs that a viewer may see: all of them, or those of one owner."""

    owner: str | None = None
    everything: bool = False

    def sees(self, job: Job) -> bool:
        return self.sees_jobs_of(job.owner)

    def sees_jobs_of(self, owner: str | None) -> bool:
        return self.everything or (self.owner is not None and owner == self.owner)


EVERYTHING = Visible(everything=True)


@dataclass(frozen=True, slots=True)
class JobFilter:
    """A filter of jobs; an empty one matches all. Handler names may hold `*`; both times are exclusive.

    With error codes or a message it matches only jobs that ended with such an error, or that wait for the next attempt
    after it; with a time of the end, only those that are over; with a time of the start, only those that are SCHEDULED.
    The message is `error_text.one_line` of theirs. Of the parameters each has to match.
    """

    status: tuple[JobStatus, ...] = ()
    handler: tuple[str, ...] = ()
    created_after: int | None = None
    created_before: int | None = None
    owner: str | None = None
    error_code: tuple[str, ...] = ()
    error_message: str | None = None
    finished_after: int | None = None
    finished_before: int | None = None
    batch: str | None = None
    run_after: int | None = None
    run_before: int | None = None
    params: tuple[ParamFilter, ...] = ()

    @property
    def can_be_left(self) -> bool:
        """True if a job may come to match, or no longer match: its status, error and parameters can change."""
        return self.statuses is not None or bool(self.params)

    @property
    def by_end(self) -> bool:
        return self.finished_after is not None or self.finished_before is not None

    @property
    def by_start(self) -> bool:
        return self.run_after is not None or self.run_before is not None

    @property
    def statuses(self) -> tuple[JobStatus, ...] | None:
        """The statuses of jobs that can match; None for any."""
        by_error = bool(self.error_code) or self.error_message is not None
        if not by_error and not self.by_end and not self.by_start:
            return self.status or None
        possible = set(self.status or JobStatus)
        if by_error:
            possible &= ENDED_BY_ERROR
        if self.by_end:
            possible &= TERMINAL
        if self.by_start:
            possible &= {JobStatus.SCHEDULED}
        return tuple(sorted(possible))

    def matches(self, job: Job) -> bool:
        return (
            ((statuses := self.statuses) is None or job.status in statuses)
            and (not self.error_code or (job.error is not None and job.error.code in self.error_code))
            and (
                self.error_message is None
                or (job.error is not None and one_line(job.error.message) == self.error_message)
            )
            and (self.finished_after is None or (job.finished_at or 0) > self.finished_after)
            and (self.finished_before is None or (job.finished_at or 0) < self.finished_before)
            and (self.run_after is None or job.due_at > self.run_after)  # of a SCHEDULED job it is `run_at`
            and (self.run_before is None or job.due_at < self.run_before)
            and self.allows(job)
            and self.allows_params(job)
        )

    def allows(self, job: Job | Missed) -> bool:
        """Return whether a job matches in some status: its owner, handler, batch and time stay as they are."""
        return (
            (self.owner is None or job.owner == self.owner)
            and (self.batch is None or job.batch == self.batch)
            and (not self.handler or any(matches(job.handler, pattern) for pattern in self.handler))
            and (self.created_after is None or job.created_at > self.created_after)
            and (self.created_before is None or job.created_at < self.created_before)
        )

    def allows_params(self, job: Job) -> bool:
        """Return whether the job's parameters match."""
        return all(one.matches(job.handler, job.params) for one in self.params)


@dataclass(frozen=True, slots=True)
class UniqueKey:
    """The key that one job of a handler may hold at a time, and its terms, with times in microseconds.

    `digest` is of the parameters and the owner; `situations` are those of `Unique.while_`.
    """

    digest: str
    situations: Collection[str]
    within: int | None = None
    replaces: bool = False
    debounce: int | None = None
    max_wait: int = 0

    @property
    def changes(self) -> bool:
        """True if a second acceptance changes the job that holds the key."""
        return self.replaces or self.debounce is not None

    @property
    def locks_holder(self) -> bool:
        """True if a job that holds the key may not begin before the commit: it counts while it has not begun."""
        return "running" not in self.situations and not {"scheduled", "queued"}.isdisjoint(self.situations)


@made_quickly
@dataclass(frozen=True, slots=True)
class NewJob:
    """A job that was validated and not yet accepted; `params` and `steps` are encoded."""

    handler: str
    backend: str  # its destination
    params: str
    params_version: int
    steps: str
    max_attempts: int
    owner: str | None = None
    priority: int = 0
    run_at: int | None = None
    trace: str | None = None
    id: str | None = None
    created_at: int | None = None  # microseconds; None: when it is inserted
    parent: str | None = None
    expires: int | None = None  # microseconds from its due time, by which its first attempt has to begin
    on_failure: str | None = None
    batch: str | None = None
    position: int | None = None
    pending: tuple[Step, ...] = ()  # `steps`, decoded
    unique: UniqueKey | None = None
    limit_key: str | None = None


def without_surrogates(text: str) -> str:
    """Replace lone surrogates by question marks: they are no Unicode, and so no JSON."""
    return text.encode("utf-8", "replace").decode()
