"""Q: how the rates grow from one process to two, and how they fall where PostgreSQL is far away."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import sqlalchemy as sa

from benchmarks import progress
from benchmarks.base import Measured, Row, Scope, emptied, in_turn
from benchmarks.far import far_away
from benchmarks.figures.durable import add_accepted, add_enqueued
from benchmarks.figures.queues import ONWARD, process, watched
from benchmarks.postgres import BACKENDS, Round, Servers, ledger, servers
from benchmarks.processes import finished, free_port, ours, python, running, wait_for_port
from onward.storage.engine import Database

JOBS = 5_000
ROUND_TRIPS_MS = (2, 4)  # whole milliseconds each way, as the proxy's timers
DATABASES = ("SQLite", "PostgreSQL")
Taking = Callable[[int, Measured], None]


def take(scope: Scope) -> Iterator[Row]:
    """Measure the rows of Q: two processes beside one."""
    with servers(scope) as on:
        for database in DATABASES:
            ways: dict[tuple[str, str], Taking] = {
                ("mutations accepted, background", "/s"): partial(accepted, on, database)
            }
            for backend in BACKENDS:
                ways[f"no-op jobs, {backend}", "jobs/s"] = partial(ran, on, database, backend)
            for (what, unit), taking in ways.items():
                one, two = Measured("1 process"), Measured("2 processes")
                in_turn(scope.rounds, [(one, partial(taking, 1)), (two, partial(taking, 2))])
                yield Row("Q", f"{what}, {database}, 2 processes", unit, two, one)
        yield from _far(on)


def _far(on: Servers) -> Iterator[Row]:
    """Measure with what passes between the program and PostgreSQL delayed, beside a proxy that delays nothing."""
    near = Measured("near")
    far = {ms: Measured("Onward") for ms in ROUND_TRIPS_MS}
    taking = [(one, partial(_enqueued, on, ms)) for ms, one in [(0, near), *far.items()]]
    in_turn(on.scope.rounds, taking)
    for ms, one in far.items():
        yield Row("Q", f"jobs enqueued in process, PostgreSQL {ms} ms away", "/s", one, near)


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


def _enqueued(on: Servers, ms: int, measured: Measured) -> None:
    with on.onward("background") as run:
        there = sa.make_url(run.url)
        with far_away(there.port or 5432, ms) as port:
            url = there.set(host="127.0.0.1", port=port).render_as_string(hide_password=False)
            add_enqueued(on, measured, replace(run, env=run.env | {"ONWARD_DATABASE__URL": url}))


def accepted(on: Servers, database: str, processes: int, measured: Measured, *, module: str = ONWARD) -> None:
    """Measure mutations, with a server of so many processes; `module` is run as it."""
    with _round(on, database, "background") as (run, found):
        port = free_port()
        command = python(module, "serve", "--port", str(port), "--workers", str(processes), probed=False)
        with running(command, run.folder, "serve", env=run.env) as server:
            wait_for_port(port, server)
            add_accepted(measured, on, run, found, server, port)


def ran(on: Servers, database: str, backend: str, processes: int, measured: Measured, *, module: str = ONWARD) -> None:
    """Measure no-op jobs; under `background`, `module` is run as the server of each process."""
    count = on.scope.jobs(JOBS)
    with _round(on, database, backend) as (run, found), ExitStack() as stack:
        finished(python("benchmarks.fill", "bench.nothing", str(count), probed=False), run.folder, "fill", env=run.env)
        programs = [stack.enter_context(process(run, backend, number, module)) for number in range(processes)]
        beside = watched(on, programs, count, lambda: progress.done_in_ledger(found))
        measured.add(progress.rate(progress.of_ledger(found), count), **beside)
