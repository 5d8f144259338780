"""RQ on Redis, which keeps results by itself."""

import os
import sys

import redis
import tally
from rq import Queue


def nothing(n: int) -> int:
    tally.tick()
    return n


if __name__ == "__main__":
    queue = Queue("default", connection=redis.Redis.from_url(os.environ["BENCH_REDIS"]))
    jobs = [Queue.prepare_data("rq_app.nothing", (number,), result_ttl=600) for number in range(int(sys.argv[1]))]
    for start in range(0, len(jobs), 500):
        queue.enqueue_many(jobs[start : start + 500])
