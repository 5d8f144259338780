"""L and M: jobs accepted by the second on PostgreSQL, over HTTP and in process, beside what commits there as well."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from benchmarks import progress
from benchmarks.base import RIVALS, BenchError, Measured, Row, Scope, in_turn
from benchmarks.environment import POSTGRES
from benchmarks.figures.accept import api, loaded, rival
from benchmarks.graphql import Caller, process_item
from benchmarks.postgres import BACKENDS, QUEUES, Queue, Round, Servers, ledger, queued, servers
from benchmarks.processes import Program, finished, python, theirs
from onward.storage.engine import Database

JOBS = 5_000
ROW = "an endpoint that commits a row"
Contestant = tuple[Measured, Callable[[Measured], None]]


def take(scope: Scope, figures: str) -> Iterator[Row]:
    """Measure the rows of L and M."""
    with servers(scope) as on:
        if "L" in figures:
            rows = Measured(ROW)
            ours = {name: (Measured("Onward"), partial(_http, on, name)) for name in BACKENDS}
            their = [(Measured(queue.name), partial(_queue_http, on, queue)) for queue in QUEUES]
            yield from _rows("L", "mutations accepted, PostgreSQL", scope, ours, [(rows, partial(_row, on)), *their])
        if "M" in figures:
            ours = {name: (Measured("Onward"), partial(_enqueued, on, name)) for name in BACKENDS}
            their = [(Measured(queue.name), partial(_queue_enqueued, on, queue)) for queue in QUEUES]
            yield from _rows("M", "jobs enqueued in process, PostgreSQL", scope, ours, their)


def _rows(
    figure: str, what: str, scope: Scope, ours: Mapping[str, Contestant], their: Sequence[Contestant]
) -> Iterator[Row]:
    in_turn(scope.rounds, [*ours.values(), *their])
    for backend, (onward, _) in ours.items():
        for other, _ in their:
            reach = 5.0 if other.name == ROW else 1.0
            yield Row(figure, f"{what}, {backend}", "/s", onward, other, reach=reach)


def _http(on: Servers, backend: str, measured: Measured) -> None:
    redis_url = on.redis_url if backend == "dramatiq" else ""
    with (
        on.onward(backend) as run,
        ledger(run.url) as database,
        api(run.folder, backend=backend, redis_url=redis_url, database_url=run.url) as (server, port),
    ):
        add_accepted(measured, on, run, database, server, port)


def add_accepted(  # noqa: PLR0917 - all of them in every call
    measured: Measured, on: Servers, run: Round, found: Path | Database, server: Program, port: int
) -> None:
    """Load the server with mutations, compare their answers with the ledger, and add the rate."""
    Caller(port).post(process_item())
    url = f"http://127.0.0.1:{port}/graphql"
    result, beside = loaded(on.scope, server, url, process_item(), run.folder, costs=on.cpu_s)
    if result.refused or progress.in_ledger(found) < 1 + result.requests:
        raise BenchError(f"of {1 + result.requests} answers some were refused, or not in the ledger")
    measured.add(result.per_second, **beside)


def _row(on: Servers, measured: Measured) -> None:
    with on.database() as url:
        env = theirs(BENCH_DATABASE=url.replace("postgresql://", "postgresql+asyncpg://"))
        rival(on.scope, measured, "row_app:app", "/items", env=env, environment=POSTGRES, costs=on.cpu_s)


def _queue_http(on: Servers, queue: Queue, measured: Measured) -> None:
    with on.rival(queue) as run:
        rival(on.scope, measured, "queue_app:app", "/items", env=run.env, environment=POSTGRES, costs=on.cpu_s)


def _enqueued(on: Servers, backend: str, measured: Measured) -> None:
    with on.onward(backend) as run:
        add_enqueued(on, measured, run)


def add_enqueued(on: Servers, measured: Measured, run: Round) -> None:
    """Enqueue jobs from one program, and add the rate."""
    database_s, count = on.cpu_s(), on.scope.jobs(JOBS)
    command = python("benchmarks.enqueue", str(count), probed=False)
    finished(command, run.folder, "enqueue", env=run.env)
    _add(measured, run, (on.cpu_s() - database_s) / count)


def _queue_enqueued(on: Servers, queue: Queue, measured: Measured) -> None:
    with on.rival(queue) as run:
        database_s, count = on.cpu_s(), on.scope.jobs(JOBS)
        finished(queued("enqueue", str(count)), run.folder, "enqueue", env=run.env, cwd=RIVALS)
        _add(measured, run, (on.cpu_s() - database_s) / count)


def _add(measured: Measured, run: Round, database_s: float) -> None:
    printed = json.loads((run.folder / "enqueue.log").read_text().splitlines()[-1])
    measured.add(printed["per_second"], cpu_us=printed["cpu_us"], db_us=database_s * 1e6)
