"""Handlers of the fault tests: some record each step, others misbehave."""

import asyncio
import os
import signal
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from onward.handlers.base import Handler, JobContext, Permanent, Retry, handler, sequence
from tests.system.faults import journal

QUICK = Retry(max_attempts=4, base=timedelta(milliseconds=50), cap=timedelta(milliseconds=200))
ONCE = Retry(max_attempts=1)
BROKEN = "FAULTS_BROKEN"  # a file; while it is there, `faults.dies` and `faults.eats` kill their process
EATEN_MB = 400

Value = dict[str, Any]


def is_broken() -> bool:
    return Path(os.environ[BROKEN]).exists()


async def first(job: JobContext, *, marker: int, pause_s: float = 0.0, children: int = 0) -> Value:
    """Record the start, wait, and record the end."""
    journal.write(job.id, job.attempt, "first", marker, "begin")
    await asyncio.sleep(pause_s)
    journal.write(job.id, job.attempt, "first", marker, "end")
    return {"marker": marker, "pause_s": pause_s, "children": children}


def second(job: JobContext, value: Value) -> Value:
    """Do the same in a thread."""
    journal.write(job.id, job.attempt, "second", value["marker"], "begin")
    until = time.monotonic() + value["pause_s"]
    while time.monotonic() < until:
        job.check()
        time.sleep(min(0.05, value["pause_s"]))
    journal.write(job.id, job.attempt, "second", value["marker"], "end")
    return value


async def third(job: JobContext, value: Value) -> Value:
    """Do the same, and dispatch jobs that must be accepted together with this job's outcome."""
    journal.write(job.id, job.attempt, "third", value["marker"], "begin")
    await asyncio.sleep(value["pause_s"])
    children = [job.dispatch("faults.leaf", marker=value["marker"]) for _ in range(value["children"])]
    journal.write(job.id, job.attempt, "third", value["marker"], "end")
    return {"marker": value["marker"], "children": children}


@handler("faults.leaf", retry=QUICK)
async def leaf(job: JobContext, *, marker: int) -> None:
    """The job that `faults.steps` dispatches."""
    journal.write(job.id, job.attempt, "leaf", marker, "begin")
    journal.write(job.id, job.attempt, "leaf", marker, "end")


@handler("faults.notified", retry=QUICK)
async def notified(job: JobContext, *, job_id: str, code: str) -> None:
    """The job that a failure brings; a final check reads its parameters."""
    journal.write(job.id, job.attempt, "notified", 0, "begin")
    journal.write(job.id, job.attempt, "notified", 0, "end")


@handler("faults.flaky", retry=QUICK)
async def flaky(job: JobContext, *, marker: int, times: int = 2) -> None:
    """Fail that often, then succeed."""
    journal.write(job.id, job.attempt, "flaky", marker, "begin")
    if job.attempt <= times:
        raise ConnectionError("not yet")
    journal.write(job.id, job.attempt, "flaky", marker, "end")


@handler("faults.tells", retry=QUICK)
async def tells(job: JobContext, *, marker: int) -> None:
    """Report progress."""
    journal.write(job.id, job.attempt, "tells", marker, "begin")
    for n in range(1, 4):
        job.progress(n, 3, "on its way")
        await asyncio.sleep(0.15)
    journal.write(job.id, job.attempt, "tells", marker, "end")


@handler("faults.dull", retry=QUICK)
async def dull(job: JobContext, *, marker: int) -> None:
    """Do nothing."""
    journal.write(job.id, job.attempt, "dull", marker, "begin")
    journal.write(job.id, job.attempt, "dull", marker, "end")


@handler("faults.raises", retry=QUICK, on_failure=notified)
async def raises(job: JobContext, *, marker: int) -> None:
    """Fail each time."""
    journal.write(job.id, job.attempt, "raises", marker, "begin")
    raise RuntimeError("as ever")


@handler("faults.refuses", retry=QUICK, on_failure=notified)
async def refuses(job: JobContext, *, marker: int) -> None:
    """Fail for good at once."""
    journal.write(job.id, job.attempt, "refuses", marker, "begin")
    raise Permanent("never", code="NEVER")


@handler("faults.hangs", retry=ONCE, timeout=timedelta(seconds=1), on_failure=notified)
async def hangs(job: JobContext, *, marker: int) -> None:
    """Run for ever."""
    journal.write(job.id, job.attempt, "hangs", marker, "begin")
    await asyncio.sleep(3600)


@handler("faults.stuck", retry=ONCE, timeout=timedelta(seconds=1), on_failure=notified)
def stuck(job: JobContext, *, marker: int, pause_s: float = 3600.0) -> None:
    """Run in a thread and ignore every stop."""
    journal.write(job.id, job.attempt, "stuck", marker, "begin")
    time.sleep(pause_s)


@handler("faults.blocks", retry=ONCE)
async def blocks(job: JobContext, *, marker: int, pause_s: float) -> None:
    """Block the event loop of the whole process."""
    journal.write(job.id, job.attempt, "blocks", marker, "begin")
    time.sleep(pause_s)  # noqa: ASYNC251 - the fault itself
    journal.write(job.id, job.attempt, "blocks", marker, "end")


@handler("faults.holds", retry=ONCE)
def holds(job: JobContext, *, marker: int, pause_s: float) -> None:
    """Hold the interpreter's lock, as one long call of C does: no thread of the process runs meanwhile."""
    journal.write(job.id, job.attempt, "holds", marker, "begin")
    until, usual_s = time.monotonic() + pause_s, sys.getswitchinterval()
    sys.setswitchinterval(2 * pause_s)
    while time.monotonic() < until:
        pass
    sys.setswitchinterval(usual_s)
    journal.write(job.id, job.attempt, "holds", marker, "end")


@handler("faults.dies", retry=QUICK, on_failure=notified)
async def dies(job: JobContext, *, marker: int) -> None:
    """Kill the process, as long as there is no fix."""
    journal.write(job.id, job.attempt, "dies", marker, "begin")
    if is_broken():
        os._exit(7)
    journal.write(job.id, job.attempt, "dies", marker, "end")


@handler("faults.eats", retry=ONCE, on_failure=notified)
def eats(job: JobContext, *, marker: int) -> None:
    """Allocate memory until the kernel kills the process, or a limit refuses more."""
    journal.write(job.id, job.attempt, "eats", marker, "begin")
    eaten = [bytearray(10_000_000) for _ in range(EATEN_MB // 10)]
    if is_broken():
        os.kill(os.getpid(), signal.SIGKILL)
    eaten.clear()
    journal.write(job.id, job.attempt, "eats", marker, "end")


@handler("faults.unjson", retry=QUICK, on_failure=notified)
async def unjson(job: JobContext, *, marker: int) -> Any:
    """Return a value that is not JSON."""
    journal.write(job.id, job.attempt, "unjson", marker, "begin")
    return object()


@handler("faults.leaves", retry=ONCE, on_failure=notified)
async def leaves(job: JobContext, *, marker: int) -> None:
    """Call sys.exit."""
    journal.write(job.id, job.attempt, "leaves", marker, "begin")
    sys.exit(3)


HANDLERS: tuple[Handler, ...] = (
    sequence("faults.steps", [first, second, third], retry=QUICK),
    leaf,
    notified,
    flaky,
    tells,
    dull,
    raises,
    refuses,
    hangs,
    stuck,
    blocks,
    holds,
    dies,
    eats,
    unjson,
    leaves,
)
