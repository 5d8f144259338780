"""taskiq on a Redis list, results on."""

import asyncio
import os
import sys

import tally
from taskiq_redis import ListQueueBroker, RedisAsyncResultBackend

URL = os.environ["BENCH_REDIS"]
broker = ListQueueBroker(url=URL).with_result_backend(RedisAsyncResultBackend(redis_url=URL))


@broker.task(task_name="nothing")
async def nothing(n: int) -> int:
    tally.tick()
    return n


async def fill(count: int) -> None:
    await broker.startup()
    for start in range(0, count, 64):
        await asyncio.gather(*(nothing.kiq(n) for n in range(start, min(start + 64, count))))
    await broker.shutdown()


if __name__ == "__main__":
    asyncio.run(fill(int(sys.argv[1])))
