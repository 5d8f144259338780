"""Handlers with `process=True`. Each notes its pid in a folder's `pids`."""

from __future__ import annotations

import ctypes
import logging
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import structlog

from onward.handlers.base import (
    HandlerError,
    InvalidParameters,
    JobContext,
    Permanent,
    Retry,
    RetryIn,
    handler,
    sequence,
    wait_for,
)
from onward.jobs.step_process import LINE_BYTES

ONCE = Retry(max_attempts=1)
LATER = datetime(2100, 1, 1, tzinfo=UTC)


def note(folder: str, pid: int | None = None) -> None:
    file = os.open(Path(folder) / "pids", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(file, f"{pid or os.getpid()}\n".encode())
    os.close(file)


async def first(job: JobContext, *, folder: str, pin: str) -> dict[str, str]:
    note(folder)
    for n in range(1000):
        job.progress(n + 1, 1000, "counting")
    structlog.get_logger("apart").info("logged there", pin=len(pin))
    return {
        "folder": folder,
        "child": job.dispatch(bad.job(kind="permanent"), owner=7, priority=5, run_at=LATER),
        "key": job.idempotency_key,
        "owner": str(job.owner),
    }


def second(_job: JobContext, value: dict[str, str]) -> dict[str, str]:
    note(value["folder"])
    return value


steps = sequence("apart.steps", [first, second], retry=ONCE, process=True, secret=frozenset({"pin"}))


async def tell(job: JobContext) -> str:
    for n in range(300):
        job.emit(f"word {n}")
    return "told"


def tell_in_a_thread(job: JobContext, value: str) -> None:
    job.emit({value: job.attempt})
    job.emit("x" * 32_000)


tells = sequence("apart.tells", [tell, tell_in_a_thread], retry=ONCE, process=True)


@handler("apart.dies", retry=ONCE, process=True)
def dies(job: JobContext) -> None:
    """Emit and log, and kill the process at once."""
    for n in range(50):
        job.emit(n)
    logging.getLogger(__name__).warning("its last word")
    os._exit(3)


@handler("apart.parent", retry=ONCE, process=True)
def parent(_job: JobContext, *, folder: str) -> None:
    """Leave a program and a fork behind, and kill the process at once."""
    sleeps = [sys.executable, "-c", "import time; time.sleep(600)"]
    note(folder, subprocess.Popen(sleeps, close_fds=False).pid)
    if (pid := os.fork()) == 0:
        time.sleep(600)
    note(folder, pid)
    os._exit(3)


@dataclass(frozen=True)
class Approval:
    approved: bool


def opened(_job: JobContext, *, folder: str) -> str:
    note(folder)
    return folder


def ended(job: JobContext, approval: Approval) -> str:
    note(job.result_of("opened"))
    return f"{type(approval).__name__} {approval.approved}"


waits = sequence("apart.waits", [opened, wait_for("approval", Approval), ended], retry=ONCE, process=True)


@handler("apart.stuck", retry=ONCE, process=True, timeout=timedelta(seconds=0.1))
def stuck(_job: JobContext, *, folder: str) -> None:
    """Hold the interpreter's lock."""
    note(folder)
    ctypes.PyDLL(None).sleep(600)


@handler("apart.deaf", retry=ONCE, process=True)
def deaf(_job: JobContext, *, folder: str) -> None:
    """Ignore every stop."""
    note(folder)
    time.sleep(600)


class Closed(InvalidParameters):
    code = "CLOSED"


@handler("apart.bad", retry=ONCE, process=True)
def bad(job: JobContext, *, kind: str, pin: str = "") -> None:
    if kind == "permanent":
        raise Permanent(f"never {pin}", code="NEVER")
    if kind == "parameters":
        raise Closed([("order", 7)])  # type: ignore[list-item] # as untyped code does
    if kind == "long":
        raise Permanent("x" * 2 * LINE_BYTES, code="LONG")
    if kind == "dispatch":
        job.dispatch("apart.unknown")
    if kind == "exit":
        os._exit(3)
    if kind == "signal":
        os.kill(os.getpid(), 35)
    raise ValueError(f"a stranger's {pin}")


class Busy(HandlerError):
    code = "BUSY"


POLICY = Retry(max_attempts=1, by_type={Busy: Retry(9), LookupError: Retry(9), KeyError: Permanent})


@handler("apart.judged", retry=POLICY, process=True)
async def judged(_job: JobContext, *, kind: str) -> None:
    if kind == "later":
        raise RetryIn(timedelta(days=2), "not now", code="LATER", charged=False)
    raise {"busy": Busy("so \ud800"), "index": IndexError(), "key": KeyError()}[kind]
