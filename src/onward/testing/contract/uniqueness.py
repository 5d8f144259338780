"""Jobs of which there is one at a time."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from onward.jobs.base import Conflict
from onward.jobs.model import Job
from onward.jobs.states import JobStatus
from onward.testing.harness import Harness
from onward.testing.workload import notes

S = JobStatus
CALLERS = 20
TRIES = 10


class Uniqueness:
    async def test_a_unique_job_is_there_once_however_many_ask_for_it(self, harness: Harness) -> None:
        """While it is there, each caller gets it; once it is over, the next one gets another."""
        folder = str(harness.folder)
        found = await asyncio.gather(*(harness.accept("conformance.unique", folder=folder) for _ in range(CALLERS)))
        assert len({job.id for job in found}) == 1
        await harness.noted("started")
        assert (await harness.accept("conformance.unique", folder=folder)).id == found[0].id
        harness.say("go")
        await harness.done(found[0])
        other = await harness.done(await harness.accept("conformance.unique", folder=folder))
        assert other.id != found[0].id
        assert harness.count("started") == 2

    async def test_a_debounced_job_runs_once_after_the_last_call(self, harness: Harness) -> None:
        """The job has the newest parameters, and begins when the delay has passed since it was asked for last."""
        first, last, folder = await self._twice(harness, TRIES)
        assert (last.id, last.status, last.due_at > first.due_at) == (first.id, S.SCHEDULED, True)
        done = await harness.done(first)
        assert (done.result, done.started_at is not None and done.started_at >= last.due_at) == ("last", True)
        assert [note.job for note in notes(folder)] == [first.id]

    async def _twice(self, harness: Harness, tries: int) -> tuple[Job, Job, Path]:
        """Ask for a job twice; once more for another one if it had begun in between, on a busy machine."""
        (folder := harness.folder / str(tries)).mkdir()
        first = await harness.accept("conformance.debounced", folder=str(folder), text="first")
        last = await harness.accept("conformance.debounced", folder=str(folder), text="last")
        if last.id == first.id or tries == 1:
            return first, last, folder
        return await self._twice(harness, tries - 1)

    async def test_a_retry_is_refused_while_another_unique_job_is_there(self, harness: Harness) -> None:
        """The answer is a conflict with the other's id; without the other the job runs again."""
        folder = str(harness.folder)
        first = await harness.accept("conformance.unique", folder=folder)
        await harness.noted("started")
        await harness.is_now(await harness.cancel(first), S.CANCELLED)
        second = await harness.accept("conformance.unique", folder=folder)
        with pytest.raises(Conflict, match=second.id):
            await harness.retry(first)
        harness.say("go")
        await harness.done(second)
        await harness.retry(first)
        assert (await harness.done(first)).status is S.SUCCEEDED
