"""Records the progress of a running job: finished steps, the outcome, and the dispatched jobs.

The file is long because each end of a step or an attempt is one transaction, with all that comes with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, ParamSpec, TypeVar

from onward.jobs import blocked, dispatched, ledger, on_failure, overruns, recording, refused, uniqueness, waits
from onward.jobs import outcome as outcomes
from onward.jobs.base import Superseded
from onward.jobs.batch_keeper import BatchKeeper
from onward.jobs.batch_making import Making
from onward.jobs.batch_stage import BatchStage
from onward.jobs.chunks import Kept
from onward.jobs.dispatched import NO_JOBS, Dispatched, Expander, JobEnqueuer, encode
from onward.jobs.emitting import NOTHING, Batch, OutputWriter
from onward.jobs.job_log import LogWriter
from onward.jobs.log_lines import NO_LINES, LogBatch
from onward.jobs.model import Job, NewJob, Step
from onward.jobs.outcome import Ended, Outcome
from onward.jobs.running import Running, StopReason
from onward.jobs.states import TERMINAL, JobStatus
from onward.storage.base import StorageError
from onward.storage.lock_order import LAST
from onward.storage.transaction import Tx
from onward.storage.writer import Grouped, Writer
from onward.telemetry import logger
from onward.telemetry.metrics import Metrics
from onward.telemetry.tracing import Tracing

UNBLOCK_BATCH = 100  # jobs that one end may unblock: others may have ended without unblocking any
RETRY_PAUSE_S = 0.25

S = JobStatus
P = ParamSpec("P")
T = TypeVar("T")
Further = tuple[Dispatched, list[Making]]
"""The jobs and the batches that are accepted with the end of a step."""


class Completion:
    """Records steps and outcomes for one process."""

    def __init__(
        self,
        writer: Writer,
        enqueuer: JobEnqueuer,
        metrics: Metrics,
        tracing: Tracing,
        *,
        resume: Callable[[Running], Awaitable[bool]],
        output: OutputWriter,
        log: LogWriter,
        keeper: BatchKeeper,
        stage: BatchStage,
    ) -> None:
        self._writer = writer
        self._output = output
        self._lines = log
        self._keeper = keeper
        self._stage = stage
        self._resume = resume
        self._enqueuer = enqueuer
        self._metrics = metrics
        self._tracing = tracing
        self._children = Expander(writer, enqueuer)
        self._closed = False
        self._overruns: dict[
            asyncio.Task[None], Running
        ] = {}  # tasks that wait for functions which outlive their attempt
        self._log = logger("runner")

    async def finish_step(self, running: Running, steps: tuple[Step, ...], result: object) -> tuple[Step, ...]:
        """Record a finished step, accept the jobs that it dispatched, and return the steps. Raises Superseded."""
        lines = await self._lines_of(running) if _has_lines(running) else NO_LINES
        if not _brings_more(running):
            after, status = await self._under_claim(
                running,
                lambda tx: _finish_step(tx, running, steps, result, lines),
                grouped=Grouped(_finish_each, (running, steps, result, lines)),
            )
            if lines is not NO_LINES:
                self._lines.written(running, lines)
            if status is S.CANCELLING:
                running.interrupt(StopReason.CANCEL)
            return after
        further = await self._further(running)
        output = await self._left(running)

        def transaction(tx: Tx) -> tuple[tuple[Step, ...], JobStatus, list[Job], Kept]:
            uniqueness.reserve(tx, further[0].first, parent=running.id)
            after, status = _finish_step(tx, running, steps, result, lines)
            return after, status, self._accept(tx, further), output.append(tx, running.job)

        after, status, children, kept = await self._under_claim(running, transaction, further[0].first)
        self._output.written(running, output, kept)
        self._lines.written(running, lines)
        self._dispatch(children, further)
        # Those that a task or thread of the step has added since are accepted with the end of the next step.
        del running.children[: further[0].total], running.batches[: len(further[1])]
        if status is S.CANCELLING:
            running.interrupt(StopReason.CANCEL)
        return after

    async def _left(self, running: Running) -> Batch:
        """Return the output that is to be written with the end of a step. Raises Superseded."""
        if running.output is None:
            return NOTHING
        running.recording = True  # until `_under_claim` has written it
        return await self._retry(self._output.take, running)

    async def _lines_of(self, running: Running) -> LogBatch:
        """Return the log lines that are to be written with the end of a step."""
        running.recording = True  # likewise
        return await self._lines.take(running)

    async def complete(self, running: Running, ended: Ended | Exception) -> None:
        """Record the end of an attempt; an error of ours is code INTERNAL, and does not count."""
        try:
            if isinstance(ended, Exception):
                raise ended  # noqa: TRY301 - one place decides what follows
            await self._record(running, *ended)
        except Superseded:
            self._log.warning("claim lost", job=running.id)
        except Exception:  # noqa: BLE001 - unless something is recorded, the job seems to run for ever
            self._log.exception("the outcome could not be recorded", job=running.id)
            with suppress(Superseded):
                await self._record_internal_error(running)

    async def _record_internal_error(self, running: Running) -> None:
        job = running.job
        outcome, notice = on_failure.prepared(job, outcomes.internal_error(job.attempts), self._enqueuer)
        further = _notice(notice)

        def transaction(tx: Tx) -> tuple[JobStatus, list[Job]]:
            uniqueness.reserve(tx, further[0].first, parent=job.id)
            now = ledger.get(tx, job.id) or job  # with the steps that have finished since it was claimed
            status = recording.record_outcome(tx, running.job, outcome, steps=now.steps)
            return status, self._accept(tx, further, follows=True)

        status, children = await self._under_claim(running, transaction, further[0].first)
        self._count(job, status)
        self._dispatch(children, further)

    def _count(self, job: Job, status: JobStatus) -> None:
        if status in TERMINAL:
            self._metrics.finished(job.handler, status._value_)
            if job.batch is not None:
                self._keeper.look(job.batch)
        elif status is S.RETRYING:
            self._metrics.retried(job.handler)

    async def _further(self, running: Running) -> Further:
        """Prepare the jobs and batches of a step that has succeeded: whatever is long is written ahead of its end."""
        children, batches = [*running.children], [*running.batches]  # what comes later is not a part of this end
        for making in batches:
            while making.pending:
                write = partial(dispatched.stage, chunks=making.take(), batch_id=making.id)
                await self._retry(self._writer.run, write, LAST)
        return await encode(children) if children else NO_JOBS, batches

    def _accept(self, tx: Tx, further: Further, *, follows: bool = False) -> list[Job]:
        """Accept the jobs and batches of a step, or the job that `follows` a failure."""
        children, batches = further
        its = self._enqueuer
        insert = partial(refused.accept, insert=its.accept, enqueuer=its) if follows else None
        accepted = self._children.accept(tx, children, insert)
        for making in batches:
            accepted += making.accept(tx, self._enqueuer.accept)
        return accepted

    def _dispatch(self, accepted: list[Job], further: Further) -> None:
        children, batches = further
        self._children.dispatch(accepted, more=bool(children.stored) or any(making.is_long for making in batches))

    async def _record(self, running: Running, steps: tuple[Step, ...], outcome: Outcome) -> None:
        outcome, notice = on_failure.prepared(running.job, outcome, self._enqueuer)
        lines = await self._lines_of(running) if _has_lines(running) else NO_LINES
        if outcome.status is S.SUCCEEDED and not running.job.limited and not _brings_more(running):
            with self._tracing.span("record", status=outcome.status._value_):
                status = await self._under_claim(
                    running,
                    lambda tx: _record_outcome(tx, running, outcome, steps, lines),
                    grouped=Grouped(_record_each, (running, outcome, steps, lines)),
                )
            self._count(running.job, status)
            return
        step_ended = outcome.status in (S.SUCCEEDED, S.WAITING)
        further = await self._further(running) if step_ended else _notice(notice)
        output = await self._left(running)

        def transaction(tx: Tx) -> tuple[JobStatus, list[Job], list[Job]]:
            job = running.job
            uniqueness.reserve(tx, further[0].first, parent=job.id)
            status = _record_outcome(tx, running, outcome, steps, lines)
            output.append(tx, job)
            if running.overrun is not None:
                overruns.add(tx, job, runner=job.runner or "")
            children = self._accept(tx, further, follows=not step_ended)
            unblocked = blocked.unblock(tx, job.handler, limit=UNBLOCK_BATCH) if job.limited else []
            if status is S.WAITING and (again := waits.take_early(tx, job.id, route=self._enqueuer.route)) is not None:
                unblocked = [*unblocked, again]
            return status, children, unblocked

        with self._tracing.span("record", status=outcome.status._value_):
            status, children, unblocked = await self._under_claim(running, transaction, further[0].first)
        self._count(running.job, status)
        if running.overrun is not None:
            self._keep_place(running, running.overrun)
        self._dispatch(children, further)
        if not step_ended:
            for making in running.batches:
                self._stage.discard(making)
        if unblocked:
            self._enqueuer.dispatch(unblocked)

    def wait_for_thread(self, running: Running, waits: bool) -> None:  # noqa: FBT001 - a callback
        """Show soon that the job waits for a thread, or does so no longer."""
        self._writer.post(lambda tx: recording.wait_for_thread(tx, running.job, waits=waits), running.order)

    def _keep_place(self, running: Running, ended: asyncio.Future[Any]) -> None:
        task = asyncio.create_task(self._free_slot(running.job, ended), name="overrun")
        self._overruns[task] = running
        task.add_done_callback(self._overruns.pop)

    async def _free_slot(self, job: Job, ended: asyncio.Future[Any]) -> None:
        """Wait for the end of a function, and let the next job of its handler begin."""
        await asyncio.wait({ended})

        def transaction(tx: Tx) -> list[Job]:
            overruns.end(tx, job)
            return blocked.unblock(tx, job.handler, limit=UNBLOCK_BATCH)

        with suppress(Superseded):
            self._enqueuer.dispatch(await self._retry(self._writer.run, transaction, LAST))

    def renew_slots(self, runner: str) -> None:
        """Keep the slots of functions that go on under a new lease, too."""
        for running in self._overruns.values():
            self._writer.post(lambda tx, job=running.job: overruns.add(tx, job, runner=runner), LAST)  # type: ignore[misc]

    async def keep_slots(self, running: Collection[Running]) -> None:
        """Keep the slots of functions that do not end before their process does. Raises Unavailable."""
        limited = [one.job for one in running if one.job.limited or one.job.limit_key is not None]
        jobs = [job for job in limited if job.runner is not None]
        if jobs:
            await self._writer.run(partial(overruns.add_all, jobs=jobs), LAST)

    async def _under_claim(
        self,
        running: Running,
        transaction: Callable[[Tx], T],
        children: Sequence[NewJob] = (),
        grouped: Grouped[Any, T] | None = None,
    ) -> T:
        """Run the transaction, which raises Superseded unless the job's claim is the newest one.

        A claim that was ended because this process was taken for dead goes on, if nobody has claimed the job since.
        """
        order = running.order
        if children:
            order = uniqueness.order_of_many(children, order)
        running.recording, resumed = True, False
        try:
            while True:
                try:
                    return await self._writer.run(transaction, order, grouped)
                except Superseded:
                    if resumed or not await self._retry(self._resume, running):
                        raise
                    resumed = True
                except StorageError:
                    await self._pause()
        finally:
            running.recording = False

    async def _retry(self, write: Callable[P, Awaitable[T]], *args: P.args, **given: P.kwargs) -> T:
        """Write, and retry while the ledger is away: an outage must not cost a finished step."""
        while True:
            try:
                return await write(*args, **given)
            except StorageError:
                await self._pause()

    async def _pause(self) -> None:
        """Wait before a write is tried again. Raises Superseded if the process ends."""
        if self._closed:
            raise Superseded("the process ends") from None
        await asyncio.sleep(RETRY_PAUSE_S)

    def close(self) -> None:
        """Retry no further write. Functions that go on keep their slots until the process is gone."""
        self._closed = True
        self._children.close()
        for task in self._overruns:
            task.cancel()


def _finish_step(
    tx: Tx, running: Running, steps: tuple[Step, ...], result: object, lines: LogBatch
) -> tuple[tuple[Step, ...], JobStatus]:
    """Record a finished step with its log lines. Raises Superseded."""
    found = recording.finish_step(tx, running.job, steps, result, running.latest)
    lines.append(tx, running.job)
    return found


def _record_outcome(tx: Tx, running: Running, outcome: Outcome, steps: tuple[Step, ...], lines: LogBatch) -> JobStatus:
    """Record an outcome with the attempt's last log lines. Raises Superseded."""
    status = recording.record_outcome(tx, running.job, outcome, steps=steps, progress=running.latest)
    lines.append(tx, running.job)
    return status


