"""Celery on Redis, results on."""

import os
import sys

import tally
from celery import Celery

app = Celery("celery_app", broker=os.environ["BENCH_REDIS"], backend=os.environ["BENCH_REDIS"])


@app.task(name="nothing")
def nothing(n: int) -> int:
    tally.tick()
    return n


if __name__ == "__main__":
    with app.producer_pool.acquire(block=True) as producer:
        for number in range(int(sys.argv[1])):
            nothing.apply_async((number,), producer=producer)
