"""Plain Dramatiq, as its guide has it; with BENCH_RESULTS it stores results in Redis."""

import os
import sys
import time
from pathlib import Path

import dramatiq
import tally
from dramatiq.brokers.redis import RedisBroker
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend
from work import process

broker = RedisBroker(url=os.environ["BENCH_REDIS"])
RESULTS = bool(os.environ.get("BENCH_RESULTS"))
if RESULTS:
    broker.add_middleware(Results(backend=RedisBackend(url=os.environ["BENCH_REDIS"])))
dramatiq.set_broker(broker)


@dramatiq.actor(**({"store_results": True} if RESULTS else {}))
def nothing(n: int) -> int:
    tally.tick()
    return n


@dramatiq.actor
def stamp(path: str) -> None:
    now = time.monotonic()
    with Path(path).open("a") as file:
        file.write(f"{now} {os.getpid()}\n")


@dramatiq.actor
def process_item(item: str) -> None:
    process(item)


if __name__ == "__main__":
    # Dramatiq looks the actor up by name, wherever it was defined.
    for number in range(int(sys.argv[1])):
        nothing.send(number)
