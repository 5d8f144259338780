"""The one funnel that every backend ends in: claim, run, record.

A runner belongs to a process and its event loop. Async steps run there, plain ones in threads. Whatever happens is made
into an `Outcome` first, and written by one compare-and-set that a lost claim cannot pass.
"""

from __future__ import annotations

import asyncio
import contextvars
import random
import time
import traceback
from collections.abc import Awaitable, Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any, Protocol, TypeVar

import orjson
import structlog

from onward.handlers.base import Handler, HandlerError, InvalidParameters, Permanent, TimedOut, Tools
from onward.handlers.base import Step as Work
from onward.jobs import blocked, claims, concurrency, due, ledger, recording, recovery
from onward.jobs.base import Superseded
from onward.jobs.encryption import Encryption, redact
from onward.jobs.leases import Lease
from onward.jobs.model import Job, JobError, NewJob, Step, legible
from onward.jobs.outcome import Outcome
from onward.jobs.retry import delay
from onward.jobs.row import Claim
from onward.jobs.running import Running, StopReason
from onward.jobs.states import TERMINAL, JobStatus, StepStatus
from onward.jobs.timings import Timings
from onward.storage.base import StorageError
from onward.storage.transaction import Tx
from onward.storage.writer import Writer
from onward.telemetry.metrics import Metrics
from onward.telemetry.tracing import Span, Tracing, trace_id
from onward.telemetry.watchdog import CurrentWork, Watchdog

RESULT_BYTES = 64_000
JSON_DEPTH_RESERVE = 50  # levels of an answer that a result may stand in, of the 254 that JSON is written with
UNBLOCK_BATCH = 100  # that the end of one job may let out of its handler's gate, where others had no such end
UNEXPECTED = "the handler failed unexpectedly; the log tells more under this job's id"

S = JobStatus
T = TypeVar("T")


class JobEnqueuer(Protocol):
    """What a runner needs to accept the jobs that handlers dispatch."""

    def prepare_child(self, parent: Job, handler: str, params: Mapping[str, Any]) -> NewJob: ...
    def accept(self, tx: Tx, new: NewJob) -> Job: ...
    def dispatch_new(self, jobs: list[Job]) -> None: ...
    def dispatch(self, jobs: list[Job]) -> None: ...


