"""One worker process: consumes messages until a signal, then drains."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from contextlib import suppress
from typing import Never, Protocol

from onward import children, telemetry
from onward.config import inherited
from onward.config.settings import Settings, SettingsError, enter
from onward.runtime import backends, garbage_collector, wiring
from onward.storage.base import StorageError
from onward.telemetry import logger
from onward.worker.recycling import Recycling
from onward.worker.worker_runtime import EXIT_GRACE_S, WorkerRuntime

SIGNAL_CHECK_S = 0.5
FORMER_COMMANDS = ("alone", "steps")  # of the processes that an older release starts for its jobs


class Stoppable(Protocol):
    """A thing that consumes messages until it is stopped."""

    def stop(self) -> None: ...


def check_backend(settings: Settings) -> None:
    """Raise SettingsError if no backend has jobs for workers, before anything is started."""
    if not backends.runs_elsewhere(settings):
        fix = 'set backend = "dramatiq" (or your own that runs jobs elsewhere), or route handlers to it in [routes]'
        raise SettingsError(f"no job goes to a worker: {fix}")
    if settings.worker.taken and not backends.taken_by_worker(settings):
        fix = "take other queues, or run `onward serve` with these"
        raise SettingsError(f"worker.queues: no job of {settings.worker.queues} goes to a worker: {fix}")


def _start_consumers(parts: wiring.Runtime, threads: int) -> list[Stoppable]:
    """Start Dramatiq's workers for its backends; any other backend consumes its messages itself."""
    # If a backend is Dramatiq's, its module is loaded by now; the base installation has no Dramatiq to import.
    if "onward.backends.dramatiq" not in sys.modules:
        return []
    from onward.worker import consumers  # noqa: PLC0415 - as above

    return [*consumers.start(parts, threads)]


def serve(settings: Settings, *, threads: int, supervised: bool = False, replaces: bool = False) -> int:
    """Run one worker process until it is stopped; return its exit code.

    Ends within the drain deadline and five seconds.

    One that is `supervised` asks for its replacement when the settings say so; one that `replaces` another takes over
    its ports, once the other has ended.
    """
    check_backend(settings)
    stop = threading.Event()

    def drain() -> None:
        if not stop.is_set():
            logger("worker").info("drains, because an admin wants it")
            stop.set()

    runtime = WorkerRuntime(settings, on_drain=drain)
    for number in children.stop_signals():
        signal.signal(number, lambda *_: stop.set())
    children.default_signals_in_forks()
    parts = runtime.start()
    consumers = _start_consumers(parts, threads)
    runtime.warn_of_backends()
    garbage_collector.started()
    logger("worker").info("worker is up", pid=os.getpid(), threads=threads)
    if supervised:
        children.notify_supervisor(children.IS_UP)
    _wait(stop, runtime, recycles=supervised, replaces=replaces)
    deadline = threading.Timer(settings.server.drain_s + EXIT_GRACE_S, children.leave, (0,))
    deadline.daemon = True
    deadline.start()
    # Messages that are fetched and not begun go back to Redis; where Redis is away, maintenance delivers them again.
    stopping = [threading.Thread(target=consumer.stop, daemon=True) for consumer in consumers]
    for thread in stopping:
        thread.start()
    if not runtime.drain():
        children.leave(0)
    for thread in stopping:
        thread.join(2.0)
    runtime.close()
    return 0


def _wait(stop: threading.Event, runtime: WorkerRuntime, *, recycles: bool, replaces: bool) -> None:
    """Wait for a signal; ask for a replacement meanwhile, once, if the process has done its share."""
    limits, runner = runtime.settings.worker, runtime.parts.runner
    recycling = Recycling(
        after_jobs=limits.recycle_after_jobs, above_mb=limits.recycle_above_mb, jobs=lambda: runner.executed
    )
    # The process that this one replaces is gone by then. Later on, a lower port is that of one which starts again.
    until = time.monotonic() + (runtime.settings.server.drain_s + 2 * EXIT_GRACE_S if replaces else 0.0)
    # Not one wait without an end: a signal that comes just before it would not be seen until the next one.
    while not stop.wait(SIGNAL_CHECK_S):
        if time.monotonic() < until:
            runtime.take_lower_ports()
        if recycles and (reason := recycling.reason()) is not None:
            logger("worker").info("asks for a replacement", because=reason)
            children.notify_supervisor(children.WANTS_REPLACEMENT)
            recycles = False


def main(arguments: list[str]) -> int:
    match arguments:
        case ["isolated", job_id, backend]:
            from onward.worker.isolated import run_isolated  # noqa: PLC0415 - one process in many

            return run_isolated(_inherited(), job_id, backend)
        case ["attempt", fd]:
            from onward.worker.step_process import run_steps  # noqa: PLC0415 - likewise

            return run_steps(_inherited(), int(fd))
        case ["serve", threads]:
            settings = enter()
            telemetry.configure(settings.environment)
            return serve(settings, threads=int(threads))
        case [command, *_] if command in FORMER_COMMANDS:
            parent = os.getppid()
            sys.stderr.write(f"onward: installed anew while process {parent} ran: restart that process\n")
    return 2


def _inherited() -> Settings:
    """Return the settings of the process that started this one, from standard input, and set up logging by them."""
    line = sys.stdin.buffer.readline()
    if not line.endswith(b"\n"):  # that process has ended
        children.leave(1)
    settings = inherited.enter(line)
    telemetry.configure(settings.environment)
    return settings


def run_main() -> Never:
    """Run `main` with the process's arguments and exit, whatever threads still hang."""
    try:
        code = main(sys.argv[1:])
    except (SettingsError, StorageError) as error:
        sys.stderr.write(f"onward: {error}\n")
        code = 2
    with suppress(Exception):  # a handler may have closed it
        sys.stdout.flush()
    children.leave(code)
