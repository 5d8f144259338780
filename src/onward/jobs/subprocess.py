"""Runs a job in a process of its own after two crashes of its runner: a third one is surely caused by the job.

The process goes on with other jobs that have to run isolated, one at a time.
"""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Mapping
from contextlib import suppress
from functools import partial

import structlog

from onward.jobs import due, recovery
from onward.jobs.leases import count_rescued
from onward.storage.writer import Writer
from onward.telemetry.metrics import Metrics

MAX_CHILDREN = 2  # at once: each takes as much memory as its parent
MAX_OUTPUT_BYTES = 1_000_000  # of a child: its runner's id, the jobs that ended in it, and what handlers print


class SubprocessRunner:
    """Child processes that run one job at a time, with a lease of their own."""

    def __init__(self, environment: Mapping[str, str], writer: Writer, metrics: Metrics) -> None:
        self._environment = environment
        self._metrics = metrics
        self._writer = writer
        self._started: set[str] = set()
        self._log = structlog.get_logger("isolation")

    async def run(self, job_id: str, backend: str) -> bool:
        """Run the job in a child process, and record if it crashed; return False if it was not run to an end there."""
        # The job is queued, and may be delivered again, until the child has claimed it: no reason for a second child.
        if job_id in self._started:
            return False
        if len(self._started) >= MAX_CHILDREN:
            # The children there will claim it; if they end before that, maintenance delivers it once more.
            await self._writer.run(partial(due.postpone, job_id=job_id))
            return False
        self._started.add(job_id)
        try:
            return await self._run(job_id, backend)
        finally:
            self._started.discard(job_id)

    async def _run(self, job_id: str, backend: str) -> bool:
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-P", "-m", "onward.worker", "alone", job_id, backend,
            env=dict(self._environment), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        self._log.warning("a job that crashed its runner twice runs isolated", job=job_id, pid=child.pid)
        assert child.stdout is not None  # noqa: S101 - for the type checker
        try:
            output = b""
            while chunk := await child.stdout.read(65536):  # what handlers print is read too, or they would block
                output = (output + chunk)[:MAX_OUTPUT_BYTES]
            code = await child.wait()
        except asyncio.CancelledError:
            with suppress(ProcessLookupError):
                child.terminate()
            raise
        # A child that did not crash has given back its lease; its exit code may be a handler's.
        found = re.search(rb"^(runner_[0-9a-f]+)$", output, re.MULTILINE)
        if found is None:
            self._log.error("a process for an isolated job did not start", job=job_id, code=code)
            return False
        for handler, status in re.findall(rb"^ended ([\w.-]+) ([A-Z]+)$", output, re.MULTILINE):
            self._metrics.finished(handler.decode(), status.decode())
        released = await self._writer.run(partial(recovery.reclaim_isolated, runner=found[1].decode()))
        if released is None:
            return True
        self._log.error("a job killed its process", job=job_id, code=code)
        count_rescued(self._metrics, released)
        return False
