"""The codec of a job's row: the columns of `jobs`, their order, and the encoding of their values.

A whole row is the parameters of `_decode`, which statements select as `ALL`. Each tuple below is a kind of partial row:
`columns` gives its fields to a statement, and makes what the statement found readable by name. Names are those of the
code; a column that is called otherwise is in `_COLUMN`.

The file is long because each column has its place, its encoding and its decoding side by side.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from inspect import signature
from types import MappingProxyType
from typing import Any, NamedTuple

import orjson
import sqlalchemy as sa

from onward.jobs.model import Attempt, Job, JobError, JobWait, Progress, Step
from onward.jobs.states import HELD, JobStatus, StepStatus
from onward.storage.tables import jobs

_COLUMN = MappingProxyType(
    {
        "counted_attempts": "charged",
        "crash_count": "deaths",
        "fencing_token": "token",
        "blocked": "parked",
        "reserved": "promised",
        "place": "placed",
    }
)


class Claim(NamedTuple):
    """A claim: its job, and the unique number of the claim."""

    id: str
    fencing_token: int


class Candidate(NamedTuple):
    """The columns of a job in line that its handler's limits need."""

    id: str
    handler: str
    priority: int
    crash_count: int
    reserved: int | None
    fencing_token: int
    limit_key: str | None
    place: int | None

    @property
    def is_reserved(self) -> bool:
        return self.reserved == self.fencing_token

    @property
    def lacks_place(self) -> bool:
        """True if it has a key, and no place of it: a process of an older release has queued it."""
        return self.limit_key is not None and self.place != self.fencing_token


class Unconfirmed(NamedTuple):
    """A queued job whose delivery is not confirmed."""

    id: str
    handler: str
    priority: int
    fencing_token: int
    attempt: int

    @property
    def resumes(self) -> bool:
        """True if the job ran before."""
        return self.attempt > 0


class Destination(NamedTuple):
    """The destination of a job: its backend, its handler, and the broker or runner that has the newest delivery."""

    backend: str
    handler: str
    delivered_to: str | None


class Change(NamedTuple):
    """A change of a job, and the number of the commit that made it."""

    id: str
    owner: str | None
    version: int
    changed: int


class Missed(NamedTuple):
    """A changed job, and the columns that tell whether a subscriber wants it."""

    id: str
    changed: int
    owner: str | None
    handler: str
    created_at: int
    batch: str | None


def columns(kind: type[tuple[Any, ...]]) -> tuple[sa.Column[Any], ...]:
    """Return the columns of a kind of row, in the order of its fields."""
    fields: Sequence[str] = kind._fields  # type: ignore[attr-defined]
    return tuple(map(_column, fields))


def _column(name: str) -> sa.Column[Any]:
    """Return the column of a field."""
    return jobs.c[_COLUMN.get(name, name)]


# Looked up by their text: to call an enumeration costs ten times as much.
_STATUS = {status.value: status for status in JobStatus}
_HELD = frozenset(status.value for status in HELD)
_STEP_STATUS = {status.value: status for status in StepStatus}


def _decode(  # noqa: PLR0917 - a row is read by the order of these parameters, and by nothing else
    steps_: tuple[Step, ...] | None,
    id: str,
    handler: str,
    status: str,
    backend: str,
    owner: str | None,
    priority: int,
    version: int,
    changed: int,
    run: int,
    params: str,
    params_version: int,
    progress: str | None,
    steps: str,
    attempts: str,
    attempt: int,
    counted_attempts: int,
    max_attempts: int,
    crash_count: int,
    fencing_token: int,
    runner: str | None,
    worker: str | None,
    attempt_started_at: int | None,
    delivered_to: str | None,
    due_at: int,
    created_at: int,
    run_at: int | None,
    started_at: int | None,
    finished_at: int | None,
    result: str | None,
    error: str | None,
    reason: str | None,
    trace: str | None,
    blocked: str | None,
    _reserved: int | None,
    parent: str | None,
    unique_key: str | None,
    expires_at: int | None,
    on_failure: str | None,
    wait: str | None,
    batch: str | None,
    position: int | None,
    limit_key: str | None,
    _place: int | None,
    _expires_in: int | None,
) -> Job:
    """Return the job of a row. The parameters after the first are the columns, in the order of the table; JSON is text.

    By position, which is a tenth quicker: this runs for each job that is accepted, claimed or shown.
    """
    held = status in _HELD
    attempts_ = () if attempts == "[]" else _decode_attempts(attempts)
    if held:
        attempts_ += (Attempt(attempt, True, backend, worker or "", attempt_started_at or 0),)
    wait_ = JobWait(handler, *orjson.loads(wait)) if wait else None
    if steps_ is None:
        steps_ = _decode_steps(steps, attempt_started_at if held else wait_.since if wait_ else None)
    return Job(
        id,
        handler,
        _STATUS[status],
        backend,
        owner,
        priority,
        version,
        changed,
        run,
        orjson.loads(params),
        params_version,
        Progress(*orjson.loads(progress)) if progress else None,
        steps_,
        attempts_,
        attempt,
        counted_attempts,
        max_attempts,
        crash_count,
        fencing_token,
        runner,
        delivered_to,
        due_at,
        created_at,
        run_at,
        started_at,
        finished_at,
        orjson.loads(result) if result else None,
        _decode_error(orjson.loads(error)) if error else None,
        reason,
        trace,
        blocked,
        parent=parent,
        unique_key=unique_key,
        expires_at=expires_at,
        on_failure=on_failure,
        wait=wait_,
        batch=batch,
        position=position,
        limit_key=limit_key,
    )


