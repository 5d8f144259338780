"""Loads and builds the backends that the settings name, and gives each its way to the runner."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from contextlib import suppress
from functools import partial
from importlib import import_module
from typing import Any

from onward.backends.base import Backend, Health, Role, Run, unreachable
from onward.cancellation import cancels_as_errors
from onward.config.errors import nearest
from onward.config.settings import Settings, SettingsError
from onward.findings import Finding, State, in_one_line
from onward.jobs.leases import Lease
from onward.jobs.runner import Runner
from onward.jobs.subprocess import MAX_CHILDREN
from onward.jobs.timings import Timings
from onward.runtime import values
from onward.runtime.handlers import load_handlers
from onward.runtime.loading import load
from onward.storage.base import StorageError
from onward.storage.revision import Revision
from onward.text.queues import DEFAULT, split

BUILT_IN = {"background": "onward.backends.background:Background", "dramatiq": "onward.backends.dramatiq:Dramatiq"}
CHECK_TIMEOUT_S = 10.0
HEALTH_TIMEOUT_S = 3.0  # for a backend to say whether it can be reached


class BackendRunner:
    """`onward.backends.base.Run` for the jobs of one backend and queue."""

    def __init__(
        self, backend: str, runner: Runner, lease: Lease, revision: Revision, *, refuses: bool = False
    ) -> None:
        self._backend = backend
        self._refuses = refuses  # whether this process leaves the queue to others, whatever the backend does
        self._runner = runner
        self._lease = lease
        self._revision = revision
        self._found_nothing = False  # at the last claim
        self._changed = True  # whether the ledger has changed since
        self._isolated: set[str] = set()  # jobs sent to a process of their own, and not claimed there yet

    @property
    def runner_id(self) -> str:
        return self._lease.id

    async def __call__(self, job_id: str, *, wait_for_commit: bool = True) -> bool:
        if self._refuses:
            await self._runner.give_back(job_id)
            return False
        return await self._runner.run(job_id, self._backend, wait_for_commit=wait_for_commit)

    async def claim(self, limit: int, *, exclude: Collection[str] = ()) -> Sequence[Callable[[], Awaitable[None]]]:
        calls: list[Callable[[], Awaitable[None]]] = []
        if self._refuses:
            return calls
        if self._found_nothing:
            # An empty claim costs a hundred times as much as the check. Limits also change with time.
            self._changed = self._changed or self._revision.has_changed()
            if not (self._changed or self._runner.any_limits):
                return calls
            if not await self._runner.any_due(self._backend):
                self._changed = False  # only now: a read that fails is made again
                return calls
        self._found_nothing = self._changed = False
        due = await self._runner.claim_due(self._backend, limit, exclude=exclude, isolated=self._can_isolate)
        if due.isolated is not None:
            self._isolated.add(due.isolated)
            calls.append(partial(self._run_isolated, due.isolated))
        calls += [partial(self._runner.execute, job) for job in due.jobs]
        self._found_nothing = not calls and not exclude
        return calls

    def _can_isolate(self, job_id: str) -> bool:
        """Return whether a job can be sent to a process of its own. From the writer's thread."""
        return job_id not in self._isolated and len(self._isolated) < MAX_CHILDREN

    async def _run_isolated(self, job_id: str) -> None:
        try:
            with suppress(StorageError):  # the job waits on; of an outage the ledger's writer warns, once
                await self(job_id)
        finally:
            self._isolated.discard(job_id)


class ProbeRunner:
    """`onward.backends.base.Run` for a backend that is only checked."""

    runner_id = ""

    async def __call__(self, job_id: str, *, wait_for_commit: bool = True) -> bool:
        raise NotImplementedError

    async def claim(self, limit: int, *, exclude: Collection[str] = ()) -> Sequence[Callable[[], Awaitable[None]]]:
        raise NotImplementedError


def backend_class(settings: Settings, name: str) -> tuple[type[Backend], dict[str, Any]]:
    """Return the class of a backend, and its options. Raises SettingsError."""
    custom = settings.backends.custom.get(name)
    if custom is None:
        module, _, attribute = BUILT_IN[name].partition(":")
        # Not by `load`: whatever folders the project has, these are ours.
        return getattr(import_module(module), attribute), getattr(settings.backends, name).model_dump()
    options, path = dict(custom.options), custom.class_
    module, _, attribute = path.partition(":")
    found = getattr(load(module, f"backends.{name}.class"), attribute, None)
    if not (isinstance(found, type) and issubclass(found, Backend)):
        raise SettingsError(f"backends.{name}.class: {path} must be a subclass of onward.Backend")
    return found, options


