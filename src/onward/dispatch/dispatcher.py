"""Accepts jobs into the ledger and sees them off to their backend."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import partial
from typing import Any, Generic, TypeVar

import structlog

from onward.backends.base import Backend, Defer, Delivery, Health
from onward.handlers.base import Handler, InvalidParameters
from onward.jobs import concurrency, due, ledger
from onward.jobs.encryption import Encryption
from onward.jobs.model import Job, NewJob, Step
from onward.jobs.row import encode, encode_steps
from onward.jobs.states import JobStatus
from onward.jobs.timings import Timings
from onward.jobs.waiting import waits_for
from onward.storage.base import StorageError
from onward.storage.transaction import Tx
from onward.storage.writer import Writer
from onward.telemetry.metrics import Metrics
from onward.telemetry.tracing import Tracing

T = TypeVar("T")
HEALTH_TIMEOUT_S = 1.0
SILENCE_S = 1.0  # a backend that has not said for so long how it is does not answer
FIRST_S = 0.5


class Patterns(Generic[T]):
    """What is set for a handler: an exact name beats a pattern, a longer pattern a shorter one."""

    def __init__(self, default: T, values: Mapping[str, T]) -> None:
        self._default = default
        self._exact = {name: value for name, value in values.items() if "*" not in name}
        patterns = [(pattern, value) for pattern, value in values.items() if "*" in pattern]
        self._patterns = sorted(patterns, key=lambda pair: -len(pair[0]))

    def __call__(self, handler: str) -> T:
        if handler in self._exact:
            return self._exact[handler]
        return next((value for pattern, value in self._patterns if fnmatchcase(handler, pattern)), self._default)


Routes = Patterns[str]
"""Which backend a handler's jobs go to."""
NO_PRIORITIES = Patterns(0, {})


@dataclass(slots=True)
class _Leaving:
    """Deliveries that leave together. Who waits for them is let go when they have left, or when that takes too long."""

    deliveries: list[Delivery] = field(default_factory=list)
    let_go: asyncio.Event = field(default_factory=asyncio.Event)
    failed: bool = False


