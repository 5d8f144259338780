"""A, B and C: mutations accepted by the second, under load from another process."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import redis

from benchmarks import load, progress
from benchmarks.base import RIVALS, BenchError, Measured, Row, Scope, emptied, in_turn
from benchmarks.environment import NEW, POSTGRES, program
from benchmarks.graphql import ITEM, Caller, process_item
from benchmarks.processes import Program, free_port, ours, python, running, theirs, wait_for_port
from tests.servers import redis_server

WARM_S, QUICK_S, FULL_S = 1.0, 2.0, 6.0
DRAIN_S = 300.0
Taking = Callable[[Measured], None]


def take_in_process(scope: Scope, figures: str) -> Iterator[Row]:
    """Measure the rows of A and B: ours is measured once for both."""
    onward, rest, router = Measured("Onward"), Measured("FastAPI, BackgroundTasks"), Measured("Strawberry's router")
    row = Measured("an endpoint that commits a row")
    ways: list[tuple[Measured, Taking]] = [(onward, lambda m: _onward(scope, m))]
    if "A" in figures:
        ways.append((rest, lambda m: rival(scope, m, "rest_app:app", "/items")))
    if "B" in figures:
        ways.append((router, lambda m: rival(scope, m, "graphql_app:app", "/graphql")))
    if "A" in figures and not scope.quick:
        ways.append((row, lambda m: _committed(scope, m)))
    in_turn(scope.many_rounds, ways)
    if "A" in figures:
        yield Row("A", "mutations accepted, background", "/s", onward, rest, reach=1.0, generous=0.25)
    if row.values:
        yield Row("A", "mutations accepted, background", "/s", onward, row, reach=5.0)
    if "B" in figures:
        yield Row("B", "mutations accepted, background", "/s", onward, router, reach=15.0, generous=4.0)


def take_dramatiq(scope: Scope) -> Iterator[Row]:
    """Measure the row of C. No worker runs, because only accepting is measured."""
    onward, sent = Measured("Onward"), Measured("a resolver that sends")
    with redis_server() as server:
        in_turn(
            scope.many_rounds,
            [
                (onward, lambda m: _onward(scope, m, server.url)),
                (sent, lambda m: rival(scope, m, "graphql_app:app", "/graphql", env=theirs(BENCH_REDIS=server.url))),
            ],
        )
    yield Row("C", "mutations accepted, Dramatiq", "/s", onward, sent, reach=10.0, generous=3.0)


@contextmanager
def api(folder: Path, *, backend: str, redis_url: str = "", database_url: str = "") -> Iterator[tuple[Program, int]]:
    """Start Onward's API process, wait until it is ready, and return it with its port."""
    port = free_port()
    env = ours(folder, backend=backend, redis_url=redis_url, database_url=database_url)
    with running(python("onward", "serve", "--port", str(port)), folder, "serve", env=env) as server:
        wait_for_port(port, server)
        yield server, port


def _onward(scope: Scope, measured: Measured, redis_url: str = "") -> None:
    folder = emptied(scope.folder / "onward")
    if redis_url:
        redis.Redis.from_url(redis_url).flushall()
    with api(folder, backend="dramatiq" if redis_url else "background", redis_url=redis_url) as (server, port):
        if not Caller(port).post(process_item())["processItem"]["job"]["id"].startswith("job_"):
            raise BenchError("the mutation gave no job")
        url = f"http://127.0.0.1:{port}/graphql"
        warm = load.post(url, process_item(), seconds=WARM_S, folder=folder)
        load_result, beside = loaded(scope, server, url, process_item(), folder)
        ended = time.monotonic()
        accepted = 1 + warm.requests + load_result.requests
        if load_result.refused or progress.in_ledger(folder / "ledger.db") < accepted:
            raise BenchError(f"of {accepted} answers some were refused, or not in the ledger")
        if not redis_url:
            beside["drain_s"] = _drained(folder / "ledger.db", ended)
        measured.add(load_result.per_second, **beside)


def _drained(ledger: Path, since: float) -> float:
    """Return the seconds until every accepted job is done."""
    while progress.done_in_ledger(ledger) < progress.in_ledger(ledger):
        if time.monotonic() - since > DRAIN_S:
            raise BenchError(f"the accepted jobs were not done within {DRAIN_S:.0f} s")
        time.sleep(0.1)
    return time.monotonic() - since


def _committed(scope: Scope, measured: Measured) -> None:
    """Measure the endpoint that commits a row, on SQLite as Onward's ledger is."""
    file = emptied(scope.folder / "rows") / "rows.db"
    env = theirs(BENCH_DATABASE=f"sqlite+aiosqlite:///{file}")
    rival(scope, measured, "row_app:app", "/items", environment=POSTGRES, env=env)


def rival(
    scope: Scope,
    measured: Measured,
    app: str,
    path: str,
    *,
    env: dict[str, str] | None = None,
    environment: str = NEW,
    costs: Callable[[], float] | None = None,
) -> None:
    """Measure a rival's endpoint; `costs` returns the processor seconds of its database."""
    folder = emptied(scope.folder / "rival")
    env = env or theirs()
    if url := env.get("BENCH_REDIS"):
        redis.Redis.from_url(url).flushall()
    port = free_port()
    given = process_item() if path == "/graphql" else json.dumps({"item": ITEM}).encode()
    interpreter = program(environment, "python")
    arguments = [app, "--port", str(port), "--loop", "uvloop", "--http", "httptools", "--no-access-log"]
    command = python("uvicorn", *arguments, "--log-level", "warning", executable=interpreter)
    with running(command, folder, "serve", env=env, cwd=RIVALS) as server:
        wait_for_port(port, server)
        Caller(port).post(given, path)
        url = f"http://127.0.0.1:{port}{path}"
        load.post(url, given, seconds=WARM_S, folder=folder)
        load_result, beside = loaded(scope, server, url, given, folder, costs=costs)
    if load_result.refused:
        raise BenchError(f"{measured.name} refused {load_result.refused} requests")
    measured.add(load_result.per_second, **beside)


def loaded(
    scope: Scope,
    server: Program,
    url: str,
    given: bytes,
    folder: Path,
    *,
    costs: Callable[[], float] | None = None,
) -> tuple[load.Load, dict[str, float]]:
    """Load the server; return the result, and the figures beside its rate."""
    database_s = costs() if costs else 0.0
    started, cpu_s = time.monotonic(), server.cpu_s()
    load_result = load.post(url, given, seconds=_seconds(scope), folder=folder)
    beside = {
        "p50_ms": load_result.p50_ms,
        "p99_ms": load_result.p99_ms,
        "block_ms": server.longest_block_ms(started, time.monotonic()),
        "cpu_us": (server.cpu_s() - cpu_s) / max(load_result.requests, 1) * 1e6,
    }
    if costs:
        beside["db_us"] = (costs() - database_s) / max(load_result.requests, 1) * 1e6
    return load_result, beside


def _seconds(scope: Scope) -> float:
    return QUICK_S if scope.quick else FULL_S
