"""Tells the end of a task from a cancellation that other people's code lets out."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager


def is_cancelled() -> bool:
    """True if the task that runs is to end."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


@contextmanager
def cancels_as_errors() -> Iterator[None]:
    """Raise RuntimeError for a CancelledError while nobody has cancelled the task that runs.

    Code that awaits a task which it has cancelled itself, or somebody else, lets such an error out. Taken for the end
    of the caller's task, it would end that one without a word.
    """
    try:
        yield
    except asyncio.CancelledError as error:
        if is_cancelled():
            raise
        raise RuntimeError("a task that it waited for was cancelled") from error
