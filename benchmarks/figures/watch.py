"""I: many subscribers, each on its own job; the time from the change in a worker to the frame at the client."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Iterator

import redis

from benchmarks.base import Measured, Row, Scope, emptied
from benchmarks.figures.accept import api
from benchmarks.processes import ours, python, running, wait_until
from tests.servers import redis_server

SUBSCRIBERS = 1_000
PAUSE_S = 0.08  # of each job; with eight threads about a hundred jobs end a second
ROUNDS = 3


def take(scope: Scope) -> Iterator[Row]:
    onward = Measured("Onward")
    with redis_server() as server:
        for _ in range(1 if scope.quick else ROUNDS):
            redis.Redis.from_url(server.url).flushall()
            _follow(scope, onward, server.url, scope.jobs(SUBSCRIBERS))
    what = f"{scope.jobs(SUBSCRIBERS):,} subscribers, job's end to frame, p95"
    yield Row("I", what, "ms", onward, reach=50.0, at_least=False)


def _follow(scope: Scope, measured: Measured, redis_url: str, count: int) -> None:
    folder = emptied(scope.folder / "onward")
    env = ours(folder, backend="dramatiq", redis_url=redis_url)
    follow = python("benchmarks.follow", probed=False)
    with (
        api(folder, backend="dramatiq", redis_url=redis_url) as (server, port),
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