class Dispatcher:
    """The way from a mutation, or a handler, to a backend."""

    def __init__(
        self,
        *,
        handlers: Mapping[str, Handler],
        route: Routes,
        priority: Patterns[int] = NO_PRIORITIES,
        backends: Mapping[str, Backend],
        writer: Writer,
        encryption: Encryption,
        metrics: Metrics,
        tracing: Tracing,
        timings: Timings = Timings(),
    ) -> None:
        self._timings = timings
        self.route = route
        self._priority = priority
        self.backends = backends
        self._handlers = handlers
        self._writer = writer
        self._encryption = encryption
        self._metrics = metrics
        self._tracing = tracing
        self._steps = {
            handler.name: tuple(Step(step.name, index) for index, step in enumerate(handler.steps))
            for handler in handlers.values()
        }
        self._dumped = {name: encode_steps(steps) for name, steps in self._steps.items()}
        self._open_until: dict[str, float] = {}
        self._leaving: dict[str, _Leaving] = {}  # by backend, what this turn of the loop brings
        self._tasks: set[asyncio.Task[Any]] = set()
        self._broker: dict[str, Health] = {}  # what each backend said of itself when it was asked last
        self._asked: dict[str, float] = {}  # since when it has been asked and has not answered
        self._health: dict[str, Health] = {}
        self._gates: Mapping[str, concurrency.HandlerLimits] = {}
        self._health_at = 0.0
        self._log = structlog.get_logger("dispatch")

    async def start(self) -> None:
        """Each backend is asked how it is, again and again: nobody has to wait for one that hangs."""
        answers = [asyncio.Event() for _ in self.backends]
        for name, answered in zip(self.backends, answers, strict=True):
            self._spawn(self._keep_asking(name, answered))
        with suppress(TimeoutError):
            async with asyncio.timeout(FIRST_S):
                for answered in answers:
                    await answered.wait()

    def prepare(
        self,
        handler: str,
        params: Mapping[str, Any],
        *,
        owner: str | None,
        run_at: int | None = None,
        priority: int | None = None,
        trace: str | None = None,
    ) -> NewJob:
        """The job, checked; it carries the context of the span that is open, or else `trace`.

        Its `priority` is the handler's unless one is given: smaller goes first.

        Raises InvalidParameters, also where no handler has that name; NoKey for want of one.
        """
        found = self._handlers.get(handler)
        if found is None:
            raise InvalidParameters([("", f"no handler is named {handler!r}")])
        bound = self._encryption.encrypt(found, found.bind(params))
        try:
            stored = encode(bound)
        except TypeError as error:
            raise InvalidParameters([("", "holds a number beyond 64 bits")]) from error
        return NewJob(
            handler=handler,
            backend=self.route(handler),
            params=stored,
            params_version=found.version,
            steps=self._dumped[handler],
            max_attempts=found.retry.max_attempts,
            owner=owner,
            priority=self._priority(handler) if priority is None else priority,
            run_at=run_at,
            trace=self._tracing.current() or trace,
            pending=self._steps[handler],
        )

    def prepare_child(self, parent: Job, handler: str, params: Mapping[str, Any]) -> NewJob:
        """A further job of a running one, for the same owner, its id given. Raises InvalidParameters."""
        new = self.prepare(handler, params, owner=parent.owner, trace=parent.trace)
        return replace(new, id=self._writer.database.ids.next("job", parent.attempts[-1].started_at // 1000))

    def accept(self, tx: Tx, new: NewJob) -> Job:
        """The job is in the ledger as soon as the unit's commit is."""
        return ledger.accept(tx, new, local_runner=self.backends[new.backend].local_runner())

    async def deliver(self, jobs: Sequence[Job], *, after_response: Defer) -> None:
        """The jobs are on their way, or the sweep sees to it. Takes 50 ms at most, and never raises."""
        for name, deliveries in self.by_backend(jobs).items():
            backend = self.backends[name]
            if not backend.runs_elsewhere:
                try:
                    await backend.deliver(deliveries, after_response=after_response)
                except Exception:  # noqa: BLE001 - the jobs are accepted, whatever a backend of somebody's own raises
                    self._log.warning("delivery failed", backend=name, exc_info=True)
            elif time.monotonic() >= self._open_until.get(name, 0.0):
                with self._tracing.span(f"deliver {name}", "producer", backend=name, jobs=len(deliveries)) as span:
                    leaving = self._join(name, deliveries)
                    await leaving.let_go.wait()
                    if leaving.failed:
                        span.fail("DELIVERY_FAILED")

    def _join(self, name: str, deliveries: Sequence[Delivery]) -> _Leaving:
        """They leave with all others of this turn of the loop: those of the requests that one commit has answered."""
        leaving = self._leaving.get(name)
        if leaving is None:
            leaving = self._leaving[name] = _Leaving()
            asyncio.get_running_loop().call_later(self._timings.deliver_timeout_s, leaving.let_go.set)
            self._spawn(self._send_and_confirm(name, leaving))
        leaving.deliveries += deliveries
        return leaving

    async def send(self, name: str, deliveries: Sequence[Delivery]) -> bool:
        """Delivered; False where it failed, and then the backend is left alone for a while."""
        try:
            await self.backends[name].deliver(deliveries, after_response=self.defer)
        except Exception as error:  # noqa: BLE001 - whatever a backend raises, the sweep makes up for it
            if time.monotonic() >= self._open_until.get(name, 0.0):
                self._log.warning("delivery failed; the sweep delivers again", backend=name, error=type(error).__name__)
            self._open_until[name] = time.monotonic() + self._timings.circuit_open_s
            return False
        return True

    async def _send_and_confirm(self, name: str, leaving: _Leaving) -> None:
        del self._leaving[name]  # what comes from now on leaves with the next
        identity = self.broker(name).identity  # before the delivery: one that is forgotten meanwhile has another
        leaving.failed = not await self.send(name, leaving.deliveries)
        leaving.let_go.set()
        if identity and not leaving.failed:
            waits = [(delivery.job_id, delivery.fencing_token) for delivery in leaving.deliveries]
            self._writer.post(partial(due.confirm, waits=waits, identity=identity))

    def by_backend(self, jobs: Sequence[Job]) -> dict[str, list[Delivery]]:
        """What is to be delivered of the jobs, by where."""
        found: dict[str, list[Delivery]] = {}
        for job in jobs:
            if job.status is JobStatus.QUEUED:
                delivery = Delivery(job.id, job.handler, job.priority, job.fencing_token, job.delivered_to)
                found.setdefault(job.backend, []).append(delivery)
        return found

    def count(self, jobs: Sequence[Job]) -> None:
        """The jobs are known to be accepted; those of a mutation are counted where their time is measured."""
        for job in jobs:
            self._metrics.accepted(job.handler)

    def dispatch_new(self, jobs: Sequence[Job]) -> None:
        """The same for jobs of no request, which a handler has dispatched."""
        self.count(jobs)
        self.dispatch(jobs)

    def dispatch(self, jobs: Sequence[Job]) -> None:
        """Jobs of no request that were accepted before are on their way again."""
        if jobs:
            self._spawn(self.deliver(jobs, after_response=self.defer))

    def defer(self, function: Callable[..., Any], *arguments: Any) -> None:
        """Calls it soon, as a task of the application's own: what BackgroundTasks is to a request over HTTP."""

        async def call() -> None:
            result = function(*arguments)
            if asyncio.iscoroutine(result):
                await result

        self._spawn(call())

    def _spawn(self, coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def broker(self, name: str) -> Health:
        """What the backend said of itself within the last second; unreachable where it does not answer."""
        asked = self._asked.get(name)
        if asked is not None and time.monotonic() - asked > SILENCE_S:
            return Health(reachable=False)
        return self._broker.get(name, Health(reachable=False))

    async def health(self) -> dict[str, Health]:
        """How each backend is, with the depth and the age of the ledger: at most about a second old, and at once."""
        if not self._health or time.monotonic() - self._health_at > HEALTH_TIMEOUT_S:
            self._health_at = time.monotonic()
            self._health = {name: await self._measured(name) for name in self.backends}
            with suppress(StorageError):
                self._gates = await self._writer.database.read(concurrency.all_limits)
        return {name: self._with_broker(name, found) for name, found in self._health.items()}

    async def _measured(self, name: str) -> Health:
        try:
            depth, age_us = await self._writer.database.read(partial(due.waiting, backend=name))
        except StorageError:
            return Health(reachable=False)
        return Health(reachable=False, depth=depth, oldest_age_s=None if age_us is None else age_us / 1_000_000)

    def _with_broker(self, name: str, measured: Health) -> Health:
        broker = self.broker(name)
        return replace(measured, reachable=broker.reachable, identity=broker.identity)

    async def _keep_asking(self, name: str, answered: asyncio.Event) -> None:
        reachable = True
        while True:
            self._asked[name] = time.monotonic()
            try:
                self._broker[name] = await self.backends[name].health()
            except Exception:  # noqa: BLE001 - a backend of somebody's own
                self._broker[name] = Health(reachable=False)
            del self._asked[name]
            answered.set()
            if self._broker[name].reachable:
                self._open_until.pop(name, None)
                if not reachable:
                    self._log.info("the backend answers again", backend=name)
            else:
                self._open_until[name] = time.monotonic() + self._timings.circuit_open_s
                if reachable:
                    self._log.warning("the backend does not answer; jobs are accepted and wait", backend=name)
            reachable = self._broker[name].reachable
            await asyncio.sleep(self._timings.health_interval_s)

    def waiting_for(self, job: Job, health: Mapping[str, Health]) -> str | None:
        """Why the job does not run, in words; None where it runs or is over."""
        found = health.get(job.backend)
        return waits_for(job, self._gates.get(job.handler), answers=found is None or found.reachable)

    async def close(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
