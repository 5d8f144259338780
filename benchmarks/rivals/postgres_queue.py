"""A queue on PostgreSQL; BENCH_QUEUE names its module. Commands: install, work, enqueue COUNT, stamps PATH COUNT.

`enqueue` prints jobs a second and processor time; `stamps` how many milliseconds each job began after it was enqueued.
"""

import asyncio
import importlib
import json
import os
import random
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import uvloop

AT_ONCE = 64
Send = Callable[..., Awaitable[str]]


async def enqueue(queue: Any, count: int) -> None:
    async with queue.opened() as send:

        async def some(numbers: range) -> None:
            for number in numbers:
                await send("nothing", n=number)

        await asyncio.gather(*(send("nothing", n=0) for _ in range(AT_ONCE)))  # the connections are made
        began, cpu_s = time.perf_counter(), time.process_time()
        await asyncio.gather(*(some(range(first, count - AT_ONCE, AT_ONCE)) for first in range(AT_ONCE)))
        took_s, cpu_s = time.perf_counter() - began, time.process_time() - cpu_s
    sent = count - AT_ONCE
    print(json.dumps({"per_second": sent / took_s, "cpu_us": cpu_s / sent * 1e6}), flush=True)


async def stamps(queue: Any, path: Path, count: int) -> None:
    async with queue.opened() as send:
        for number in range(count):
            await asyncio.sleep(random.uniform(0.3, 0.7))
            await send("stamp", path=str(path))
            sent = time.monotonic()
            while len(lines := read(path)) <= number:  # noqa: ASYNC110 - another process writes it
                await asyncio.sleep(0.001)
            print((float(lines[-1].split()[0]) - sent) * 1000, flush=True)


def read(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


async def main(command: str, *arguments: str) -> None:
    queue = importlib.import_module(os.environ["BENCH_QUEUE"])
    match command:
        case "install":
            await queue.install()
        case "work":
            await queue.work()
        case "enqueue":
            await enqueue(queue, int(arguments[0]))
        case "stamps":
            await stamps(queue, Path(arguments[0]), int(arguments[1]))


if __name__ == "__main__":
    uvloop.run(main(*sys.argv[1:]))
