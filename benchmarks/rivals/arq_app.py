"""arq on Redis, which keeps results by itself."""

import asyncio
import os
import sys
from typing import Any

import tally
from arq import create_pool
from arq.connections import RedisSettings

REDIS = RedisSettings.from_dsn(os.environ["BENCH_REDIS"])


async def nothing(_ctx: dict[str, Any], n: int) -> int:
    tally.tick()
    return n


class WorkerSettings:
    functions = (nothing,)
    redis_settings = REDIS
    max_jobs = 64
    poll_delay = 0.01


async def fill(count: int) -> None:
    pool = await create_pool(REDIS)
    for start in range(0, count, 64):
        await asyncio.gather(*(pool.enqueue_job("nothing", n) for n in range(start, min(start + 64, count))))
    await pool.aclose()


if __name__ == "__main__":
    asyncio.run(fill(int(sys.argv[1])))
