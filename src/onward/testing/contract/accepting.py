"""Accepted jobs: run, delivered twice, delayed."""

from __future__ import annotations

import asyncio

from onward.jobs.model import NewJob, Step
from onward.jobs.states import JobStatus, StepStatus
from onward.testing.harness import Harness
from onward.testing.workload import notes

S = JobStatus


class Accepting:
    async def test_an_accepted_job_runs_once_and_records_its_steps_and_attempts(self, harness: Harness) -> None:
        """One claim, one counted attempt; every step has its times and result, and the job has the last step's."""
        harness.say("fixed")
        job = await harness.done(await harness.accept("conformance.steps", folder=str(harness.folder)))
        assert [note.word for note in notes(harness.folder)] == ["first", "second", "third"]
        assert (job.status, job.result, job.error) == (S.SUCCEEDED, "second", None)
        assert [step.name for step in job.steps] == ["first", "second", "third"]
        assert {step.status for step in job.steps} == {StepStatus.SUCCEEDED}
        assert job.steps[1].result == {"folder": str(harness.folder), "from": "second"}
        times = [at for step in job.steps for at in (step.started_at, step.finished_at)]
        assert None not in times
        assert times == sorted(times)  # type: ignore[type-var]
        (attempt,) = job.attempts
        assert (attempt.number, attempt.counts_as_attempt, attempt.backend, attempt.error) == (
            1,
            True,
            harness.backend_fixture.name,
            None,
        )
        assert str(notes(harness.folder)[0].pid) in attempt.worker
        assert job.started_at is not None
        assert job.finished_at is not None
        assert job.created_at <= job.started_at <= job.finished_at

    async def test_all_jobs_of_a_request_run(self, harness: Harness) -> None:
        """Twenty jobs of one request run once each."""
        wanted = [{"handler": "conformance.note", "params": {"folder": str(harness.folder)}} for _ in range(20)]
        jobs = await harness.request(wanted)
        assert {(await harness.done(job)).status for job in jobs} == {S.SUCCEEDED}
        assert sorted(note.job for note in notes(harness.folder)) == sorted(job.id for job in jobs)

    async def test_a_job_whose_id_is_delivered_again_runs_once(self, harness: Harness) -> None:
        """Further deliveries change nothing: while the job waits, while it runs, after its end."""
        job = await harness.accept("conformance.wait", folder=str(harness.folder))
        await harness.deliver_again(job, 3)
        await harness.noted("started")
        await harness.deliver_again(job, 3)
        other = await harness.done(await harness.accept("conformance.note", folder=str(harness.folder)))
        harness.say("go")
        done = await harness.done(job)
        await harness.deliver_again(job, 3)
        await harness.done(await harness.accept("conformance.note", folder=str(harness.folder)))
        assert (harness.count("started"), harness.count("ended")) == (1, 1)
        assert await harness.get(job.id) == done
        assert len(done.attempts) == 1
        assert other.status is S.SUCCEEDED

    async def test_jobs_accepted_while_no_worker_is_up_run_when_one_starts(self, harness: Harness) -> None:
        """Ten jobs are accepted all the same, and wait."""
        await harness.no_worker()
        jobs = [await harness.accept("conformance.note", folder=str(harness.folder)) for _ in range(10)]
        assert {(await harness.get(job.id)).status for job in jobs} == {S.QUEUED}
        await harness.start_worker()
        assert {(await harness.done(job)).status for job in jobs} == {S.SUCCEEDED}
        assert harness.count("ran") == 10

    async def test_a_delayed_job_runs_soon_after_its_time_and_not_before(self, harness: Harness) -> None:
        """The job is SCHEDULED until its time, and begins within two seconds of it."""
        now = await harness.front.database.read(lambda tx: tx.now)
        job = await harness.accept("conformance.note", run_at=now + 1_200_000, folder=str(harness.folder))
        assert (job.status, job.due_at) == (S.SCHEDULED, now + 1_200_000)
        done = await harness.done(job)
        assert done.started_at is not None
        assert 0 <= done.started_at - job.due_at < 2_000_000

    async def test_a_job_with_a_past_time_runs_at_once(self, harness: Harness) -> None:
        """A job with a `run_at` of an hour ago runs at once."""
        now = await harness.front.database.read(lambda tx: tx.now)
        job = await harness.accept("conformance.note", run_at=now - 3_600_000_000, folder=str(harness.folder))
        assert job.status is not S.SCHEDULED
        assert (await harness.done(job, within_s=3)).status is S.SUCCEEDED

    async def test_a_blocking_plain_function_delays_no_other_job(self, harness: Harness) -> None:
        """An async and a plain job end in the same worker while another job blocks."""
        blocking = [await harness.accept("conformance.deaf", folder=str(harness.folder)) for _ in range(2)]
        await harness.noted("started", 2)
        others = [
            await harness.accept("conformance.note", folder=str(harness.folder)),
            await harness.accept("conformance.result", kind="nested"),
        ]
        async with asyncio.timeout(5):
            assert {(await harness.done(job)).status for job in others} == {S.SUCCEEDED}
        assert {(await harness.get(job.id)).status for job in blocking} == {S.RUNNING}
        harness.say("go")
        assert {(await harness.done(job)).status for job in blocking} == {S.SUCCEEDED}

    async def test_a_job_without_its_handler_fails_with_a_reason(self, harness: Harness) -> None:
        """HANDLER_MISSING names the handler, and what to do."""
        route, steps = harness.front.dispatcher.route, '[{"n":"gone"}]'
        new = NewJob("conformance.gone", route("conformance.gone"), "{}", 1, steps, 3, pending=(Step("gone", 0),))
        job = await harness.front.writer.run(lambda tx: harness.front.dispatcher.accept(tx, new))
        await harness.front.dispatcher.deliver([job], after_response=harness.front.dispatcher.defer)
        done = await harness.done(job)
        assert done.status is S.FAILED
        assert done.error is not None
        assert (done.error.code, done.error.retryable) == ("HANDLER_MISSING", False)
        assert "conformance.gone" in done.error.message

    async def test_a_job_with_outdated_parameters_fails_with_a_reason(self, harness: Harness) -> None:
        """INVALID_PARAMETERS names them; the handler is not called."""
        route, steps = harness.front.dispatcher.route, '[{"n":"noted"}]'
        params = f'{{"directory":"{harness.folder}"}}'
        new = NewJob("conformance.note", route("conformance.note"), params, 1, steps, 3, pending=(Step("noted", 0),))
        job = await harness.front.writer.run(lambda tx: harness.front.dispatcher.accept(tx, new))
        await harness.front.dispatcher.deliver([job], after_response=harness.front.dispatcher.defer)
        done = await harness.done(job)
        assert done.status is S.FAILED
        assert done.error is not None
        assert (done.error.code, done.error.retryable) == ("INVALID_PARAMETERS", False)
        assert "folder" in done.error.message
        assert "directory" in done.error.message
        assert harness.count("ran") == 0
