"""Time limits and size limits."""

from __future__ import annotations

import json
from typing import Any

import pytest

from onward.jobs.states import JobStatus
from onward.testing.harness import Harness

S = JobStatus


class Limits:
    @pytest.mark.parametrize("handler", ["conformance.endless", "conformance.endless_plain"])
    async def test_a_handler_past_its_time_limit_is_stopped(self, harness: Harness, handler: str) -> None:
        """TIMED_OUT, soon after the limit of 0.3 s; a plain function at its next check."""
        job = await harness.done(await harness.accept(handler, folder=str(harness.folder)))
        assert job.status is S.FAILED
        assert job.error is not None
        assert job.error.code == "TIMED_OUT"
        (attempt,) = job.attempts
        assert attempt.finished_at is not None
        assert 290_000 <= attempt.finished_at - attempt.started_at < 2_000_000

    @pytest.mark.parametrize(
        ("kind", "result"), [("nothing", None), ("nested", {"a": [1, 2.5, "\u00e4\U0001f680", None, True]})]
    )
    async def test_a_result_comes_back_as_it_was_returned(self, harness: Harness, kind: str, result: Any) -> None:
        """Every JSON value is kept."""
        job = await harness.done(await harness.accept("conformance.result", kind=kind))
        assert (job.status, job.result) == (S.SUCCEEDED, result)

    async def test_a_result_below_the_cap_is_kept(self, harness: Harness) -> None:
        """A result of 63 kB and one of 200 nested lists come back whole."""
        job = await harness.done(await harness.accept("conformance.result", kind="large"))
        assert job.result == "x" * 63_000
        job = await harness.done(await harness.accept("conformance.result", kind="deep"))
        assert json.dumps(job.result) == "[" * 200 + "]" * 200

    @pytest.mark.parametrize(
        ("kind", "code"),
        [
            ("too large", "RESULT_TOO_LARGE"),
            ("no json", "RESULT_NOT_JSON"),
            ("broken text", "RESULT_NOT_JSON"),
            ("too deep", "RESULT_NOT_JSON"),
        ],
    )
    async def test_an_invalid_result_fails_the_job_with_a_reason(self, harness: Harness, kind: str, code: str) -> None:
        """The job is FAILED at once: a retry would not help."""
        job = await harness.done(await harness.accept("conformance.result", kind=kind))
        assert job.status is S.FAILED
        assert job.error is not None
        assert (job.error.code, job.error.retryable, job.result) == (code, False, None)

    async def test_a_long_backlog_is_worked_off(self, harness: Harness) -> None:
        """Three hundred jobs of ten requests run once each."""
        one = {"handler": "conformance.note", "params": {"folder": str(harness.folder)}}
        jobs = [job for _ in range(10) for job in await harness.request([one] * 30)]
        for job in jobs:
            assert (await harness.done(job)).status is S.SUCCEEDED
        assert harness.count("ran") == len(jobs)
