"""SAQ on Redis, which keeps results by itself."""

import asyncio
import os
import sys
from typing import Any

import tally
from saq import Queue

queue = Queue.from_url(os.environ["BENCH_REDIS"])


async def nothing(_ctx: dict[str, Any], *, n: int) -> int:
    tally.tick()
    return n


settings = {"queue": queue, "functions": [nothing], "concurrency": 10}


async def fill(count: int) -> None:
    await queue.connect()
    for start in range(0, count, 64):
        await asyncio.gather(*(queue.enqueue("nothing", n=n) for n in range(start, min(start + 64, count))))
    await queue.disconnect()


if __name__ == "__main__":
    asyncio.run(fill(int(sys.argv[1])))
