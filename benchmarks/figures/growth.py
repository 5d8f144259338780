"""Q: how the rates grow from one process to two, on SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from benchmarks import progress
from benchmarks.base import Measured, Row, Scope, emptied, in_turn
from benchmarks.figures.durable import add_accepted
from benchmarks.figures.queues import process, watched
from benchmarks.postgres import BACKENDS, Round, Servers, ledger, servers
from benchmarks.processes import finished, free_port, ours, python, running, wait_for_port
from onward.storage.engine import Database

JOBS = 5_000
DATABASES = ("SQLite", "PostgreSQL")
Taking = Callable[[int, Measured], None]


def take(scope: Scope) -> Iterator[Row]:
    """Measure the rows of Q: two processes beside one."""
    with servers(scope) as on:
        for database in DATABASES:
            ways: dict[tuple[str, str], Taking] = {
                ("mutations accepted, background", "/s"): partial(_accepted, on, database)
            }
            for backend in BACKENDS:
                ways[f"no-op jobs, {backend}", "jobs/s"] = partial(_ran, on, database, backend)
            for (what, unit), taking in ways.items():
                one, two = Measured("1 process"), Measured("2 processes")
                in_turn(scope.rounds, [(one, partial(taking, 1)), (two, partial(taking, 2))])
                yield Row("Q", f"{what}, {database}, 2 processes", unit, two, one)


@contextmanager
def _round(on: Servers, database: str, backend: str) -> Iterator[tuple[Round, Path | Database]]:
    """Empty a ledger of that database; return its round, and the ledger for the looks of the benchmark."""
    with on.onward(backend) as run:  # its Redis is empty, too
        if database == "PostgreSQL":
            with ledger(run.url) as opened:
                yield run, opened
        else:
            folder = emptied(on.scope.folder / "growth")
            env = ours(folder, backend=backend, redis_url=on.redis_url if backend == "dramatiq" else "")
            yield Round(folder, "", env), folder / "ledger.db"


def _accepted(on: Servers, database: str, processes: int, measured: Measured) -> None:
    with _round(on, database, "background") as (run, found):
        port = free_port()
        command = python("onward", "serve", "--port", str(port), "--workers", str(processes), probed=False)
        with running(command, run.folder, "serve", env=run.env) as server:
            wait_for_port(port, server)
            add_accepted(measured, on, run, found, server, port)


def _ran(on: Servers, database: str, backend: str, processes: int, measured: Measured) -> None:
    count = on.scope.jobs(JOBS)
    with _round(on, database, backend) as (run, found), ExitStack() as stack:
        finished(python("benchmarks.fill", "bench.nothing", str(count), probed=False), run.folder, "fill", env=run.env)
        programs = [stack.enter_context(process(run, backend, number)) for number in range(processes)]
        beside = watched(on, programs, count, lambda: progress.done_in_ledger(found))
        measured.add(progress.rate(progress.of_ledger(found), count), **beside)
