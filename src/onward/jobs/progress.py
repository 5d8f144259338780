"""Writes the progress that handlers report: at most once in a while for each job."""

from __future__ import annotations

import asyncio

from onward.jobs import recording
from onward.jobs.control import Control
from onward.jobs.running import Running
from onward.jobs.timings import Timings
from onward.storage.writer import Writer


class ProgressReporter:
    """Writes the latest progress of the jobs that run in a process."""

    def __init__(self, writer: Writer, control: Control, timings: Timings) -> None:
        self._writer = writer
        self._control = control
        self._timings = timings
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()

    def report(self, running: Running) -> None:
        """Write the job's progress soon. From any thread."""
        assert self._loop is not None  # noqa: S101 - for the type checker
        if not running.reporting:
            running.reporting = True
            self._loop.call_soon_threadsafe(
                self._loop.call_later, self._timings.progress_interval_s, self._write, running
            )

    def _write(self, running: Running) -> None:
        running.reporting = False
        latest = running.latest
        if latest is not None and self._control.runs(running):
            write = self._writer.run(lambda tx: recording.report_progress(tx, running.job, latest), running.order)
            # An error may be ignored: the outcome is recorded with the progress again.
            asyncio.ensure_future(write).add_done_callback(lambda done: done.cancelled() or done.exception())
