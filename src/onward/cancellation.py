"""Cancellations that other people's code loses, or lets out."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

AGAIN_S = 1.0


def is_cancelled() -> bool:
    """True if the task that runs is to end."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


class TaskCancelled(RuntimeError):
    """The cancellation of a task for which other people's code has waited; the one that runs is to go on."""


@contextmanager
def cancels_as_errors() -> Iterator[None]:
    """Raise TaskCancelled for a CancelledError while nobody has cancelled the task that runs.

    Code that awaits a task which it has cancelled itself, or somebody else, lets such an error out. Taken for the end
    of the caller's task, it would end that one without a word.
    """
    try:
        yield
    except asyncio.CancelledError as error:
        if is_cancelled():
            raise
        raise TaskCancelled("a task that it waited for was cancelled") from error


async def end_tasks(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel the tasks until all have ended; their errors are dropped.

    Once is not always enough: `asyncio.wait_for` loses a cancellation that comes in the moment in which what it waits
    for ends (CPython's issue 86296, until 3.12), and redis-py sends its commands by way of it.
    """
    left = set(tasks)
    while left:
        for task in left:
            task.cancel()
        ended, left = await asyncio.wait(left, timeout=AGAIN_S)
        for task in ended:
            if not task.cancelled():
                task.exception()  # it is looked at, and asyncio does not complain
