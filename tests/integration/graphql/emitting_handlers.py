"""Handlers that emit output, for the tests of `jobOutput`. A file `go` in the folder lets them end."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

from onward import JobContext, Retry, handler, sequence, wait_for


@handler("output.speak", retry=Retry(max_attempts=1), mutation="speak")
async def speak(job: JobContext, *, folder: str, words: int, waits: bool = False, size: int = 0) -> None:
    """Emit words, and some that are no text. With `waits` the last one comes after the file is there."""
    for n in range(words):
        job.emit({"word": n} if n % 10 == 0 else f"{n}{'x' * size} ")
        if n % 10 == 0:
            await asyncio.sleep(0)
    while waits and not (Path(folder) / "go").exists():
        await asyncio.sleep(0.01)
    job.emit("the end")


@dataclass
class Approval:
    """The answer to a draft."""

    approved: bool


async def draft(job: JobContext, *, text: str) -> str:
    job.emit(text)
    return text


async def publish(job: JobContext, approval: Approval) -> None:
    job.emit({"approved": approval.approved})


asks = sequence("output.asks", [draft, wait_for("approval", Approval), publish], mutation="ask")
