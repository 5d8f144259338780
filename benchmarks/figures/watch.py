"""I: many subscribers, each on its own job; the time from the change in a worker to the frame at the client."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.base import Measured, Row, Scope
from benchmarks.figures.accept import api
from benchmarks.postgres import servers
from benchmarks.processes import ours, python, running, wait_until

SUBSCRIBERS = 1_000
PAUSE_S = 0.08  # of each job; with eight threads about a hundred jobs end a second
ROUNDS = 3


def take(scope: Scope) -> Iterator[Row]:
    count, rounds = scope.jobs(SUBSCRIBERS), range(1 if scope.quick else ROUNDS)
    with servers(scope) as on:
        for database in ("SQLite", "PostgreSQL"):
            onward = Measured("Onward")
            for _ in rounds:
                with on.onward("dramatiq") as run:  # its Redis is empty, too
                    _follow(run.folder, onward, on.redis_url, run.url if database == "PostgreSQL" else "", count)
            what = f"{count:,} subscribers, {database}, job's end to frame, p95"
            yield Row("I", what, "ms", onward, reach=50.0, at_least=False)


def _follow(folder: Path, measured: Measured, redis_url: str, database_url: str, count: int) -> None:
    env = ours(folder, backend="dramatiq", redis_url=redis_url, database_url=database_url)
    follow = python("benchmarks.follow", probed=False)
    with (
        api(folder, backend="dramatiq", redis_url=redis_url, database_url=database_url) as (server, port),
        running([*follow, str(port), str(count), str(PAUSE_S)], folder, "follow", env=env) as followers,
    ):
        wait_until(lambda: "ready" in followers.log.read_text(), followers, timeout_s=120)
        started = time.monotonic()
        with running(python("onward.worker", "serve", "8", probed=False), folder, "worker", env=env):
            wait_until(lambda: followers.process.poll() is not None, followers, timeout_s=120, may_end=True)
        block = server.longest_block_ms(started, time.monotonic())
        took = json.loads(followers.log.read_text().partition("ready\n")[2])
    cuts = statistics.quantiles(took, n=100)
    measured.add(cuts[94], p50_ms=cuts[49], p99_ms=cuts[98], block_ms=block)
