"""Accepts jobs for code outside GraphQL.

A process that runs no jobs claims nothing, holds no lease, and takes no part in maintenance: backends that run jobs
elsewhere are handed them at once, and a serving process that runs them itself sees in the ledger that there are some.
A serving process accepts them by its own parts, as its mutations do. The file is long because each kind of call checks
its arguments here, before anything is opened.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from functools import partial
from typing import Any

from onward.arguments import check_argument
from onward.backends.base import Backend, Role
from onward.config.settings import Settings
from onward.dispatch import signals
from onward.dispatch.dispatcher import Dispatcher
from onward.handlers.base import BatchRequest, Handler, JobRequest
from onward.jobs import idempotency, key_limits, ledger, uniqueness, waits
from onward.jobs.base import JobFailed, NotFound
from onward.jobs.change_feed import ChangeFeed
from onward.jobs.following import follow_output
from onward.jobs.model import Job, JobChunk, NewJob, Visible
from onward.jobs.options import Options, check_text, check_type
from onward.jobs.states import JobStatus
from onward.jobs.timings import Timings
from onward.runtime import values
from onward.runtime.backends import ProbeRunner, backend_class, build_backend
from onward.runtime.enqueuing_batches import BatchEnqueuer, replayed
from onward.runtime.handlers import build_encryption, load_handlers
from onward.runtime.wiring import TRACE_FLUSH_S, Runtime, open_ledger
from onward.storage import callers, lock_order
from onward.storage.base import Unavailable
from onward.storage.batches import in_slices
from onward.storage.identity import LEDGER_ID, ledger_id
from onward.storage.lock_order import ALONE, LockOrder
from onward.storage.transaction import Tx
from onward.storage.writer import Writer
from onward.telemetry import set_environment
from onward.telemetry.metrics import Metrics
from onward.telemetry.trace_export import build as build_tracing
from onward.telemetry.tracing import Tracing
from onward.text.queues import split

EVERY_JOB = Visible(everything=True)
CHUNK = 200  # jobs that one commit accepts at most
DRAIN_S = 0.5  # for backends that have nothing to wait for here


class Enqueuer:
    """Accepts jobs, and waits for their results."""

    def __init__(
        self,
        *,
        handlers: Mapping[str, Handler],
        dispatcher: Dispatcher,
        writer: Writer,
        changes: ChangeFeed,
        tracing: Tracing,
        ledger_id: str,
    ) -> None:
        self.handlers = handlers
        self._ledger_id = ledger_id
        self._dispatcher = dispatcher
        self._writer = writer
        self._changes = changes
        self._tracing = tracing
        self.batches = BatchEnqueuer(
            handlers=handlers,
            dispatcher=dispatcher,
            writer=writer,
            prepare=self._prepared,
            accept=self._insert,
            deliver=self._deliver,
        )

    async def enqueue(
        self, request: JobRequest | BatchRequest, options: Options, idempotency_key: str | None = None
    ) -> str:
        """Commit the job, or the batch, hand it over, and return its id.

        Raises InvalidParameters, UnknownHandler, KeyReused, NotUnique, Unavailable; ValueError for a batch too large.
        """
        check_text("idempotency_key", idempotency_key)
        if isinstance(request, BatchRequest):
            with self._tracing.span("accept a batch", "producer") as span:
                batch_id = await self.batches.enqueue(request, options, idempotency_key)
                span.set(batch=batch_id)
                return batch_id
        check_request(request)
        with self._tracing.span(f"accept {request.handler}", "producer", handler=request.handler) as span:
            new = self._prepared(request, options)
            if idempotency_key is None:
                found: Job | str = await self._writer.run(partial(self._accept, new=new), uniqueness.order(new))
            else:
                found = await self._writer.run(*self._once(new, request, options, idempotency_key, self._insert))
            if isinstance(found, str):
                return found
            if not found.replayed:
                span.set(job=found.id)
                await self._deliver([found])
        return found.id

    async def enqueue_many(self, requests: Iterable[JobRequest], options: Options) -> list[str]:
        """Check all, then commit and hand over a chunk at a time; return the ids in order.

        Half of the writer's time is left to others. Raises what `enqueue` raises; a wrong request before any is
        accepted, Unavailable perhaps when some are.
        """
        check_requests(requests)
        prepared: list[NewJob] = []
        for request in requests:
            prepared.append(self._prepared(request, options))
            if len(prepared) % CHUNK == 0:
                await asyncio.sleep(0)
        ids: list[str] = []
        order = uniqueness.order_of_many(prepared)
        async for jobs in in_slices(self._writer, prepared, self._accept_each, most=CHUNK, order=order):
            ids += [job.id for job in jobs]
            await self._deliver(jobs)
        return ids

    def request_within(
        self, session: object, request: JobRequest | BatchRequest, options: Options, idempotency_key: str | None = None
    ) -> list[str] | Awaitable[list[str]]:
        """Accept a job or a batch as `enqueue_within` does; return a list of its id."""
        if isinstance(request, BatchRequest):
            return self._batch_within(session, request, options, idempotency_key)
        return self.enqueue_within(session, [request], options, idempotency_key)

    def _batch_within(
        self, session: object, request: BatchRequest, options: Options, idempotency_key: str | None = None
    ) -> list[str] | Awaitable[list[str]]:
        check_text("idempotency_key", idempotency_key)
        accept = partial(
            self.batches.accept_at_once,
            request=request,
            options=options,
            key=idempotency_key,
            insert=self._insert_undelivered,
        )
        return callers.run(self._writer.database, session, self._ledger_id, lambda tx: [accept(tx)])

    def enqueue_within(
        self, session: object, requests: Iterable[JobRequest], options: Options, idempotency_key: str | None = None
    ) -> list[str] | Awaitable[list[str]]:
        """Accept the jobs in the transaction of a session, in this thread; await the ids of an asynchronous one.

        A key is for a single job. Raises UnusableSession, and what `enqueue` raises; errors of the session's own
        library as they are.
        """
        check_text("idempotency_key", idempotency_key)
        check_requests(requests)
        prepared = [(self._prepared(request, options), request) for request in requests]

        def write(tx: Tx) -> list[str]:
            if idempotency_key is None:
                news = [new for new, _ in prepared]
                return [job.id for job in self._accept_each(tx, news, self._insert_undelivered)]
            ((new, request),) = prepared
            once, _ = self._once(new, request, options, idempotency_key, self._insert_undelivered)
            found = once(tx)
            return [found if isinstance(found, str) else found.id]

        return callers.run(self._writer.database, session, self._ledger_id, write)

    async def signal(self, job_id: str, name: str, payload: Any) -> None:
        """Commit a signal, and hand the job over if its wait has ended.

        Raises NotFound, Conflict, InvalidParameters, Unavailable.
        """
        _check_signal(job_id, name)
        await signals.send(
            job_id, name, payload, handlers=self.handlers, dispatcher=self._dispatcher, writer=self._writer
        )

    def signal_within(self, session: object, job_id: str, name: str, payload: Any) -> Awaitable[None] | None:
        """Send the signal in the transaction of a session, as `enqueue_within` accepts jobs."""
        _check_signal(job_id, name)
        route = self._dispatcher.route

        def write(tx: Tx) -> None:
            found = ledger.get(tx, job_id)
            stored = waits.checked(found, name, payload, handlers=self.handlers)
            delivered_to = self._undelivered(route(found.handler)) if found else None
            waits.signal(tx, job_id, name, stored, route=route, delivered_to=delivered_to)

        return callers.run(self._writer.database, session, self._ledger_id, write)

    def _accept(self, tx: Tx, new: NewJob) -> Job:
        return self._accept_each(tx, [new])[0]

    def _accept_each(self, tx: Tx, chunk: Sequence[NewJob], insert: uniqueness.Insert | None = None) -> list[Job]:
        accepted = uniqueness.accept_each(tx, chunk, insert or self._insert)
        return [uniqueness.refuse_foreign(job, new) for job, new in zip(accepted, chunk, strict=True)]

    def _insert(self, tx: Tx, new: NewJob) -> Job:
        return ledger.accept(tx, new, local_runner=self._dispatcher.local_runner(new.backend))

    def _insert_undelivered(self, tx: Tx, new: NewJob) -> Job:
        return ledger.accept(tx, new, local_runner=self._undelivered(new.backend))

    def _undelivered(self, backend: str) -> str | None:
        """Return the value of `delivered_to` that has maintenance deliver a job at once, if anybody has to."""
        found = self._dispatcher.backends.get(backend)
        return ledger.UNDELIVERED if found is not None and found.runs_elsewhere else None

    async def result(self, job_id: str, timeout: timedelta | None = None) -> Any:  # noqa: ASYNC109 - a public name
        """Wait until the job is over, and return its result. Raises JobFailed, NotFound, TimeoutError, Unavailable."""
        check_type("job_id", job_id, str, "a job's id, as enqueue returns it")
        if timeout is not None:
            check_type("timeout", timeout, timedelta, "a timedelta, as in timedelta(seconds=30)")
        async with asyncio.timeout(None if timeout is None else timeout.total_seconds()):
            async with self._changes.watch_job(job_id, of_call=True) as changes:
                read = partial(self._writer.database.read, partial(ledger.get, job_id=job_id))
                job = await read()
                if job is None:
                    raise NotFound(f"there is no job {job_id}")
                while not job.done:
                    try:
                        job = await anext(changes)
                    except Unavailable:  # the process stops: the job's last change may not have been read yet
                        job = await read()
                        if job is None or not job.done:
                            raise
        if job.status is not JobStatus.SUCCEEDED:
            raise JobFailed(job)
        return job.result

    def output(self, job_id: str, after: int | None = None) -> AsyncGenerator[JobChunk, None]:
        """Yield the job's chunks behind an offset, as they come, until it is over. Raises NotFound, Unavailable."""
        check_type("job_id", job_id, str, "a job's id, as enqueue returns it")
        if after is not None:
            check_type("after", after, int, "the offset of a chunk, as in after=chunk.offset, or None")
        read = self._writer.database.read
        return follow_output(self._changes, read, job_id, visible=EVERY_JOB, after=after, of_call=True)

    def _prepared(self, request: JobRequest, options: Options) -> NewJob:
        check_request(request)
        return self._dispatcher.prepare(
            request.handler,
            request.params,
            owner=options.subject,
            priority=options.ledger_priority,
            run_at=options.earliest,
            expires=options.expires,
        )

    def _once(
        self, new: NewJob, request: JobRequest, options: Options, key: str, insert: uniqueness.Insert
    ) -> tuple[Callable[[Tx], Job | str], LockOrder]:
        """Return a function that accepts the job or returns the id of the key's earlier job, and its lock order."""
        # Not those of `new`: encrypted ones always differ. Without defaults: a handler may gain a parameter meanwhile.
        params = self.handlers[new.handler].given(request.params)
        names = {"viewer": options.subject or "", "mutation": f"enqueue {new.handler}", "key": key}
        digest = idempotency.fingerprint({"params": params, **options.as_json()})

        def write(tx: Tx) -> Job | str:
            before = replayed(tx, names, digest, new.handler)
            if before is not None:
                return str(before["job"])
            (job,) = self._accept_each(tx, [new], insert)
            idempotency.remember(tx, **names, fingerprint=digest, reference={"job": job.id})
            return job

        return write, uniqueness.order(new, lock_order.key(*names.values()))

    async def _deliver(self, jobs: list[Job]) -> None:
        self._dispatcher.count(jobs)
        await self._dispatcher.deliver(jobs, after_response=self._dispatcher.defer)


