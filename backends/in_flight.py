"""The jobs that a worker process of Dramatiq has in hand: so many at a time, all on its event loop.

Dramatiq's own way is a thread for each, which would do nothing but wait. To wake them, one by one and with the
interpreter's lock held, took a sixth of all the time that the lock was held. So one thread hands the jobs over, and is
woken once for all places that become free in a turn of the loop.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import dramatiq


class InFlightJobs(dramatiq.Middleware):
    """`places` of them, of which `run` says whether it is over with the job, so that its message may be forgotten."""

    def __init__(self, loop: asyncio.AbstractEventLoop, run: Callable[[str], Awaitable[bool]], places: int) -> None:
        self._loop = loop
        self._run = run
        self._places = places
        self._others = threading.Semaphore(places - 1)  # besides the place that the thread fills next
        self._freed = 0
        self._running: set[asyncio.Future[None]] = set()

    def accept(self, job_id: str, over: Callable[[], None]) -> None:
        """The job is begun, and there is a place for one more. `over` is called after it. Blocks the thread."""
        self._loop.call_soon_threadsafe(self._begin, job_id, over)
        self._others.acquire()

    def before_worker_thread_shutdown(self, broker: Any, thread: Any) -> None:  # noqa: ARG002
        """All are over. Only after that the heartbeat ends, without which others would be given their messages."""
        for _ in range(self._places - 1):
            self._others.acquire()

    def _begin(self, job_id: str, over: Callable[[], None]) -> None:
        task = asyncio.ensure_future(self._execute(job_id, over))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _execute(self, job_id: str, over: Callable[[], None]) -> None:
        if await self._run(job_id):
            over()
            self._freed += 1
            if self._freed == 1:
                self._loop.call_soon(self._give)

    def _give(self) -> None:
        freed, self._freed = self._freed, 0
        self._others.release(freed)
