"""Ends that handlers choose: the delay of the next attempt, and policies by the class of an error."""

from __future__ import annotations

import pytest

from onward.jobs.states import JobStatus
from onward.testing.harness import Harness
from onward.testing.workload import CHOSEN, notes

S = JobStatus
US = 1_000_000


class Ends:
    @pytest.mark.parametrize("handler", ["conformance.later", "conformance.later_plain"])
    async def test_a_handler_chooses_the_delay_of_its_next_attempt(self, harness: Harness, handler: str) -> None:
        """The next attempt is due after exactly that delay, and the first one counts."""
        async with harness.front.change_feed.watch_all() as watch:
            job = await harness.accept(handler, folder=str(harness.folder))
            async for seen in watch:
                if seen.id == job.id and seen.status is S.RETRYING:
                    break
        first = seen.attempts[0]
        assert first.finished_at is not None
        assert seen.due_at - first.finished_at == CHOSEN.total_seconds() * US
        assert first.error is not None
        assert (first.error.code, first.error.message, first.error.retryable) == ("BUSY", "the printer is busy", True)
        done = await harness.done(job)
        assert (done.status, [attempt.counts_as_attempt for attempt in done.attempts]) == (S.SUCCEEDED, [True, True])
        assert done.attempts[1].started_at >= seen.due_at

    async def test_an_attempt_that_is_not_charged_leaves_the_budget(self, harness: Harness) -> None:
        """The policy allows one attempt, and the step that asked runs again; the one before it does not."""
        job = await harness.done(await harness.accept("conformance.steps_later", folder=str(harness.folder)))
        assert (job.status, job.counted_attempts) == (S.SUCCEEDED, 1)
        assert [attempt.counts_as_attempt for attempt in job.attempts] == [False, True]
        assert [note.word for note in notes(harness.folder)] == ["first", "second", "second", "third"]

    @pytest.mark.parametrize(
        ("kind", "attempts", "retryable"),
        [("ValueError", 1, True), ("TimeoutError", 3, True), ("ConnectionResetError", 1, False)],
    )
    async def test_the_most_specific_class_of_an_error_chooses_its_policy(
        self, harness: Harness, kind: str, attempts: int, *, retryable: bool
    ) -> None:
        """An error without a policy of its own follows the handler's, and one of a permanent class is never retried."""
        job = await harness.done(await harness.accept("conformance.by_type", folder=str(harness.folder), kind=kind))
        assert job.status is S.FAILED
        assert harness.count("tried") == len(job.attempts) == attempts
        assert job.error is not None
        assert (job.error.code, job.error.retryable) == ("UNEXPECTED", retryable)

    async def test_the_ends_of_a_handler_with_a_process_of_its_own_are_the_same(self, harness: Harness) -> None:
        """Its first attempt is put off, and its second raises an error that is permanent by its class."""
        job = await harness.done(await harness.accept("conformance.later_apart", folder=str(harness.folder)))
        assert job.status is S.FAILED
        assert [attempt.error and attempt.error.code for attempt in job.attempts] == ["BUSY", "UNEXPECTED"]
        first, second = job.attempts
        assert first.finished_at is not None
        assert second.started_at - first.finished_at >= US
        assert job.error is not None
        assert not job.error.retryable
