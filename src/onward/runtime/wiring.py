"""Builds what a process is made of, without the GraphQL face: a worker loads neither FastAPI nor Strawberry."""

from __future__ import annotations

import asyncio
import inspect
import os
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from onward.backends.base import Backend, Role, Run
from onward.config.settings import Queue, Settings, SettingsError
from onward.dispatch import queue_stats
from onward.dispatch.dispatcher import Dispatcher, Patterns, Routes
from onward.handlers.base import Handler, InvalidParameters, Toolbox
from onward.handlers.journal import JsonLines
from onward.jobs import concurrency
from onward.jobs.change_feed import ChangeFeed, renumber
from onward.jobs.encryption import Encryption, NoKey
from onward.jobs.leases import Lease
from onward.jobs.limits import Limit, Rate
from onward.jobs.runner import Runner
from onward.jobs.schedule import BadRule, Entry, Schedule
from onward.jobs.states import TERMINAL
from onward.jobs.subprocess import MAX_CHILDREN, SubprocessRunner
from onward.jobs.timings import Timings
from onward.mail.mailer import FileMailer
from onward.maintenance.maintenance import Maintenance
from onward.maintenance.retention import Retention
from onward.runtime.loading import load
from onward.storage import migrate
from onward.storage.engine import Database
from onward.storage.ledger import Ledger
from onward.storage.writer import Writer
from onward.telemetry import logger
from onward.telemetry.endpoint import Endpoint, NoPort
from onward.telemetry.metrics import Metrics
from onward.telemetry.tracing import Tracing
from onward.telemetry.tracing import build as build_tracing
from onward.telemetry.watchdog import Watchdog

if TYPE_CHECKING:
    from onward.mail.smtp import SmtpMailer

BUILT_IN = {"background": "onward.backends.background:Background", "dramatiq": "onward.backends.dramatiq:Dramatiq"}
TRACE_FLUSH_S = 1.0  # that the last spans get on their way out
HEALTH_TIMEOUT_S = 3.0  # for a backend to say whether it can be reached


@dataclass(frozen=True, slots=True)
class Telemetry:
    """What tells of one process to those outside."""

    metrics: Metrics
    tracing: Tracing
    watchdog: Watchdog


@dataclass(frozen=True, slots=True)
class Runtime:
    """The parts of one process."""

    settings: Settings
    database: Database
    writer: Writer
    handlers: Mapping[str, Handler]
    dispatcher: Dispatcher
    change_feed: ChangeFeed
    schedule: Schedule
    runner: Runner
    lease: Lease
    telemetry: Telemetry
    drain: Callable[[], Awaitable[None]]  # no further job is begun, and what runs ends or is handed back


class BackendRunner:
    """`onward.backends.base.Run` for one backend."""

    def __init__(self, backend: str, runner: Runner, lease: Lease) -> None:
        self._backend = backend
        self._runner = runner
        self._lease = lease
        self._isolated: set[str] = set()  # those that are begun in a process of their own, and not claimed there yet

    @property
    def runner_id(self) -> str:
        return self._lease.id

    async def __call__(self, job_id: str, *, wait_for_commit: bool = True) -> bool:
        return await self._runner.run(job_id, self._backend, wait_for_commit=wait_for_commit)

    async def claim(self, limit: int, *, exclude: Collection[str] = ()) -> Sequence[Callable[[], Awaitable[None]]]:
        taken: list[Callable[[], Awaitable[None]]] = []
        job_id = await self._runner.next_isolated(self._backend)  # first, or a lasting backlog leaves it no slot
        if job_id is not None and job_id not in self._isolated and len(self._isolated) < MAX_CHILDREN:
            self._isolated.add(job_id)
            taken.append(partial(self._run_isolated, job_id))
        if limit > len(taken):
            claimed = await self._runner.claim_due(self._backend, limit - len(taken), exclude=exclude)
            taken += [partial(self._runner.execute, job) for job in claimed]
        return taken

    async def _run_isolated(self, job_id: str) -> None:
        try:
            await self(job_id)
        finally:
            self._isolated.discard(job_id)


class ProbeRunner:
    """`onward.backends.base.Run` for a backend that is only looked at."""

    runner_id = ""

    async def __call__(self, job_id: str, *, wait_for_commit: bool = True) -> bool:
        raise NotImplementedError

    async def claim(self, limit: int, *, exclude: Collection[str] = ()) -> Sequence[Callable[[], Awaitable[None]]]:
        raise NotImplementedError


