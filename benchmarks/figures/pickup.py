"""D and K: how soon an idle process begins a job.

D is from the answer of a mutation to the handler's first line in a Dramatiq worker, K from the commit of another
process's own transaction to the first line in the server.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.base import RIVALS, Measured, Row, Scope, emptied, in_turn
from benchmarks.environment import NEW, program
from benchmarks.figures.accept import api
from benchmarks.graphql import Caller, body
from benchmarks.processes import Program, finished, ours, python, running, theirs, wait_until
from tests.servers import postgres_database, postgres_server, redis_server

SAMPLES, SAMPLES_QUICK = 40, 10


def take(scope: Scope) -> Iterator[Row]:
    onward, plain = Measured("Onward"), Measured("plain Dramatiq")
    with redis_server() as server:
        in_turn(
            1 if scope.quick else 3,
            [(onward, lambda m: _onward(scope, m, server.url)), (plain, lambda m: _rival(scope, m, server.url))],
        )
    yield Row("D", "pick-up by an idle worker, p95", "ms", onward, plain, reach=0.1, at_least=False, generous=0.25)
    yield Row("D", "pick-up by an idle worker, p95", "ms", onward, reach=5.0, at_least=False)


def _onward(scope: Scope, measured: Measured, redis_url: str) -> None:
    folder = emptied(scope.folder / "onward")
    env = ours(folder, backend="dramatiq", redis_url=redis_url)
    with (
        api(folder, backend="dramatiq", redis_url=redis_url) as (_, port),
        running(python("onward.worker", "serve", "8", probed=False), folder, "worker", env=env) as worker,
    ):
        wait_until(lambda: "worker is up" in worker.log.read_text(), worker)
        add(measured, stamped(scope, port, folder / "stamps", worker))


def stamped(scope: Scope, port: int, stamps: Path, worker: Program) -> list[float]:
    """Return the milliseconds from each answer of the server at the port to the first line of its job."""
    caller, took = Caller(port), []
    for number in range(samples(scope)):
        time.sleep(random.uniform(0.3, 0.7))  # noqa: S311 - nothing is guarded
        caller.post(body("mutation($path: String!) { stamp(path: $path) }", path=str(stamps)))
        answered = time.monotonic()
        wait_until(lambda n=number: stamps.exists() and len(_read(stamps)) > n, worker, step_s=0.001)  # type: ignore[misc]
        took.append((_read(stamps)[-1] - answered) * 1000)
    return took


def _rival(scope: Scope, measured: Measured, redis_url: str) -> None:
    folder = emptied(scope.folder / "rival")
    env = theirs(BENCH_REDIS=redis_url, BENCH_TALLY=str(folder))
    work = [str(program(NEW, "dramatiq")), "dramatiq_app", "--processes", "1", "--threads", "8"]
    with running(work, folder, "worker", env=env, cwd=RIVALS):
        time.sleep(2.0)
        count = str(samples(scope))
        finished(
            [program(NEW, "python"), "send_stamps.py", folder / "stamps", count], folder, "send", env=env, cwd=RIVALS
        )
    add(measured, [float(line) for line in (folder / "send.log").read_text().splitlines()])


def take_within(scope: Scope) -> Iterator[Row]:
    """Measure the rows of K, on both databases."""
    sqlite, postgres = Measured("Onward, SQLite"), Measured("Onward, PostgreSQL")
    with postgres_server() as server, postgres_database(server.url) as url:
        in_turn(
            1 if scope.quick else 3,
            [(sqlite, lambda m: _within(scope, m, "")), (postgres, lambda m: _within(scope, m, url))],
        )
    for measured in (sqlite, postgres):
        yield Row(
            "K", f"pick-up after a caller's commit, p95, {measured.name}", "ms", measured, reach=100.0, at_least=False
        )


def _within(scope: Scope, measured: Measured, url: str) -> None:
    folder = emptied(scope.folder / "within")
    stamps = folder / "stamps"
    env = ours(folder, backend="background", database_url=url)
    if url:
        finished(python("onward", "migrate", probed=False), folder, "migrate", env=env)
    with api(folder, backend="background", database_url=url):
        command = python("benchmarks.enqueue_within", env["ONWARD_DATABASE__URL"], str(stamps), str(samples(scope)))
        finished(command, folder, "enqueue", env=env)
        committed = [float(line) for line in (folder / "enqueue.log").read_text().splitlines()]
    # The server has drained: every job has run.
    took = [(ran - at) * 1000 for ran, at in zip(_read(stamps), committed, strict=True)]
    add(measured, took)


def samples(scope: Scope) -> int:
    """Return the number of jobs of a round."""
    # The first does not count: connections are made with it.
    return 1 + (SAMPLES_QUICK if scope.quick else SAMPLES)


def add(measured: Measured, took: list[float]) -> None:
    """Add the 95th percentile of a round, with its mean and median beside; the first time does not count."""
    took = took[1:]
    # Inclusive: with few values the other method's 95th percentile is above the largest.
    p95 = statistics.quantiles(took, n=20, method="inclusive")[-1]
    measured.add(p95, mean_ms=statistics.mean(took), p50_ms=statistics.median(took))


def _read(stamps: Path) -> list[float]:
    return [float(line.split()[0]) for line in stamps.read_text().splitlines() if " " in line]
