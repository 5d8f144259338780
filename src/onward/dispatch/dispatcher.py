"""Accepts jobs into the ledger and delivers them to their backend.

The file is long because acceptance and delivery share what is known of the backends.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

from onward.backends.base import Backend, Defer, Delivery, Health
from onward.cancellation import cancels_as_errors, end_tasks
from onward.dispatch.batching import Batches
from onward.dispatch.health import BackendHealth
from onward.dispatch.patterns import NO_PRIORITIES, Patterns, Routes
from onward.dispatch.preparation import Preparation
from onward.handlers.base import Handler
from onward.jobs import concurrency, due, expiry, key_limits, ledger, uniqueness
from onward.jobs.encryption import Encryption
from onward.jobs.limits import Limit
from onward.jobs.model import Job, JobError, NewJob
from onward.jobs.options import NO_OPTIONS, DispatchOptions
from onward.jobs.states import JobStatus
from onward.jobs.timings import Timings
from onward.jobs.waiting import taken, waits_for
from onward.storage.base import StorageError
from onward.storage.batches import in_slices
from onward.storage.lock_order import LAST
from onward.storage.transaction import Tx
from onward.storage.writer import Writer, left_to_maintenance
from onward.telemetry import logger
from onward.telemetry.metrics import Metrics
from onward.telemetry.tracing import Tracing
from onward.text.queues import DEFAULT, split

FORGETS_EACH_S = 600.0  # a backend that does not say when it forgets is taken to do so that often
HEALTH_AGE_S = 1.0  # of the ledger's figures in `health`
CONFIRMED = 500  # deliveries, by one commit at most


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
        refuses: Collection[str] = (),
        timings: Timings = Timings(),
    ) -> None:
        """`refuses` are destinations whose jobs this process leaves to others."""
        self.route = route
        self.backends = backends
        self.preparation = Preparation(
            handlers=handlers, route=route, priority=priority, encryption=encryption, tracing=tracing
        )
        self.prepare = self.preparation.prepare
        self._refuses = refuses
        self._writer = writer
        self._metrics = metrics
        self._tracing = tracing
        self._broker_health = BackendHealth(backends, timings)
        self._batches = Batches(self._send_and_confirm, self._spawn, timeout_s=timings.deliver_timeout_s)
        self._tasks: set[asyncio.Task[Any]] = set()
        self._measured: dict[str, Health] = {}
        self._limits: Mapping[str, concurrency.HandlerLimits] = {}
        self._taken: Collection[str] = ()  # destinations
        self._key_limits: Mapping[str, Limit] = {}
        self._measured_until = 0.0
        self._measuring: asyncio.Task[None] | None = None
        self._log = logger("dispatch")

    async def start(self) -> None:
        """Begin to ask each backend for its health, and to deliver jobs that get a place of their key."""
        loop = asyncio.get_running_loop()
        self._writer.on_end = lambda jobs: loop.call_soon_threadsafe(self.dispatch, jobs)
        await self._broker_health.start()

    async def close(self) -> None:
        """Cancel unsent deliveries, which are left to maintenance. May be called twice."""
        self._writer.on_end = left_to_maintenance
        await self._broker_health.close()
        await end_tasks(self._tasks)

    def prepare_child(
        self,
        parent: Job,
        handler: str,
        params: Mapping[str, Any],
        options: DispatchOptions = NO_OPTIONS,
    ) -> NewJob:
        """Prepare a job that a running one dispatches, with its id; its owner is the same unless one is given.

        Raises InvalidParameters.
        """
        new = self.prepare(
            handler,
            params,
            owner=parent.owner if options.owner is None else options.subject,
            run_at=options.earliest,
            expires=options.expires,
            priority=options.ledger_priority,
            trace=parent.trace,
        )
        since = parent.attempts[-1].started_at if parent.attempts else parent.created_at  # one may fail without any
        id_ = self._writer.database.ids.next("job", since // 1000)
        return replace(new, id=id_, parent=parent.id)

    def prepare_on_failure(self, failed: Job, error: JobError) -> NewJob:
        """Prepare the job of a failed job's `on_failure`. Raises InvalidParameters, UnknownHandler; NoKey."""
        return self.prepare_child(failed, failed.on_failure or "", self.preparation.failure_params(failed, error))

    def accept(self, tx: Tx, new: NewJob) -> Job:
        """Insert the job, or return the one that holds its unique key; it is accepted with the transaction's commit."""
        return uniqueness.accept(tx, new, self._insert)

    def _insert(self, tx: Tx, new: NewJob) -> Job:
        return ledger.accept(tx, new, local_runner=self.local_runner(new.backend))

    def local_runner(self, destination: str) -> str | None:
        """Return the runner that owns a new job of the destination; None if any may claim it."""
        backend = self.backends.get(destination)  # None for a queue of handlers that are not known here
        return None if backend is None or destination in self._refuses else backend.local_runner()

    def accept_undelivered(self, tx: Tx, new: NewJob) -> Job:
        """Accept a job that nobody here delivers: maintenance does, as soon as the transaction is committed."""
        job = uniqueness.accept(tx, new, self._insert_undelivered)
        tx.once_committed.append(partial(self.count, [job]))  # the transaction may be run again, or undone
        return job

    def _insert_undelivered(self, tx: Tx, new: NewJob) -> Job:
        backend = self.backends.get(new.backend)
        elsewhere = backend is not None and backend.runs_elsewhere
        return ledger.accept(tx, new, local_runner=ledger.UNDELIVERED if elsewhere else None)

    def accept_later(self, tx: Tx, new: NewJob) -> Job:
        """Insert a job that was prepared some time ago, routed by the present settings."""
        return self.accept(tx, replace(new, backend=self.route(new.handler, new.backend)))

    async def deliver(self, jobs: Sequence[Job], *, after_response: Defer, in_order: bool = False) -> None:
        """Deliver the jobs, or leave them to maintenance. Takes 50 ms at most, and never raises.

        A backend that runs them in this process gets those that are `in_order`, as of a request, together; all others
        one by one, so that they run side by side.
        """
        for name, deliveries in self.by_backend(jobs).items():
            backend = self.backends[name]
            if not backend.runs_elsewhere:
                for some in [deliveries] if in_order else [[one] for one in deliveries]:
                    try:
                        with cancels_as_errors():
                            await backend.deliver(some, after_response=after_response)
                    except Exception:  # noqa: BLE001 - the jobs are accepted, whatever a backend of a project raises
                        self._log.warning("delivery failed", backend=name, exc_info=True)
            elif self._broker_health.lets_through(name):
                with self._tracing.span(f"deliver {name}", "producer", backend=name, jobs=len(deliveries)) as span:
                    if not await self._batches.deliver(name, deliveries):
                        span.fail("DELIVERY_FAILED")

    async def send(self, name: str, deliveries: Sequence[Delivery]) -> bool:
        """Deliver at once; on failure return False, and leave the backend alone for a while."""
        try:
            with cancels_as_errors():
                await self.backends[name].deliver(deliveries, after_response=self.defer)
        except Exception as error:  # noqa: BLE001 - whatever a backend raises, maintenance delivers again
            if self._broker_health.lets_through(name):
                self._log.warning(
                    "delivery failed; maintenance delivers again", backend=name, error=type(error).__name__
                )
            self._broker_health.failed(name)
            return False
        return True

    async def _send_and_confirm(self, name: str, deliveries: Sequence[Delivery]) -> bool:
        identity = self.health_of(name).identity  # before the delivery: one that is forgotten meanwhile has another
        if not await self.send(name, deliveries):
            return False
        waits = [(delivery.job_id, delivery.fencing_token) for delivery in deliveries]
        if len(waits) <= CONFIRMED:
            self._writer.post(partial(due.confirm, waits=waits, identity=identity), LAST)
        else:
            self._spawn(self._confirm(waits, identity))
        return True

    async def _confirm(self, waits: Sequence[tuple[str, int]], identity: str) -> None:
        """Confirm many deliveries in several commits; unconfirmed ones are delivered again."""
        confirm = partial(due.confirm, identity=identity)
        with suppress(StorageError):
            async for _ in in_slices(self._writer, waits, confirm, most=CONFIRMED, order=LAST):
                pass

    def by_backend(self, jobs: Sequence[Job]) -> dict[str, list[Delivery]]:
        """Group the deliveries of the jobs in line by destination.

        Those of a queue that is not known here are left to the processes that take it.
        """
        found: dict[str, list[Delivery]] = {}
        for job in jobs:
            in_line = job.status is JobStatus.QUEUED and job.blocked is None and not job.replayed
            if in_line and job.backend in self.backends:
                delivery = Delivery(job.id, job.handler, job.priority, job.fencing_token, job.delivered_to)
                found.setdefault(job.backend, []).append(delivery)
        return found

    def count(self, jobs: Sequence[Job]) -> None:
        """Count accepted jobs; those of a mutation are counted where their time is measured."""
        for job in jobs:
            if not job.replayed:
                self._metrics.accepted(job.handler)

    def count_ended(self, jobs: Sequence[Job]) -> None:
        """Count those of the jobs that are over."""
        for job in jobs:
            if job.done:
                self._metrics.finished(job.handler, job.status.value)
                if job.error is not None and job.error.code == expiry.CODE:
                    self._metrics.expired(job.handler)

    def dispatch_new(self, jobs: Sequence[Job]) -> None:
        """Count and dispatch jobs that a handler has made; some may be over, since their batch is."""
        self.count(jobs)
        self.count_ended(jobs)
        self.dispatch(jobs)

    def dispatch(self, jobs: Sequence[Job]) -> None:
        """Deliver jobs of no request, in a task."""
        if jobs:
            self._spawn(self.deliver(jobs, after_response=self.defer))

    def defer(self, function: Callable[..., Any], *arguments: Any) -> None:
        """Call a function soon, in a task of the process, as BackgroundTasks does for a request over HTTP."""

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

    def wake(self) -> None:
        """Have the backends look for jobs that nobody delivers: another process may have accepted some."""
        for backend in self.backends.values():
            backend.wake()

    def health_of(self, name: str) -> Health:
        """Return the backend's newest health, at most a second old; unreachable if it does not answer.

        A backend that cannot tell when it forgets has an identity that changes from time to time, so that what waits is
        delivered again that often, and no more.
        """
        found = self._broker_health[name]
        return found if found.identity else replace(found, identity=f"unknown/{time.time() // FORGETS_EACH_S:.0f}")

    async def health(self) -> dict[str, Health]:
        """The health of each backend with the ledger's depth and age, about a second old; does not block.

        Older, by ten seconds at most, where the count takes long.
        """
        task = self._measuring
        if task is None or task.done():
            if not self._measured or time.monotonic() > self._measured_until:
                task = self._measuring = self._spawn(self._measure_all())
                await asyncio.wait((task,))  # it goes on for others if this caller is cancelled
        elif not self._measured:
            await asyncio.wait((task,))
        return {name: self._with_broker(name, found) for name, found in self._measured.items()}

    async def _measure_all(self) -> None:
        began = time.monotonic()
        self._measured = {name: await self._measure(name) for name in self.backends}
        now = time.monotonic()
        self._measured_until = max(began + HEALTH_AGE_S, now + due.pause_s(now - began))
        try:
            self._limits, self._key_limits, self._taken = await self._writer.database.read(_limits_and_taken)
        except StorageError:
            pass
        except Exception:  # noqa: BLE001 - as below
            self._log.exception("the limits of handlers and the queues of processes cannot be read")

    async def _measure(self, name: str) -> Health:
        try:
            depth, age_us = await self._writer.database.read(partial(due.waiting, backend=name))
        except StorageError:
            return Health(reachable=False)
        except Exception:  # noqa: BLE001 - a table may be missing while a backup is restored, and the backends answer all the same
            self._log.exception("the waiting jobs cannot be counted", backend=name)
            return Health(reachable=False)
        return Health(reachable=False, depth=depth, oldest_age_s=None if age_us is None else age_us / 1_000_000)

    def _with_broker(self, name: str, measured: Health) -> Health:
        broker = self.health_of(name)
        return replace(measured, reachable=broker.reachable, identity=broker.identity, reason=broker.reason)

    def waiting_for(self, job: Job, health: Mapping[str, Health]) -> str | None:
        """Return the reason why the job does not run, as text; None if it runs or is over."""
        found = health.get(job.backend) or health.get(job.backend_name)
        answers, reason = (None, "") if found is None else (found.reachable, found.reason)
        taken = job.backend in self._taken or not any(
            split(name)[1] != DEFAULT for name in (job.backend, *self.backends)
        )
        limits, by_key = self._limits.get(job.handler), self._key_limits
        return waits_for(job, limits, by_key=by_key, answers=answers, reason=reason, taken=taken)


def _limits_and_taken(
    tx: Tx,
) -> tuple[Mapping[str, concurrency.HandlerLimits], Mapping[str, Limit], Collection[str]]:
    return concurrency.all_limits(tx), key_limits.limits(tx), taken(tx)
