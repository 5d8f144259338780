"""A live process that was declared dead keeps its newest claims, and our own errors are charged to no job."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa
from structlog.testing import capture_logs

from onward.handlers.base import JobContext, Retry, handler, sequence
from onward.jobs import commands, outcome, recording, recovery
from onward.jobs.model import Attempt, JobError, Visible
from onward.jobs.states import JobStatus
from onward.storage.base import Unavailable
from onward.storage.tables import runners
from onward.storage.transaction import Tx
from onward.storage.writer import Writer
from tests.runners import Node, node

S = JobStatus
ONCE = Retry(max_attempts=1)
pytestmark = pytest.mark.anyio


class Gate:
    def __init__(self) -> None:
        self.started = asyncio.Event()
        self.go = asyncio.Event()
        self.runs = 0

    async def __call__(self) -> str:
        self.runs += 1
        self.started.set()
        await self.go.wait()
        return "ran"


async def reclaim(here: Node) -> None:
    """Declare the runner dead, as a process on another machine does."""

    def dead(tx: Tx) -> Any:
        beat = tx.scalar(sa.select(runners.c.beat).where(runners.c.id == here.lease.id))
        return recovery.reclaim_dead(tx, runner=here.lease.id, beat=beat or 0)

    assert await here.writer.run(dead) is not None


@pytest.mark.parametrize("notices", ["in time", "late"])
async def test_the_outcome_of_the_newest_claim_counts(writer: Writer, notices: str) -> None:
    """The job has one attempt, no crash and no second run, whether or not the process notices the lost lease."""
    gate = Gate()

    @handler("conformance.wait", retry=ONCE)
    async def wait(_job: JobContext) -> str:
        return await gate()

    async with node(writer, wait) as here:
        job = await here.accept(wait)
        task = here.start(job)
        await gate.started.wait()
        await reclaim(here)
        lost = await here.get(job)
        assert (lost.status, lost.crash_count) == (S.QUEUED, 1)
        if notices == "in time":
            await asyncio.to_thread(here.lease._observe)
            here.runner.lost()
            again = await here.is_now(job, S.RUNNING)
            assert again.runner == here.lease.id
        gate.go.set()
        await task
        done = await here.get(job)
        assert (done.status, done.result, done.crash_count, gate.runs) == (S.SUCCEEDED, "ran", 0, 1)
        assert [(attempt.number, attempt.error) for attempt in done.attempts] == [(1, None)]


async def test_a_step_that_ends_late_is_kept_and_the_next_one_runs(writer: Writer) -> None:
    gate = Gate()

    async def first(_job: JobContext) -> str:
        return await gate()

    async def second(_job: JobContext, value: str) -> str:
        return f"{value} on"

    steps = sequence("conformance.steps", [first, second], retry=ONCE)
    async with node(writer, steps) as here:
        job = await here.accept(steps)
        task = here.start(job)
        await gate.started.wait()
        await reclaim(here)
        gate.go.set()
        await task
        done = await here.get(job)
        assert (done.status, done.result, gate.runs) == (S.SUCCEEDED, "ran on", 1)


@pytest.mark.parametrize("newer", ["claim", "cancel"])
async def test_a_late_outcome_is_refused_once_the_job_has_gone_on(writer: Writer, newer: str) -> None:
    """Another runner has claimed the job, or it is over."""
    gate = Gate()

    @handler("conformance.wait", retry=ONCE)
    async def wait(_job: JobContext) -> str:
        return await gate()

    async with node(writer, wait) as here:
        job = await here.accept(wait)
        task = here.start(job)
        await gate.started.wait()
        await reclaim(here)
        if newer == "claim":
            assert await here.claim(job) is not None
        else:
            everything = Visible(everything=True)
            await here.writer.run(lambda tx: commands.cancel(tx, job.id, reason=None, visible=everything))
        before = await here.get(job)
        gate.go.set()
        await task
        assert await here.get(job) == before


@pytest.mark.parametrize("failing", ["finish_step", "record_outcome"])
async def test_an_internal_error_counts_against_no_job(
    writer: Writer, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    """A job with one attempt waits for another one, too, and succeeds there."""

    async def first(_job: JobContext) -> None: ...

    async def second(_job: JobContext, _value: None) -> str:
        return "ran"

    steps = sequence("conformance.steps", [first, second], retry=ONCE)
    async with node(writer, steps) as here:
        with monkeypatch.context() as patched:
            patched.setattr(recording, failing, _raising_once(getattr(recording, failing)))
            job = await here.run(steps)
        assert (job.status, job.counted_attempts) == (S.RETRYING, 0)
        (attempt,) = job.attempts
        assert attempt.error is not None
        assert (attempt.error.code, attempt.counts_as_attempt) == ("INTERNAL", False)


async def test_a_handler_that_cancels_all_tasks_is_not_handed_back_at_once(writer: Writer) -> None:
    """The process is another application's: it goes on, and the log says whose jobs ran."""
    others = asyncio.all_tasks()  # the test's

    @handler("conformance.cancel", retry=ONCE)
    async def cancel(_job: JobContext) -> None:
        for task in asyncio.all_tasks() - others:
            task.cancel()
        await asyncio.sleep(60)

    async with node(writer, cancel) as here:
        job = await here.accept(cancel)
        with capture_logs() as lines:
            await here.start(job)
        found = await here.is_now(job, S.RETRYING)
    assert [line["running"] for line in lines if line["log_level"] == "critical"] == [[f"conformance.cancel {job.id}"]]
    error = found.attempts[-1].error
    assert (found.counted_attempts, error and error.code) == (0, "INTERNAL")


