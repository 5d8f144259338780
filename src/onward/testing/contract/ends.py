"""Ends that handlers choose: the next attempt, policies by the class of an error, the time to begin, on_failure."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import sqlalchemy as sa

from onward.jobs import concurrency, ledger
from onward.jobs.model import Job, NewJob, Step
from onward.jobs.states import JobStatus, StepStatus
from onward.storage.tables import jobs
from onward.storage.transaction import Tx
from onward.testing.harness import Harness
from onward.testing.workload import CHOSEN, notes

S = JobStatus
US = 1_000_000
SOON_US = 300_000
GONE = (Step("gone", 0),)
_notice = sa.select(jobs.c.id).where(jobs.c.handler == "conformance.notified")
_set_expired = sa.update(jobs).where(jobs.c.id == sa.bindparam("id_")).values(expires_at=1)


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
        """The first attempt is put off, and the second raises an error that is permanent by its class.

        A failure there brings its job, too.
        """
        dead = await harness.accept("conformance.failing_apart", folder=str(harness.folder))
        job = await harness.done(await harness.accept("conformance.later_apart", folder=str(harness.folder)))
        assert job.status is S.FAILED
        assert [attempt.error and attempt.error.code for attempt in job.attempts] == ["BUSY", "UNEXPECTED"]
        first, second = job.attempts
        assert first.finished_at is not None
        assert second.started_at - first.finished_at >= US
        assert job.error is not None
        assert not job.error.retryable
        assert (await harness.done(dead)).status is S.FAILED
        assert [notice.params["code"] for notice in await notices_of(harness, dead)] == ["PROCESS_ENDED"]

    async def test_a_job_that_has_not_begun_by_its_time_is_cancelled(self, harness: Harness) -> None:
        """The job never runs: not while no worker is up, and not when one comes later."""
        await harness.no_worker()
        job = await harness.accept("conformance.note", folder=str(harness.folder), expires_us=SOON_US)
        assert job.expires_at == job.due_at + SOON_US
        done = await harness.done(job)
        assert done.error is not None
        assert (done.status, done.error.code, done.attempts) == (S.CANCELLED, "EXPIRED", ())
        assert [step.status for step in done.steps] == [StepStatus.SKIPPED]
        assert done.finished_at is not None
        assert done.finished_at >= job.expires_at
        await harness.start_worker()
        other = await harness.accept("conformance.note", folder=str(harness.folder))
        assert (await harness.done(other)).status is S.SUCCEEDED
        assert [note.job for note in notes(harness.folder)] == [other.id]

    async def test_a_job_of_a_paused_handler_expires(self, harness: Harness) -> None:
        """The job is blocked, in no queue; others of the handler run once it is resumed."""
        async with _paused(harness, "conformance.fleeting"):
            job = await harness.accept("conformance.fleeting", folder=str(harness.folder), expires_us=SOON_US)
            other = await harness.accept("conformance.fleeting", folder=str(harness.folder))
            done = await harness.done(job)
        assert done.error is not None
        assert (done.status, done.error.code) == (S.CANCELLED, "EXPIRED")
        assert other.expires_at == other.due_at + 3600 * US
        assert (await harness.done(other)).status is S.SUCCEEDED
        assert {note.job for note in notes(harness.folder)} == {other.id}

    async def test_a_job_that_has_begun_does_not_expire(self, harness: Harness) -> None:
        """The time is over before the second attempt."""
        job = await harness.accept("conformance.fleeting", folder=str(harness.folder), fails=True)
        await harness.noted("started")
        await harness.front.writer.run(lambda tx: tx.execute(_set_expired, id_=job.id))
        harness.say("go")
        done = await harness.done(job)
        assert (done.status, len(done.attempts), done.expires_at) == (S.SUCCEEDED, 2, 1)

    @pytest.mark.parametrize(
        ("kind", "code"),
        [("permanent", "NEVER"), ("error", "UNEXPECTED"), ("timeout", "TIMED_OUT"), ("gone", "HANDLER_MISSING")],
    )
    async def test_a_failure_brings_one_job_with_its_commit(self, harness: Harness, kind: str, code: str) -> None:
        """The job is accepted when the last attempt ends, whatever ends it, and belongs to the same owner."""
        job = await _failing(harness, kind)
        failed = await harness.done(job)
        assert failed.error is not None
        assert (failed.status, failed.error.code) == (S.FAILED, code)
        (notice,) = await notices_of(harness, job)
        assert (notice.created_at, notice.parent) == (failed.finished_at, job.id)
        done = await harness.done(notice)
        assert done.result == {
            "job_id": job.id,
            "handler": job.handler,
            "code": code,
            "message": failed.error.message,
            "owner": "ada",
        }

    async def test_each_run_that_fails_brings_a_job_and_no_other_end_does(self, harness: Harness) -> None:
        """A success, a cancel and an attempt that is retried bring none."""
        failed = await harness.done(await _failing(harness, "error"))
        assert len(failed.attempts) > 1
        await harness.done(await harness.retry(failed))
        assert [notice.params["code"] for notice in await notices_of(harness, failed)] == ["UNEXPECTED"] * 2
        cancelled = await _failing(harness, "wait")
        await harness.until(cancelled, lambda job: job.status is S.RUNNING)
        await harness.cancel(cancelled)
        harness.say("go")
        succeeded = await _failing(harness, "wait")
        assert (await harness.done(succeeded)).status is S.SUCCEEDED
        assert (await harness.done(cancelled)).done
        assert [await notices_of(harness, job) for job in (succeeded, cancelled)] == [[], []]

    async def test_a_job_that_is_refused_loses_no_failure(self, harness: Harness) -> None:
        """The failed job's message says that no job was made, and why."""
        job = await harness.done(await harness.accept("conformance.failing_for_long"))
        assert job.error is not None
        assert (job.status, job.error.code) == (S.FAILED, "NEVER")
        assert job.error.message.startswith(
            "longer than five characters (no job of conformance.notified_briefly was made:"
        )
        assert "message: String should have at most 5 characters" in job.error.message


async def _failing(harness: Harness, kind: str) -> Job:
    """Accept a job of Ada's that fails in this way; one that does not, for any other."""
    if kind != "gone":
        named = ("conformance.endless", {}) if kind == "timeout" else ("conformance.failing", {"kind": kind})
        wanted = {"handler": named[0], "params": {"folder": str(harness.folder), **named[1]}, "owner": "ada"}
        return (await harness.request([wanted]))[0]
    backend = harness.front.dispatcher.route("conformance.gone")
    new = NewJob(
        "conformance.gone",
        backend,
        "{}",
        1,
        '[{"n":"gone"}]',
        3,
        "ada",
        on_failure="conformance.notified",
        pending=GONE,
    )
    job = await harness.front.writer.run(lambda tx: harness.front.dispatcher.accept(tx, new))
    await harness.front.dispatcher.deliver([job], after_response=harness.front.dispatcher.defer)
    return job


async def notices_of(harness: Harness, failed: Job) -> list[Job]:
    """Return the jobs that the failures of a job brought, in order."""

    def read(tx: Tx) -> list[Job]:
        found = ledger.get_many(tx, [str(row[0]) for row in tx.all(_notice)])
        return sorted((job for job in found.values() if job.params["job_id"] == failed.id), key=lambda job: job.id)

    return await harness.front.database.read(read)


@asynccontextmanager
async def _paused(harness: Harness, handler: str) -> AsyncIterator[None]:
    await harness.front.writer.run(lambda tx: concurrency.pause(tx, handler, by="a test"))
    try:
        yield
    finally:
        await harness.front.writer.run(lambda tx: concurrency.resume(tx, handler))
