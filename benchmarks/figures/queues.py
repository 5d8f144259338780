"""N and O: no-op jobs a second, and how soon an idle process begins a job; on PostgreSQL, beside its queues."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial

from benchmarks import progress
from benchmarks.base import RIVALS, Measured, Row, Scope, in_turn
from benchmarks.figures import pickup
from benchmarks.postgres import BACKENDS, PGQUEUER_100, QUEUES, Queue, Round, Servers, ledger, queued, servers
from benchmarks.processes import Program, finished, free_port, python, running, wait_for_port, wait_until

JOBS = 5_000
ONWARD = "onward"  # the module of the program
SLOW = 3
TALLIED = 20  # a rival's process tells of every twentieth job, so some more are enqueued than are counted
START_S = 2.0  # a rival does not tell when it is up


def take(scope: Scope) -> Iterator[Row]:
    """Measure the rows of N, with one process and with two."""
    with servers(scope) as on:
        for processes in (1, 2):
            ours = {name: (Measured("Onward"), partial(_onward, on, name, processes)) for name in BACKENDS}
            their = [(Measured(q.name), partial(_queue, on, q, processes)) for q in (*QUEUES, PGQUEUER_100)]
            in_turn(scope.rounds, [*ours.values(), *their])
            many = "1 process" if processes == 1 else f"{processes} processes"
            for backend, (onward, _) in ours.items():
                for other, _ in their:
                    reach = None if other.name == PGQUEUER_100.name else 1.0
                    yield Row("N", f"no-op jobs, PostgreSQL, {backend}, {many}", "jobs/s", onward, other, reach=reach)


def take_pickup(scope: Scope) -> Iterator[Row]:
    """Measure the rows of O."""
    with servers(scope) as on:
        ours = {name: (Measured("Onward"), partial(_onward_pickup, on, name)) for name in BACKENDS}
        their = [(Measured(queue.name), partial(_queue_pickup, on, queue)) for queue in QUEUES]
        in_turn(1 if scope.quick else 3, [*ours.values(), *their])
    for backend, (onward, _) in ours.items():
        for other, _ in their:
            what = f"pick-up by an idle process, PostgreSQL, {backend}, p95"
            yield Row("O", what, "ms", onward, other, reach=1.0, at_least=False)


def _onward(on: Servers, backend: str, processes: int, measured: Measured) -> None:
    count = on.scope.jobs(JOBS)
    with on.onward(backend) as run, ledger(run.url) as database, ExitStack() as stack:
        fill = python("benchmarks.fill", "bench.nothing", str(count), probed=False)
        finished(fill, run.folder, "fill", env=run.env)
        programs = [stack.enter_context(process(run, backend, number)) for number in range(processes)]
        beside = watched(on, programs, count, lambda: progress.done_in_ledger(database))
        measured.add(progress.rate(progress.of_ledger(database), count), **beside)


@contextmanager
def process(run: Round, backend: str, number: int, module: str = ONWARD) -> Iterator[Program]:
    """Start a process that runs Onward's jobs; a server is run of that module."""
    serve = [module, "serve", "--port", str(free_port())]
    command = ["onward.worker", "serve", "8"] if backend == "dramatiq" else serve
    with running(python(*command), run.folder, f"worker-{number}", env=run.env) as program:
        yield program


def _queue(on: Servers, queue: Queue, processes: int, measured: Measured) -> None:
    count = on.scope.jobs(JOBS) // (SLOW if queue.slow else 1)
    with on.rival(queue) as run, ExitStack() as stack:
        enqueue = queued("enqueue", str(count + TALLIED * processes))
        finished(enqueue, run.folder, "fill", env=run.env, cwd=RIVALS)
        programs = [
            stack.enter_context(running(queued("work"), run.folder, f"worker-{number}", env=run.env, cwd=RIVALS))
            for number in range(processes)
        ]
        beside = watched(on, programs, count, lambda: progress.tallied(run.folder / "tallies"))
        measured.add(progress.rate(progress.of_tallies(run.folder / "tallies"), count), **beside)


def watched(on: Servers, programs: Sequence[Program], count: int, done: Callable[[], int]) -> dict[str, float]:
    """Wait until nearly all jobs are done; return the processor time of a job, without the start of the processes."""
    wait_until(lambda: done() >= progress.FROM * count, programs[0], timeout_s=120, step_s=0.1)
    done_before, cpu_s, database_s = done(), sum(program.cpu_s() for program in programs), on.cpu_s()
    wait_until(lambda: done() >= progress.TO * count, programs[0], timeout_s=120, step_s=0.1)
    jobs = max(done() - done_before, 1)
    cpu_s = sum(program.cpu_s() for program in programs) - cpu_s
    return {"cpu_us": cpu_s / jobs * 1e6, "db_us": (on.cpu_s() - database_s) / jobs * 1e6}


def _onward_pickup(on: Servers, backend: str, measured: Measured) -> None:
    with on.onward(backend) as run, ExitStack() as stack:
        port = free_port()
        serve = python("onward", "serve", "--port", str(port))
        program = stack.enter_context(running(serve, run.folder, "serve", env=run.env))
        wait_for_port(port, program)
        if backend == "dramatiq":
            program = stack.enter_context(process(run, backend, 0))
            wait_until(lambda: "worker is up" in program.log.read_text(), program)
        pickup.add(measured, pickup.stamped(on.scope, port, run.folder / "stamps", program))


def _queue_pickup(on: Servers, queue: Queue, measured: Measured) -> None:
    with on.rival(queue) as run, running(queued("work"), run.folder, "worker", env=run.env, cwd=RIVALS):
        time.sleep(START_S)
        command = queued("stamps", str(run.folder / "stamps"), str(pickup.samples(on.scope)))
        finished(command, run.folder, "send", env=run.env, cwd=RIVALS)
        pickup.add(measured, [float(line) for line in (run.folder / "send.log").read_text().splitlines()])
