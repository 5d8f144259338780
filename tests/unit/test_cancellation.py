"""A task that is to end ends, also where other people's code loses the cancellation."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Never

import pytest

from onward import cancellation
from onward.cancellation import end_tasks

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cancellation, "AGAIN_S", 0.05)


@pytest.mark.parametrize("turns", range(6))
async def test_a_task_ends_in_whatever_moment_it_is_cancelled(turns: int) -> None:
    """One of them is the moment in which Python 3.11's `wait_for` loses a cancellation."""
    answered = asyncio.Event()

    async def sending() -> Never:
        while True:
            await asyncio.wait_for(answered.wait(), 60)
            await asyncio.sleep(60)

    task = asyncio.create_task(sending())
    await asyncio.sleep(0.01)
    answered.set()
    for _ in range(turns):
        await asyncio.sleep(0)
    async with asyncio.timeout(10):
        await end_tasks([task])
    assert task.done()


async def test_all_of_several_tasks_end_and_their_errors_are_dropped() -> None:
    async def fails() -> None:
        raise ValueError

    async def loses_the_first() -> None:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(60)
        await asyncio.sleep(60)

    tasks = [asyncio.create_task(one()) for one in (fails, loses_the_first, loses_the_first)]
    await asyncio.sleep(0.01)
    async with asyncio.timeout(10):
        await end_tasks(tasks)
    assert all(task.done() for task in tasks)
    await end_tasks(())
