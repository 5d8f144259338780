"""The time limit counts the time of the handler alone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from time import monotonic
from typing import Any

import pytest

from onward.handlers.base import JobContext, Results, Retry, handler, sequence
from onward.jobs import executor
from onward.jobs.batch_results import results_of
from onward.jobs.states import JobStatus
from onward.storage.base import Unavailable
from onward.storage.lock_order import ROWS
from onward.storage.writer import Writer
from tests.runners import node

S = JobStatus
ONCE = Retry(max_attempts=1)
LIMIT_S = 1.0
LIMIT = timedelta(seconds=LIMIT_S)
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
