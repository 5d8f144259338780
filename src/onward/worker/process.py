"""One worker process: consumes messages until a signal, then drains."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from concurrent.futures import Future
from contextlib import AsyncExitStack, suppress
from functools import partial
from typing import Any, Never

import dramatiq
import structlog
from dramatiq.worker import Worker

from onward.runtime import garbage_collector
from onward import telemetry
from onward.runtime import backends, wiring
from onward.backends.base import Backend, Role
from onward.backends.dramatiq import Broker, Dramatiq
from onward.runtime.event_loop import Loop
from onward.jobs import ledger
from onward.jobs.timings import Timings
from onward.config.settings import Settings, SettingsError, enter
from onward.storage.base import StorageError

SIGNAL_CHECK_S = 0.5
EXIT_GRACE_S = 4.0  # past the drain deadline, a process ends whatever hangs


class WorkerRuntime:
    """The parts of one worker process, on an event loop in a thread of its own."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._loop = Loop()
        self._stack = AsyncExitStack()
        self._thread = threading.Thread(target=self._loop.run_forever, name="loop", daemon=True)
        self._drained = False

    def start(self) -> wiring.Runtime:
        """The process takes part. Raises SettingsError and StorageError."""
        self._thread.start()
        entering = self._stack.enter_async_context(wiring.run_process(self.settings, Role.RUN))
        parts: wiring.Runtime = self._call(entering).result()
        self.parts = parts
        return parts

    def drain(self) -> None:
        """Nothing new is claimed; what runs is done, or handed back."""
        if not self._drained:
            self._drained = True
            self._call(self.parts.drain()).result(self.settings.server.drain_s + 1)

    def close(self) -> None:
        self._call(self._stack.aclose()).result(EXIT_GRACE_S)

    def _call(self, coroutine: Any) -> Future[Any]:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop)


def check_backend(settings: Settings, kind: type[Backend] = Backend) -> None:
    """A backend of that kind has jobs for workers; else raises SettingsError, before anything is begun."""
    if not backends.runs_elsewhere(settings, kind):
        takes = '"dramatiq"' if kind is Dramatiq else '"dramatiq" (or one of yours that runs jobs elsewhere)'
        raise SettingsError(f"backend takes {takes}, or routes one to it, where a worker is to have something to do")


def dramatiq_backends(parts: wiring.Runtime) -> list[Dramatiq]:
    """The backends whose messages Dramatiq's worker takes; any other one takes its own."""
    return [backend for backend in parts.dispatcher.backends.values() if isinstance(backend, Dramatiq)]


def serve(settings: Settings, *, threads: int) -> int:
    """One worker process, until it is told to stop; its exit code. Ends within the drain deadline and five seconds."""
    check_backend(settings)
    runtime = WorkerRuntime(settings)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    parts = runtime.start()
    workers = []
    for backend in dramatiq_backends(parts):
        workers.append(Worker(backend.broker, worker_threads=threads, worker_timeout=1000))
        backend.declare(workers[-1])
        workers[-1].start()
    garbage_collector.started()
    structlog.get_logger("worker").info("worker is up", pid=os.getpid(), threads=threads)
    # Not one wait without an end: a signal that comes just before it would not be seen until the next one.
    while not stop.wait(SIGNAL_CHECK_S):
        pass
    deadline = threading.Timer(settings.server.drain_s + EXIT_GRACE_S, os._exit, (0,))
    deadline.daemon = True
    deadline.start()
    # Messages that are fetched and not begun go back to Redis; where Redis is away, the sweep makes up for them.
    stopping = [threading.Thread(target=worker.stop, daemon=True) for worker in workers]
    for thread in stopping:
        thread.start()
    runtime.drain()
    for thread in stopping:
        thread.join(2.0)
    runtime.close()
    return 0


