"""The handlers of the contract tests. Each notes its progress in a folder's `notes`; files there control it.

One module, since that is what the settings of a project under test name.

The file is long because each handler does one thing that a backend can get wrong.
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import logging
import os
import sys
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Future
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from onward.handlers.base import (
    JobContext,
    JobRequest,
    Limit,
    Permanent,
    Results,
    Retry,
    RetryIn,
    Unique,
    batch,
    handler,
    sequence,
    sleep,
    wait_for,
)

POLL_INTERVAL_S = 0.01
MOMENT_S = 0.1
LINGER_S = 0.3
QUEUE = "apart"
ONCE = Retry(max_attempts=1)
SLOWLY = Retry(max_attempts=8, base=timedelta(seconds=4), cap=timedelta(seconds=4))
QUICKLY = Retry(max_attempts=4, base=timedelta(milliseconds=50), cap=timedelta(milliseconds=150))
BRIEFLY = Retry(max_attempts=3, base=timedelta(milliseconds=10), cap=timedelta(milliseconds=10))
BY_TYPE = Retry(max_attempts=1, by_type={OSError: BRIEFLY, ConnectionError: Permanent})
SLOW = timedelta(seconds=4)  # no delay by chance: what waits for RETRYING would miss a short one
CHOSEN = timedelta(milliseconds=300)  # the delay that handlers choose

log = logging.getLogger("conformance")


@dataclass(frozen=True, slots=True)
class Note:
    """One line of a folder's `notes`."""

    word: str
    job: str
    attempt: int
    pid: int
    monotonic_s: float


def note(job: JobContext[Any], folder: str, word: str) -> None:
    """Append one whole line, also while other processes write."""
    _append(folder, f"{word} {job.id} {job.attempt}")