def _finish_each(
    tx: Tx, parts: Sequence[tuple[Running, tuple[Step, ...], object, LogBatch]]
) -> Sequence[tuple[tuple[Step, ...], JobStatus]]:
    """Record the finished steps of several jobs."""
    found = recording.finish_each(tx, [(one.job, steps, result, one.latest) for one, steps, result, _ in parts])
    for running, _, _, lines in parts:
        lines.append(tx, running.job)
    return found


def _record_each(tx: Tx, parts: Sequence[tuple[Running, Outcome, tuple[Step, ...], LogBatch]]) -> Sequence[JobStatus]:
    """Record the outcomes of several jobs, which have succeeded."""
    found = recording.record_each(tx, [(one.job, outcome, steps, one.latest) for one, outcome, steps, _ in parts])
    for running, _, _, lines in parts:
        lines.append(tx, running.job)
    return found


def _has_lines(running: Running) -> bool:
    return running.log is not None and running.log.waiting > 0


def _brings_more(running: Running) -> bool:
    """Return whether there is more to write at the end of a step: jobs, batches, output, or a function that goes on."""
    more = running.children or running.batches or running.output is not None or running.overrun is not None
    return bool(more)


def _notice(new: NewJob | None) -> Further:
    """Return the job of a failure, if it brings one, as those of a step."""
    return (NO_JOBS if new is None else Dispatched((new,), total=1)), []
