"""Handlers of flows under faults: batches, waits, output, unique jobs, limits by key, jobs that expire, ticks."""

import asyncio
import time
from datetime import timedelta

from onward.handlers.base import (
    JobContext,
    Limit,
    Permanent,
    Results,
    Unique,
    batch,
    handler,
    sequence,
    sleep,
    wait_for,
)
from onward.handlers.batch import Child
from tests.system.faults import journal
from tests.system.faults.fault_handlers import QUICK, Value, first, notified, second

STREAMED = 40  # chunks of each step of `faults.streams`
NESTED = 3  # parts of a batch in a batch
IN_A_SECOND = 1  # starts of `faults.rated`, of each customer
DEBOUNCE = timedelta(milliseconds=300)  # of `faults.put_off`; ten times as long at most
SLEPT = timedelta(milliseconds=200)  # of `faults.waits` between its first steps


@handler("faults.batch", retry=QUICK)
async def batches(
    job: JobContext, *, marker: int, parts: int, failing: int = 0, stops: bool = False, nested: bool = False
) -> None:
    """Dispatch a batch and what follows it; its first parts fail, and its last child may be a batch in its turn."""
    journal.write(job.id, job.attempt, "batch", marker, "begin")
    children: list[Child] = [part.job(marker=marker, number=n, fails=n < failing) for n in range(parts)]
    if nested:
        inner = [part.job(marker=marker, number=parts + n) for n in range(NESTED)]
        children.append(batch(inner, then=total.job(marker=marker)))
    failure = stopped.job(marker=marker) if stops else None
    job.dispatch(batch(children, then=total.job(marker=marker), on_failure=failure))
    journal.write(job.id, job.attempt, "batch", marker, "end")


@handler("faults.part", retry=QUICK, on_failure=notified)
async def part(job: JobContext, *, marker: int, number: int, fails: bool = False) -> Value:
    """A job of a batch."""
    journal.write(job.id, job.attempt, "part", marker, "begin")
    if fails:
        raise Permanent("never", code="NEVER")
    await asyncio.sleep(0.1)
    journal.write(job.id, job.attempt, "part", marker, "end")
    return {"number": number}


@handler("faults.total", retry=QUICK)
async def total(job: JobContext, results: Results[Value], *, marker: int) -> Value:
    """The job that follows a batch; its result holds those of the children."""
    journal.write(job.id, job.attempt, "total", marker, "begin")
    found = [child.result async for child in results]
    journal.write(job.id, job.attempt, "total", marker, "end")
    return {"results": found}


@handler("faults.stopped", retry=QUICK)
async def stopped(job: JobContext, *, marker: int) -> None:
    """The job that follows a batch which a failed part has stopped."""
    journal.write(job.id, job.attempt, "stopped", marker, "begin")
    journal.write(job.id, job.attempt, "stopped", marker, "end")


async def decided(job: JobContext, decision: int) -> Value:
    """Record the decision that the job has waited for."""
    journal.write(job.id, job.attempt, "decided", decision, "begin")
    journal.write(job.id, job.attempt, "decided", decision, "end")
    return {"decision": decision}


waits = sequence("faults.waits", [first, sleep(SLEPT), second, wait_for("decision", int), decided], retry=QUICK)


async def draft(job: JobContext, *, marker: int, pause_s: float) -> Value:
    """Emit chunks one by one."""
    journal.write(job.id, job.attempt, "draft", marker, "begin")
    for n in range(STREAMED):
        job.emit({"step": "draft", "n": n})
        await asyncio.sleep(pause_s)
    journal.write(job.id, job.attempt, "draft", marker, "end")
    return {"marker": marker, "pause_s": pause_s}


def polish(job: JobContext, value: Value) -> Value:
    """Do the same in a thread."""
    journal.write(job.id, job.attempt, "polish", value["marker"], "begin")
    for n in range(STREAMED):
        job.emit({"step": "polish", "n": n})
        time.sleep(value["pause_s"])
    journal.write(job.id, job.attempt, "polish", value["marker"], "end")
    return value


streams = sequence("faults.streams", [draft, polish], retry=QUICK)


@handler("faults.only", retry=QUICK, unique=Unique(by=("marker",), within=timedelta(hours=1)))
async def only(job: JobContext, *, marker: int) -> None:
    """Do nothing; there is one such job for each marker."""
    journal.write(job.id, job.attempt, "only", marker, "begin")
    journal.write(job.id, job.attempt, "only", marker, "end")


@handler("faults.sole", retry=QUICK, unique=Unique(by=("name",)))
async def sole(job: JobContext, *, marker: int, name: str, pause_s: float = 0.3) -> None:
    """Take a moment; there is one such job for each name at a time, which is given to all who ask meanwhile."""
    journal.write(job.id, job.attempt, "sole", marker, "begin")
    await asyncio.sleep(pause_s)
    journal.write(job.id, job.attempt, "sole", marker, "end")


@handler("faults.keyed", retry=QUICK, limit=Limit(concurrency=1, by="customer"))
async def keyed(job: JobContext, *, marker: int, customer: str, pause_s: float = 0.1) -> None:
    """Run alone among the jobs of its customer."""
    journal.write(job.id, job.attempt, "keyed", marker, "begin")
    await asyncio.sleep(pause_s)
    journal.write(job.id, job.attempt, "keyed", marker, "end")


@handler("faults.paired", retry=QUICK, limit=Limit(concurrency=2, by="customer"))
def paired(job: JobContext, *, marker: int, customer: str, pause_s: float = 0.2) -> None:
    """Run in a thread, with one other job of its customer at most."""
    journal.write(job.id, job.attempt, "paired", marker, "begin")
    time.sleep(pause_s)
    journal.write(job.id, job.attempt, "paired", marker, "end")


@handler("faults.rated", retry=QUICK, limit=Limit(rate=f"{IN_A_SECOND}/s", by="customer"))
async def rated(job: JobContext, *, marker: int, customer: str) -> None:
    """Begin as often as the rate of its customer allows."""
    journal.write(job.id, job.attempt, "rated", marker, "begin")
    journal.write(job.id, job.attempt, "rated", marker, "end")


@handler("faults.put_off", retry=QUICK, unique=Unique(by=("name",), debounce=DEBOUNCE))
async def put_off(job: JobContext, *, marker: int, name: str) -> None:
    """Begin once nobody has asked for a moment; until then there is one such job for each name."""
    journal.write(job.id, job.attempt, "put_off", marker, "begin")
    journal.write(job.id, job.attempt, "put_off", marker, "end")


@handler("faults.fleeting", retry=QUICK, limit=Limit(concurrency=1), expires=timedelta(seconds=1))
async def fleeting(job: JobContext, *, marker: int, pause_s: float = 0.7) -> None:
    """Run alone, so that some jobs wait for longer than they may."""
    journal.write(job.id, job.attempt, "fleeting", marker, "begin")
    await asyncio.sleep(pause_s)
    journal.write(job.id, job.attempt, "fleeting", marker, "end")


@handler("faults.tick", retry=QUICK)
async def tick(job: JobContext, *, schedule: str) -> None:
    """The job of a schedule; nobody sends it."""
