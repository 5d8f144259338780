"""Attempts that fail, and the next ones."""

from __future__ import annotations

import pytest

from onward.jobs.retry import ceiling
from onward.jobs.states import JobStatus, StepStatus
from onward.testing.harness import Harness
from onward.testing.workload import QUICKLY, notes

S = JobStatus


class Failures:
    async def test_one_failing_job_stops_no_other(self, harness: Harness) -> None:
        """Of three jobs of one request the middle one fails, and the others succeed."""
        folder = {"folder": str(harness.folder)}
        names = ("conformance.note", "conformance.permanent", "conformance.note")
        jobs = await harness.request([{"handler": name, "params": folder} for name in names])
        assert [(await harness.done(job)).status for job in jobs] == [S.SUCCEEDED, S.FAILED, S.SUCCEEDED]

    async def test_a_failed_attempt_is_retried_until_it_succeeds(self, harness: Harness) -> None:
        """Two failures, then success: three counted attempts, the first two with their errors."""
        job = await harness.done(await harness.accept("conformance.fail", folder=str(harness.folder), times=2))
        assert (job.status, job.result, job.error) == (S.SUCCEEDED, "at last", None)
        assert [attempt.number for attempt in job.attempts] == [1, 2, 3]
        assert [attempt.counts_as_attempt for attempt in job.attempts] == [True, True, True]
        assert [attempt.error and attempt.error.code for attempt in job.attempts] == ["UNEXPECTED", "UNEXPECTED", None]
        assert harness.count("tried") == 3

    async def test_the_wait_between_attempts_is_the_policy_s(self, harness: Harness) -> None:
        """The job is RETRYING until a time within the policy's ceiling for that attempt, and does not begin earlier."""
        async with harness.front.change_feed.watch_all() as watch:
            job = await harness.accept("conformance.fail", folder=str(harness.folder), times=2)
            waits = {}
            async for seen in watch:
                if seen.id == job.id and seen.status is S.RETRYING:
                    waits[seen.attempt] = seen.due_at
                if seen.id == job.id and seen.done:
                    break
        assert waits
        for number, due_at in waits.items():
            ended, started = seen.attempts[number - 1].finished_at, seen.attempts[number].started_at
            assert ended is not None
            assert ended <= due_at <= started
            assert (due_at - ended) / 1_000_000 <= ceiling(QUICKLY, number).total_seconds()

    async def test_a_job_that_never_succeeds_fails_after_its_last_attempt(self, harness: Harness) -> None:
        """FAILED after `max_attempts`; the message contains nothing of the exception."""
        job = await harness.done(await harness.accept("conformance.fail", folder=str(harness.folder), times=99))
        assert job.status is S.FAILED
        assert harness.count("tried") == len(job.attempts) == job.max_attempts == QUICKLY.max_attempts
        assert job.error is not None
        assert (job.error.code, job.error.step) == ("UNEXPECTED", "fail")
        assert "secret" not in job.error.message
        assert job.steps[0].status is StepStatus.FAILED

    async def test_a_permanent_error_fails_at_once_with_the_handler_s_message(self, harness: Harness) -> None:
        """One attempt, the handler's own code and message, not retryable."""
        job = await harness.done(await harness.accept("conformance.permanent", folder=str(harness.folder)))
        assert job.status is S.FAILED
        assert harness.count("tried") == len(job.attempts) == 1
        assert job.error is not None
        assert (job.error.code, job.error.message, job.error.retryable) == ("NEVER", "it can never be done", False)

    async def test_the_next_attempt_goes_on_with_the_step_that_failed(self, harness: Harness) -> None:
        """The step before, which had finished, is not run again."""
        job = await harness.done(await harness.accept("conformance.steps_retry", folder=str(harness.folder)))
        assert job.status is S.SUCCEEDED
        assert [note.word for note in notes(harness.folder)] == ["first", "second", "second", "third"]

    async def test_steps_after_one_that_failed_for_good_are_skipped(self, harness: Harness) -> None:
        """Finished steps stay SUCCEEDED, the failed one is FAILED, the rest are SKIPPED."""
        job = await harness.done(await harness.accept("conformance.steps", folder=str(harness.folder)))
        assert job.status is S.FAILED
        assert [step.status for step in job.steps] == [StepStatus.SUCCEEDED, StepStatus.FAILED, StepStatus.SKIPPED]
        assert job.error is not None
        assert job.error.step == "second"

    @pytest.mark.parametrize("kind", ["error", "message", "number"])
    async def test_a_handler_with_an_unstorable_message_still_ends(self, harness: Harness, kind: str) -> None:
        """An error with invalid Unicode or an integer beyond 64 bits ends the job."""
        job = await harness.done(await harness.accept("conformance.words", kind=kind), within_s=5)
        assert job.status is (S.FAILED if kind == "error" else S.SUCCEEDED)
        if job.error is not None:
            assert job.error.code == "WORDS"
            assert job.error.message.startswith("half a pair")

    async def test_a_handler_that_calls_sys_exit_fails_and_ends_no_process(self, harness: Harness) -> None:
        """The job FAILED and the worker lives on: async or plain, in a task or a callback."""
        (worker,) = harness.workers
        for name in (
            "conformance.sys_exit",
            "conformance.sys_exit_plain",
            "conformance.sys_exit_task",
            "conformance.sys_exit_callback",
        ):
            job = await harness.done(await harness.accept(name, folder=str(harness.folder)))
            assert job.status is S.FAILED
            assert job.error is not None
            assert job.error.code == "UNEXPECTED"
        assert worker.is_up

    async def test_a_handler_that_awaits_a_cancelled_task_has_failed(self, harness: Harness) -> None:
        """The job is not handed back: nobody stopped it, and it would begin again without end."""
        for name in ("conformance.cancelled", "conformance.cancelled_plain"):
            job = await harness.done(await harness.accept(name, folder=str(harness.folder)))
            assert job.status is S.FAILED
            assert job.error is not None
            assert job.error.code == "UNEXPECTED"
        assert harness.count("started") == 2
