"""The jobs that a Dramatiq worker process runs: a limited number at a time, all on its event loop.

Dramatiq's own way is a thread for each, which would do nothing but wait. To wake them, one by one and with the
interpreter's lock held, took a sixth of all the time that the lock was held. So a consumer begins a job itself while a
slot is free. Jobs that have to wait are begun by one thread, woken once for all slots that become free in a loop
iteration.
"""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any

import dramatiq


class InFlightJobs(dramatiq.Middleware):
    """Runs jobs in `slots`; `run` returns whether the job's message may be acknowledged."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        run: Callable[[str], Awaitable[bool]],
        slots: int,
        hold_s: float = 1.0,
    ) -> None:
        """`hold_s` are the seconds without a free slot after which the worker is full."""
        self._loop = loop
        self._run = run
        self._slots = slots
        self._hold_s = hold_s
        self._waiting_since = math.inf  # for a free slot
        self._stopping = False
        self._others = threading.Semaphore(slots - 1)  # without the slot that the thread fills next
        self._thread_waits = False  # for the next slot that becomes free
        self._freed = 0
        self._running: set[asyncio.Future[None]] = set()

    def accept(self, job_id: str, done: Callable[[], None]) -> None:
        """Begin the job, and wait for another free slot; `done` is called after the job. Blocks the thread."""
        self._loop.call_soon_threadsafe(self._begin, job_id, done)
        if not self._others.acquire(blocking=False):
            self._thread_waits = True
            self._waiting_since = time.monotonic()
            self._others.acquire()
            self._waiting_since = math.inf
            self._thread_waits = False

    def accept_at_once(self, job_id: str, done: Callable[[], None]) -> bool:
        """Begin the job if a slot is free, from any thread; return False if none is."""
        # Not while the thread waits: it would go on to wait, and the worker fetch as if it had a slot.
        if self._stopping or self._thread_waits or not self._others.acquire(blocking=False):
            return False
        self._loop.call_soon_threadsafe(self._begin, job_id, done)
        return True

    def is_full(self) -> bool:
        """Return whether the worker begins no further job for now: its slots are in use for long, or it stops."""
        return self._stopping or time.monotonic() > self._waiting_since + self._hold_s

    def before_worker_shutdown(self, broker: Any, worker: Any) -> None:  # noqa: ARG002
        """Begin no further job. Its consumers go on for as long as jobs run."""
        self._stopping = True

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
            self._waiting_since = math.inf  # before consumers hear of the end, so that they fetch at once
            done()
            self._freed += 1
            if self._freed == 1:
                self._loop.call_soon(self._release)

    def _release(self) -> None:
        freed, self._freed = self._freed, 0
        self._others.release(freed)
