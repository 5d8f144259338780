"""Waiting for a condition instead of a time."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable

POLL_INTERVAL_S = 0.01


async def until(condition: Callable[[], bool | Awaitable[bool]], within_s: float = 20.0) -> None:
    """Wait until the condition holds. Raises AssertionError after `within_s` seconds."""
    deadline = time.monotonic() + within_s
    while not (await found if inspect.isawaitable(found := condition()) else found):
        assert time.monotonic() < deadline, f"not within {within_s} s"
        await asyncio.sleep(POLL_INTERVAL_S)
