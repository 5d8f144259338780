"""What becomes of an accepted job."""

from __future__ import annotations

import asyncio
import time

from onward.jobs.model import NewJob, Step
from onward.jobs.states import JobStatus, StepStatus
from onward.testing.harness import Harness
from onward.testing.workload import notes

S = JobStatus


class Accepting:
    async def test_an_accepted_job_runs_once_and_tells_its_steps_and_attempts(self, stand: Harness) -> None:
        """One claim, one charged attempt, every step with its times and result, the last one's as the job's."""
        stand.say("mended")
        job = await stand.done(await stand.accept("law.steps", folder=str(stand.folder)))
        assert [note.word for note in notes(stand.folder)] == ["first", "second", "third"]
        assert (job.status, job.result, job.error) == (S.SUCCEEDED, "second", None)
        assert [step.name for step in job.steps] == ["first", "second", "third"]
        assert {step.status for step in job.steps} == {StepStatus.SUCCEEDED}
        assert job.steps[1].result == {"folder": str(stand.folder), "from": "second"}
        times = [at for step in job.steps for at in (step.started_at, step.finished_at)]
        assert None not in times
        assert times == sorted(times)  # type: ignore[type-var]
        (attempt,) = job.attempts
        assert (attempt.number, attempt.counts_as_attempt, attempt.backend, attempt.error) == (
            1,
            True,
            stand.rig.name,
            None,
        )
        assert str(notes(stand.folder)[0].pid) in attempt.worker
        assert job.started_at is not None
        assert job.finished_at is not None
        assert job.created_at <= job.started_at <= job.finished_at

    async def test_all_jobs_of_a_request_run(self, stand: Harness) -> None:
        """Twenty jobs that one request made have each run once."""
        wanted = [{"handler": "law.note", "params": {"folder": str(stand.folder)}} for _ in range(20)]
        jobs = await stand.request(wanted)
        assert {(await stand.done(job)).status for job in jobs} == {S.SUCCEEDED}
        assert sorted(note.job for note in notes(stand.folder)) == sorted(job.id for job in jobs)

    async def test_a_job_whose_id_is_delivered_again_runs_once(self, stand: Harness) -> None:
        """Deliveries while it waits, while it runs and after its end change nothing."""
        job = await stand.accept("law.wait", folder=str(stand.folder))
        await stand.deliver_again(job, 3)
        await stand.noted("begun")
        await stand.deliver_again(job, 3)
        other = await stand.done(await stand.accept("law.note", folder=str(stand.folder)))
        stand.say("go")
        done = await stand.done(job)
        await stand.deliver_again(job, 3)
        await stand.done(await stand.accept("law.note", folder=str(stand.folder)))
        assert (stand.count("begun"), stand.count("ended")) == (1, 1)
        assert await stand.get(job.id) == done
        assert len(done.attempts) == 1
        assert other.status is S.SUCCEEDED

    async def test_jobs_accepted_while_no_worker_is_up_run_when_one_starts(self, stand: Harness) -> None:
        """Ten jobs are accepted at once all the same, and wait."""
        await stand.no_worker()
        begun = time.monotonic()
        jobs = [await stand.accept("law.note", folder=str(stand.folder)) for _ in range(10)]
        assert time.monotonic() - begun < 10 * 0.1
        assert {(await stand.get(job.id)).status for job in jobs} == {S.QUEUED}
        await stand.start_worker()
        assert {(await stand.done(job)).status for job in jobs} == {S.SUCCEEDED}
        assert stand.count("ran") == 10

    async def test_a_job_for_later_is_not_run_before_its_time_and_soon_after(self, stand: Harness) -> None:
        """SCHEDULED until then, and begun within two seconds of it."""
        now = await stand.front.database.read(lambda tx: tx.now)
        job = await stand.accept("law.note", run_at=now + 1_200_000, folder=str(stand.folder))
        assert (job.status, job.due_at) == (S.SCHEDULED, now + 1_200_000)
        done = await stand.done(job)
        assert done.started_at is not None
        assert 0 <= done.started_at - job.due_at < 2_000_000

    async def test_a_job_whose_time_is_past_runs_at_once(self, stand: Harness) -> None:
        """A `run_at` of an hour ago is no reason to wait."""
        now = await stand.front.database.read(lambda tx: tx.now)
        job = await stand.accept("law.note", run_at=now - 3_600_000_000, folder=str(stand.folder))
        assert job.status is not S.SCHEDULED
        assert (await stand.done(job, within_s=3)).status is S.SUCCEEDED

    async def test_a_plain_function_that_blocks_holds_up_no_other_job(self, stand: Harness) -> None:
        """An async and a plain job run to their ends in the same worker meanwhile."""
        blocking = [await stand.accept("law.deaf", folder=str(stand.folder)) for _ in range(2)]
        await stand.noted("begun", 2)
        others = [
            await stand.accept("law.note", folder=str(stand.folder)),
            await stand.accept("law.result", kind="nested"),
        ]
        async with asyncio.timeout(5):
            assert {(await stand.done(job)).status for job in others} == {S.SUCCEEDED}
        assert {(await stand.get(job.id)).status for job in blocking} == {S.RUNNING}
        stand.say("go")
        assert {(await stand.done(job)).status for job in blocking} == {S.SUCCEEDED}

    async def test_a_job_whose_handler_is_gone_fails_with_words(self, stand: Harness) -> None:
        """HANDLER_MISSING names the handler, and what to do."""
        route, steps = stand.front.dispatcher.route, '[{"n":"gone"}]'
        new = NewJob("law.gone", route("law.gone"), "{}", 1, steps, 3, pending=(Step("gone", 0),))
        job = await stand.front.writer.run(lambda tx: stand.front.dispatcher.accept(tx, new))
        await stand.front.dispatcher.deliver([job], after_response=stand.front.dispatcher.defer)
        done = await stand.done(job)
        assert done.status is S.FAILED
        assert done.error is not None
        assert (done.error.code, done.error.retryable) == ("HANDLER_MISSING", False)
        assert "law.gone" in done.error.message

    async def test_a_job_whose_parameters_no_longer_fit_fails_with_words(self, stand: Harness) -> None:
        """INVALID_PARAMETERS names them; the handler is not called."""
        route, steps = stand.front.dispatcher.route, '[{"n":"noted"}]'
        params = f'{{"directory":"{stand.folder}"}}'
        new = NewJob("law.note", route("law.note"), params, 1, steps, 3, pending=(Step("noted", 0),))
        job = await stand.front.writer.run(lambda tx: stand.front.dispatcher.accept(tx, new))
        await stand.front.dispatcher.deliver([job], after_response=stand.front.dispatcher.defer)
        done = await stand.done(job)
        assert done.status is S.FAILED
        assert done.error is not None
        assert (done.error.code, done.error.retryable) == ("INVALID_PARAMETERS", False)
        assert "folder" in done.error.message
        assert "directory" in done.error.message
        assert stand.count("ran") == 0