def _raising_once(call: Callable[..., Any]) -> Callable[..., Any]:
    left = [True]

    def raising(*arguments: Any, **named: Any) -> Any:
        if left.pop() if left else False:
            raise sa.exc.IntegrityError("a statement", {}, Exception("of the database"))
        return call(*arguments, **named)

    return raising


def test_a_job_that_the_ledger_keeps_failing_is_tried_more_and_more_rarely() -> None:
    """The attempts count against nobody, however many; after another error the delays begin anew."""
    failed, other = (
        Attempt(1, False, "here", "w", 0, 0, JobError(code, "", True, None, 0)) for code in ("UNAVAILABLE", "X")
    )
    now = Attempt(1, True, "here", "w", 0)

    def after(*earlier: Attempt) -> outcome.Outcome:
        job: Any = SimpleNamespace(id="job_1", attempts=(*earlier, now))
        given: dict[str, Any] = {"step": "one", "policy": Retry(), "secrets": (), "chance": Random(1)}
        return outcome.after_error(Unavailable("gone"), job=job, stop=None, **given)

    found = [after(*[failed] * n) for n in range(100)]
    assert [one.delay_us // 1_000_000 for one in found[:10]] == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300]
    assert {one.delay_us for one in found[10:]} == {300_000_000}
    assert {(one.status, one.counts_as_attempt) for one in found} == {(S.RETRYING, False)}
    assert after(failed, failed, other).delay_us == 1_000_000


def test_internal_errors_do_not_repeat_a_job_for_ever() -> None:
    """Each wait is longer than the one before, and after ten in a row the job fails."""
    error = JobError("INTERNAL", "", True, None, 0)
    failed, now = Attempt(1, False, "here", "w", 0, 0, error), Attempt(1, True, "here", "w", 0)
    *found, last = [outcome.internal_error((*[failed] * n, now)) for n in range(outcome.MAX_INTERNAL_ERRORS)]
    assert [one.delay_us for one in found] == sorted({one.delay_us for one in found})
    assert {one.status for one in found} == {S.RETRYING}
    assert (last.status, last.counts_as_attempt) == (S.FAILED, False)