def _environment(settings: Settings, timings: Timings) -> dict[str, str]:
    """What a process needs to find the same ledger and the same tools as this one."""
    return {
        **os.environ,
        **timings.environment(),
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "ONWARD_PROJECT": str(settings.project),
        "ONWARD_BACKEND": settings.backend,
        "ONWARD_DATABASE__URL": settings.database.url,
        "ONWARD_EMAIL__TRANSPORT": settings.email.transport,
        "ONWARD_EMAIL__DIRECTORY": str(settings.email.directory),
        "ONWARD_LOG__PATH": str(settings.log.path),
    }


def load_handlers(settings: Settings) -> dict[str, Handler]:
    """The handlers of the modules in the settings, by name. Raises SettingsError."""
    found: dict[str, Handler] = {}
    for name in settings.handlers.modules:
        handlers = _handlers_in(load(name, "handlers.modules"))
        if not handlers:
            raise SettingsError(
                f"handlers.modules: {name} has no handler; decorate a function with @handler, or remove the module"
            )
        for handler in handlers:
            if found.setdefault(handler.name, handler) is not handler:
                raise SettingsError(f"handlers.modules: {name} defines {handler.name!r}, which another module defines")
    return found


def _handlers_in(module: ModuleType) -> list[Handler]:
    """The handlers among a module's names; one that it only imports counts too, once."""
    listed = getattr(module, "HANDLERS", ())  # a list that an older release asked for
    listed = (listed,) if isinstance(listed, Handler) else tuple(listed)
    named = [value for value in vars(module).values() if isinstance(value, Handler)]
    for handler in listed:
        if not isinstance(handler, Handler):
            raise SettingsError(
                f"handlers.modules: HANDLERS of {module.__name__} holds {handler!r}, which is not a handler:"
                " decorate it with @handler"
            )
    return list(dict.fromkeys((*listed, *named)))


def backend_class(settings: Settings, name: str) -> tuple[type[Backend], dict[str, Any]]:
    """The class of a backend, and its options. Raises SettingsError."""
    custom = settings.backends.custom.get(name)
    if custom is None:
        module, _, attribute = BUILT_IN[name].partition(":")
        # Not by `load`: whatever folders the project has, these are ours.
        return getattr(import_module(module), attribute), getattr(settings.backends, name).model_dump()
    options, path = dict(custom.options), custom.class_
    module, _, attribute = path.partition(":")
    found = getattr(load(module, f"backends.{name}.class"), attribute, None)
    if not (isinstance(found, type) and issubclass(found, Backend)):
        raise SettingsError(f"backends.{name}.class: {path} is no onward.backends.base.Backend")
    return found, options


def used(settings: Settings) -> list[str]:
    """The names of the backends that the settings send jobs to."""
    return list(dict.fromkeys((settings.backend, *settings.routes.values())))


def runs_elsewhere(settings: Settings, kind: type[Backend] = Backend) -> bool:
    """Whether there are jobs for worker processes, by a backend of that kind. Raises SettingsError."""
    found = [backend_class(settings, name)[0] for name in used(settings)]
    return any(issubclass(one, kind) and one.runs_elsewhere for one in found)


def priorities(settings: Settings) -> Patterns[int]:
    """Each handler's, as the ledger has it: there, smaller goes first."""
    return Patterns(0, {name: -queue.priority for name, queue in settings.queues.items()})


def limits(settings: Settings, handlers: Collection[str]) -> dict[str, Limit]:
    """Each handler's, as the most specific table of the settings has it."""
    found = Patterns(Limit(), {name: _limit(queue) for name, queue in settings.queues.items()})
    return {handler: found(handler) for handler in handlers}


def _limit(queue: Queue) -> Limit:
    return Limit(queue.concurrency, Rate.parsed(queue.rate) if queue.rate is not None else None)


def build_backend(
    settings: Settings,
    name: str,
    run: Run,
    timings: Timings = Timings(),
) -> Backend:
    """One backend, which has not started. Raises SettingsError."""
    found, options = backend_class(settings, name)
    if name not in settings.backends.custom:
        options["timings"] = timings
    try:
        return found(run, **options)  # type: ignore[call-arg]
    except (TypeError, ValueError) as error:
        raise SettingsError(f"backends.{name}: {error}") from error


def answers(backend: Backend) -> bool:
    """Whether a backend that has not started says in time that it can be reached; for who runs no event loop."""
    try:
        return asyncio.run(asyncio.wait_for(backend.health(), HEALTH_TIMEOUT_S)).reachable
    except Exception:  # noqa: BLE001 - a backend of the project's may raise anything
        return False


