"""G: the cost of the same work with many jobs in the ledger, and with a hundred times as many."""

from __future__ import annotations

import statistics
import sys
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import sqlalchemy as sa

from benchmarks import ledgers
from benchmarks.base import Measured, Row, Scope, emptied
from benchmarks.figures.accept import api
from benchmarks.graphql import Caller, body
from benchmarks.postgres import DURABLE
from benchmarks.processes import finished, ours, python
from onward.jobs.leases import Lease
from onward.jobs.model import Job
from onward.storage.engine import Database
from onward.storage.tables import jobs
from onward.storage.writer import Writer
from onward.telemetry.metrics import Metrics
from tests.servers import postgres_database, postgres_server

SMALL, LARGE, LARGE_QUICK = 10_000, 1_000_000, 100_000
TIMES = 200
PAGE = 10  # so that ten thousand jobs have a thousandth page
JOBS = (
    "query($after: String) { jobs(first: 10, after: $after) { nodes { id status createdAt } pageInfo { endCursor } } }"
)
SYSTEM = "{ system { counts { status count } queues { depth } } }"
SYSTEM_TIMES, FRESH_S = 5, 0.6  # `system` may be half a second old; so each query comes after that
_before = sa.select(jobs.c.id).order_by(jobs.c.id.desc()).limit(1).offset(999 * PAGE - 1)


def take(scope: Scope) -> Iterator[Row]:
    sizes = (SMALL, scope.large or (LARGE_QUICK if scope.quick else LARGE))
    urls = [f"sqlite:///{_folder(scope, size) / 'ledger.db'}" for size in sizes]
    yield from _taken(scope, "SQLite", sizes, urls)
    with ExitStack() as stack:
        server = stack.enter_context(postgres_server(*DURABLE))
        urls = [stack.enter_context(postgres_database(server.url)) for _ in sizes]
        for size in sizes:
            _folder(scope, size)
        yield from _taken(scope, "PostgreSQL", sizes, urls)


def _folder(scope: Scope, size: int) -> Path:
    return emptied(scope.folder / f"ledger-{size}")


def _taken(scope: Scope, database: str, sizes: tuple[int, int], urls: list[str]) -> Iterator[Row]:
    with ExitStack() as stack:
        sides = [
            _Side(stack, scope.folder / f"ledger-{size}", url, size) for size, url in zip(sizes, urls, strict=True)
        ]
        for what, times in _PARTS.items():
            sys.stderr.write(f"onward:   {what}, {database}\n")
            small, large = (Measured(f"with {size:,} jobs") for size in sizes)
            for _ in range(scope.rounds):
                for side in sides:
                    side.before(what)
                took: tuple[list[float], list[float]] = ([], [])
                for _ in range(times):
                    for side, list_ in zip(sides, took, strict=True):
                        list_.append(side.take(what))
                small.add(statistics.median(took[0]))
                large.add(statistics.median(took[1]))
            named = f"{what}, {sizes[1]:,} jobs, {database}"
            yield Row("G", named, "ms", large, small, reach=1.2, at_least=False, generous=3.0)


_PARTS = {
    "accept": TIMES,
    "claim": TIMES,
    "finish": TIMES,
    "first page": TIMES,
    "1,000th page": TIMES,
    "system": SYSTEM_TIMES,
}


class _Side:
    """One ledger, a writer on it, and the API process that serves it."""

    def __init__(self, stack: ExitStack, folder: Path, url: str, size: int) -> None:
        env = ours(folder, backend="background", database_url=url)
        finished(python("onward", "migrate", probed=False), folder, "migrate", env=env)  # with its own tables
        self._database = ledgers.filled(url, size)
        stack.callback(self._database.close)
        running = api(folder, backend="dramatiq", redis_url="redis://127.0.0.1:1/0", database_url=url)
        self._caller = Caller(stack.enter_context(running)[1])
        self._writer = Writer(self._database)
        self._writer.start()
        stack.callback(self._writer.close)
        # The API process would reclaim jobs that no living process has claimed.
        self._lease = Lease(self._writer, Metrics(), name="bench", on_lost=lambda: None)
        self._lease.start()
        stack.callback(self._lease.close)
        self._waiting: list[Job] = []
        self._claimed: list[Job] = []
        self._after = _thousandth(self._database)

    def before(self, what: str) -> None:
        """Wait until this part of the work has enough jobs."""
        if what in ("claim", "finish"):
            self._waiting = [ledgers.accept(self._writer) for _ in range(TIMES)]
        if what == "finish":
            self._claimed = [self._claim(job) for job in self._waiting]

    def _claim(self, job: Job) -> Job:
        return ledgers.claim(self._writer, job, runner=self._lease.id)

    def take(self, what: str) -> float:
        """Do the work and return its milliseconds."""
        match what:
            case "accept":
                return _timed(lambda: ledgers.accept(self._writer))
            case "claim":
                return _timed(lambda: self._claim(self._waiting.pop()))
            case "finish":
                return _timed(lambda: ledgers.finish(self._writer, self._claimed.pop()))
            case "first page":
                return _timed(lambda: self._caller.post(body(JOBS, after=None)))
            case "1,000th page":
                return _timed(lambda: self._caller.post(body(JOBS, after=self._after)))
        time.sleep(FRESH_S / 2)
        return _timed(lambda: self._caller.post(body(SYSTEM)))


def _timed(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return (time.perf_counter() - started) * 1000


def _thousandth(database: Database) -> str:
    row = database.read_sync(lambda tx: tx.one(_before))
    assert row is not None  # noqa: S101 - there are more than that
    return urlsafe_b64encode(row[0].encode()).rstrip(b"=").decode()