class Runner:
    """Runs jobs for one process."""

    def __init__(
        self,
        *,
        writer: Writer,
        lease: Lease,
        handlers: Mapping[str, Handler],
        tools: Tools,
        resources: Any,
        enqueuer: JobEnqueuer,
        isolate: Callable[[str, str], Awaitable[bool]] | None,
        threads: int,
        encryption: Encryption,
        metrics: Metrics,
        tracing: Tracing,
        watchdog: Watchdog,
        timings: Timings = Timings(),
    ) -> None:
        self._timings = timings
        self._writer = writer
        self._lease = lease
        self._handlers = handlers
        self._tools = tools
        self._resources = resources
        self._enqueuer = enqueuer
        self._isolate = isolate
        self._encryption = encryption
        self._metrics = metrics
        metrics.count_running(lambda: self.busy)
        self._tracing = tracing
        self._watchdog = watchdog
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="step")
        self._running: dict[Claim, Running] = {}  # by id and token: a lost claim may go on for a while
        self._chance = random.Random()  # noqa: S311 - jitter
        self._recording: set[asyncio.Future[None]] = set()
        self._draining = False
        self._closed = False
        self._idle = asyncio.Event()
        self._gated = True  # whether any handler has a gate, as it was
        self._gates_at = 0.0  # when that has to be looked at again
        self._taken: set[Claim] = set()  # claimed, and not carried yet
        self._watcher: asyncio.Task[None] | None = None
        self._minder: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._log = structlog.get_logger("runner")

    @property
    def busy(self) -> int:
        """How many jobs run here."""
        return len(self._running)

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._minder = asyncio.create_task(self._release_orphans(), name="claims")

    async def run(self, job_id: str, backend: str, *, wait_for_commit: bool = True) -> bool:
        """The job has run here, unless it was not to be had: False then. Raises Unavailable where nobody could ask.

        `recorded` is as in `carry`.
        """
        if self._draining:
            await self._writer.run(lambda tx: due.give_back(tx, job_id))
            return False

        def unit(tx: Tx) -> Job | bool:
            runner, worker, alone = self._lease.id, self._lease.name, self._isolate is None
            job = claims.claim(tx, job_id, runner=runner, worker=worker, backend=backend, isolated=alone)
            return job or claims.must_run_isolated(tx, job_id)

        found = await self._writer.run(unit)
        if isinstance(found, Job):
            await self.execute(found, recorded=wait_for_commit)
            return True
        return found and self._isolate is not None and await self._isolate(job_id, backend)

    async def claim_due(self, backend: str, limit: int, *, exclude: Collection[str] = ()) -> list[Job]:
        """Jobs of the backend that wait, claimed for this process, which has to `carry` them; `exclude` are left."""
        if self._draining:
            return []
        found: list[Job] = []
        again = True
        while again and len(found) < limit:
            # Most installations have none: nearly every look is spared the question.
            at_gates = self._gated or time.monotonic() >= self._gates_at
            wanted = partial(
                self._claim_due, backend=backend, limit=limit - len(found), exclude=exclude, at_gates=at_gates
            )
            try:
                more, again, gated = await self._writer.run(wanted)
            except StorageError:
                if not found:
                    raise
                break
            if at_gates:
                self._gated, self._gates_at = gated, time.monotonic() + self._timings.blocked_check_s
            self._taken.update(Claim(job.id, job.fencing_token) for job in more)
            found += more
        return found

    def _claim_due(
        self, tx: Tx, *, backend: str, limit: int, exclude: Collection[str], at_gates: bool
    ) -> tuple[list[Job], bool, bool]:
        """What is to be had, whether there may be more, and whether any handler has a gate."""
        given: dict[str, Any] = {
            "runner": self._lease.id,
            "worker": self._lease.name,
            "backend": backend,
            "exclude": exclude,
            "grace_us": round(self._timings.local_claim_grace_s * 1_000_000),
        }
        found = claims.claim_due(tx, limit=limit, **given)
        gated = at_gates and concurrency.any_limits(tx)
        if not gated or len(found) == limit:
            return found, False, gated
        more, changed = claims.claim_limited(tx, limit=limit - len(found), **given)
        return [*found, *more], changed, gated

    async def next_isolated(self, backend: str) -> str | None:
        """A job of the backend that has to be run by `run`, in a process of its own."""
        return await self._writer.database.read(partial(claims.next_isolated, backend=backend))

    async def execute(self, job: Job, *, recorded: bool = True) -> None:
        """A claimed job has run, and its outcome is in the ledger; or somebody else has it.

        Without `recorded` the outcome is only on its way there: for who has a slot to give to the next job meanwhile.
        """
        if self._closed:
            return  # claimed in the last moment: the end of the lease hands it back
        self._taken.discard(Claim(job.id, job.fencing_token))
        running = Running(job, self._tools, self._resources, self._enqueuer.prepare_child, self._on_progress)
        self._running[Claim(job.id, job.fencing_token)] = running
        if self._watcher is None or self._watcher.done():
            self._watcher = asyncio.create_task(self._poll_cancellations(), name="cancels")
        # Not taken back at the end: a job's task has a context of its own, or the next job overwrites this.
        structlog.contextvars.bind_contextvars(job=job.id, handler=job.handler, attempt=job.attempt)
        if job.trace is None:
            structlog.contextvars.unbind_contextvars("trace")
        else:
            structlog.contextvars.bind_contextvars(trace=trace_id(job.trace))
        begun = job.attempts[-1].started_at
        self._metrics.started(job.handler, (begun - job.due_at) / 1_000_000)
        with self._tracing.run(
            f"run {job.handler}", job.trace, job=job.id, handler=job.handler, attempt=job.attempt
        ) as span:
            started = time.perf_counter()
            performed = await self._performed(running)
            self._metrics.ran(job.handler, time.perf_counter() - started)
            _tell(span, performed)
            recording = asyncio.ensure_future(self._recorded(running, performed))
            self._recording.add(recording)
            recording.add_done_callback(self._recording.discard)
            if recorded:
                await recording

    async def _performed(self, running: Running) -> tuple[tuple[Step, ...], Outcome] | Exception:
        try:
            return await self._perform(running)
        except Exception as error:  # noqa: BLE001 - what follows from it is decided where the outcome is recorded
            return error

    async def _recorded(self, running: Running, performed: tuple[tuple[Step, ...], Outcome] | Exception) -> None:
        job = running.job
        try:
            if isinstance(performed, Exception):
                raise performed  # noqa: TRY301 - one place decides what follows
            await self._record(running, *performed)
        except Superseded:
            self._log.warning("claim lost", job=job.id)
        except Exception:  # noqa: BLE001 - see below
            # A defect of ours. Unless something is written, the job runs for ever, as far as anybody can see.
            self._log.exception("the outcome could not be recorded", job=job.id)
            with suppress(Superseded):
                told = Outcome(S.FAILED, error=_error("INTERNAL", UNEXPECTED, retryable=True))
                await self._retry_write(lambda tx: recording.record_outcome(tx, job, told, steps=_now(tx, job).steps))
                self._metrics.finished(job.handler, S.FAILED.value)
        finally:
            del self._running[Claim(job.id, job.fencing_token)]
            if not self._running:
                self._idle.set()

    async def _perform(  # noqa: C901, PLR0911 - one look at everything that can become of a job
        self, running: Running
    ) -> tuple[tuple[Step, ...], Outcome]:
        """Runs the steps that are left; how it ended, as data. Raises Superseded."""
        job, steps = running.job, running.job.steps
        handler = self._handlers.get(job.handler)
        if handler is None:
            words = f"no handler is named {job.handler!r} here; install it again, then retry the job"
            return steps, Outcome(S.FAILED, error=_error("HANDLER_MISSING", words))
        index = next((step.index for step in steps if step.status is not StepStatus.SUCCEEDED), len(steps))
        if tuple(step.name for step in steps) != tuple(step.name for step in handler.steps):
            if index:
                words = "the handler's steps are other ones than when the job began; retry it from the start"
                return steps, Outcome(S.FAILED, error=_error("STEPS_CHANGED", words))
            steps = tuple(Step(step.name, i) for i, step in enumerate(handler.steps))
            steps = (replace(steps[0], status=StepStatus.RUNNING, started_at=job.attempts[-1].started_at), *steps[1:])
        if handler.timeout is not None:
            running.deadline = time.monotonic() + handler.timeout.total_seconds()
        value = steps[index - 1].result if index else None
        try:
            params, running.secrets = self._encryption.decrypt(job.params)
            arguments = _arguments(handler, job, params) if index == 0 else {}
            while True:
                running.check()
                work = handler.steps[index]
                with self._tracing.span(f"step {work.name}", step=work.name):
                    value = _storable(await self._step(running, work, arguments, value, first=index == 0))
                index += 1
                if index == len(steps):
                    return steps, Outcome(S.SUCCEEDED, result=value)
                steps = await self._finish_step(running, steps, value)
                if self._draining:
                    return steps, Outcome(S.QUEUED, counts_as_attempt=False)
        except Superseded:
            raise
        except asyncio.CancelledError:
            if running.stop is None:
                return steps, Outcome(S.QUEUED, counts_as_attempt=False)  # the loop is closing around us
            return steps, self._failed(running, handler.steps[index].name, handler, None)
        except BaseException as error:  # noqa: BLE001 - handlers are other people's code: whatever it is is recorded
            return steps, self._failed(running, handler.steps[index].name, handler, error)

    async def _step(self, running: Running, work: Work, arguments: dict[str, Any], value: Any, *, first: bool) -> Any:
        """What the step gave. Raises what it raised, TimedOut past the limit, and by `stop` where it was halted."""
        assert self._loop is not None  # noqa: S101 - for the type checker
        if self._closed:
            running.interrupt(StopReason.DRAIN)
            running.check()
        call = work.call
        if work.is_async:
            coroutine = call(running, **arguments) if first else call(running, value)
            pieces = self._watchdog.pieces(coroutine, CurrentWork(running.handler, work.name, running.id))
            running.task = doing = self._loop.create_task(_guarded(pieces))
        else:
            context = contextvars.copy_context()
            call = partial(call, running, **arguments) if first else partial(call, running, value)
            doing = self._loop.run_in_executor(self._threads, context.run, _unescaped, call)  # type: ignore[assignment]
        left = None if running.deadline is None else max(running.deadline - time.monotonic(), 0)
        try:
            done, _ = await asyncio.wait({doing}, timeout=left)
            if not done:
                running.interrupt(StopReason.TIMEOUT)
                done, _ = await asyncio.wait({doing}, timeout=self._timings.write_retry_s)
        except asyncio.CancelledError:
            doing.cancel()
            raise
        finally:
            running.task = None
        if not done:
            self._log.error("the step does not stop at its time limit, and goes on unheeded", step=work.name)
            raise TimedOut("it ran longer than its time limit")
        try:
            return doing.result()
        except asyncio.CancelledError as error:
            running.check()
            # Taken for the end of the process, the job would be handed back and begun again without end.
            raise RuntimeError("the handler awaited what was cancelled") from error

    def _failed(self, running: Running, step: str, handler: Handler, error: BaseException | None) -> Outcome:
        """What follows from an error: FAILED for good, another attempt by the policy, or nobody's fault."""
        match running.stop:
            case StopReason.CANCEL if not isinstance(error, Permanent):
                return Outcome(S.CANCELLED)
            case StopReason.DRAIN:
                return Outcome(S.QUEUED, counts_as_attempt=False)
            case StopReason.LOST:
                raise Superseded(running.id)
            case StopReason.TIMEOUT:
                error = TimedOut("it ran longer than its time limit")
        job = running.job
        if isinstance(error, StorageError):
            told = _error("UNAVAILABLE", "the ledger did not answer; it is tried again", step, retryable=True)
            return Outcome(S.RETRYING, error=told, counts_as_attempt=False, delay_us=1_000_000)
        permanent = isinstance(error, Permanent | InvalidParameters)
        if isinstance(error, HandlerError):
            words = redact(str(error), running.secrets)
            told = _error(error.code, words, step, retryable=not permanent)
            self._log.info("attempt failed", code=error.code, message=words, step=step)
        else:
            told = _error("UNEXPECTED", UNEXPECTED, step, retryable=True)
            trace = redact("".join(traceback.format_exception(error)).rstrip(), running.secrets)
            self._log.error("handler raised", step=step, exception=trace)
        if permanent or job.counted_attempts + 1 >= job.max_attempts:
            return Outcome(S.FAILED, error=told)
        wait = delay(handler.retry, job.counted_attempts + 1, self._chance)
        return Outcome(S.RETRYING, error=told, delay_us=wait // timedelta(microseconds=1))

    async def _finish_step(self, running: Running, steps: tuple[Step, ...], value: Any) -> tuple[Step, ...]:
        def unit(tx: Tx) -> tuple[tuple[Step, ...], JobStatus, list[Job]]:
            after, status = recording.finish_step(tx, running.job, steps, value, running.latest)
            # Some are there where this was committed before, and the answer was lost.
            there = ledger.get_many(tx, [child.id or "" for child in running.children]) if running.children else {}
            accepted = [self._enqueuer.accept(tx, child) for child in running.children if child.id not in there]
            return after, status, [*there.values(), *accepted]

        after, status, children = await self._retry_write(unit)
        running.children.clear()
        self._enqueuer.dispatch_new(children)
        if status is S.CANCELLING:
            running.interrupt(StopReason.CANCEL)
        return after

    async def _record(self, running: Running, steps: tuple[Step, ...], outcome: Outcome) -> None:
        job = running.job

        def unit(tx: Tx) -> tuple[JobStatus, list[Job], list[Job]]:
            status = recording.record_outcome(tx, job, outcome, steps=steps, progress=running.latest)
            children = running.children if status is S.SUCCEEDED else []
            let_out = blocked.unblock(tx, job.handler, limit=UNBLOCK_BATCH) if job.limited else []
            return status, [self._enqueuer.accept(tx, child) for child in children], let_out

        with self._tracing.span("record", status=outcome.status.value):
            status, children, let_out = await self._retry_write(unit)
        if status in TERMINAL:
            self._metrics.finished(running.job.handler, status.value)
        elif status is S.RETRYING:
            self._metrics.retried(running.job.handler)
        self._enqueuer.dispatch_new(children)
        self._enqueuer.dispatch(let_out)

    async def _retry_write(self, unit: Callable[[Tx], T]) -> T:
        """What the unit gave, however long the ledger is away: an outage must not cost a finished step."""
        while True:
            try:
                return await self._writer.run(unit)
            except StorageError:
                if self._closed:
                    raise Superseded("the process ends") from None
                await asyncio.sleep(0.25)

    def _on_progress(self, running: Running) -> None:
        assert self._loop is not None  # noqa: S101 - for the type checker
        if not running.saying:
            running.saying = True
            self._loop.call_soon_threadsafe(
                self._loop.call_later, self._timings.progress_interval_s, self._write_progress, running
            )

    def _write_progress(self, running: Running) -> None:
        running.saying = False
        latest = running.latest
        if Claim(running.id, running.job.fencing_token) in self._running and latest is not None:
            task = asyncio.ensure_future(
                self._writer.run(lambda tx: recording.report_progress(tx, running.job, latest))
            )
            task.add_done_callback(lambda done: done.cancelled() or done.exception())  # the outcome says it again

    async def _poll_cancellations(self) -> None:
        """Halts what somebody wants cancelled, as long as anything runs."""
        while self._running:
            await asyncio.sleep(self._timings.cancellation_poll_s)
            with suppress(StorageError):
                for claim in await self._writer.database.read(partial(claims.cancelling, runner=self._lease.id)):
                    if claim in self._running:
                        self._running[claim].interrupt(StopReason.CANCEL)

    async def _release_orphans(self) -> None:
        """Hands back what this process holds and does not run: a claim, say, whose commit's answer was lost."""
        before: set[Claim] = set()
        while True:
            await asyncio.sleep(self._timings.orphan_check_s)
            runner = self._lease.id
            with suppress(StorageError):
                held = await self._writer.database.read(partial(claims.held_by, runner=runner))
                idle = held - self._running.keys() - self._taken
                if forgotten := idle & before:  # seen twice: one that was claimed a moment ago is about to run
                    self._log.warning("claims without a run are handed back", jobs=[job_id for job_id, _ in forgotten])
                    await self._writer.run(partial(recovery.release, claims=forgotten, runner=runner))
                before = idle

    def lost(self) -> None:
        """All claims under the lease before are over: what runs by them stops. From any thread."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._interrupt_lost)

    def _interrupt_lost(self) -> None:
        for running in self._running.values():
            if running.job.runner != self._lease.id:
                running.interrupt(StopReason.LOST)

    def _interrupt(self, why: StopReason) -> None:
        for running in self._running.values():
            running.interrupt(why)

    async def drain(self, deadline_s: float) -> None:
        """Nothing new is claimed; what runs has finished its step, or was halted just before the deadline."""
        self._draining = True
        self._writer.post(lambda tx: recovery.clear_affinity(tx, runner=self._lease.id))
        try:
            async with asyncio.timeout(max(deadline_s - 1.0, deadline_s / 2)):
                await self._until_idle()
        except TimeoutError:
            self._interrupt(StopReason.DRAIN)
            with suppress(TimeoutError):
                async with asyncio.timeout(min(1.0, deadline_s / 2)):
                    await self._until_idle()
        self._closed = True
        for task in (self._watcher, self._minder):
            if task is not None:
                task.cancel()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _until_idle(self) -> None:
        while self._running:
            self._idle.clear()
            await self._idle.wait()


def _tell(span: Span, performed: tuple[tuple[Step, ...], Outcome] | Exception) -> None:
    """The span says what became of the attempt."""
    if isinstance(performed, Exception):
        span.fail(type(performed).__name__)
        return
    _, outcome = performed
    span.set(status=outcome.status.value)
    if outcome.error is not None:
        span.fail(outcome.error.code)


async def _guarded(coroutine: Awaitable[Any]) -> Any:
    """Keeps a handler's `sys.exit()` from ending the event loop."""
    try:
        return await coroutine
    except (SystemExit, KeyboardInterrupt) as error:
        raise RuntimeError("the handler tried to end the process") from error


def _unescaped(call: Callable[[], Any]) -> Any:
    try:
        return call()
    except (SystemExit, KeyboardInterrupt, StopIteration) as error:
        raise RuntimeError("the handler tried to end the process") from error


def _arguments(handler: Handler, job: Job, params: dict[str, Any]) -> dict[str, Any]:
    """What the first step is called with. Raises InvalidParameters."""
    if job.params_version < handler.version and handler.upgrade is not None:
        params = handler.upgrade(job.params_version, params)
    try:
        return handler.arguments(params)
    except InvalidParameters as error:
        if job.params_version <= handler.version:
            raise
        words = "a newer release accepted it; retry it when that one runs everywhere"
        raise InvalidParameters([("", words), *error.errors]) from error


def _storable(value: Any) -> Any:
    """The result as it comes out of the ledger again. Raises Permanent where it is no JSON, too deep or too large."""
    if value is None:
        return None
    for _ in range(JSON_DEPTH_RESERVE):
        value = [value]
    try:
        text = orjson.dumps(value)[JSON_DEPTH_RESERVE:-JSON_DEPTH_RESERVE]
    except (TypeError, ValueError) as error:
        words = "the result is no JSON, or nested too deeply; return plain values"
        raise Permanent(words, code="RESULT_NOT_JSON") from error
    if len(text) > RESULT_BYTES:
        raise Permanent(f"the result has {len(text)} bytes; {RESULT_BYTES} may be kept", code="RESULT_TOO_LARGE")
    return orjson.loads(text)


def _now(tx: Tx, job: Job) -> Job:
    """The job with the steps that have finished since it was claimed."""
    return ledger.get(tx, job.id) or job


def _error(code: str, message: str, step: str | None = None, *, retryable: bool = False) -> JobError:
    return JobError(legible(code), legible(message[:2000]), retryable, step, 0)
