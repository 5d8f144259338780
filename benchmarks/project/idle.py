"""Jobs that do nothing, so that only the rest is measured."""

import asyncio
import os
import time
from pathlib import Path

from onward import JobContext, handler


@handler("bench.nothing")
async def nothing(_job: JobContext, *, n: int) -> int:
    return n


@handler("bench.stamp")
def stamp(_job: JobContext, *, path: str) -> None:
    """Return the time at which the first line ran, by the clock that all processes of the machine share."""
    now = time.monotonic()
    with Path(path).open("a") as file:
        file.write(f"{now} {os.getpid()}\n")


@handler("bench.pause")
async def pause(_job: JobContext, *, seconds: float) -> float:
    """Pause, and return the time of the end, by the same clock."""
    await asyncio.sleep(seconds)
    return time.monotonic()


@handler("bench.emit")
async def emit(job: JobContext, *, chunks: int) -> None:
    """Emit words, with a turn of the loop after each hundred."""
    for n in range(chunks):
        job.emit(f"word {n} ")
        if n % 100 == 0:
            await asyncio.sleep(0)


HANDLERS = (nothing, stamp, pause, emit)
