"""A job, read from its row: plain frozen values, times as integer microseconds UTC."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from typing import Any

import orjson

from onward.jobs.states import HELD, RETRYABLE, TERMINAL, JobStatus, StepStatus
from onward.storage.tables import jobs

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
COLUMNS = tuple(column.name for column in jobs.columns)


def to_datetime(us: int) -> datetime:
    return EPOCH + timedelta(microseconds=us)


def to_us(moment: datetime) -> int:
    """Microseconds since 1970 of an aware moment."""
    return (moment - EPOCH) // timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Progress:
    completed: int
    total: int | None = None
    message: str | None = None


@dataclass(frozen=True, slots=True)
class JobError:
    """Why an attempt failed, in words that a caller may see."""

    code: str
    message: str
    retryable: bool
    step: str | None
    occurred_at: int


@dataclass(frozen=True, slots=True)
class Step:
    name: str
    index: int
    status: StepStatus = StepStatus.PENDING
    started_at: int | None = None
    finished_at: int | None = None
    result: Any = None


@dataclass(frozen=True, slots=True)
class Attempt:
    """One claim of the job. `charged` counts against the budget; deaths, drains and outages do not."""

    number: int
    counts_as_attempt: bool
    backend: str
    worker: str
    started_at: int
    finished_at: int | None = None
    error: JobError | None = None


@dataclass(frozen=True, slots=True)
class Job:
    id: str
    handler: str
    status: JobStatus
    backend: str
    owner: str | None
    priority: int
    version: int
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
    limited: bool = False  # it has a place under its handler's limits, which its end makes free

    @property
    def done(self) -> bool:
        return self.status in TERMINAL

    @property
    def can_cancel(self) -> bool:
        return self.status not in TERMINAL and self.status is not JobStatus.CANCELLING

    @property
    def can_retry(self) -> bool:
        return self.status in RETRYABLE


@dataclass(frozen=True, slots=True)
class Visible:
    """What a viewer may see: everything, or the jobs of one owner."""

    owner: str | None = None
    everything: bool = False

    def sees(self, job: Job) -> bool:
        return self.everything or (self.owner is not None and job.owner == self.owner)


@dataclass(frozen=True, slots=True)
class JobFilter:
    """Which jobs; nothing given means all. Handlers may hold `*`; both bounds of time are exclusive."""

    status: tuple[JobStatus, ...] = ()
    handler: tuple[str, ...] = ()
    created_after: int | None = None
    created_before: int | None = None

    def matches(self, job: Job) -> bool:
        return (
            (not self.status or job.status in self.status)
            and (not self.handler or any(_matches(job.handler, pattern) for pattern in self.handler))
            and (self.created_after is None or job.created_at > self.created_after)
            and (self.created_before is None or job.created_at < self.created_before)
        )


def _matches(name: str, pattern: str) -> bool:
    return fnmatchcase(name, pattern.replace("[", "[[]").replace("?", "[?]"))


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job that is checked and not yet accepted."""

    handler: str
    backend: str
    params: str
    params_version: int
    steps: str
    max_attempts: int
    owner: str | None = None
    priority: int = 0
    run_at: int | None = None
    trace: str | None = None
    id: str | None = None
    pending: tuple[Step, ...] = ()  # what `steps` says


def legible(text: str) -> str:
    """The text, with question marks for what is no Unicode and so no JSON: half a surrogate pair."""
    return text.encode("utf-8", "replace").decode()


def dump(value: Any) -> str:
    return orjson.dumps(value).decode()


def load_error(value: Mapping[str, Any] | None) -> JobError | None:
    return JobError(**value) if value else None


def dump_error(error: JobError | None) -> dict[str, Any] | None:
    return (
        {
            "code": error.code,
            "message": error.message,
            "retryable": error.retryable,
            "step": error.step,
            "occurred_at": error.occurred_at,
        }
        if error
        else None
    )


def dump_steps(steps: tuple[Step, ...]) -> str:
    return dump(
        [
            {"n": s.name}
            if s.status is StepStatus.PENDING and s.started_at is None
            else {
                "n": s.name,
                # That a step runs is read from the claim, and never written.
                "s": "PENDING" if s.status is StepStatus.RUNNING else s.status.value,
                "b": s.started_at,
                "e": s.finished_at,
                "r": s.result,
            }
            for s in steps
        ]
    )


def dump_attempts(attempts: tuple[Attempt, ...]) -> str:
    return dump(
        [
            [a.number, a.counts_as_attempt, a.backend, a.worker, a.started_at, a.finished_at, dump_error(a.error)]
            for a in attempts
        ]
    )


def _load_steps(text: str, status: JobStatus, begun: int | None) -> tuple[Step, ...]:
    steps = []
    held = status in HELD
    for index, s in enumerate(orjson.loads(text)):
        state = StepStatus(s.get("s", "PENDING"))
        started = s.get("b")
        if held and state is not StepStatus.SUCCEEDED:
            # The first unfinished step of a claimed job is the one that runs: nobody has to write that down.
            held, state, started = False, StepStatus.RUNNING, max(started or 0, begun or 0)
        elif state is StepStatus.PENDING:
            started = None
        steps.append(Step(s["n"], index, state, started, s.get("e"), s.get("r")))
    return tuple(steps)


def from_row(row: Any) -> Job:
    """The job of a row that holds all columns in the table's order."""
    (
        id_, handler, status_, backend, owner, priority, version, _changed, run, params, params_version, progress,
        steps, attempts_, attempt, charged, max_attempts, deaths, token, runner, worker, attempt_started_at,
        delivered_to, due_at, created_at, run_at, started_at, finished_at, result, error, reason, trace,
        parked, _promised,
    ) = row  # fmt: skip
    status = JobStatus(status_)
    attempts = tuple(
        Attempt(number, was_charged, where, who, begun, ended, load_error(why))
        for number, was_charged, where, who, begun, ended, why in orjson.loads(attempts_)
    )
    if status in HELD:
        attempts += (Attempt(attempt, True, backend, worker, attempt_started_at),)
    return Job(
        id_, handler, status, backend, owner, priority, version, run, orjson.loads(params), params_version,
        Progress(*orjson.loads(progress)) if progress else None, _load_steps(steps, status, attempt_started_at),
        attempts, attempt, charged, max_attempts, deaths, token, runner, delivered_to, due_at, created_at, run_at,
        started_at, finished_at, orjson.loads(result) if result else None,
        load_error(orjson.loads(error)) if error else None, reason, trace, parked,
    )  # fmt: skip
