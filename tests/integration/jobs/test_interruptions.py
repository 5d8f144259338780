"""The time limit counts the time of the handler alone, and a cancel lets it clean up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from time import monotonic
from typing import Any

import pytest

from onward.handlers.base import JobContext, Results, Retry, handler, sequence
from onward.jobs import commands, executor, ledger, running
from onward.jobs.batch_results import results_of
from onward.jobs.model import NewJob, Visible
from onward.jobs.states import JobStatus
from onward.storage.base import Unavailable
from onward.storage.lock_order import ROWS
from onward.storage.writer import Writer
from tests.runners import Enqueuer, Node, node

S = JobStatus
ONCE = Retry(max_attempts=1)
LIMIT_S = 1.0
LIMIT = timedelta(seconds=LIMIT_S)
EVERYTHING = Visible(everything=True)
pytestmark = pytest.mark.anyio


def refuse(writer: Writer, monkeypatch: pytest.MonkeyPatch, away: Callable[[], bool]) -> None:
    """Let the ledger be away as long as `away` is true."""
    run = writer.run

    async def refusing(transaction: Any, order: Any = ROWS, grouped: Any = None) -> Any:
        if away():
            raise Unavailable("away")
        return await run(transaction, order, grouped)

    monkeypatch.setattr(writer, "run", refusing)


async def test_an_outage_between_two_steps_takes_nothing_of_the_time_limit(
    writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A task of the first step that reports its progress meanwhile ends the job no sooner."""
    back_at, reports = 0.0, list[asyncio.Task[None]]()

    async def report(job: JobContext) -> None:
        while True:
            job.progress(1)
            await asyncio.sleep(0.05)

    async def first(job: JobContext) -> None:
        nonlocal back_at
        reports.append(asyncio.create_task(report(job)))
        back_at = monotonic() + 1.5 * LIMIT_S

    async def second(_job: JobContext, _value: None) -> str:
        reports[0].cancel()
        return "ran"

    refuse(writer, monkeypatch, lambda: monotonic() < back_at)
    steps = sequence("conformance.steps", [first, second], retry=ONCE, timeout=LIMIT)
    async with node(writer, steps) as here:
        job = await here.run(steps)
    assert monotonic() > back_at
    assert (job.status, job.result, job.error) == (S.SUCCEEDED, "ran", None)


async def test_the_time_limit_goes_on_after_an_outage(writer: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    back_at = 0.0

    async def first(_job: JobContext) -> None:
        nonlocal back_at
        back_at = monotonic() + 0.1

    async def second(_job: JobContext, _value: None) -> None:
        await asyncio.sleep(60)

    refuse(writer, monkeypatch, lambda: monotonic() < back_at)
    steps = sequence("conformance.steps", [first, second], retry=ONCE, timeout=LIMIT)
    async with node(writer, steps) as here:
        job = await here.run(steps)
    assert (job.status, job.error and job.error.code) == (S.FAILED, "TIMED_OUT")


async def test_the_results_of_a_batch_are_read_outside_of_the_time_limit(
    writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ledger's answer may take as long as it likes."""

    async def slow(*given: Any) -> Results[Any]:
        await asyncio.sleep(1.5 * LIMIT_S)
        return await results_of(*given)

    monkeypatch.setattr(executor, "results_of", slow)

    @handler("conformance.total", retry=ONCE, timeout=LIMIT)
    async def total(job: JobContext, results: Results[int]) -> int:
        job.check()
        return results.total

    async with node(writer, total) as here:
        job = await here.run(total)
    assert (job.status, job.result, job.error) == (S.SUCCEEDED, 0, None)


async def cancel(here: Node, job_id: str) -> None:
    await here.writer.run(lambda tx: commands.cancel(tx, job_id, reason=None, visible=EVERYTHING))


async def test_the_clean_up_of_a_cancelled_handler_may_await(writer: Writer) -> None:
    """The next looks for cancels do not cancel the handler again."""
    started, cleaned = asyncio.Event(), list[str]()

    @handler("conformance.wait", retry=ONCE)
    async def wait(job: JobContext) -> None:
        try:
            started.set()
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.3)  # of many looks
            cleaned.append(job.id)

    async with node(writer, wait) as here:
        job = await here.accept(wait)
        task = here.start(job)
        await started.wait()
        await cancel(here, job.id)
        await task
        assert (await here.get(job)).status is S.CANCELLED
        assert cleaned == [job.id]


async def test_a_handler_that_goes_on_after_its_cancel_is_cancelled_again(
    writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "CLEAN_UP_S", 0.2)
    cancels = list[str]()

    @handler("conformance.wait", retry=ONCE)
    async def wait(job: JobContext) -> None:
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                cancels.append(job.id)
                if len(cancels) == 2:
                    raise

    async with node(writer, wait) as here:
        job = await here.accept(wait)
        task = here.start(job)
        await here.is_now(job, S.RUNNING)
        await cancel(here, job.id)
        await task
        assert (await here.get(job)).status is S.CANCELLED
        assert len(cancels) == 2


@pytest.mark.parametrize("ending", ["drain", "time limit"])
async def test_a_clean_up_that_does_not_end_is_cancelled_by_a_drain_and_a_time_limit(
    writer: Writer, ending: str
) -> None:
    cleaning = asyncio.Event()

    @handler("conformance.wait", retry=ONCE, timeout=LIMIT if ending == "time limit" else None)
    async def wait(_job: JobContext) -> None:
        try:
            await asyncio.sleep(60)
        finally:
            cleaning.set()
            await asyncio.sleep(60)

    async with node(writer, wait) as here:
        job = await here.accept(wait)
        task = here.start(job)
        await here.is_now(job, S.RUNNING)
        await cancel(here, job.id)
        await cleaning.wait()
        if ending == "drain":
            await here.runner.drain(0.5)
        await task
        assert (await here.get(job)).status is S.CANCELLED


async def test_a_job_dispatched_while_its_step_is_recorded_is_accepted_with_the_next_step(
    writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A task of the first step goes on, and was given an id."""
    late, ended, tasks = asyncio.Event(), asyncio.Event(), list[asyncio.Task[None]]()

    async def dispatch_late(job: JobContext) -> None:
        await ended.wait()
        job.dispatch("conformance.note")
        late.set()

    async def first(job: JobContext) -> None:
        tasks.append(asyncio.create_task(dispatch_late(job)))
        job.dispatch("conformance.note")

    async def second(_job: JobContext, _value: None) -> str:
        return "ran"

    def away() -> bool:
        """Refuse the end of the first step until the task has dispatched its job."""
        if tasks and not late.is_set():
            ended.set()
            return True
        return False

    made = list[str]()

    def prepare(*given: Any) -> NewJob:
        made.append(f"job_{len(made)}")
        return replace(Enqueuer.prepare_child(*given), id=made[-1])

    refuse(writer, monkeypatch, away)
    steps = sequence("conformance.steps", [first, second], retry=ONCE)
    async with node(writer, steps) as here:
        monkeypatch.setattr(here.enqueuer, "prepare_child", prepare)
        job = await here.run(steps)
        assert job.status is S.SUCCEEDED
        assert here.enqueuer.dispatched == made == ["job_0", "job_1"]
        found = await here.writer.database.read(lambda tx: ledger.get_many(tx, made))
        assert sorted(found) == made
