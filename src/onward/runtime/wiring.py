"""Builds and runs one process from the settings, without GraphQL: a worker loads neither FastAPI nor Strawberry.

Everything that a process opens is on one stack, so that it is closed in order, whatever raises at the start, in the
drain or at a close.

The file is long because its parts are built in the one order in which they know each other.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any, NamedTuple

from onward.backends.base import Backend, Role
from onward.cancellation import cancels_as_errors, is_cancelled
from onward.children import leave
from onward.config.settings import Settings, SettingsError, version
from onward.dispatch import queue_stats
from onward.dispatch.dispatcher import Dispatcher
from onward.dispatch.schedules import Schedules
from onward.handlers.base import Handler, Toolbox
from onward.jobs import concurrency, key_limits, workers
from onward.jobs.batch_keeper import BatchKeeper
from onward.jobs.change_feed import ChangeFeed, renumber
from onward.jobs.leases import Lease
from onward.jobs.runner import Runner, build_runner
from onward.jobs.schedule import Schedule
from onward.jobs.states import TERMINAL
from onward.jobs.subprocess import SubprocessRunner
from onward.jobs.timings import Timings
from onward.maintenance.maintenance import Maintenance
from onward.runtime import values
from onward.runtime.backends import BackendRunner, build_backend, refused, role_for, taken
from onward.runtime.database import database_of
from onward.runtime.handlers import build_encryption, build_tools, lifespan, load_handlers
from onward.storage import migrate
from onward.storage.engine import Database
from onward.storage.identity import ledger_id
from onward.storage.ledger import Ledger
from onward.storage.lock_order import ALONE, LAST
from onward.storage.revision import Revision
from onward.storage.wakeups import Wakeups
from onward.storage.writer import Writer
from onward.telemetry import logger, set_environment
from onward.telemetry.endpoint import Endpoint, NoPort
from onward.telemetry.metrics import Metrics
from onward.telemetry.trace_export import build as build_tracing
from onward.telemetry.tracing import Tracing
from onward.telemetry.watchdog import Watchdog

TRACE_FLUSH_S = 1.0  # for the last spans on their way out
QUICK_DRAIN_S = 1.0  # for backends to stop beginning jobs, before what runs is drained


class Telemetry(NamedTuple):
    """Metrics, traces and the watchdog of one process."""

    metrics: Metrics
    tracing: Tracing
    watchdog: Watchdog
    endpoint: Endpoint | None = None  # of its metrics


class Runtime(NamedTuple):
    """The parts of one process."""

    settings: Settings
    database: Database
    writer: Writer
    handlers: Mapping[str, Handler]
    dispatcher: Dispatcher
    change_feed: ChangeFeed
    keeper: BatchKeeper
    schedules: Schedules
    runner: Runner
    lease: Lease
    telemetry: Telemetry
    drain: Callable[[], Awaitable[None]]  # begins no further job; waits for what runs, or hands it back
    takes: frozenset[str]  # the destinations whose jobs it runs


@asynccontextmanager
async def run_process(
    settings: Settings,
    role: Role,
    *,
    isolated: bool = False,
    embedded: bool = False,
    on_drain: Callable[[], None] | None = None,
    timings: Timings | None = None,
) -> AsyncIterator[Runtime]:
    """Start a process: hold its lease, start its backends; drain and close everything at the end.

    `isolated` is for a process that runs one dangerous job and nothing else, `embedded` for one whose other code may
    open the ledger's database. `on_drain` is called, from a thread, when an admin has a worker process drain. Without
    `timings`, those are used that the parent process handed down. Raises
    SettingsError and StorageError, and whatever a part of the project's raises.
    """
    set_environment(settings.environment)
    timings = timings or Timings.inherited(os.environ)
    async with AsyncExitStack() as stack:
        telemetry = await _open_telemetry(stack, settings, address="" if isolated else settings.telemetry.metrics)
        writer = await open_ledger(stack, settings, embedded=embedded)
        resources = await stack.enter_async_context(lifespan(settings, Ledger(writer)))
        tools = build_tools(settings)
        stack.push_async_callback(tools.mailer.close)
        parts = _build(
            settings,
            telemetry,
            writer,
            tools=tools,
            resources=resources,
            timings=timings,
            role=None if isolated else role,
            on_drain=on_drain,
        )
        runtime = await _start(stack, *parts, role=role, isolated=isolated)
        if not all(runtime.dispatcher.backends[name].runs_elsewhere for name in runtime.takes):
            wakeups = Wakeups(writer.database, runtime.dispatcher.wake)
            stack.callback(wakeups.close)
            wakeups.start()
        yield runtime


async def _open_telemetry(stack: AsyncExitStack, settings: Settings, *, address: str) -> Telemetry:
    metrics = Metrics()
    telemetry = Telemetry(metrics, build_tracing(settings.telemetry.traces), Watchdog(metrics))
    stack.push_async_callback(asyncio.to_thread, telemetry.tracing.close, TRACE_FLUSH_S)
    if address:
        try:
            endpoint = await asyncio.to_thread(Endpoint, metrics.registry, address)
        except NoPort as error:
            raise SettingsError(f"telemetry.metrics: {error}") from error
        stack.push_async_callback(asyncio.to_thread, endpoint.close)
        logger("onward").info("metrics of this process", url=endpoint.url)
        telemetry = telemetry._replace(endpoint=endpoint)
    telemetry.watchdog.start()
    stack.callback(telemetry.watchdog.close)
    return telemetry


async def open_ledger(stack: AsyncExitStack, settings: Settings, *, embedded: bool = False) -> Writer:
    """Open the ledger for writing, until the stack is closed. Raises StorageError."""
    database = database_of(settings, embedded=embedded)
    stack.push_async_callback(asyncio.to_thread, database.close)
    await asyncio.to_thread(migrate.ensure, database)
    writer = Writer(database)
    writer.start()
    stack.push_async_callback(asyncio.to_thread, writer.close)
    return writer


def _build(
    settings: Settings,
    telemetry: Telemetry,
    writer: Writer,
    *,
    tools: Toolbox,
    resources: Any,
    timings: Timings,
    role: Role | None,
    on_drain: Callable[[], None] | None,
) -> tuple[Runtime, Maintenance, Drain]:
    """Build the parts; nothing is started. Without a role, for a process of isolated jobs. Raises SettingsError."""
    handlers = load_handlers(settings)
    encryption = build_encryption(settings, handlers)
    route = values.routes(settings, handlers)
    takes: frozenset[str] = frozenset() if role is None else taken(settings, route.destinations, role)
    refuses = refused(settings, route.destinations)
    backends: dict[str, Backend] = {}
    dispatcher = Dispatcher(
        handlers=handlers,
        route=route,
        priority=values.priorities(settings),
        backends=backends,
        writer=writer,
        encryption=encryption,
        metrics=telemetry.metrics,
        tracing=telemetry.tracing,
        refuses=refuses,
        timings=timings,
    )
    lease = Lease(
        writer,
        telemetry.metrics,
        name=f"{socket.gethostname()}:{os.getpid()}",
        on_lost=lambda: runner.lost(),  # noqa: PLW0108 - the runner is built with the lease
        on_drain=on_drain or (lambda: None),
        is_draining=lambda: runner.draining,
        role=_shown(role, ends_itself=on_drain is not None),
        version=version(),
        enqueuer=dispatcher,
        takes=takes,
        isolated=role is None,
        timings=timings,
    )
    keeper = BatchKeeper(writer, dispatcher, telemetry.metrics)
    handed_down = values.handed_down(settings, timings)
    children = SubprocessRunner(handed_down, writer, telemetry.metrics, enqueuer=dispatcher)
    runner = build_runner(
        writer=writer,
        lease=lease,
        handlers=handlers,
        tools=tools,
        resources=resources,
        enqueuer=dispatcher,
        keeper=keeper,
        isolate=None if role is None else children,
        encryption=encryption,
        handed_down=handed_down,
        metrics=telemetry.metrics,
        tracing=telemetry.tracing,
        watchdog=telemetry.watchdog,
        takes=takes,
        timings=timings,
        urls=values.signal_urls(settings),
        log_level=values.log_level(settings),
        on_cancelled=_end_process,
    )
    for name in route.destinations:
        revision = Revision(writer.database, timings.recheck_s)
        run = BackendRunner(name, runner, lease, revision, refuses=name in refuses)
        try:
            backends[name] = build_backend(settings, name, run, timings)
        except Exception as error:
            if role is not None:
                raise
            # An option may be an object of the parent. What is enqueued for the backend is delivered by maintenance.
            logger("onward").info("isolated without this backend", backend=name, error=type(error).__name__)
    entries = values.schedule_entries(settings, dispatcher.preparation)
    schedules = Schedules(entries, dispatcher.preparation)
    schedule = Schedule(entries.values(), dispatcher.accept, schedules.restored)
    maintenance = Maintenance(
        writer=writer,
        lease=lease,
        dispatcher=dispatcher,
        keeper=keeper,
        schedule=schedule,
        retention=values.retention(settings),
        takes=takes,
        timings=timings,
    )
    drain = Drain(runner, children, settings.server.drain_s)
    database, changes = writer.database, ChangeFeed(writer.database, timings)
    runtime = Runtime(
        settings,
        database,
        writer,
        handlers,
        dispatcher,
        changes,
        keeper,
        schedules,
        runner,
        lease,
        telemetry,
        drain,
        takes,
    )
    return runtime, maintenance, drain


def _end_process() -> None:
    """End a process of our own, whose running jobs count a crash; an application of others is left to them."""
    if getattr(asyncio.get_running_loop(), "is_process", False):
        leave(1)


def _shown(role: Role | None, *, ends_itself: bool) -> str:
    """Return the role that others see in the ledger."""
    if role is None:
        return workers.ISOLATED
    if role is Role.ACCEPT:
        return workers.API
    return workers.WORKER if ends_itself else workers.DRAMATIQ


async def _start(
    stack: AsyncExitStack, runtime: Runtime, maintenance: Maintenance, drain: Drain, *, role: Role, isolated: bool
) -> Runtime:
    """Start the parts in order; each is closed, in the opposite order, if it or a later one raises."""
    writer, dispatcher = runtime.writer, runtime.dispatcher
    writer.on_commit = runtime.change_feed.wake
    runtime.telemetry.metrics.expect(runtime.handlers, TERMINAL)
    if role is Role.ACCEPT:
        runtime.telemetry.metrics.add(partial(queue_stats.ask, writer, dispatcher, runtime.handlers))
    await writer.run(renumber, ALONE)
    await writer.run(ledger_id, ALONE)  # one of an older release has none
    stack.push_async_callback(asyncio.to_thread, runtime.lease.close)
    await asyncio.to_thread(runtime.lease.start)
    if not isolated:
        limits = values.limits(runtime.settings, runtime.handlers)
        await writer.run(partial(concurrency.configure, limits=limits), LAST)
        await writer.run(partial(key_limits.configure, rules=values.key_limits(runtime.handlers)), ALONE)
    stack.push_async_callback(runtime.change_feed.close)
    stack.push_async_callback(dispatcher.close)
    stack.callback(runtime.keeper.close)
    stack.push_async_callback(maintenance.close)
    stack.push_async_callback(drain)
    runtime.runner.start()
    runtime.change_feed.start()
    if not isolated:
        for name, backend in dispatcher.backends.items():
            with cancels_as_errors():
                await backend.start(role_for(backend, takes=name in runtime.takes))
            drain.backends[name] = backend
        await dispatcher.start()
        await maintenance.start()
    return runtime


class Drain:
    """Drains the runner, the processes of isolated jobs and the backends: once, however often it is called."""

    def __init__(self, runner: Runner, children: SubprocessRunner, deadline_s: float) -> None:
        self.backends: dict[str, Backend] = {}  # those that have started
        self._runner = runner
        self._children = children
        self._deadline_s = deadline_s
        self._done: asyncio.Task[None] | None = None

    async def __call__(self) -> None:
        if self._done is None:
            if not is_cancelled():  # else all tasks may be, by a handler
                self._runner.begin_closing()
            self._done = asyncio.create_task(self._drain())
        await self._done

    async def _drain(self) -> None:
        started = time.monotonic()
        children = asyncio.create_task(self._children.drain(self._deadline_s))
        draining = [asyncio.create_task(self._drain_backend(name, one)) for name, one in self.backends.items()]
        try:
            if draining:
                # Most are done at once. One that waits for its own jobs must not take the runner's time.
                await asyncio.wait(draining, timeout=min(QUICK_DRAIN_S, self._deadline_s / 2))
            await self._runner.drain(self._deadline_s - (time.monotonic() - started))
        finally:
            await asyncio.gather(*draining, children)

    async def _drain_backend(self, name: str, backend: Backend) -> None:
        """Drain one backend; log an error, since the process ends all the same."""
        try:
            with cancels_as_errors():
                async with asyncio.timeout(self._deadline_s):
                    await backend.drain(self._deadline_s)
        except Exception:  # noqa: BLE001 - a backend of the project's may raise anything
            logger("onward").exception("the backend could not be drained", backend=name)
