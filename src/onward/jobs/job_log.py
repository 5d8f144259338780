"""The log lines of the jobs that run in a process, on their way into the ledger.

They are written with the end of their step. Of a step that runs on, those there are go ahead once in a while, all
jobs' together.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from contextlib import suppress
from contextvars import Context
from functools import partial

import orjson

from onward.jobs.control import Control
from onward.jobs.encryption import redact
from onward.jobs.log_level import level_of
from onward.jobs.log_lines import MAX_BYTES, MAX_LINES, NO_LINES, LogBatch, Piece
from onward.jobs.model import without_surrogates
from onward.jobs.running import Running
from onward.jobs.timings import Timings
from onward.storage.base import StorageError
from onward.storage.writer import Writer
from onward.telemetry import job_lines, logger
from onward.telemetry.job_lines import JobLines, Line

MAX_TEXT = 8_000  # characters of one line
NOTE_TEXT = 60  # of them, for the note in the place of a long line's middle
PIECE_LINES, PIECE_BYTES = 100, 32_000  # of a row; the last line may pass the size
OFF = 0
"""The level of a log that keeps no lines."""


def shown(text: str, secrets: tuple[str, ...]) -> str:
    """Return the text of a line without secrets, and without the middle of a long one.

    A second time it changes nothing: the line of a handler's own process is cut there and here.
    """
    text = without_surrogates(redact(text, secrets))
    if len(text) <= MAX_TEXT:
        return text
    half = (MAX_TEXT - NOTE_TEXT) // 2
    return f"{text[:half]} ... ({len(text) - 2 * half} characters left out) ... {text[-half:]}"


class JobLog:
    """The log lines of one attempt that are not written yet: no more than the ledger would keep, and one piece."""

    __slots__ = (
        *("_bytes", "_first", "_log", "_number", "_pending", "_pieces", "_running", "_total"),
        *("ending", "level", "source", "waiting", "writing"),
    )

    def __init__(self, running: Running, log: LogWriter) -> None:
        self.source = log.lines
        self.level = log.level
        self.writing: asyncio.Task[None] | None = None
        self.ending = False  # its lines are being written with the end of a step
        self._log = log
        self._running: Running | None = running
        self._first = running.job.fencing_token
        self._pieces: tuple[Piece, ...] = ()  # perhaps written already: a write that is repeated has the same ones
        self._pending: deque[bytes] | None = None  # the lines behind them, as JSON
        self._number = 0  # of the first line that is in no piece
        self._total = 0  # bytes of all lines there were
        self.waiting = self._bytes = 0  # lines in both, and their bytes

    def add(self, line: Line) -> None:
        running = self._running
        if running is None or running.over:
            return
        level, text = level_of(line.level), shown(line.text, running.secrets)
        data = orjson.dumps((line.time, level.value, without_surrogates(line.logger), running.step, text))
        with self._log.lock:
            if self._running is None:  # the job has ended meanwhile
                return
            if self._pending is None:
                self._pending = deque()
            self._pending.append(data)
            self.waiting += 1
            self._bytes += len(data)
            self._total += len(data)
            while (self.waiting > MAX_LINES or self._bytes > MAX_BYTES) and self._drop_oldest():
                pass
        self._log.wake()

    def _drop_oldest(self) -> bool:
        """Drop the oldest piece, or else the oldest line, if there is enough without it."""
        assert self._pending is not None  # noqa: S101 - for the type checker
        first = self._pieces[0] if self._pieces else None
        lines, size = (first.lines, first.size) if first else (1, len(self._pending[0]))
        if self.waiting - lines < MAX_LINES and self._bytes - size < MAX_BYTES:
            return False
        if first:
            self._pieces = self._pieces[1:]
        else:
            self._pending.popleft()
            self._number += 1
        self.waiting -= lines
        self._bytes -= size
        return True

    def batch(self) -> LogBatch:
        """Return the lines that are not written. They stay, in the same pieces, until `written`."""
        with self._log.lock:
            lines, self._pending = self._pending or (), None
            self.waiting -= len(lines)
            self._bytes -= sum(map(len, lines))
            piece, size = list[bytes](), 0
            for at, line in enumerate(lines, 1):
                piece.append(line)
                size += len(line)
                if len(piece) == PIECE_LINES or size > PIECE_BYTES or at == len(lines):
                    self._pieces += (Piece(self._number, len(piece), f"[{b','.join(piece).decode()}]"),)
                    self._number += len(piece)
                    self.waiting += len(piece)
                    self._bytes += self._pieces[-1].size
                    piece, size = [], 0
            # Those of earlier attempts are not known: the ledger looks for them.
            drops = self._first > 1 or self._number > MAX_LINES or self._total > MAX_BYTES
            return LogBatch(self._first, self._pieces, drops)

    def written(self, batch: LogBatch) -> None:
        """Forget the pieces of a batch, which is in the ledger."""
        with self._log.lock:
            while batch.pieces and self._pieces and self._pieces[0].number <= batch.pieces[-1].number:
                self.waiting -= self._pieces[0].lines
                self._bytes -= self._pieces[0].size
                self._pieces = self._pieces[1:]

    def close(self) -> None:
        """Take no further line. Contexts that outlive the job hold nothing of it."""
        with self._log.lock:
            self._running = self._pending = None
            self._pieces = ()
            self.waiting = self._bytes = 0


class LogWriter:
    """Writes the log lines of the jobs that run in a process; none with the level OFF."""

    def __init__(self, writer: Writer, control: Control, timings: Timings, level: int) -> None:
        self.level = level
        self.lines = JobLines()
        self.lock = threading.RLock()  # a collected object may log while a thread holds it
        self._writer = writer
        self._control = control
        self._interval_s = timings.log_interval_s
        self._loop: asyncio.AbstractEventLoop | None = None
        self._due = False  # a look at the jobs' lines
        self._log = logger("runner")

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        if self.level != OFF:
            self.lines.open()

    def begin(self, running: Running) -> None:
        """Collect the lines of the present task for the job, until `end`."""
        if self.level != OFF:
            running.log = JobLog(running, self)
            job_lines.collect(running.log)

    def end(self, running: Running) -> None:
        if running.log is not None:
            running.log.close()

    def wake(self) -> None:
        """Write soon the lines that wait then. From any thread."""
        if not self._due and self._loop is not None:
            self._due = True
            with suppress(RuntimeError):  # the loop has closed
                # In a context of its own: that of the line belongs to a job.
                self._loop.call_soon_threadsafe(self._loop.call_later, self._interval_s, self._look, context=Context())

    def _look(self) -> None:
        self._due = False
        for running in self._control.running:
            log = running.log
            if log is not None and log.waiting and log.writing is None and not log.ending and not running.over:
                log.writing = asyncio.get_running_loop().create_task(self._write(running, log), name="log")

    async def _write(self, running: Running, log: JobLog) -> None:
        """Write the lines there are. Those that cannot be written now are written later, or with the step's end."""
        batch = log.batch()
        write = partial(batch.append_under_claim, job=running.job)
        try:
            if await self._writer.run(write, running.order):
                log.written(batch)
        except StorageError:
            pass
        except Exception:  # noqa: BLE001 - the end of the step writes them, or fails for the same reason
            self._log.exception("log lines could not be written", job=running.id)
        finally:
            log.writing = None
        if log.waiting and not running.over:
            self.wake()

    async def take(self, running: Running) -> LogBatch:
        """Return the lines that are written with the end of a step, and with nothing else until `written`."""
        log = running.log
        if log is None:
            return NO_LINES
        log.ending = True
        while log.writing is not None:
            await asyncio.wait({log.writing})
        return log.batch()

    def written(self, running: Running, batch: LogBatch) -> None:
        """Go on after the end of a step, which is in the ledger with its lines."""
        log = running.log
        if log is not None:
            log.written(batch)
            log.ending = False
            if log.waiting:
                self.wake()

    def close(self) -> None:
        self.lines.close()
