"""A handler that takes some seconds and tells its progress, for pages that follow it."""

import asyncio

from onward import JobContext, handler

TICK_S = 0.3


@handler("slow.count", mutation=True)
async def count(job: JobContext, *, ticks: int) -> None:
    """Count slowly."""
    for done in range(1, ticks + 1):
        await asyncio.sleep(TICK_S)
        job.progress(done, ticks)