def _append(folder: str, words: str) -> None:
    line = f"{words} {os.getpid()} {time.monotonic()}\n"
    file = os.open(Path(folder) / "notes", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(file, line.encode())
    finally:
        os.close(file)


def notes(folder: Path) -> list[Note]:
    """Return all notes, in order."""
    try:
        lines = [line.split() for line in (folder / "notes").read_text().splitlines()]
    except FileNotFoundError:
        return []
    return [Note(word, job, int(attempt), int(pid), float(at)) for word, job, attempt, pid, at in lines]


def says(folder: str, name: str) -> bool:
    return (Path(folder) / name).exists()


async def gate(folder: str) -> None:
    """Return whether handlers may go on: all with a file `go`, one process with `go` and its pid."""
    while not (says(folder, "go") or says(folder, f"go-{os.getpid()}")):
        await asyncio.sleep(POLL_INTERVAL_S)


@dataclass(slots=True)
class Resources:
    """The value of the project's lifespan."""

    is_open: bool = True
    folder: str = ""  # that of the last job, where the end of the lifespan is noted


@asynccontextmanager
async def lifespan() -> AsyncIterator[Resources]:
    """Take a moment to open the resources; note in the folder of the last job when they are closed."""
    await asyncio.sleep(MOMENT_S)
    opened = Resources()
    try:
        yield opened
    finally:
        opened.is_open = False
        if opened.folder:
            _append(opened.folder, "left none 0")


@handler("conformance.resources", retry=ONCE)
async def resources(job: JobContext[Resources], *, folder: str) -> bool:
    """Return whether the resources are open at the end, after a moment that is shorter than any drain."""
    job.resources.folder = folder
    note(job, folder, "started")
    await asyncio.sleep(LINGER_S)
    note(job, folder, "ended")
    return job.resources.is_open


@handler("conformance.notified", retry=ONCE)
async def notified(job: JobContext, *, job_id: str, handler: str, code: str, message: str) -> dict[str, str | None]:
    """Hear of a failure."""
    return {"job_id": job_id, "handler": handler, "code": code, "message": message, "owner": job.owner}


@handler("conformance.notified_briefly", retry=ONCE)
async def notified_briefly(job: JobContext, *, message: Annotated[str, Field(max_length=5)]) -> None: ...


@handler("conformance.note", retry=ONCE)
async def noted(job: JobContext, *, folder: str, text: str = "") -> str:
    note(job, folder, "ran")
    return text


@handler("conformance.queued", retry=ONCE, queue=QUEUE)
async def queued(job: JobContext, *, folder: str) -> None:
    note(job, folder, "queued")


@handler("conformance.wait", retry=ONCE)
async def wait(job: JobContext, *, folder: str) -> int:
    """Wait for a file `go`; return the pid of the process."""
    note(job, folder, "started")
    await gate(folder)
    note(job, folder, "ended")
    return os.getpid()


@handler("conformance.unique", retry=ONCE, unique=Unique(by=("folder",)))
async def unique(job: JobContext, *, folder: str) -> None:
    """Wait for a file `go`; there is one such job for each folder."""
    note(job, folder, "started")
    await gate(folder)


@handler(
    "conformance.debounced",
    retry=ONCE,
    unique=Unique(by=("folder",), replace=True, debounce=timedelta(seconds=LINGER_S)),
)
async def debounced(job: JobContext, *, folder: str, text: str) -> str:
    """Begin a moment after the last call."""
    note(job, folder, "ran")
    return text


@handler("conformance.linger", retry=ONCE)
async def linger(job: JobContext, *, folder: str) -> int:
    """Take a moment that is shorter than any drain; return the pid of the process."""
    note(job, folder, "started")
    await asyncio.sleep(LINGER_S)
    return os.getpid()


@handler("conformance.beside", retry=ONCE)
async def alongside(job: JobContext, *, folder: str) -> None:
    """Run until stopped."""
    note(job, folder, "beside")
    await asyncio.Event().wait()


@handler("conformance.sulk", retry=ONCE)
async def sulk(job: JobContext, *, folder: str) -> int:
    """Like `conformance.wait`, but raise an error when stopped."""
    note(job, folder, "started")
    try:
        await gate(folder)
    except asyncio.CancelledError:
        raise ValueError("I was not done") from None
    return os.getpid()


@handler("conformance.limited", retry=ONCE)
async def limited(job: JobContext, *, folder: str, waits: bool = False) -> None:
    """Run for a moment, or until there is a file `go`; two may run at once over all processes."""
    note(job, folder, "started")
    await (gate(folder) if waits else asyncio.sleep(MOMENT_S))
    note(job, folder, "ended")


@handler("conformance.rated", retry=ONCE)
async def rated(job: JobContext, *, folder: str) -> None:
    """Run at most twenty times in a second."""
    note(job, folder, "ran")


@handler("conformance.keyed", retry=ONCE, limit=Limit(concurrency=1, by="key"))
async def keyed(job: JobContext, *, folder: str, key: str, waits: bool = False) -> None:
    """Run for a moment, or until there is a file `go`; one of each key may run at once over all processes."""
    note(job, folder, f"started:{key}")
    await (gate(folder) if waits else asyncio.sleep(MOMENT_S))
    note(job, folder, f"ended:{key}")


@handler("conformance.shares", retry=ONCE, limit=Limit(concurrency=1, by="key", name="conformance-shared"))
async def shares(job: JobContext, *, folder: str, key: str) -> None:
    """Run for a moment; `conformance.shares_too` has the same limit."""
    note(job, folder, f"started:{key}")
    await asyncio.sleep(MOMENT_S)
    note(job, folder, f"ended:{key}")


@handler("conformance.shares_too", retry=ONCE, limit=Limit(concurrency=1, by="of", name="conformance-shared"))
async def shares_too(job: JobContext, *, folder: str, of: str) -> None:
    note(job, folder, f"started:{of}")
    await asyncio.sleep(MOMENT_S)
    note(job, folder, f"ended:{of}")


@handler("conformance.keyed_fails", retry=QUICKLY, limit=Limit(concurrency=1, by="key"))
async def keyed_fails(job: JobContext, *, folder: str, key: str, times: int) -> None:
    """Fail `times` times, then succeed; one of each key may run at once."""
    note(job, folder, f"started:{key}")
    await asyncio.sleep(POLL_INTERVAL_S)
    note(job, folder, f"ended:{key}")
    if job.attempt <= times:
        raise ValueError("not yet")


@handler("conformance.keyed_rate", retry=ONCE, limit=Limit(rate="20/s", by="key"))
async def keyed_rate(job: JobContext, *, folder: str, key: str) -> None:
    """Run at most twenty times in a second for each key."""
    note(job, folder, f"ran:{key}")


@handler("conformance.wait_plain", retry=ONCE)
def wait_plain(job: JobContext, *, folder: str) -> int:
    note(job, folder, "started")
    while not says(folder, "go"):
        job.check()
        time.sleep(POLL_INTERVAL_S)
    note(job, folder, "ended")
    return os.getpid()


@handler("conformance.deaf", retry=ONCE)
def deaf(job: JobContext, *, folder: str) -> int:
    """Block the thread and never check; fail for good if there is a file `fail`."""
    note(job, folder, "started")
    while not says(folder, "go"):
        time.sleep(POLL_INTERVAL_S)
    note(job, folder, "ended")
    if says(folder, "fail"):
        raise Permanent("as it was told to")
    return os.getpid()


@handler("conformance.hold", retry=ONCE)
async def hold(job: JobContext, *, folder: str, seconds: float) -> int:
    """Hold the interpreter's lock, so that no other thread of the process runs, its heartbeat among them."""
    note(job, folder, "started")
    ctypes.PyDLL(None).usleep(int(seconds * 1_000_000))
    return os.getpid()


@handler("conformance.apart", retry=ONCE, process=True)
def apart(job: JobContext, *, folder: str, waits: bool = False) -> int:
    """Run in a process of its own, and return its pid; ignore every stop if `waits`."""
    note(job, folder, "started")
    job.progress(1, 2)
    while waits:
        time.sleep(POLL_INTERVAL_S)
    return os.getpid()


@handler("conformance.fail", retry=QUICKLY)
async def fail(job: JobContext, *, folder: str, times: int) -> str:
    """Fail `times` times, then succeed."""
    note(job, folder, "tried")
    if job.attempt <= times:
        raise ValueError("a secret of the handler's")
    return "at last"


@handler("conformance.fail_slowly", retry=SLOWLY)
async def fail_slowly(job: JobContext, *, folder: str) -> None:
    """Fail once; four seconds lie between the attempts."""
    note(job, folder, "tried")
    if job.attempt == 1:
        raise RetryIn(SLOW, "the first time", code="BUSY")


@handler("conformance.later", retry=SLOWLY)
async def later(job: JobContext, *, folder: str) -> None:
    """Put off the first attempt."""
    note(job, folder, "tried")
    if job.attempt == 1:
        raise RetryIn(CHOSEN, "the printer is busy", code="BUSY")


@handler("conformance.later_plain", retry=SLOWLY)
def later_plain(job: JobContext, *, folder: str) -> None:
    note(job, folder, "tried")
    if job.attempt == 1:
        raise RetryIn(CHOSEN, "the printer is busy", code="BUSY")


@handler("conformance.later_apart", retry=BY_TYPE, process=True)
def later_apart(job: JobContext, *, folder: str) -> None:
    """Put off the first attempt, of one that the policy allows; fail for good at the second."""
    note(job, folder, "tried")
    if job.attempt == 1:
        raise RetryIn(timedelta(seconds=1), "the printer is busy", code="BUSY", charged=False)
    raise ConnectionResetError("by the printer")


@handler("conformance.by_type", retry=BY_TYPE)
async def by_type(job: JobContext, *, folder: str, kind: str) -> None:
    """Raise an error of that class."""
    note(job, folder, "tried")
    raise {"ValueError": ValueError, "TimeoutError": TimeoutError, "ConnectionResetError": ConnectionResetError}[kind]


@handler("conformance.failing", retry=BRIEFLY, on_failure=notified)
async def failing(job: JobContext, *, folder: str, kind: str) -> None:
    """Fail, unless there is a file `go`."""
    note(job, folder, "started")
    if kind == "error":
        raise ValueError("a secret of the handler's")
    if kind == "permanent":
        raise Permanent("it can never be done", code="NEVER")
    await gate(folder)


@handler("conformance.failing_apart", retry=ONCE, process=True, on_failure="conformance.notified")
def failing_apart(job: JobContext, *, folder: str) -> None:
    note(job, folder, "started")
    os._exit(3)


@handler("conformance.failing_for_long", retry=ONCE, on_failure=notified_briefly)
async def failing_for_long(_job: JobContext) -> None:
    raise Permanent("longer than five characters", code="NEVER")


@handler("conformance.fleeting", retry=QUICKLY, expires=timedelta(hours=1))
async def fleeting(job: JobContext, *, folder: str, fails: bool = False) -> None:
    """Fail once at a file `go`, if asked to."""
    note(job, folder, "started")
    if fails and job.attempt == 1:
        await gate(folder)
        raise ValueError("the first time")


@handler("conformance.permanent", retry=QUICKLY)
async def permanent(job: JobContext, *, folder: str) -> None:
    note(job, folder, "tried")
    raise Permanent("it can never be done", code="NEVER")


@handler("conformance.endless", retry=ONCE, timeout=timedelta(seconds=0.3), on_failure=notified)
async def endless(job: JobContext, *, folder: str) -> None:
    note(job, folder, "started")
    await gate(folder)


@handler("conformance.endless_plain", retry=ONCE, timeout=timedelta(seconds=0.3))
def endless_plain(job: JobContext, *, folder: str) -> None:
    note(job, folder, "started")
    while not says(folder, "go"):
        job.check()
        time.sleep(POLL_INTERVAL_S)


@handler("conformance.progress", retry=ONCE)
async def progress(job: JobContext, *, of: int) -> None:
    """Report progress two hundred times a second."""
    for n in range(1, of + 1):
        job.progress(n, of, f"{n} of {of}")
        await asyncio.sleep(0.005)


async def emit(job: JobContext, *, folder: str, chunks: int) -> str:
    """Emit chunks, the last ones just before the step ends."""
    for n in range(chunks):
        job.emit(f"{n} ")
        if n % 10 == 0:
            await asyncio.sleep(POLL_INTERVAL_S)
    return folder


def emit_in_a_thread(job: JobContext, folder: str) -> None:
    """Emit one chunk, and another one after there is a file `go`."""
    job.emit({"second": job.attempt})
    note(job, folder, "second")
    while not says(folder, "go"):
        job.check()
        time.sleep(POLL_INTERVAL_S)
    job.emit("the end")


emits = sequence("conformance.emits", [emit, emit_in_a_thread], retry=QUICKLY)


@handler("conformance.emit_and_fail", retry=QUICKLY)
async def emit_and_fail(job: JobContext, *, times: int) -> None:
    """Emit twice in each attempt, and fail `times` times."""
    job.emit(f"attempt {job.attempt}")
    await asyncio.sleep(MOMENT_S)
    job.emit("its last word")
    if job.attempt <= times:
        raise ValueError("after its last word")


@handler("conformance.emit_apart", retry=ONCE, process=True)
def emit_apart(job: JobContext, *, chunks: int) -> None:
    """Emit from a process of its own."""
    for n in range(chunks):
        job.emit(n)


async def log_and_fail(job: JobContext, *, times: int) -> int:
    """Log in each attempt, and fail `times` times."""
    log.warning("attempt %s", job.attempt)
    if job.attempt <= times:
        raise ValueError("after its line")
    return times


def log_in_a_thread(_job: JobContext, value: int) -> None:
    log.error("after %s failures", value)


logs = sequence("conformance.logs", [log_and_fail, log_in_a_thread], retry=QUICKLY)
logs_apart = sequence("conformance.logs_apart", [log_and_fail, log_in_a_thread], retry=QUICKLY, process=True)


@handler("conformance.result", retry=ONCE)
def result(_job: JobContext, *, kind: str) -> Any:
    return {
        "nothing": None,
        "nested": {"a": [1, 2.5, "\u00e4\U0001f680", None, True]},
        "large": "x" * 63_000,
        "too large": "x" * 65_000,
        "no json": {1, 2},
        "broken text": "\ud800",
        "deep": json.loads("[" * 200 + "]" * 200),
        "too deep": json.loads("[" * 250 + "]" * 250),
    }[kind]


@handler("conformance.words", retry=ONCE)
async def words(job: JobContext, *, kind: str) -> None:
    """Raise errors that the ledger cannot store as they are."""
    if kind == "error":
        raise Permanent("half a pair: \ud800, and NUL: \0", code="WORDS")
    if kind == "message":
        job.progress(1, 2, "half a pair: \ud800, and NUL: \0")
    else:
        job.progress(2**80, 2**80)


@handler("conformance.exit", retry=ONCE, on_failure=notified)
async def kill(job: JobContext, *, folder: str) -> str:
    """Kill its process, unless there is a file `fixed`."""
    note(job, folder, "started")
    if not says(folder, "fixed"):
        os._exit(0)  # exit code 0 says least about the cause
    return "survived"


@handler("conformance.sys_exit", retry=ONCE)
async def leave(job: JobContext, *, folder: str) -> None:
    note(job, folder, "started")
    sys.exit(3)


@handler("conformance.sys_exit_task", retry=ONCE)
async def leave_task(job: JobContext, *, folder: str) -> None:
    """Exit from a task of its own."""
    note(job, folder, "started")
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(leave.steps[0].call(job, folder=folder))


@handler("conformance.sys_exit_callback", retry=ONCE)
async def leave_callback(job: JobContext, *, folder: str) -> None:
    """Exit from a callback that nobody awaits; then fail."""
    note(job, folder, "started")
    asyncio.get_running_loop().call_soon(sys.exit, 3)
    await asyncio.sleep(MOMENT_S)
    raise ValueError("still here")


@handler("conformance.sys_exit_plain", retry=ONCE)
def leave_plain(job: JobContext, *, folder: str) -> None:
    note(job, folder, "started")
    sys.exit(3)


@handler("conformance.cancelled", retry=ONCE)
async def cancelled(job: JobContext, *, folder: str) -> None:
    """Await a task that it has itself cancelled."""
    note(job, folder, "started")
    own = asyncio.ensure_future(asyncio.sleep(1))
    own.cancel()
    await own


@handler("conformance.cancelled_plain", retry=ONCE)
def cancelled_plain(job: JobContext, *, folder: str) -> None:
    note(job, folder, "started")
    own: Future[None] = Future()
    own.cancel()
    own.result()


@handler("conformance.parent", retry=ONCE)
async def parent(job: JobContext, *, folder: str, fails: bool) -> str:
    """Dispatch a child, and then fail if asked to."""
    child = job.dispatch("conformance.note", folder=folder, text="child")
    note(job, folder, child)
    if fails:
        raise Permanent("after the dispatch")
    return child


@handler("conformance.parent_of_many", retry=ONCE)
async def parent_of_many(job: JobContext, *, folder: str, children: int) -> list[str]:
    """Dispatch that many jobs, and return the ids of the first and the last."""
    ids = [job.dispatch("conformance.note", folder=folder, text="child") for _ in range(children)]
    return [ids[0], ids[-1]]


@handler("conformance.part", retry=ONCE)
async def part(job: JobContext, *, folder: str, number: int, does: str = "") -> int:
    """A child of a batch: it fails until there is a file `fixed`, waits for a file `go`, or ends at once."""
    note(job, folder, "part")
    if does == "fails" and not says(folder, "fixed"):
        raise Permanent(f"part {number} fails")
    if does == "waits":
        await gate(folder)
    return number


@handler("conformance.total", retry=ONCE)
async def total(job: JobContext, results: Results, *, folder: str) -> list[Any]:
    """Return what each child of a batch has returned, or its status."""
    note(job, folder, "total")
    return [child.result if child.succeeded else child.status async for child in results]


@handler("conformance.cleanup", retry=ONCE)
async def cleanup(job: JobContext, *, folder: str) -> None:
    note(job, folder, "cleanup")


def parts(folder: str, does: list[str]) -> list[JobRequest]:
    """Return the children of a batch, by what each does."""
    return [
        limited.job(folder=folder, waits=True) if one == "limited" else part.job(folder=folder, number=number, does=one)
        for number, one in enumerate(does)
    ]


@handler("conformance.batch", retry=ONCE)
async def batch_of(job: JobContext, *, folder: str, does: list[str], stops: bool = False, later: bool = False) -> str:
    """Dispatch a batch of parts, which wait for an hour if `later`, and return its id."""
    failure = cleanup.job(folder=folder) if stops else None
    run_at = datetime.now(UTC) + timedelta(hours=1) if later else None
    return job.dispatch(batch(parts(folder, does), then=total.job(folder=folder), on_failure=failure), run_at=run_at)


@handler("conformance.batch_of_batches", retry=ONCE)
async def batch_of_batches(job: JobContext, *, folder: str) -> str:
    """Dispatch a batch of two parts, a batch without a total, and at last one with a total, which waits."""
    inner = batch(parts(folder, ["", "waits"]), then=total.job(folder=folder))
    one, other = parts(folder, ["", ""])
    return job.dispatch(batch([one, batch(parts(folder, [""])), other, inner], then=total.job(folder=folder)))


@handler("conformance.batch_breaks_off", retry=ONCE)
def batch_breaks_off(job: JobContext, *, folder: str, children: int) -> str:
    """Dispatch a batch, and at the first attempt kill the process with the last child."""
    note(job, folder, "making")

    def made() -> Iterator[JobRequest]:
        for number in range(children):
            if job.attempt == 1 and number == children - 1:
                os._exit(1)
            yield part.job(folder=folder, number=number)

    return job.dispatch(batch(made(), then=total.job(folder=folder)))


async def first(job: JobContext, *, folder: str) -> dict[str, str]:
    note(job, folder, "first")
    return {"folder": folder}


def second(job: JobContext, value: dict[str, str]) -> dict[str, str]:
    """Fail for good, unless there is a file `fixed`."""
    note(job, value["folder"], "second")
    if not says(value["folder"], "fixed"):
        raise Permanent("not fixed yet")
    return {**value, "from": "second"}


async def second_waits(job: JobContext, value: dict[str, str]) -> dict[str, str]:
    note(job, value["folder"], "second")
    await gate(value["folder"])
    return value


def second_waits_plain(job: JobContext, value: dict[str, str]) -> dict[str, str]:
    note(job, value["folder"], "second")
    while not says(value["folder"], "go"):
        time.sleep(POLL_INTERVAL_S)
    return value


async def second_fails_once(job: JobContext, value: dict[str, str]) -> dict[str, str]:
    note(job, value["folder"], "second")
    if job.attempt == 1:
        raise ValueError("the first time")
    return {**value, "from": "second"}


async def second_later(job: JobContext, value: dict[str, str]) -> dict[str, str]:
    note(job, value["folder"], "second")
    if job.attempt == 1:
        raise RetryIn(timedelta(seconds=1), charged=False)
    return value


async def third(job: JobContext, value: dict[str, str]) -> str:
    note(job, value["folder"], "third")
    return value.get("from", "")


@dataclass(frozen=True, slots=True)
class Approval:
    """The payload of the signal `approval`."""

    approved: bool
    comment: str = ""


async def draft(job: JobContext, *, folder: str, waits: bool = False) -> dict[str, str]:
    """Begin work on which somebody has to decide; wait for a file `go` first if it `waits`."""
    note(job, folder, "drafting")
    if waits:
        await gate(folder)
    note(job, folder, "draft")
    return {"folder": folder}


async def publish(job: JobContext, approval: Approval) -> str:
    note(job, job.result_of("draft")["folder"], "publish")
    return f"{type(approval).__name__} {approval.approved} {approval.comment}"


async def report(job: JobContext, value: dict[str, str]) -> dict[str, str]:
    note(job, value["folder"], "report")
    return value


APPROVAL = wait_for("approval", Approval)
SOON = timedelta(seconds=0.4)
late = Approval(approved=False, comment="late")
approval = sequence("conformance.approval", [draft, APPROVAL, publish], retry=ONCE)
deadline = sequence("conformance.deadline", [draft, wait_for("approval", Approval, timeout=SOON), publish], retry=ONCE)
default = sequence(
    "conformance.default",
    [draft, wait_for("approval", Approval, timeout=SOON, otherwise=late), publish],
    retry=ONCE,
)
rest = sequence("conformance.rest", [draft, sleep(SOON), report], retry=ONCE)
several = sequence("conformance.several", [draft, sleep(SOON), wait_for("seen"), APPROVAL, publish], retry=ONCE)
steps = sequence("conformance.steps", [first, second, third], retry=QUICKLY)
steps_retry = sequence("conformance.steps_retry", [first, second_fails_once, third], retry=QUICKLY)
steps_later = sequence("conformance.steps_later", [first, second_later, third], retry=ONCE)
steps_wait = sequence("conformance.steps_wait", [first, second_waits, third], retry=ONCE)
steps_wait_plain = sequence("conformance.steps_wait_plain", [first, second_waits_plain, third], retry=ONCE)
