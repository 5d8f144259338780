"""Runs a job in a process of its own, after its runner has died twice: a third death is surely its fault.

The process goes on with what else waits to run alone, one job at a time.
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
MAX_OUTPUT_BYTES = 1_000_000  # bytes of what the child says: its runner's name, what ended in it, what handlers print


class SubprocessRunner:
    """Child processes that run one job at a time, with a lease of their own."""

    def __init__(self, environment: Mapping[str, str], writer: Writer, metrics: Metrics) -> None:
        self._environment = environment
        self._metrics = metrics
        self._writer = writer
        self._begun: set[str] = set()
        self._log = structlog.get_logger("isolation")

    async def run(self, job_id: str, backend: str) -> bool:
        """The job has run in a child, or has killed it, which the ledger knows then; False where one has it already."""
        # Until the child has claimed it the job waits, and is delivered again: no reason for a second child.
        if job_id in self._begun:
            return False
        if len(self._begun) >= MAX_CHILDREN:
            # Those that are there come to it; should they have ended before, the sweep delivers it once more.
            await self._writer.run(partial(due.postpone, job_id=job_id))
            return False
        self._begun.add(job_id)
        try:
            return await self._run(job_id, backend)
        finally:
            self._begun.discard(job_id)

    async def _run(self, job_id: str, backend: str) -> bool:
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-P", "-m", "onward.worker", "alone", job_id, backend,
            env=dict(self._environment), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        self._log.warning("a job whose runner died twice runs alone", job=job_id, pid=child.pid)
        assert child.stdout is not None  # noqa: S101 - for the type checker
        try:
            said = b""
            while heard := await child.stdout.read(65536):  # what a handler prints is read too; unread it would block
                said = (said + heard)[:MAX_OUTPUT_BYTES]
            code = await child.wait()
        except asyncio.CancelledError:
            with suppress(ProcessLookupError):
                child.terminate()
            raise
        # A child that ended in order has given its lease back; the exit code is what the handler says.
        found = re.search(rb"^(runner_[0-9a-f]+)$", said, re.MULTILINE)
        if found is None:
            self._log.error("a process to run a job alone did not start", job=job_id, code=code)
            return False
        for handler, status in re.findall(rb"^ended ([\w.-]+) ([A-Z]+)$", said, re.MULTILINE):
            self._metrics.finished(handler.decode(), status.decode())
        released = await self._writer.run(partial(recovery.reclaim_isolated, runner=found[1].decode()))
        if released is None:
            return True
        self._log.error("a job killed its process", job=job_id, code=code)
        count_rescued(self._metrics, released)
        return False