def columns_without(names: frozenset[str]) -> tuple[Any, ...]:
    """Return the columns of a row, with the named ones of LARGE empty."""
    return tuple(sa.literal_column(_EMPTY[column.name]) if column.name in names else column for column in ALL)


def decode(row: Iterable[Any], steps: tuple[Step, ...] | None = None) -> Job:
    """Return the job of a row of `ALL`. `steps` are those of a waiting job, if they are known without decoding."""
    return _decode(steps, *row)


_, *_fields = signature(_decode).parameters
ALL = tuple(_column(field.removeprefix("_")) for field in _fields)
_EMPTY = MappingProxyType({"params": "'{}'", "steps": "'[]'", "result": "NULL"})
LARGE = frozenset(_EMPTY)
"""The columns without a bound of some kilobytes, which a reader may leave out."""
COLUMNS = tuple(column.name for column in ALL)
_NEW: dict[str, Any] = {
    **dict.fromkeys(COLUMNS),
    "version": 1,
    "run": 1,
    "attempts": "[]",
    "attempt": 0,
    "charged": 0,
    "deaths": 0,
    "token": 0,
}


def new(values: dict[str, Any]) -> dict[str, Any]:
    """Return the values of a new job's row by their columns, in the order of the table; missing ones are empty."""
    return _NEW | values


def encode(value: Any) -> str:
    """Return the value as JSON. Raises TypeError if it is not JSON."""
    return orjson.dumps(value).decode()


def encode_progress(progress: Progress | None) -> str | None:
    return encode([progress.completed, progress.total, progress.message]) if progress else None


def encode_error(error: JobError | None) -> str | None:
    return encode(_plain(error)) if error else None


def encode_wait(wait: JobWait) -> str:
    return encode([wait.name, wait.since, wait.until, wait.is_sleep, wait.otherwise])


def encode_steps(steps: tuple[Step, ...]) -> str:
    return encode(
        [
            {"n": step.name}
            if step.status is StepStatus.PENDING and step.started_at is None
            else {
                "n": step.name,
                # That a step runs is read from the claim, and never written.
                "s": "PENDING" if step.status is StepStatus.RUNNING else step.status._value_,
                "b": step.started_at,
                "e": step.finished_at,
                "r": step.result,
            }
            for step in steps
        ]
    )


def encode_attempts(attempts: tuple[Attempt, ...]) -> str:
    return encode(
        [
            [a.number, a.counts_as_attempt, a.backend, a.worker, a.started_at, a.finished_at, _plain(a.error)]
            for a in attempts
        ]
    )


def _plain(error: JobError | None) -> dict[str, Any] | None:
    if error is None:
        return None
    return {
        "code": error.code,
        "message": error.message,
        "retryable": error.retryable,
        "step": error.step,
        "occurred_at": error.occurred_at,
    }


def _decode_error(value: Mapping[str, Any] | None) -> JobError | None:
    return JobError(**value) if value else None


def _decode_attempts(text: str) -> tuple[Attempt, ...]:
    return tuple(
        Attempt(number, counts_as_attempt, backend, worker, started_at, finished_at, _decode_error(error))
        for number, counts_as_attempt, backend, worker, started_at, finished_at, error in orjson.loads(text)
    )


def _decode_steps(text: str, running_since: int | None) -> tuple[Step, ...]:
    """Return the steps; `running_since` is the start of a claimed job's attempt, or of a wait, and None otherwise."""
    steps = []
    held = running_since is not None
    for index, step in enumerate(orjson.loads(text)):
        status, started_at = _STEP_STATUS[step.get("s", "PENDING")], step.get("b")
        if status is not StepStatus.SUCCEEDED and held:
            # The first unfinished step of a claimed job is the one that runs: nobody has to write that down.
            held, status, started_at = False, StepStatus.RUNNING, max(started_at or 0, running_since or 0)
        elif status is StepStatus.PENDING:
            started_at = None
        steps.append(Step(step["n"], index, status, started_at, step.get("e"), step.get("r")))
    return tuple(steps)