def used(settings: Settings) -> list[str]:
    """Return the names of the backends that get jobs by the settings."""
    return list(dict.fromkeys((settings.backend, *settings.routes.values())))


def refused(settings: Settings, destinations: Collection[str]) -> frozenset[str]:
    """Return the destinations whose queues the processes do not take. Raises SettingsError for an unknown queue."""
    wanted = settings.worker.taken
    known = list(dict.fromkeys([DEFAULT, *(split(one)[1] for one in destinations)]))
    for queue in wanted:
        if queue not in known:
            raise SettingsError(
                f'worker.queues: no handler has the queue "{queue}"; the queues are {", ".join(known)}'
                f"{nearest(queue, known)}"
            )
    return frozenset(one for one in destinations if wanted and split(one)[1] not in wanted)


def taken(settings: Settings, destinations: Collection[str], role: Role) -> frozenset[str]:
    """Return the destinations whose jobs a process of the role runs. Raises SettingsError for an unknown queue."""
    found = frozenset(destinations) - refused(settings, destinations)
    return frozenset(
        one for one in found if backend_class(settings, split(one)[0])[0].runs_elsewhere == (role is Role.RUN)
    )


def taken_by_worker(settings: Settings) -> frozenset[str]:
    """Return the destinations whose jobs a worker process runs. Raises SettingsError for an unknown queue."""
    return taken(settings, values.routes(settings, load_handlers(settings)).destinations, Role.RUN)


def check_queues(settings: Settings) -> None:
    """Raise SettingsError for an unknown queue; before anything is started, and without a cost where none is chosen."""
    if settings.worker.taken:
        taken_by_worker(settings)


def role_for(backend: Backend, *, takes: bool) -> Role:
    """Return the role in which the backend runs jobs here, or in which it runs none."""
    return Role.RUN if backend.runs_elsewhere == takes else Role.ACCEPT


def runs_elsewhere(settings: Settings) -> bool:
    """Return whether a backend sends jobs to worker processes. Raises SettingsError."""
    return any(runs_elsewhere_by_name(settings).values())


def runs_elsewhere_by_name(settings: Settings) -> dict[str, bool]:
    """Return the same of each backend that the settings use, by its name. Raises SettingsError."""
    return {name: backend_class(settings, name)[0].runs_elsewhere for name in used(settings)}


def uses_dramatiq(settings: Settings) -> bool:
    """Return whether Dramatiq carries the messages of a backend. Raises SettingsError."""
    found = [backend_class(settings, name)[0] for name in used(settings)]
    # Loaded with any class that builds on it; without the extra "dramatiq" it cannot be.
    module = sys.modules.get("onward.backends.dramatiq")
    return module is not None and any(issubclass(one, module.Dramatiq) for one in found)


def build_backend(settings: Settings, destination: str, run: Run, timings: Timings = Timings()) -> Backend:
    """Build one backend for the jobs of a queue, not started. Raises SettingsError."""
    name, queue = split(destination)
    found, options = backend_class(settings, name)
    if name not in settings.backends.custom:
        options["timings"] = timings
    try:
        return found(run, **(options if queue == DEFAULT else found.for_queue(queue, options)))  # type: ignore[call-arg]
    except (TypeError, ValueError) as error:
        raise SettingsError(f"backends.{name}: {error}") from error


def check(settings: Settings) -> Iterator[Finding]:
    """Check each backend that gets jobs; warn of those that get none."""
    for name in used(settings):
        try:
            backend = build_backend(settings, name, ProbeRunner())
        except SettingsError as error:
            yield Finding(name, State.WRONG, in_one_line(error), f"correct [backends.{name}]")
            continue
        kind = type(backend)
        yield Finding(name, State.OK, f"{kind.__module__}:{kind.__qualname__}")
        yield from asyncio.run(_check(backend, name))
    for name in settings.backends.custom:
        if name not in used(settings):
            fix = f'set backend = "{name}" above the first [table] of the file, or send handlers there by [routes]'
            yield Finding(name, State.WARNING, "has a table, and gets no jobs", fix)


async def _check(backend: Backend, name: str) -> Sequence[Finding]:
    try:
        with cancels_as_errors():
            return await asyncio.wait_for(backend.check(name), CHECK_TIMEOUT_S)
    except Exception:  # noqa: BLE001 - a backend of the project's may raise anything
        return [unreachable(name)]


def health(backend: Backend) -> Health:
    """Ask a backend that has not started; for callers without an event loop."""
    return asyncio.run(_health(backend))


async def _health(backend: Backend) -> Health:
    try:
        with cancels_as_errors():
            return await asyncio.wait_for(backend.health(), HEALTH_TIMEOUT_S)
    except Exception:  # noqa: BLE001 - as above
        return Health(reachable=False)
