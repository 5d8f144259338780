"""Runs a job in a process of its own after two crashes of its runner: a third one is surely caused by the job.

The process goes on with other jobs that have to run isolated, one at a time.
"""

from __future__ import annotations

import asyncio
import re
import signal
import sys
from collections.abc import Callable, Iterator
from functools import partial
from time import monotonic

from onward.children import Child, HandedDown, shield
from onward.jobs import due, recovery
from onward.jobs.dispatched import JobEnqueuer
from onward.jobs.leases import count_rescued
from onward.jobs.retry import internal_delay
from onward.storage import lock_order
from onward.storage.lock_order import ALONE
from onward.storage.writer import Writer
from onward.telemetry import logger
from onward.telemetry.metrics import Metrics

MAX_CHILDREN = 2  # at once: each takes as much memory as its parent
RECORD_S = 0.8  # at the end of a drain, to record that the children were killed
MAX_OUTPUT_BYTES = 1_000_000  # of a child: its runner's id, the jobs that ended in it, and what handlers print


class SubprocessRunner:
    """Child processes that run one job at a time, with a lease of their own."""

    def __init__(
        self,
        handed_down: HandedDown,
        writer: Writer,
        metrics: Metrics,
        clock: Callable[[], float] = monotonic,
        enqueuer: JobEnqueuer | None = None,
    ) -> None:
        self._clock = clock
        self._failed_starts = 0  # in a row
        self._paused_until = 0.0
        self._handed_down = handed_down
        self._metrics = metrics
        self._writer = writer
        self._enqueuer = enqueuer  # of the jobs that failures bring
        self._started: set[str] = set()
        self._children: set[Child] = set()
        self._inputs: set[int] = set()
        self._draining = False
        self._killed: set[Child] = set()  # at the end of the drain
        self._running: set[asyncio.Future[bool]] = set()
        shield(self._descriptors)
        self._log = logger("isolation")

    def _descriptors(self) -> Iterator[int]:
        """The pipes of the children, whose end says that this process is gone."""
        yield from self._inputs

    @property
    def paused(self) -> bool:
        """Return whether no process is started for the moment, since the last one did not come up."""
        return self._clock() < self._paused_until

    async def run(self, job_id: str, backend: str) -> bool:
        """Run the job in a child process, and record a crash; return False if the job did not run to its end there."""
        # The job is queued, and may be delivered again, until the child has claimed it: no reason for a second child.
        if job_id in self._started:
            return False
        if self._draining or self.paused or len(self._started) >= MAX_CHILDREN:
            # The children there will claim it; if they end before that, maintenance delivers it once more.
            await self._postpone(job_id)
            return False
        self._started.add(job_id)
        running = asyncio.ensure_future(self._run(job_id, backend))
        self._running.add(running)
        try:
            return await running
        finally:
            self._running.discard(running)
            self._started.discard(job_id)

    async def drain(self, deadline_s: float) -> None:
        """Start no further child; let those there finish their job or hand it back, and kill them at the deadline."""
        self._draining = True
        for child in self._children:
            child.signal(signal.SIGTERM)
        if self._running:
            await asyncio.wait(self._running, timeout=deadline_s)
        self._killed.update(self._children)
        for child in self._killed:
            self._log.warning("a process for isolated jobs does not end: killed", pid=child.pid)
            child.signal(signal.SIGKILL)
        if self._running:
            await asyncio.wait(self._running, timeout=RECORD_S)

    async def _run(self, job_id: str, backend: str) -> bool:
        command = (sys.executable, "-P", "-m", "onward.worker", "isolated", job_id, backend)
        try:
            child = await Child.start(command, inputs=self._inputs, env=self._handed_down.environment)
        except OSError as error:
            self._pause(job_id, error=error.strerror or str(error))
            await self._postpone(job_id)
            return False
        self._children.add(child)
        if self._draining:  # since it was being started
            child.signal(signal.SIGTERM)
        self._log.warning("a job that crashed its runner twice runs isolated", job=job_id, pid=child.pid)
        output = bytearray()

        def take(chunk: bytes) -> None:  # what handlers print is read too, or they would block
            output.extend(chunk[: MAX_OUTPUT_BYTES - len(output)])

        try:
            await child.write(self._handed_down.settings)
            code = await child.read(take)
        except asyncio.CancelledError:
            child.signal(signal.SIGTERM)
            raise
        finally:
            self._children.discard(child)
        # A child that did not crash has given back its lease; its exit code may be a handler's.
        # The runner's id may stand behind a line without an end, which a module has printed as it was imported.
        found = re.search(rb"(runner_[0-9a-f]+)$", output, re.MULTILINE)
        if found is None:
            if not self._draining:
                self._pause(job_id, code=code)
            await self._postpone(job_id)
            return False
        self._failed_starts = 0
        # Handlers print to the same pipe, but do not know the runner's id.
        for handler, status in re.findall(rb"^%s ended ([\w.-]+) ([A-Z]+)$" % found[1], output, re.MULTILINE):
            self._metrics.finished(handler.decode(), status.decode())
        crashed = child not in self._killed
        reclaim = partial(recovery.reclaim_isolated, runner=found[1].decode(), crashed=crashed, enqueuer=self._enqueuer)
        released = await self._writer.run(reclaim, ALONE)
        if released is None:
            return True
        if not crashed:
            return False
        self._log.error("a job killed its process", job=job_id, code=code)
        count_rescued(self._metrics, released)
        return False

    def _pause(self, job_id: str, **why: object) -> None:
        """Start no process for a while, longer each time in a row: the job would be claimed again at once."""
        if not self.paused:  # else one that was started at the same time has failed before
            self._failed_starts += 1
        pause_s = internal_delay(self._failed_starts).total_seconds()
        self._paused_until = self._clock() + pause_s
        self._log.error("a process for an isolated job did not start", job=job_id, again_in_s=pause_s, **why)

    async def _postpone(self, job_id: str) -> None:
        await self._writer.run(partial(due.postpone, job_id=job_id), lock_order.job(job_id))
