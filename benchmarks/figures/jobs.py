"""E and F: jobs that do nothing, a second, from waiting to recorded; under Dramatiq, and in the API process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import redis

from benchmarks import progress
from benchmarks.base import RIVALS, Measured, Row, Scope, emptied, in_turn
from benchmarks.environment import NEW, OLDER, program
from benchmarks.processes import Program, finished, free_port, ours, python, running, theirs, wait_for_port, wait_until
from tests.servers import redis_server

JOBS = 6_000
SLOW = 3  # a slow contestant gets a third of the jobs, or it would take most of the time
DRAMATIQ = "plain Dramatiq"


@dataclass(frozen=True)
class Rival:
    name: str
    module: str
    environment: str
    worker: str  # its command line; `{redis}` is the server's URL
    results: bool = True
    slow: bool = False


BY_ONE = "dramatiq dramatiq_app --processes 1 --threads 8"
BY_TWO = "dramatiq dramatiq_app --processes 2 --threads 8"
RQ = "rq worker --worker-class rq.SimpleWorker --url {redis} --logging_level WARNING default"
RIVALS_AT_WORK = (
    Rival(DRAMATIQ, "dramatiq_app", NEW, BY_ONE, results=False),
    Rival("Dramatiq with results", "dramatiq_app", NEW, BY_ONE),
    Rival("taskiq", "taskiq_app", NEW, "taskiq worker taskiq_app:broker --workers 1 --log-level WARNING"),
    Rival("SAQ", "saq_app", OLDER, "saq saq_app.settings"),
    Rival("arq", "arq_app", OLDER, "arq arq_app.WorkerSettings"),
    Rival("Celery, 2 processes", "celery_app", NEW, "celery -A celery_app worker -c 2 --loglevel WARNING"),
    Rival("RQ", "rq_app", NEW, RQ, slow=True),
)
TWO = Rival(f"{DRAMATIQ}, 2 processes", "dramatiq_app", NEW, BY_TWO, results=False)


def take(scope: Scope, figures: str) -> Iterator[Row]:
    """Measure the rows of E and F: the rivals run once for both."""
    count = scope.jobs(JOBS)
    ways: dict[str, tuple[Measured, Callable[[Measured], None]]] = {}
    with redis_server() as server:
        if "E" in figures:
            ways["one"] = (Measured("Onward"), partial(_dramatiq, scope, server.url, count, 1))
        if "F" in figures:
            ways["background"] = (Measured("Onward"), partial(_background, scope, count))
        for rival in RIVALS_AT_WORK[:1] if scope.quick else RIVALS_AT_WORK:
            ways[rival.name] = (Measured(rival.name), partial(_rival, scope, server.url, count, rival))
        in_turn(scope.rounds, list(ways.values()))
    found = {name: measured for name, (measured, _) in ways.items()}
    rivals = [found[rival.name] for rival in RIVALS_AT_WORK if rival.name in found]
    for figure, key, what in (("E", "one", "Dramatiq, 1 process, 8 threads"), ("F", "background", "background")):
        if key in found:
            for theirs_ in rivals:
                generous = 0.3 if theirs_.name == DRAMATIQ else None
                reach = 2.0 if figure == "F" and theirs_.name == DRAMATIQ else 1.0
                yield Row(figure, f"no-op jobs, {what}", "jobs/s", found[key], theirs_, reach=reach, generous=generous)
    if "E" in figures and not scope.quick:
        yield from _take_two(scope)


def _take_two(scope: Scope) -> Iterator[Row]:
    """Measure the row of E with two worker processes."""
    onward, dramatiq = Measured("Onward"), Measured(TWO.name)
    with redis_server() as server:
        in_turn(
            scope.many_rounds,
            [
                (onward, partial(_dramatiq, scope, server.url, scope.jobs(JOBS), 2)),
                (dramatiq, partial(_rival, scope, server.url, scope.jobs(JOBS), TWO)),
            ],
        )
    yield Row("E", "no-op jobs, Dramatiq, 2 processes", "jobs/s", onward, dramatiq, reach=1.0)


def _dramatiq(scope: Scope, url: str, count: int, processes: int, measured: Measured) -> None:
    folder = emptied(scope.folder / "onward")
    redis.Redis.from_url(url).flushall()
    env = ours(folder, backend="dramatiq", redis_url=url)
    finished(python("benchmarks.fill", "bench.nothing", str(count), probed=False), folder, "fill", env=env)
    worker = python("onward.worker", "serve", "8")
    with running(worker, folder, "worker", env=env) as first:
        if processes == 1:
            beside = _worked(folder, count, first)
        else:
            with running(worker, folder, "worker-2", env=env) as second:
                beside = _worked(folder, count, first, second)
    measured.add(progress.rate(progress.of_ledger(folder / "ledger.db"), count), **beside)


def _background(scope: Scope, count: int, measured: Measured) -> None:
    folder = emptied(scope.folder / "onward")
    env = ours(folder, backend="background")
    finished(python("benchmarks.fill", "bench.nothing", str(count), probed=False), folder, "fill", env=env)
    port = free_port()
    with running(python("onward", "serve", "--port", str(port)), folder, "serve", env=env) as server:
        wait_for_port(port, server)
        beside = _worked(folder, count, server)
    measured.add(progress.rate(progress.of_ledger(folder / "ledger.db"), count), **beside)


def _rival(scope: Scope, url: str, count: int, rival: Rival, measured: Measured) -> None:
    folder = emptied(scope.folder / "rival")
    count = count // SLOW if rival.slow else count
    tallies = folder / "tallies"
    tallies.mkdir()
    redis.Redis.from_url(url).flushall()
    env = theirs(BENCH_REDIS=url, BENCH_TALLY=str(tallies), BENCH_RESULTS="1" if rival.results else "")
    python_ = program(rival.environment, "python")
    finished([python_, f"{rival.module}.py", str(count)], folder, "fill", env=env, cwd=RIVALS)
    name, *arguments = rival.worker.format(redis=url).split()
    with running([program(rival.environment, name), *arguments], folder, "worker", env=env, cwd=RIVALS) as worker:
        done_before, cpu_s = _cpu_from(lambda: progress.tallied(tallies), count, worker)
        wait_until(lambda: progress.tallied(tallies) >= progress.TO * count, worker, timeout_s=120, step_s=0.05)
        each_us = (worker.cpu_s() - cpu_s) / (progress.tallied(tallies) - done_before) * 1e6
        measured.add(progress.rate(progress.of_tallies(tallies), count), cpu_us=each_us)


def _worked(folder: Path, count: int, *workers: Program) -> dict[str, float]:
    """Return figures of the workers beside their rate, once all jobs are done; their start does not count."""
    ledger = folder / "ledger.db"
    done_before, cpu_s = _cpu_from(lambda: progress.done_in_ledger(ledger), count, *workers)
    wait_until(lambda: progress.done_in_ledger(ledger) >= count, workers[0], timeout_s=120, step_s=0.05)
    each_us = (_cpu_s(*workers) - cpu_s) / (count - done_before) * 1e6
    return {"cpu_us": each_us, "block_ms": max(worker.longest_block_ms(worker.started + 1.0) for worker in workers)}


def _cpu_from(done: Callable[[], int], count: int, *workers: Program) -> tuple[int, float]:
    """Return the jobs done at the first look after the start, and their cost."""
    wait_until(lambda: done() >= progress.FROM * count, workers[0], timeout_s=120, step_s=0.05)
    return min(done(), count - 1), _cpu_s(*workers)


def _cpu_s(*workers: Program) -> float:
    return sum(worker.cpu_s() for worker in workers)
