"""Dramatiq's side of a worker process: its consumers, and the broker of its own command line."""

from __future__ import annotations

import logging
import os
import threading
from typing import Any

import dramatiq
from dramatiq.worker import Worker

from onward import children, telemetry
from onward.backends.dramatiq import Dramatiq
from onward.backends.redis_broker import Broker
from onward.backends.redis_queues import ACTORS
from onward.config.settings import Settings, SettingsError, enter
from onward.jobs.timings import Timings
from onward.runtime import backends, garbage_collector, wiring
from onward.storage.base import StorageError
from onward.telemetry import logger
from onward.text.queues import DEFAULT, split
from onward.worker.worker_runtime import EXIT_GRACE_S, WorkerRuntime


def start(parts: wiring.Runtime, threads: int) -> list[Worker]:
    """Start a consumer for each backend whose messages Dramatiq carries."""
    for queue in ACTORS:
        # Every three seconds and for each queue; the process itself says it once, with the fix.
        logging.getLogger(f"dramatiq.worker.ConsumerThread({queue})").addFilter(_is_no_outage)
    workers = []
    for backend in backends_of(parts):
        workers.append(Worker(backend.broker, worker_threads=threads, worker_timeout=1000))
        backend.declare(workers[-1])
        workers[-1].start()
    return workers


def _is_no_outage(record: logging.LogRecord) -> bool:
    return "connection error" not in str(record.msg)


def backends_of(parts: wiring.Runtime) -> list[Dramatiq]:
    """Return the backends whose messages Dramatiq's worker consumes here; any other one consumes its own."""
    found = [parts.dispatcher.backends[name] for name in sorted(parts.takes)]
    return [backend for backend in found if isinstance(backend, Dramatiq)]


class _RuntimeMiddleware(dramatiq.Middleware):
    """Starts and ends the runtime with Dramatiq's own worker process."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def before_worker_boot(self, broker: Any, worker: Any) -> None:
        self._runtime = WorkerRuntime(self._settings)
        try:
            (backend,) = backends_of(self._runtime.start())
        except Exception as error:
            # Dramatiq would log it and go on, without a single job for as long as the process is up.
            known = isinstance(error, SettingsError | StorageError)
            logger("worker").error("cannot start", error=str(error), exc_info=not known)
            raise SystemExit(2) from error
        # The broker that Dramatiq imported is the one that it consumes; ours runs its actor.
        backend.broker = broker
        backend.declare(worker)
        garbage_collector.started()

    def before_worker_shutdown(self, broker: Any, worker: Any) -> None:  # noqa: ARG002
        deadline = threading.Timer(self._settings.server.drain_s + EXIT_GRACE_S, children.leave, (0,))
        deadline.daemon = True
        deadline.start()
        threading.Thread(target=self._drain, daemon=True).start()

    def _drain(self) -> None:
        if not self._runtime.drain():
            children.leave(0)

    def after_worker_shutdown(self, broker: Any, worker: Any) -> None:  # noqa: ARG002
        self._runtime.close()


def build_broker() -> Any:
    """Build the broker that Dramatiq's own command line consumes. Raises SettingsError."""
    settings = enter()
    telemetry.configure(settings.environment)
    if not backends.uses_dramatiq(settings):
        raise SettingsError('no job goes to Dramatiq: set backend = "dramatiq", or route handlers to it in [routes]')
    found = []
    for one in sorted(backends.taken_by_worker(settings)):
        name, queue = split(one)
        kind, options = backends.backend_class(settings, name)
        if issubclass(kind, Dramatiq):
            found.append((one, name, options if queue == DEFAULT else kind.for_queue(queue, options)))
    if not found:
        raise SettingsError(f"worker.queues: Dramatiq has no jobs of {settings.worker.queues}; run `onward worker`")
    if len(found) > 1:
        several = ", ".join(one for one, _, _ in found)
        raise SettingsError(
            f"backends: `dramatiq worker:broker` serves only one of {several}; run `onward worker` instead, or choose a"
            " queue by ONWARD_WORKER__QUEUES"
        )
    ((_, name, given),) = found
    if "url" not in given:
        raise SettingsError(f"backends.{name}.url is missing: set the address of its Redis")
    broker = Broker(given["url"], given.get("namespace", "onward"), Timings.inherited(os.environ))
    broker.add_middleware(_RuntimeMiddleware(settings))
    return broker
