"""Records what a running job achieves: finished steps, the outcome, and the further jobs that were dispatched."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Protocol, TypeVar

import structlog

from onward.jobs import blocked, ledger, recording
from onward.jobs import outcome as outcomes
from onward.jobs.base import Superseded
from onward.jobs.model import Job, NewJob, Step
from onward.jobs.outcome import Ended, Outcome
from onward.jobs.running import Running, StopReason
from onward.jobs.states import TERMINAL, JobStatus
from onward.storage.base import StorageError
from onward.storage.transaction import Tx
from onward.storage.writer import Writer
from onward.telemetry.metrics import Metrics
from onward.telemetry.tracing import Tracing

UNBLOCK_BATCH = 100  # that the end of one job may unblock, if others ended without unblocking any
RETRY_PAUSE_S = 0.25

S = JobStatus
T = TypeVar("T")


class JobEnqueuer(Protocol):
    """Prepares, accepts and dispatches the jobs that handlers dispatch."""

    def prepare_child(self, parent: Job, handler: str, params: Mapping[str, Any]) -> NewJob: ...
    def accept(self, tx: Tx, new: NewJob) -> Job: ...
    def dispatch_new(self, jobs: list[Job]) -> None: ...
    def dispatch(self, jobs: list[Job]) -> None: ...


class Completion:
    """Records steps and outcomes for one process."""

    def __init__(self, writer: Writer, enqueuer: JobEnqueuer, metrics: Metrics, tracing: Tracing) -> None:
        self._writer = writer
        self._enqueuer = enqueuer
        self._metrics = metrics
        self._tracing = tracing
        self._closed = False
        self._log = structlog.get_logger("runner")

    async def finish_step(self, running: Running, steps: tuple[Step, ...], result: object) -> tuple[Step, ...]:
        """Record the step that has finished, accept what it dispatched, and return the steps. Raises Superseded."""

        def transaction(tx: Tx) -> tuple[tuple[Step, ...], JobStatus, list[Job]]:
            after, status = recording.finish_step(tx, running.job, steps, result, running.latest)
            # Some exist already if this was committed before, and the answer was lost.
            found = ledger.get_many(tx, [child.id or "" for child in running.children]) if running.children else {}
            accepted = [self._enqueuer.accept(tx, child) for child in running.children if child.id not in found]
            return after, status, [*found.values(), *accepted]

        after, status, children = await self._retry_write(transaction)
        running.children.clear()
        self._enqueuer.dispatch_new(children)
        if status is S.CANCELLING:
            running.interrupt(StopReason.CANCEL)
        return after

    async def complete(self, running: Running, ended: Ended | Exception) -> None:
        """Record the end of an attempt: FAILED, code INTERNAL, if it or its recording was an error of ours."""
        try:
            if isinstance(ended, Exception):
                raise ended  # noqa: TRY301 - one place decides what follows
            await self._record(running, *ended)
        except Superseded:
            self._log.warning("claim lost", job=running.id)
        except Exception:  # noqa: BLE001 - unless something is recorded, the job seems to run for ever
            self._log.exception("the outcome could not be recorded", job=running.id)
            with suppress(Superseded):
                await self._record_internal_error(running.job)

    async def _record_internal_error(self, job: Job) -> None:
        outcome = outcomes.failed("INTERNAL", outcomes.UNEXPECTED, retryable=True)

        def transaction(tx: Tx) -> JobStatus:
            now = ledger.get(tx, job.id) or job  # with the steps that have finished since it was claimed
            return recording.record_outcome(tx, job, outcome, steps=now.steps)

        await self._retry_write(transaction)
        self._metrics.finished(job.handler, S.FAILED.value)

    async def _record(self, running: Running, steps: tuple[Step, ...], outcome: Outcome) -> None:
        job = running.job

        def transaction(tx: Tx) -> tuple[JobStatus, list[Job], list[Job]]:
            status = recording.record_outcome(tx, job, outcome, steps=steps, progress=running.latest)
            children = running.children if status is S.SUCCEEDED else []
            unblocked = blocked.unblock(tx, job.handler, limit=UNBLOCK_BATCH) if job.limited else []
            return status, [self._enqueuer.accept(tx, child) for child in children], unblocked

        with self._tracing.span("record", status=outcome.status.value):
            status, children, unblocked = await self._retry_write(transaction)
        if status in TERMINAL:
            self._metrics.finished(job.handler, status.value)
        elif status is S.RETRYING:
            self._metrics.retried(job.handler)
        self._enqueuer.dispatch_new(children)
        self._enqueuer.dispatch(unblocked)

    async def _retry_write(self, transaction: Callable[[Tx], T]) -> T:
        """Run the transaction, again if the ledger is away: an outage must not cost a finished step."""
        while True:
            try:
                return await self._writer.run(transaction)
            except StorageError:
                if self._closed:
                    raise Superseded("the process ends") from None
                await asyncio.sleep(RETRY_PAUSE_S)

    def close(self) -> None:
        """Retry no further write."""
        self._closed = True
