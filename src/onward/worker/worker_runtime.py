"""The parts of one worker process, whoever consumes its messages."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AsyncExitStack, suppress
from typing import Any

from onward.backends.base import Role
from onward.config.settings import Settings, SettingsError
from onward.dispatch.readiness import Readiness, readiness
from onward.runtime import wiring
from onward.runtime.event_loop import Loop
from onward.runtime.sqlite_copies import is_embedded
from onward.telemetry import logger
from onward.telemetry.endpoint import NoPort
from onward.text.queues import DEFAULT, split
from onward.worker.health import HealthEndpoint

CHECK_TIMEOUT_S = 6.0
READY_TIMEOUT_S = 4.0
DRAIN_GRACE_S = 1.0  # for the drain to end after its deadline
EXIT_GRACE_S = 4.0  # past the drain deadline, a process ends whatever hangs


class WorkerRuntime:
    """The parts of one worker process, on an event loop in a thread of its own."""

    def __init__(self, settings: Settings, *, on_drain: Callable[[], None] | None = None) -> None:
        """`on_drain` is called, from a thread, when an admin has the process drain."""
        self.settings = settings
        self._on_drain = on_drain
        self._loop = Loop()
        self._stack = AsyncExitStack()
        self._thread = threading.Thread(target=self._loop.run_forever, name="loop", daemon=True)
        self._drained = False
        self._health: HealthEndpoint | None = None

    def start(self) -> wiring.Runtime:
        """Start the process's parts. Raises SettingsError and StorageError."""
        self._thread.start()
        embedded = is_embedded(self.settings)
        serving = wiring.run_process(self.settings, Role.RUN, embedded=embedded, on_drain=self._on_drain)
        entering = self._stack.enter_async_context(serving)
        parts: wiring.Runtime = self._call(entering).result()
        self.parts = parts
        if address := self.settings.worker.health:
            try:
                self._health = HealthEndpoint(address, self._ready)
            except NoPort as error:
                self.close()  # else its neighbours would take it for dead, and what it runs would count a crash
                raise SettingsError(f"worker.health: {error}") from error
            logger("worker").info("health of this process", url=self._health.url)
        return parts

    def _ready(self) -> Readiness:
        """Ask for the readiness of the process, from any thread."""
        runner = self.parts.runner
        asking = self._call(readiness(self.parts.writer, self.parts.dispatcher, out_of_threads=runner.out_of_threads))
        try:
            ready, report = asking.result(READY_TIMEOUT_S)
        except TimeoutError:
            asking.cancel()
            return Readiness(False, {"status": "unavailable", "loop": "blocked"})
        return Readiness(False, {**report, "status": "draining"}) if runner.draining else Readiness(ready, report)

    def drain(self) -> bool:
        """Claim nothing more; finish what runs, or hand it back. Return False if that has not ended in time.

        As a rule a handler blocks the event loop then. The claims are handed back from this thread, and others run the
        jobs: the process has to end at once.
        """
        if self._drained:
            return True
        self._drained = True
        try:
            self._call(self.parts.drain()).result(self.settings.server.drain_s + DRAIN_GRACE_S)
        except TimeoutError:
            logger("worker").error("the event loop does not end the drain: running jobs are handed back as they are")
            self.parts.lease.close()
            return False
        return True

    def take_lower_ports(self) -> None:
        """Go on at the ports of a process that this one replaces, for metrics and health, once they are free."""
        metrics = self.parts.telemetry.endpoint
        if metrics is not None and metrics.move():
            logger("worker").info("metrics of this process", url=metrics.url)
        if self._health is not None and self._health.move():
            logger("worker").info("health of this process", url=self._health.url)

    def warn_of_backends(self) -> None:
        """Say once what `onward check` says of a backend that cannot be reached."""
        log = logger("worker")
        for name, backend in self.parts.dispatcher.backends.items():
            if split(name)[1] != DEFAULT:
                continue  # as the backend itself
            with suppress(Exception):  # a backend of the project's may raise anything
                if not self._call(backend.health()).result(CHECK_TIMEOUT_S).reachable:
                    for found in self._call(backend.check(name)).result(CHECK_TIMEOUT_S):
                        if found.fix:
                            log.warning(found.message, part=found.part, fix=found.fix)

    def close(self) -> None:
        """Close the process's parts, last what the project's lifespan has opened: until the exit, if it hangs."""
        if self._health is not None:
            self._health.close()
        self._call(self._stack.aclose()).result()

    def _call(self, coroutine: Any) -> Future[Any]:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop)
