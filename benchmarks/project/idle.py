"""A job that does nothing, so that what is measured is everything else."""

import os
import time

from handlers.base import JobContext, handler


@handler("bench.nothing")
async def nothing(_job: JobContext, *, n: int) -> int:
    return n


@handler("bench.stamp")
async def stamp(_job: JobContext, *, path: str) -> None:
    """When the first line of the handler ran, by a clock that all processes of the machine share."""
    now = time.monotonic()
    with open(path, "a", encoding="ascii") as file:  # noqa: ASYNC230, PTH123 - a line, written once
        file.write(f"{now} {os.getpid()}\n")


HANDLERS = (nothing, stamp)