def build_backends(settings: Settings, way: Callable[[str], BackendRunner], timings: Timings) -> dict[str, Backend]:
    """Every backend that the settings send jobs to. Raises SettingsError."""
    return {name: build_backend(settings, name, way(name), timings) for name in used(settings)}


def build_encryption(settings: Settings, handlers: Mapping[str, Handler]) -> Encryption:
    """What keeps the handlers' secret parameters. Raises SettingsError where it could not keep them."""
    mend = (
        "one is made by: .venv/bin/python -c "
        "'from cryptography.fernet import Fernet; print(Fernet.generate_key().decode())'"
    )
    try:
        encryption = Encryption([key.get_secret_value() for key in settings.secrets.keys])
    except ValueError as error:
        raise SettingsError(f"secrets.keys: takes keys of 32 bytes in URL-safe base64; {mend}") from error
    for handler in handlers.values():
        try:
            encryption.check(handler)
        except NoKey as error:
            raise SettingsError(f"secrets.keys: {error}; {mend}") from error
    return encryption


def schedule_entries(settings: Settings, dispatcher: Dispatcher) -> list[Entry]:
    """The recurring jobs, checked. Raises SettingsError."""
    entries = []
    for name, given in settings.schedule.items():
        try:
            new = dispatcher.prepare(given.handler, given.params, owner=None)
            entries.append(Entry.checked(name, new, given.cron, given.timezone, makes_up=given.missed == "once"))
        except InvalidParameters as error:
            raise SettingsError(f"schedule.{name}: {error}") from error
        except BadRule as error:
            raise SettingsError(f"schedule.{name}.{error.key}: {error}") from error
    return entries


def build_retention(settings: Settings) -> Retention:
    keep = settings.retention
    return Retention(
        timedelta(days=keep.jobs_days) if keep.jobs_days else None,
        timedelta(days=keep.keys_days) if keep.keys_days else None,
    )


def build_mailer(settings: Settings) -> FileMailer | SmtpMailer:
    """Where messages go. Raises SettingsError where they could come from nobody."""
    email, smtp = settings.email, settings.email.smtp
    try:
        if email.transport == "file":
            return FileMailer(email.directory, email.sender)
        from onward.mail.smtp import SmtpMailer  # noqa: PLC0415 - who writes files starts without

        return SmtpMailer(
            sender=email.sender,
            host=smtp.host,
            port=smtp.port,
            tls=smtp.tls,
            username=smtp.username or None,
            password=smtp.password.get_secret_value() or None,
            timeout_s=smtp.timeout_s,
        )
    except ValueError as error:
        words = 'takes "Name <address>", or an address alone'
        raise SettingsError(f'email.sender is "{email.sender}", but {words}') from error


def build_tools(settings: Settings) -> Toolbox:
    """What handlers reach the outside world by. Raises SettingsError."""
    return Toolbox(build_mailer(settings), JsonLines(settings.log.path))


@asynccontextmanager
async def resources(settings: Settings, ledger: Ledger) -> AsyncIterator[Any]:
    """Enter the project's own lifespan and yield what it yields; None where there is none. Raises SettingsError."""
    path = settings.handlers.lifespan
    if not path:
        yield None
        return
    module, _, attribute = path.partition(":")
    lifespan = getattr(load(module, "handlers.lifespan"), attribute, None)
    if not callable(lifespan):
        raise SettingsError(f"handlers.lifespan: {module} has no function {attribute}")
    try:
        takes_ledger = bool(inspect.signature(lifespan).parameters)
        manager = lifespan(ledger) if takes_ledger else lifespan()
        entered = manager.__aenter__
    except (AttributeError, TypeError, ValueError) as error:
        raise SettingsError(
            f"handlers.lifespan: {path} must be a function with @asynccontextmanager that takes the ledger or nothing:"
            f" {error}"
        ) from error
    del entered
    async with manager as found:
        yield found


@asynccontextmanager
async def _writing(settings: Settings) -> AsyncIterator[Writer]:
    """The ledger is of this release, and written by this one in this process. Raises StorageError."""
    database = Database(settings.database.url, settings.database.migrations)
    try:
        await asyncio.to_thread(migrate.ensure, database)
        writer = Writer(database)
        writer.start()
        try:
            yield writer
        finally:
            await asyncio.to_thread(writer.close)
    finally:
        await asyncio.to_thread(database.close)