def run_isolated(settings: Settings, job_id: str, backend: str) -> int:
    """Dangerous jobs have run in this process, one at a time and that one first; tells its runner's name before.

    One after another: many that died together, twice, would wait for as many starts of a process.
    """

    async def main() -> None:
        async with wiring.run_process(settings, Role.RUN, isolated=True) as parts:
            # Nothing comes in but the end, when the parent is no more: whoever waits for the job is gone then.
            loop = asyncio.get_running_loop()

            def end() -> None:
                if not os.read(sys.stdin.fileno(), 4096):
                    loop.remove_reader(sys.stdin.fileno())
                    tasks.append(asyncio.ensure_future(parts.drain()))

            tasks: list[asyncio.Future[None]] = []
            loop.add_reader(sys.stdin.fileno(), end)
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, lambda: tasks.append(asyncio.ensure_future(parts.drain())))
            try:
                os.write(sys.stdout.fileno(), f"{parts.lease.id}\n".encode())
            except BrokenPipeError:
                return  # the parent is gone, and with it who would tell of this process's death; the job waits
            wanted, done = job_id, ""
            while wanted and wanted != done and not tasks:
                if await parts.runner.run(wanted, backend):
                    job = await parts.database.read(partial(ledger.get, job_id=wanted))
                    if job is not None and job.done:
                        # Its parent counts it: this process's own figures are asked by nobody.
                        with suppress(BrokenPipeError):
                            os.write(sys.stdout.fileno(), f"\nended {job.handler} {job.status}\n".encode())
                wanted, done = await parts.runner.next_isolated(backend) or "", wanted

    with asyncio.Runner(loop_factory=Loop) as runner:
        runner.run(main())
    return 0


class _Life(dramatiq.Middleware):
    """Starts and ends the runtime with Dramatiq's own worker process."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def before_worker_boot(self, broker: Any, worker: Any) -> None:
        self._runtime = WorkerRuntime(self._settings)
        try:
            (backend,) = dramatiq_backends(self._runtime.start())
        except Exception as error:
            # Dramatiq would log it and go on, without a single job for as long as the process is up.
            known = isinstance(error, SettingsError | StorageError)
            structlog.get_logger("worker").error("cannot start", error=str(error), exc_info=not known)
            raise SystemExit(2) from error
        # The broker that Dramatiq imported is the one that it consumes; ours runs its actor.
        backend.broker = broker
        backend.declare(worker)
        garbage_collector.started()

    def before_worker_shutdown(self, broker: Any, worker: Any) -> None:  # noqa: ARG002
        deadline = threading.Timer(self._settings.server.drain_s + EXIT_GRACE_S, os._exit, (0,))
        deadline.daemon = True
        deadline.start()
        threading.Thread(target=self._runtime.drain, daemon=True).start()

    def after_worker_shutdown(self, broker: Any, worker: Any) -> None:  # noqa: ARG002
        self._runtime.close()


def build_broker() -> Any:
    """Build the broker that Dramatiq's own command line consumes. Raises SettingsError."""
    settings = enter()
    telemetry.configure(settings.environment)
    check_backend(settings, Dramatiq)
    classes = {name: backends.backend_class(settings, name) for name in backends.used(settings)}
    (name, options), *more = [
        (name, options) for name, (kind, options) in classes.items() if issubclass(kind, Dramatiq)
    ]
    if more:
        words = f"{name} and {more[0][0]}: `dramatiq worker:broker` takes the jobs of one of them; take ./onward worker"
        raise SettingsError(f"backends: there are {words}")
    if "url" not in options:
        raise SettingsError(f"backends.{name}: takes url, the address of its Redis")
    broker = Broker(options["url"], options.get("namespace", "onward"), Timings.inherited(os.environ))
    broker.add_middleware(_Life(settings))
    return broker


def main(arguments: list[str]) -> int:
    settings = enter()
    telemetry.configure(settings.environment)
    match arguments:
        case ["alone", job_id, backend]:
            return run_isolated(settings, job_id, backend)
        case ["serve", threads]:
            return serve(settings, threads=int(threads))
    return 2


def run_main() -> Never:
    """Run `main` with the process's arguments and exit, whatever threads still hang."""
    try:
        code = main(sys.argv[1:])
    except (SettingsError, StorageError) as error:
        sys.stderr.write(f"onward: {error}\n")
        code = 2
    sys.stdout.flush()
    # Threads of handlers that hang must not keep the process.
    os._exit(code)
