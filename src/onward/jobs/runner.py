"""The funnel in which every backend ends: claim a job, execute it, record its outcome.

A runner belongs to a process and its event loop. What becomes of a job is made into an `Outcome` first, and recorded by
one compare-and-set, which a lost claim cannot pass.

The file is long because `build_runner` at its end joins all parts of a runner.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from typing import Any, Protocol

from onward import telemetry
from onward.children import HandedDown
from onward.handlers.base import Handler, Tools
from onward.jobs.batch_keeper import BatchKeeper
from onward.jobs.batch_stage import BatchStage
from onward.jobs.claimer import Claimer, Due
from onward.jobs.completion import Completion
from onward.jobs.control import Control
from onward.jobs.dispatched import JobEnqueuer
from onward.jobs.emitting import OutputWriter
from onward.jobs.encryption import Encryption
from onward.jobs.executor import Executor
from onward.jobs.job_log import LogWriter
from onward.jobs.leases import Lease
from onward.jobs.model import Job
from onward.jobs.outcome import Ended
from onward.jobs.progress import ProgressReporter
from onward.jobs.running import NO_URLS, Running
from onward.jobs.signal_urls import SignalUrls
from onward.jobs.step_process import StepProcesses
from onward.jobs.step_runner import StepRunner
from onward.jobs.step_threads import StepThreads
from onward.jobs.timings import Timings
from onward.storage.base import StorageError
from onward.storage.writer import Writer
from onward.telemetry.metrics import Metrics
from onward.telemetry.tracing import Span, Tracing, trace_id
from onward.telemetry.watchdog import Watchdog

RECORDING_GRACE_S = 0.8  # past the end of a drain, for the writes of what has ended; a worker leaves a second after it


class Isolate(Protocol):
    """Runs jobs in processes of their own."""

    @property
    def paused(self) -> bool:
        """Return whether no process is started for the moment."""

    async def run(self, job_id: str, backend: str) -> bool:
        """Run the job in a process of its own; return False if it could not be claimed there."""


class Runner:
    """Runs jobs for one process."""

    def __init__(
        self,
        *,
        claimer: Claimer,
        executor: Executor,
        threads: StepThreads,
        completion: Completion,
        control: Control,
        progress: ProgressReporter,
        output: OutputWriter,
        log: LogWriter,
        context: Callable[[Job], Running],
        isolate: Isolate | None,
        metrics: Metrics,
        tracing: Tracing,
    ) -> None:
        self._claimer = claimer
        self._executor = executor
        self._threads = threads
        self._completion = completion
        self._control = control
        self._progress = progress
        self._output = output
        self._log = log
        self._context = context
        self._isolate = isolate
        self._metrics = metrics
        self._tracing = tracing
        self.executed = 0  # attempts that started here
        self._recordings: set[asyncio.Future[None]] = set()
        self._closed = False
        metrics.count_running(lambda: self.busy)

    @property
    def busy(self) -> int:
        """Return the number of jobs that run in this runner."""
        return self._control.busy

    @property
    def out_of_threads(self) -> bool:
        """Return whether plain functions wait, because too many go on past their time limit."""
        return self._threads.exhausted

    @property
    def draining(self) -> bool:
        """Return whether the runner claims no further job."""
        return self._control.draining

    def start(self) -> None:
        """Begin to watch claims. From the event loop on which jobs run."""
        self._control.start()
        self._progress.start()
        self._output.start()
        self._log.start()

    async def run(self, job_id: str, backend: str, *, wait_for_commit: bool = True) -> bool:
        """Run the job; return False if it could not be claimed. Raises Unavailable if the ledger did not answer.

        `wait_for_commit` is explained at `execute`.
        """
        if self._control.draining:
            await self._claimer.give_back(job_id)
            return False
        found = await self._claimer.claim(job_id, backend)
        if isinstance(found, Job):
            await self.execute(found, wait_for_commit=wait_for_commit)
            return True
        return found is not None and self._isolate is not None and await self._isolate.run(job_id, found)

    async def give_back(self, job_id: str) -> None:
        """Have a job delivered again, since it is not for this process. Raises Unavailable."""
        await self._claimer.give_back(job_id)

    async def claim_due(
        self, backend: str, limit: int, *, exclude: Collection[str] = (), isolated: Callable[[str], bool] | None = None
    ) -> Due:
        """Claim queued jobs of the backend, without those in `exclude`; each has to be passed to `execute`.

        With them comes one that `run` would run in a process of its own, if `isolated` accepts its id.
        """
        if self._control.draining:
            return Due()
        if self._isolate is None or self._isolate.paused:
            isolated = None
        return await self._claimer.claim_due(backend, limit, exclude=exclude, isolated=isolated)

    async def any_due(self, backend: str) -> bool:
        """True if `claim_due` may find a job of the backend. Raises Unavailable."""
        return await self._claimer.any_due(backend)

    @property
    def any_limits(self) -> bool:
        """Return whether a handler had limits at the last check: then jobs may become claimable as time passes."""
        return self._claimer.any_limits

    async def next_isolated(self, backend: str) -> str | None:
        """Return the id of a job of the backend that has to run isolated, for a process of such jobs."""
        return await self._claimer.next_isolated(backend)

    async def execute(self, job: Job, *, wait_for_commit: bool = True) -> None:
        """Execute a claimed job, and record its outcome.

        Without `wait_for_commit` the outcome is still on its way into the ledger, while the slot is free for the next
        job.
        """
        if self._closed:
            return  # claimed at the last moment: the end of the lease hands it back
        self.executed += 1
        running = self._context(job)
        self._control.begin(running)
        _bind_to_log(job)
        self._log.begin(running)
        self._metrics.started(job.handler, (job.attempts[-1].started_at - job.due_at) / 1_000_000)
        with self._tracing.run(
            f"run {job.handler}", job.trace, job=job.id, handler=job.handler, attempt=job.attempt
        ) as span:
            started = time.perf_counter()
            ended = await self._execute(running)
            self._metrics.ran(job.handler, time.perf_counter() - started)
            _describe(span, ended)
            recording = asyncio.ensure_future(self._complete(running, ended))
            self._recordings.add(recording)
            recording.add_done_callback(self._recordings.discard)
            if wait_for_commit:
                await recording

    async def _execute(self, running: Running) -> Ended | Exception:
        try:
            return await self._executor.execute(running)
        except Exception as error:  # noqa: BLE001 - handled where the outcome is recorded
            return error
        finally:
            running.over = True

    async def _complete(self, running: Running, ended: Ended | Exception) -> None:
        try:
            await self._completion.complete(running, ended)
        finally:
            self._control.end(running)
            self._log.end(running)

    def lost(self) -> None:
        """Resume under the new lease the jobs that no other runner has claimed; interrupt the rest. From any thread."""
        self._control.lost(self._completion.renew_slots)

    def begin_closing(self) -> None:
        """Expect that tasks are cancelled, since the process comes to its end."""
        self._control.closing = True

    async def drain(self, deadline_s: float) -> None:
        """Claim nothing more; let jobs finish their step, or interrupt them just before the deadline. Then close."""
        self._executor.drain()
        await self._control.drain(deadline_s)
        if self._recordings:  # else another process would have to notice that this one is gone
            await asyncio.wait(self._recordings, timeout=RECORDING_GRACE_S)
        self._closed = True
        with suppress(StorageError):
            await self._completion.keep_slots(self._control.running)
        self._completion.close()
        self._control.close()
        self._log.close()
        await self._executor.close()


def build_runner(
    *,
    writer: Writer,
    lease: Lease,
    handlers: Mapping[str, Handler],
    tools: Tools,
    resources: Any,
    enqueuer: JobEnqueuer,
    keeper: BatchKeeper,
    isolate: Isolate | None,
    encryption: Encryption,
    handed_down: HandedDown,
    metrics: Metrics,
    tracing: Tracing,
    watchdog: Watchdog,
    takes: Collection[str] = (),
    timings: Timings = Timings(),
    urls: SignalUrls = NO_URLS,
    log_level: int = logging.INFO,
    on_cancelled: Callable[[], None] = lambda: None,
) -> Runner:
    """Build a runner. Without `isolate` it is itself a process for isolated jobs.

    `takes` are the destinations whose jobs the process runs.
    Processes that handlers ask for get `handed_down`. Log lines of `log_level` and above are kept with their job.
    `on_cancelled` is called where other code has cancelled the tasks of this process.
    """
    control = Control(writer, lease, timings, on_cancelled=on_cancelled)
    output = OutputWriter(writer, control, timings)
    log = LogWriter(writer, control, timings, log_level)
    stage = BatchStage(writer)
    completion = Completion(
        writer, enqueuer, metrics, tracing, resume=control.resume, output=output, log=log, keeper=keeper, stage=stage
    )
    progress = ProgressReporter(writer, control, timings)

    def context(job: Job) -> Running:
        return Running(
            job,
            tools,
            resources,
            enqueuer.prepare_child,
            on_progress=progress.report,
            on_emit=output.emit,
            stage=stage,
            urls=urls,
            handlers=handlers,
        )

    threads = StepThreads()
    metrics.count_overruns(lambda: threads.overrun)
    executor = Executor(
        handlers=handlers,
        steps=StepRunner(threads=threads, on_wait=completion.wait_for_thread, watchdog=watchdog, timings=timings),
        processes=StepProcesses(handed_down, tracing),
        completion=completion,
        control=control,
        encryption=encryption,
        tracing=tracing,
        database=writer.database,
    )
    return Runner(
        claimer=Claimer(writer, lease, control, timings, takes=takes, isolated=isolate is None),
        executor=executor,
        threads=threads,
        completion=completion,
        control=control,
        progress=progress,
        output=output,
        log=log,
        context=context,
        isolate=isolate,
        metrics=metrics,
        tracing=tracing,
    )


def _bind_to_log(job: Job) -> None:
    """Name the job in all later log lines of its task, which has a context of its own."""
    from structlog import contextvars  # noqa: PLC0415 - a server answers before it runs a job

    telemetry.finish_configuring()  # its handler may write by structlog itself
    contextvars.bind_contextvars(job=job.id, handler=job.handler, attempt=job.attempt)
    if job.trace is None:
        contextvars.unbind_contextvars("trace")
    else:
        contextvars.bind_contextvars(trace=trace_id(job.trace))


def _describe(span: Span, ended: Ended | Exception) -> None:
    """Record in the span how the attempt ended."""
    if isinstance(ended, Exception):
        span.fail(type(ended).__name__)
        return
    span.set(status=ended.outcome.status._value_)
    if ended.outcome.error is not None:
        span.fail(ended.outcome.error.code)