@asynccontextmanager
async def run_process(
    settings: Settings, role: Role, *, alone: bool = False, timings: Timings | None = None
) -> AsyncIterator[Runtime]:
    """The process takes part: its lease is held, its backends are started; at the end it is drained and closed.

    `alone` is for a process that runs one dangerous job and nothing else. Without `timings` those are taken that the
    process which started this one handed down. Raises SettingsError and StorageError.
    """
    timings = timings or Timings.inherited(os.environ)
    async with (
        observed(settings, alone=alone) as outside,
        _writing(settings) as writer,
        resources(settings, Ledger(writer)) as found,
        _participating(settings, role, outside, writer, found, timings=timings, alone=alone) as parts,
    ):
        yield parts


@asynccontextmanager
async def observed(settings: Settings, *, alone: bool) -> AsyncIterator[Telemetry]:
    """What the process does can be seen from outside; at the end the last traces have left. Raises SettingsError."""
    metrics, address = Metrics(), "" if alone else settings.telemetry.metrics
    outside = Telemetry(metrics, build_tracing(settings.telemetry.traces), Watchdog(metrics))
    try:
        endpoint = await asyncio.to_thread(Endpoint, metrics.registry, address) if address else None
    except NoPort as error:
        raise SettingsError(f"telemetry.metrics: {error}") from error
    if endpoint is not None:
        logger("onward").info("metrics of this process", url=endpoint.url)
    outside.watchdog.start()
    try:
        yield outside
    finally:
        outside.watchdog.close()
        if endpoint is not None:
            await asyncio.to_thread(endpoint.close)
        await asyncio.to_thread(outside.tracing.close, TRACE_FLUSH_S)


@asynccontextmanager
async def _participating(
    settings: Settings,
    role: Role,
    outside: Telemetry,
    writer: Writer,
    resources: Any,
    *,
    timings: Timings,
    alone: bool,
) -> AsyncIterator[Runtime]:
    handlers = load_handlers(settings)
    outside.metrics.expect(handlers, TERMINAL)
    encryption = build_encryption(settings, handlers)
    database = writer.database
    changes = ChangeFeed(database, timings)
    writer.on_commit = changes.wake
    parts: list[Runner] = []
    lease = Lease(
        writer,
        outside.metrics,
        name=f"{socket.gethostname()}:{os.getpid()}",
        on_lost=lambda: parts[0].lost(),  # noqa: PLW0108 - the runner is built with the lease
        alone=alone,
        timings=timings,
    )
    backends: dict[str, Backend] = {}
    dispatcher = Dispatcher(
        handlers=handlers,
        route=Routes(settings.backend, settings.routes),
        priority=priorities(settings),
        backends=backends,
        writer=writer,
        encryption=encryption,
        metrics=outside.metrics,
        tracing=outside.tracing,
        timings=timings,
    )
    if role is Role.ACCEPT:
        outside.metrics.add(partial(queue_stats.ask, database, dispatcher))
    tools = build_tools(settings)
    isolated = SubprocessRunner(_environment(settings, timings), writer, outside.metrics)
    runner = Runner(
        writer=writer,
        lease=lease,
        handlers=handlers,
        tools=tools,
        resources=resources,
        enqueuer=dispatcher,
        isolate=None if alone else isolated.run,
        encryption=encryption,
        threads=min(max(settings.backends.background.concurrency, 8), 64),
        metrics=outside.metrics,
        tracing=outside.tracing,
        watchdog=outside.watchdog,
        timings=timings,
    )
    parts.append(runner)
    backends.update(build_backends(settings, lambda name: BackendRunner(name, runner, lease), timings))
    schedule = Schedule(schedule_entries(settings, dispatcher), dispatcher.accept)
    maintenance = Maintenance(
        writer=writer,
        lease=lease,
        dispatcher=dispatcher,
        schedule=schedule,
        retention=build_retention(settings),
        timings=timings,
    )
    drained = False

    async def drain() -> None:
        nonlocal drained
        if not drained:
            drained = True
            for backend in backends.values():
                await backend.drain(settings.server.drain_s)
            await runner.drain(settings.server.drain_s)

    try:
        await writer.run(renumber)
        await asyncio.to_thread(lease.start)
        if not alone:
            await writer.run(partial(concurrency.configure, limits=limits(settings, handlers)))
        runner.start()
        changes.start()
        if not alone:
            for backend in backends.values():
                await backend.start(role)
            await dispatcher.start()
            await maintenance.start()
        yield Runtime(
            settings, database, writer, handlers, dispatcher, changes, schedule, runner, lease, outside, drain
        )
    finally:
        await drain()
        await maintenance.close()
        await dispatcher.close()
        await changes.close()
        await asyncio.to_thread(lease.close)
        await tools.mailer.close()
