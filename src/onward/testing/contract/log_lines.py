"""The log lines of jobs, for a reader in another process."""

from __future__ import annotations

import pytest

from onward.jobs import log_lines
from onward.jobs.log_level import LogLevel
from onward.jobs.states import JobStatus
from onward.testing.harness import Harness
from onward.testing.workload import log

CLOCK_US = 2_000  # SQLite's clock counts milliseconds


class Logging:
    @pytest.mark.parametrize("handler", ["conformance.logs", "conformance.logs_apart"])
    async def test_the_log_lines_of_each_attempt_and_step_are_told_apart(self, harness: Harness, handler: str) -> None:
        """Async steps, plain ones in a thread, and those in a process of their own log to their job."""
        job = await harness.done(await harness.accept(handler, times=1))
        assert job.status is JobStatus.SUCCEEDED
        lines = await harness.front.database.read(lambda tx: log_lines.newest(tx, job.id, 100))
        assert [(line.attempt, line.step, line.level, line.text) for line in lines if line.logger == log.name] == [
            (1, "log_and_fail", LogLevel.WARNING, "attempt 1"),
            (2, "log_and_fail", LogLevel.WARNING, "attempt 2"),
            (2, "log_in_a_thread", LogLevel.ERROR, "after 1 failures"),
        ]
        times = [line.time for line in lines]
        assert job.started_at is not None
        assert job.finished_at is not None
        assert job.started_at - CLOCK_US <= min(times) <= max(times) <= job.finished_at
