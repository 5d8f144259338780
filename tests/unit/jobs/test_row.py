"""The codec of a job's row knows every column, and reads a job as it was written."""

from __future__ import annotations

import pytest

from onward.jobs import row
from onward.jobs.model import Attempt, JobError, Progress, Step
from onward.jobs.states import JobStatus, StepStatus
from onward.storage.tables import jobs

ERROR = JobError("CODE", "it failed", True, "first", 5)
NEW = {
    "id": "job_1",
    "handler": "conformance.job",
    "status": "QUEUED",
    "backend": "here",
    "priority": 0,
    "changed": 7,
    "params": '{"n":1}',
    "params_version": 1,
    "steps": row.encode_steps((Step("first", 0), Step("second", 1))),
    "max_attempts": 3,
    "due_at": 2,
    "created_at": 2,
}


def test_the_codec_has_the_columns_of_the_table_in_their_order() -> None:
    """An insert names the values by their order."""
    assert tuple(column.name for column in jobs.columns) == row.COLUMNS
    assert tuple(row.new(NEW)) == row.COLUMNS


def test_a_column_that_the_table_lacks_is_refused() -> None:
    with pytest.raises(TypeError):
        row.decode(row.new({**NEW, "colour": "red"}).values())


def test_decoding_an_encoded_row_gives_the_same_job() -> None:
    """The job has errors, attempts, progress, results and steps."""
    steps = (Step("first", 0, StepStatus.SUCCEEDED, 3, 4, {"a": [1]}), Step("second", 1))
    attempts = (Attempt(1, True, "here", "worker", 3, 5, ERROR), Attempt(2, False, "here", "worker", 6, 7))
    values = row.new(
        {
            **NEW,
            "status": "FAILED",
            "steps": row.encode_steps(steps),
            "attempts": row.encode_attempts(attempts),
            "progress": row.encode_progress(Progress(1, 2, "half")),
            "error": row.encode_error(ERROR),
            "result": row.encode([1, None]),
        }
    )
    job = row.decode(values.values())
    assert (job.steps, job.attempts, job.progress) == (steps, attempts, Progress(1, 2, "half"))
    assert (job.error, job.result, job.params, job.status) == (ERROR, [1, None], {"n": 1}, JobStatus.FAILED)


def test_a_claimed_job_runs_its_first_unfinished_step() -> None:
    """The current attempt and step are not stored among the finished ones."""
    values = row.new({**NEW, "status": "RUNNING", "attempt": 1, "worker": "worker", "attempt_started_at": 9})
    job = row.decode(values.values())
    assert [step.status for step in job.steps] == [StepStatus.RUNNING, StepStatus.PENDING]
    assert job.steps[0].started_at == 9
    assert job.attempts == (Attempt(1, True, "here", "worker", 9),)


def test_each_renamed_column_belongs_to_exactly_one_field() -> None:
    """`deaths` is `crash_count`, and so on."""
    values = row.new({**NEW, "charged": 1, "deaths": 2, "token": 3, "parked": "PAUSED"})
    job = row.decode(values.values())
    assert (job.counted_attempts, job.crash_count, job.fencing_token, job.blocked) == (1, 2, 3, "PAUSED")
    assert [column.name for column in row.columns(row.Candidate)][3:] == [
        "deaths",
        "promised",
        "token",
        "limit_key",
        "placed",
    ]
