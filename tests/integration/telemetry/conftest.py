"""A process over a ledger of its own, with the handlers of `telemetry_handlers`, each of whose jobs ends."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import structlog

from onward.backends.base import Role
from onward.config.settings import load
from onward.jobs import ledger
from onward.jobs.model import Job, NewJob
from onward.runtime import wiring
from tests import application


@pytest.fixture
def logging_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:], root.level = handlers, level
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()


@dataclass(frozen=True)
class Process:
    onward: wiring.Runtime

    async def run(self, handler: str, /, *, trace: str | None = None, **params: Any) -> Job:
        """Run a mutation's job to its end, and return it."""
        return (await self.run_in_order(self.onward.dispatcher.prepare(handler, params, owner=None, trace=trace)))[0]

    async def run_in_order(self, *new: NewJob) -> list[Job]:
        """Run the jobs of one request to their end, and return them."""
        dispatcher = self.onward.dispatcher
        jobs = await self.onward.writer.run(lambda tx: [dispatcher.accept(tx, one) for one in new])
        await dispatcher.deliver(jobs, after_response=dispatcher.defer, in_order=True)
        return [await self.over(job.id) for job in jobs]

    async def over(self, job_id: str) -> Job:
        async with asyncio.timeout(20):
            while True:
                job = await self.onward.database.read(lambda tx: ledger.get(tx, job_id))
                if job is not None and job.done:
                    return job
                await asyncio.sleep(0.02)

    def metrics(self) -> dict[str, float]:
        """Return the process's metrics, by name and labels."""
        lines = self.onward.telemetry.metrics.text().decode().splitlines()
        return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")}


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not true():
            await asyncio.sleep(0.02)


@asynccontextmanager
async def processing(folder: Path, **tables: Any) -> AsyncIterator[Process]:
    application.write(folder)
    given = load(
        folder,
        **application.tables({**tables, "handlers": {"modules": ["tests.integration.telemetry.telemetry_handlers"]}}),
    )
    async with wiring.run_process(given, Role.ACCEPT) as onward:
        yield Process(onward)
