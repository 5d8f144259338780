"""Runners for tests, in the test's process, with a real ledger and real handlers, and without a backend."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any, cast

from onward.children import HandedDown
from onward.dispatch.preparation import in_us
from onward.handlers.base import Handler, InvalidParameters
from onward.handlers.on_failure import FAILURE_FIELDS
from onward.jobs import claims, ledger
from onward.jobs.batch_keeper import BatchKeeper
from onward.jobs.encryption import Encryption
from onward.jobs.leases import Lease
from onward.jobs.model import Job, JobError, NewJob
from onward.jobs.options import NO_OPTIONS, DispatchOptions
from onward.jobs.row import encode
from onward.jobs.runner import Isolate, Runner, build_runner
from onward.jobs.states import JobStatus
from onward.jobs.timings import Timings
from onward.storage.transaction import Tx
from onward.storage.writer import Writer
from onward.telemetry.metrics import Metrics
from onward.telemetry.tracing import Tracing
from onward.telemetry.watchdog import Watchdog
from tests.ledgers import new_job

NOTHING = HandedDown({}, b"")
QUICK = Timings(write_retry_s=0.05, cancellation_poll_s=0.02)
WITHIN_S = 60.0


class Enqueuer:
    """Accepts children, and notes the deliveries."""

    def __init__(self) -> None:
        self.dispatched: list[str] = []

    accept = accept_later = accept_undelivered = staticmethod(ledger.accept)

    @staticmethod
    def prepare_on_failure(failed: Job, error: JobError) -> NewJob:
        """Refuse the jobs of one handler; the ledger refuses those of another."""
        if failed.on_failure == "conformance.refused":
            raise InvalidParameters([("message", "is too long")])
        new = new_job(failed.on_failure or "", id="job_notice")
        values = (failed.id, failed.handler, error.code, error.message)
        new = replace(new, params=encode(dict(zip(FAILURE_FIELDS, values, strict=True))))
        return replace(new, priority=None) if failed.on_failure == "conformance.unstorable" else new  # type: ignore[arg-type]

    @staticmethod
    def route(_handler: str, _present: str) -> str:
        return "here"

    @staticmethod
    def prepare_child(
        parent: Job,  # noqa: ARG004
        handler: str,
        params: Mapping[str, Any],  # noqa: ARG004
        options: DispatchOptions = NO_OPTIONS,
    ) -> NewJob:
        return new_job(
            handler,
            id="job_child",
            owner=options.subject,
            priority=options.ledger_priority or 0,
            run_at=options.earliest,
            expires=in_us(options.expires),
        )

    def dispatch_new(self, jobs: list[Job]) -> None:
        self.dispatch(jobs)

    def dispatch(self, jobs: list[Job]) -> None:
        self.dispatched += [job.id for job in jobs]


@dataclass
class Node:
    """A runner with its lease, whose thread does not run."""

    writer: Writer
    handlers: dict[str, Handler]
    runner: Runner
    lease: Lease
    metrics: Metrics
    enqueuer: Enqueuer = field(default_factory=Enqueuer)

    async def accept(self, handler: Handler, given: Mapping[str, Any] | None = None, **values: Any) -> Job:
        """Accept a job of the handler, with these parameters."""
        new = new_job(
            handler.name,
            steps=tuple(step.name for step in handler.steps),
            max_attempts=handler.retry.max_attempts,
            **values,
        )
        new = replace(new, params=encode(given or {}))
        return await self.writer.run(lambda tx: ledger.accept(tx, new))

    async def claim(self, job: Job) -> Job | None:
        return await self.writer.run(lambda tx: self._claim(tx, job))

    def _claim(self, tx: Tx, job: Job) -> Job | None:
        return claims.claim(tx, job.id, runner=self.lease.id, worker="w", backend="here", isolated=False)

    def start(self, job: Job) -> asyncio.Task[bool]:
        """Run the job in a task of its own."""
        return asyncio.create_task(self.runner.run(job.id, "here"))

    async def run(self, handler: Handler) -> Job:
        """Accept a job, run it once, and return it as it is then."""
        job = await self.accept(handler)
        await self.start(job)
        return await self.get(job)

    async def get(self, job: Job) -> Job:
        found = await self.writer.database.read(lambda tx: ledger.get(tx, job.id))
        assert found is not None
        return found

    async def is_now(self, job: Job, *status: JobStatus) -> Job:
        """Return the job once it has one of the states."""
        async with asyncio.timeout(WITHIN_S):
            while (found := await self.get(job)).status not in status:
                await asyncio.sleep(0.01)
        return found


@asynccontextmanager
async def node(
    writer: Writer,
    *handlers: Handler,
    timings: Timings = QUICK,
    handed_down: HandedDown = NOTHING,
    isolate: Isolate | None = None,
    log_level: int = logging.INFO,
) -> AsyncIterator[Node]:
    """Open a runner of these handlers, and drain it at the end."""
    metrics, enqueuer = Metrics(), Enqueuer()
    lease = Lease(writer, metrics, name="mine", on_lost=lambda: None, timings=replace(timings, heartbeat_s=3600.0))
    lease.id = await writer.run(lease._enter)
    named = {handler.name: handler for handler in handlers}
    runner = build_runner(
        writer=writer,
        lease=lease,
        handlers=named,
        tools=cast("Any", None),
        resources=None,
        enqueuer=enqueuer,
        keeper=BatchKeeper(writer, enqueuer, metrics),
        isolate=isolate,
        encryption=Encryption([]),
        handed_down=handed_down,
        metrics=metrics,
        tracing=Tracing(),
        watchdog=Watchdog(metrics),
        timings=timings,
        log_level=log_level,
    )
    runner.start()
    try:
        yield Node(writer, named, runner, lease, metrics, enqueuer)
    finally:
        await runner.drain(0.1)
        await asyncio.to_thread(lease.close)


async def until(true: Callable[[], bool]) -> None:
    """Wait for a condition."""
    async with asyncio.timeout(WITHIN_S):
        while not true():
            await asyncio.sleep(0.005)
