"""Handlers of an application that embeds Onward."""

from __future__ import annotations

from onward import JobContext, Onward, Retry, handler
from onward.testing import workload

ONCE = Retry(max_attempts=1)
shops: list[Onward] = []  # those that run, for handlers that enqueue


@handler("parcels.wrap", mutation=True, retry=ONCE)
async def wrap(_job: JobContext, *, label: str) -> str:
    """Wrap a parcel."""
    return f"wrapped: {label}"


@handler("parcels.hold", mutation=True)
async def hold(job: JobContext, *, folder: str) -> str:
    """Keep a parcel until it may go: until there is a file `go` in the folder."""
    workload.note(job, folder, "started")
    await workload.gate(folder)
    return "gone"


@handler("parcels.reorder", retry=ONCE)
async def reorder(job: JobContext, *, folder: str) -> str:
    """Enqueue a job once there is a file `go` in the folder, and return its id."""
    workload.note(job, folder, "started")
    await workload.gate(folder)
    return await shops[-1].enqueue(wrap.job(label="again"))
