"""Writes the chunks that handlers emit: those of a moment together, and the last ones with the end of their step.

A chunk has its offset before it is written, so that a write whose outcome is unknown may be repeated.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from functools import partial
from itertools import islice
from time import monotonic
from typing import NamedTuple

from onward.jobs import chunks
from onward.jobs.chunks import MAX_BYTES, MAX_CHUNKS, Emitted, Kept
from onward.jobs.control import Control
from onward.jobs.model import Job
from onward.jobs.running import Running
from onward.jobs.timings import Timings
from onward.storage.base import StorageError
from onward.storage.transaction import Tx
from onward.storage.writer import Writer
from onward.telemetry import logger

MAX_WRITE = 1_000  # chunks in one commit
RETRY_PAUSE_S = 0.25


class Batch(NamedTuple):
    """Chunks that are about to be written, and the job's output before them."""

    chunks: tuple[Emitted, ...] = ()
    before: Kept = Kept()

    def append(self, tx: Tx, job: Job) -> Kept:
        """Insert the chunks in a transaction that has found the job's claim to hold."""
        return chunks.append(tx, job, self.chunks, self.before)


NOTHING = Batch()


class Output:
    """The output of one attempt: chunks that are not written yet, no more than the ledger would keep."""

    def __init__(self, job: Job) -> None:
        # The first attempt's output begins at 0; that of a later one is asked for before its first write.
        self.kept = Kept() if job.attempt == 1 else None
        self.write_due = False
        self.writing: asyncio.Task[None] | None = None
        self.written_at = 0.0
        self.refused: Job | None = None  # as it was when its claim was found to be over
        self.ending = False  # its chunks are being written with the end of a step
        self._lock = threading.Lock()
        self._pending: deque[Emitted] = deque()  # with offsets from 0 in this attempt
        self._bytes = 0
        self._emitted = 0
        self._first: int | None = None  # the offset of the attempt's first chunk

    def add(self, step: str, data: str) -> None:
        """Add a chunk of a step as JSON. From any thread."""
        size = len(data.encode())
        with self._lock:
            self._pending.append(Emitted(self._emitted, step, size, data))
            self._emitted += 1
            self._bytes += size
            while len(self._pending) > MAX_CHUNKS or self._bytes > MAX_BYTES:
                self._bytes -= self._pending.popleft().size

    @property
    def waiting(self) -> int:
        """Return the number of chunks that are not written."""
        return len(self._pending)

    def next_batch(self, limit: int = MAX_CHUNKS) -> Batch:
        """Return the oldest chunks that are not written. They stay until `written`."""
        assert self.kept is not None  # noqa: S101 - for the type checker
        if self._first is None:
            self._first = self.kept.upcoming
        first = self._first
        with self._lock:
            some = list(islice(self._pending, limit))
        return Batch(tuple(chunk._replace(offset=first + chunk.offset) for chunk in some), self.kept)

    def written(self, batch: Batch, kept: Kept) -> None:
        """Forget the chunks of a batch, which is in the ledger."""
        if not batch.chunks:
            return
        self.kept = kept
        assert self._first is not None  # noqa: S101 - likewise
        end = batch.chunks[-1].offset - self._first
        with self._lock:
            while self._pending and self._pending[0].offset <= end:
                self._bytes -= self._pending.popleft().size


class OutputWriter:
    """Writes the output of the jobs that run in a process."""

    def __init__(self, writer: Writer, control: Control, timings: Timings) -> None:
        self._writer = writer
        self._control = control
        self._interval_s = timings.output_interval_s
        self._loop: asyncio.AbstractEventLoop | None = None
        self._making = threading.Lock()
        self._log = logger("runner")

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()

    def emit(self, running: Running, data: str) -> None:
        """Add a chunk, as JSON, to the job's output, and write it soon. From any thread."""
        output = running.output
        if output is None:
            with self._making:
                output = running.output = running.output or Output(running.job)
        output.add(running.step, data)
        self._write_soon(running, output)

    def _write_soon(self, running: Running, output: Output) -> None:
        assert self._loop is not None  # noqa: S101 - for the type checker
        if not output.write_due:
            output.write_due = True
            self._loop.call_soon_threadsafe(self._schedule, running, output)

    def _schedule(self, running: Running, output: Output, pause_s: float = 0.0) -> None:
        """Write at once after a silence, and else an interval after the last write."""
        due_in_s = max(output.written_at + self._interval_s - monotonic(), pause_s)
        asyncio.get_running_loop().call_later(due_in_s, self._begin, running, output)

    def _begin(self, running: Running, output: Output) -> None:
        output.write_due = False
        refused = output.ending or output.refused is running.job
        if output.writing is None and not refused and self._control.runs(running):
            output.writing = asyncio.get_running_loop().create_task(self._write(running, output), name="output")

    async def _write(self, running: Running, output: Output) -> None:
        """Write the chunks there are. Those that cannot be written now are written later, or with the step's end."""
        pause_s = 0.0
        try:
            await self._append(running, output)
        except StorageError:
            pause_s = RETRY_PAUSE_S
        except Exception:  # noqa: BLE001 - the end of the step writes them, or fails for the same reason
            self._log.exception("output could not be written", job=running.id)
            pause_s = RETRY_PAUSE_S
        finally:
            output.writing = None
            output.written_at = monotonic()
        if output.waiting and not output.write_due and not running.over:
            output.write_due = True
            self._schedule(running, output, pause_s)

    async def _append(self, running: Running, output: Output) -> None:
        """Commit the next batch, unless the claim is over. Raises Unavailable."""
        await self._prepare(running, output)
        batch, job = output.next_batch(MAX_WRITE), running.job
        append = partial(chunks.append_under_claim, job=job, chunks=batch.chunks, before=batch.before)
        kept = await self._writer.run(append, running.order) if batch.chunks else None
        if kept is not None:
            output.written(batch, kept)
        elif batch.chunks:
            output.refused = job

    async def _prepare(self, running: Running, output: Output) -> None:
        if output.kept is None:
            output.kept = await self._writer.database.read(partial(chunks.kept, job_id=running.id))

    async def take(self, running: Running) -> Batch:
        """Return the chunks that are written with the end of a step, and with nothing else until `written`.

        Earlier ones are in the ledger. Raises Unavailable. May be called again.
        """
        output = running.output
        if output is None:
            return NOTHING
        output.ending = True
        while output.writing is not None:
            await asyncio.wait({output.writing})
        await self._prepare(running, output)
        while output.waiting > MAX_WRITE and output.refused is not running.job:
            await self._append(running, output)
        return output.next_batch()

    def written(self, running: Running, batch: Batch, kept: Kept) -> None:
        """Go on after the end of a step, which is in the ledger with its chunks."""
        output = running.output
        if output is not None:
            output.written(batch, kept)
            output.ending = False
            if output.waiting:
                self._write_soon(running, output)
