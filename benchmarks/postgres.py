"""Contestants on PostgreSQL: the servers, a fresh database for each round, and the queues that keep jobs there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import redis

from benchmarks.base import RIVALS, Scope, emptied
from benchmarks.environment import POSTGRES, program
from benchmarks.processes import cpu_s, finished, ours, python, theirs
from onward.storage.engine import Database
from tests.servers import Server, postgres_database, postgres_server, redis_server

BACKENDS = ("background", "dramatiq")
DURABLE = ("fsync=on", "max_connections=200")  # a commit waits for the disk, as on a user's server


@dataclass(frozen=True)
class Queue:
    """A rival that keeps its jobs in PostgreSQL: its module in `benchmarks/rivals`, and settings."""

    name: str
    module: str
    batch: int = 10
    slow: bool = False

    def env(self, url: str) -> dict[str, str]:
        return theirs(BENCH_DATABASE=url, BENCH_QUEUE=self.module, BENCH_BATCH=str(self.batch), BENCH_POLL_S="0.05")


PGQUEUER, PGQUEUER_100 = Queue("PgQueuer", "pgqueuer_queue"), Queue("PgQueuer, batches of 100", "pgqueuer_queue", 100)
PROCRASTINATE = Queue("Procrastinate", "procrastinate_queue", slow=True)
DBOS = Queue("DBOS, looking every 50 ms", "dbos_queue", slow=True)
QUEUES = (PGQUEUER, PROCRASTINATE, DBOS)


@dataclass(frozen=True)
class Round:
    """One round of one contestant: its folder, its database, and the environment of its processes."""

    folder: Path
    url: str
    env: dict[str, str]


@dataclass(frozen=True)
class Servers:
    """The PostgreSQL and the Redis that all contestants of a figure share."""

    scope: Scope
    postgres: Server
    redis_url: str

    @contextmanager
    def database(self) -> Iterator[str]:
        """Create an empty database, dropped at the end of the block."""
        with postgres_database(self.postgres.url) as url:
            yield url

    @contextmanager
    def onward(self, backend: str) -> Iterator[Round]:
        """Create Onward's tables in an empty database."""
        folder = emptied(self.scope.folder / "onward")
        redis.Redis.from_url(self.redis_url).flushall()
        with self.database() as url:
            redis_url = self.redis_url if backend == "dramatiq" else ""
            env = ours(folder, backend=backend, redis_url=redis_url, database_url=url)
            finished(python("onward", "migrate", probed=False), folder, "migrate", env=env)
            yield Round(folder, url, env)

    @contextmanager
    def rival(self, queue: Queue) -> Iterator[Round]:
        """Create the queue's tables in an empty database."""
        folder = emptied(self.scope.folder / "rival")
        tallies = folder / "tallies"
        tallies.mkdir()
        with self.database() as url:
            env = queue.env(url) | {"BENCH_TALLY": str(tallies)}
            run = Round(folder, url, env)
            finished(queued("install"), folder, "install", env=env, cwd=RIVALS)
            yield run

    def cpu_s(self) -> float:
        """Return the processor seconds of PostgreSQL, ended connections included."""
        return cpu_s(self.postgres.process.pid, ended=True)


@contextmanager
def servers(scope: Scope) -> Iterator[Servers]:
    with postgres_server(*DURABLE) as postgres, redis_server() as redis_:
        yield Servers(scope, postgres, redis_.url)


@contextmanager
def ledger(url: str) -> Iterator[Database]:
    """Open Onward's ledger for the benchmark's own looks."""
    database = Database(url)
    try:
        yield database
    finally:
        database.close()


def queued(*arguments: str) -> list[str]:
    """Return the command of a rival queue."""
    return [str(program(POSTGRES, "python")), "postgres_queue.py", *arguments]
