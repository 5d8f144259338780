"""The jobs that a Dramatiq worker process runs: a limited number at a time, all on its event loop.

Dramatiq's own way is a thread for each, which would do nothing but wait. To wake them, one by one and with the
interpreter's lock held, took a sixth of all the time that the lock was held. So one thread hands the jobs over, and is
woken once for all slots that become free in a loop iteration.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import dramatiq


class InFlightJobs(dramatiq.Middleware):
    """Runs jobs in `slots`; `run` returns whether the job's message may be acknowledged."""

    def __init__(self, loop: asyncio.AbstractEventLoop, run: Callable[[str], Awaitable[bool]], slots: int) -> None:
        self._loop = loop
        self._run = run
        self._slots = slots
        self._others = threading.Semaphore(slots - 1)  # without the slot that the thread fills next
        self._freed = 0
        self._running: set[asyncio.Future[None]] = set()

    def accept(self, job_id: str, done: Callable[[], None]) -> None:
        """Begin the job, and wait for another free slot; `done` is called after the job. Blocks the thread."""
        self._loop.call_soon_threadsafe(self._begin, job_id, done)
        self._others.acquire()

    def before_worker_thread_shutdown(self, broker: Any, thread: Any) -> None:  # noqa: ARG002
        """Wait for all jobs. The heartbeat may end only then, or other processes would get their messages."""
        for _ in range(self._slots - 1):
            self._others.acquire()

    def _begin(self, job_id: str, done: Callable[[], None]) -> None:
        task = asyncio.ensure_future(self._execute(job_id, done))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _execute(self, job_id: str, done: Callable[[], None]) -> None:
        if await self._run(job_id):
            done()
            self._freed += 1
            if self._freed == 1:
                self._loop.call_soon(self._release)

    def _release(self) -> None:
        freed, self._freed = self._freed, 0
        self._others.release(freed)