def check_request(request: JobRequest) -> None:
    """Raise TypeError for anything but a job, such as a handler without `.job(...)`."""
    if not isinstance(request, JobRequest):
        raise TypeError(f"enqueue needs a job, as made by HANDLER.job(...) (got {type(request).__name__})")


def check_requests(requests: Iterable[JobRequest]) -> None:
    """Raise TypeError for a single job, or anything else that is no collection of them."""
    expected = "a list of jobs, as in enqueue_many([HANDLER.job(...)])"
    check_argument("requests", requests, expected, Iterable)


def _check_signal(job_id: str, name: str) -> None:
    check_type("job_id", job_id, str, "a job's id, as enqueue returns it")
    check_type("name", name, str, 'the name of a signal, as in "approval"')


@asynccontextmanager
async def open_enqueuer(settings: Settings) -> AsyncIterator[Enqueuer]:
    """Open the ledger and the brokers, and close them at the end. Raises SettingsError and StorageError."""
    set_environment(settings.environment)
    timings = Timings.inherited(os.environ)
    async with AsyncExitStack() as stack:
        handlers = load_handlers(settings)
        route = values.routes(settings, handlers)
        encryption = build_encryption(settings, handlers)
        tracing = build_tracing(settings.telemetry.traces)
        stack.push_async_callback(asyncio.to_thread, tracing.close, TRACE_FLUSH_S)
        writer = await open_ledger(stack, settings, embedded=True)
        await _make_rules_known(writer, handlers)
        backends: dict[str, Backend] = {}
        dispatcher = Dispatcher(
            handlers=handlers,
            route=route,
            priority=values.priorities(settings),
            backends=backends,
            writer=writer,
            encryption=encryption,
            metrics=Metrics(),
            tracing=tracing,
            timings=timings,
        )
        for name in route.destinations:
            if backend_class(settings, split(name)[0])[0].runs_elsewhere:
                backend = build_backend(settings, name, ProbeRunner(), timings)
                await backend.start(Role.ACCEPT)
                stack.push_async_callback(backend.drain, DRAIN_S)
                backends[name] = backend
        stack.push_async_callback(dispatcher.close)
        await dispatcher.start()
        changes = ChangeFeed(writer.database, timings)
        writer.on_commit = changes.wake
        stack.push_async_callback(changes.close)
        changes.start()
        enqueuer = Enqueuer(
            handlers=handlers,
            dispatcher=dispatcher,
            writer=writer,
            changes=changes,
            tracing=tracing,
            ledger_id=await _ledger_id(writer),
        )
        stack.callback(enqueuer.batches.close)
        yield enqueuer


async def enqueuer_of(runtime: Runtime) -> Enqueuer:
    """Return an enqueuer on the parts of a running process, which closes them itself. Raises StorageError."""
    return Enqueuer(
        handlers=runtime.handlers,
        dispatcher=runtime.dispatcher,
        writer=runtime.writer,
        changes=runtime.change_feed,
        tracing=runtime.telemetry.tracing,
        ledger_id=await _ledger_id(runtime.writer),
    )


async def _make_rules_known(writer: Writer, handlers: Mapping[str, Handler]) -> None:
    """Write the limits by key of handlers that have none in the ledger yet: no process has served them."""
    rules = {name: rule for name, rule in values.key_limits(handlers).items() if rule is not None}
    if rules and await writer.database.read(partial(key_limits.unknown, rules=rules)):
        await writer.run(lambda tx: key_limits.configure(tx, key_limits.unknown(tx, rules)), ALONE)


async def _ledger_id(writer: Writer) -> str:
    """Return the ledger's id; write only if it has none, since the caller may hold the lock of a SQLite file."""
    found = await writer.database.read(lambda tx: tx.scalar(LEDGER_ID))
    return await writer.run(ledger_id, ALONE) if found is None else str(found)
