"""Tells the end of a task from a cancellation that other people's code lets out."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager


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
