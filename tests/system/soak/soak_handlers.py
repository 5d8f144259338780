"""Handlers of the soak: each ends in one known way."""

import asyncio
import time
from datetime import timedelta

from onward import JobContext, Permanent, Retry, handler, sequence
from tests.system.soak.live_objects import count_live_objects

QUICK = Retry(max_attempts=3, base=timedelta(milliseconds=100), cap=timedelta(milliseconds=400))
ONCE = Retry(max_attempts=1)
CHILDREN = 2


@handler("soak.quick", mutation=True)
async def quick(job: JobContext, *, marker: int) -> int:
    """Succeed at once."""
    return marker


@handler("soak.plain", mutation=True)
def plain(job: JobContext, *, marker: int) -> int:
    """Succeed in a thread, with progress."""
    for part in range(3):
        job.progress(part, 3, "on its way")
        time.sleep(0.01)
    return marker


@handler("soak.flaky", retry=QUICK, mutation=True)
async def flaky(job: JobContext, *, marker: int) -> int:
    """Fail twice, then succeed."""
    if job.attempt < QUICK.max_attempts:
        raise ConnectionError(f"not yet: {marker}")
    return marker


@handler("soak.raises", retry=QUICK, mutation=True)
async def raises(job: JobContext, *, marker: int) -> None:
    """Fail at each attempt."""
    await asyncio.sleep(0)
    raise RuntimeError(f"as ever: {marker}")


@handler("soak.refuses", retry=QUICK, mutation=True)
def refuses(job: JobContext, *, marker: int) -> None:
    """Fail for good, in a thread."""
    raise Permanent("never", code="NEVER")


@handler("soak.mended", retry=ONCE, mutation=True)
async def mended(job: JobContext, *, marker: int) -> int:
    """Fail until somebody retries it."""
    if job.attempt == 1:
        raise ValueError(f"retry me: {marker}")
    return marker


@handler("soak.hangs", retry=ONCE, timeout=timedelta(milliseconds=300), mutation=True)
async def hangs(job: JobContext, *, marker: int) -> None:
    """Run into the time limit."""
    await asyncio.sleep(3600)


@handler("soak.cancelled", retry=ONCE, mutation=True)
async def cancelled(job: JobContext, *, marker: int) -> None:
    """Run until somebody cancels it."""
    await asyncio.sleep(3600)


@handler("soak.apart", retry=ONCE, process=True, mutation=True)
async def apart(job: JobContext, *, marker: int) -> int:
    """Succeed in a process of its own."""
    return marker


async def first(job: JobContext, *, marker: int) -> int:
    """Begin."""
    await asyncio.sleep(0.01)
    return marker


def second(job: JobContext, marker: int) -> int:
    """Go on in a thread."""
    job.progress(1, 2)
    return marker


async def third(job: JobContext, marker: int) -> int:
    """Dispatch the children."""
    for _ in range(CHILDREN):
        job.dispatch(leaf.job(marker=marker))
    return marker


@handler("soak.leaf", retry=QUICK)
async def leaf(job: JobContext, *, marker: int) -> None:
    """Be a child."""


steps = sequence("soak.steps", [first, second, third], retry=QUICK, mutation=True)


@handler("soak.count", retry=ONCE, mutation=True)
def count(job: JobContext, *, marker: int) -> dict[str, int]:
    """Count the live objects of the process that runs jobs."""
    return count_live_objects()
