"""The project of a conformance run: a ledger, one backend, worker processes and the observing test process."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from onward.backends.base import Delivery, Role
from onward.config import settings
from onward.jobs import commands, ledger
from onward.jobs.model import Job, Visible
from onward.jobs.states import JobStatus
from onward.jobs.timings import Timings
from onward.runtime import backends, wiring
from onward.runtime.database import database_of
from onward.runtime.enqueuing import enqueuer_of
from onward.storage import migrate
from onward.storage.base import StorageError
from onward.storage.lock_order import ALONE
from onward.storage.tables import runners
from onward.testing import node, processes
from onward.testing.backend_fixture import BackendFixture
from onward.testing.processes import Worker

DRAIN_S = 1.0
TIMINGS = Timings(
    heartbeat_s=0.25,
    lease_timeout_s=2.0,
    orphan_check_s=1.0,
    local_claim_grace_s=1.5,
    tick_interval_s=0.2,
    delivery_grace_s=1.5,
    reconcile_interval_s=1.0,
    redis_heartbeat_s=0.5,
    redis_heartbeat_timeout_s=2.0,
)
"""Short, so that a test need not wait, and long enough for a busy machine."""
AT_ONCE = 2  # jobs of conformance.limited that may run
IN_A_SECOND = 20  # jobs of conformance.rated that may begin
TIMEOUT_S = 20.0
START_TIMEOUT_S = 60.0  # no promise: a busy machine may take long to load a process
POLL_INTERVAL_S = 0.025
FAR_AWAY_S = 3600.0
ALL = Visible(everything=True)
_runners = sa.select(runners.c.id, runners.c.name)


class Harness:
    """The handle that tests act through. `front` is the runtime in the test process, which runs no job.

    If the backend runs jobs in the accepting process, a worker accepts them; `front` does while no worker is up.
    """

    def __init__(self, backend_fixture: BackendFixture, project: Path, front: wiring.Runtime) -> None:
        self.backend_fixture = backend_fixture
        self.project = project
        self.front = front
        self.workers: list[Worker] = []
        self.folder = project

    @property
    def embedded(self) -> bool:
        """True if the backend runs a job in the process that accepts it."""
        return not self.front.dispatcher.backends[self.backend_fixture.name].runs_elsewhere

    def say(self, name: str) -> None:
        """Create a file of that name in the test's folder; handlers of `onward.testing.workload` wait for it."""
        (self.folder / name).touch()

    async def accept(
        self,
        handler: str,
        *,
        run_at: int | None = None,
        priority: int = 0,
        expires_us: int | None = None,
        **params: Any,
    ) -> Job:
        """Accept one job, as one request does."""
        wanted = {"handler": handler, "params": params, "run_at": run_at, "priority": priority}
        wanted |= {} if expires_us is None else {"expires_us": expires_us}
        return (await self.request([wanted]))[0]

    async def request(self, wanted: Sequence[dict[str, Any]]) -> list[Job]:
        """Accept and deliver jobs, as one request with a mutation for each does."""
        port = self._port()
        if port is not None:
            ids = await node.ask(port, accept=list(wanted))
            return [await self.get(job_id) for job_id in ids]
        jobs = await node.accept(self.front, [dict(one) for one in wanted])
        await self.front.dispatcher.deliver(jobs, after_response=self.front.dispatcher.defer, in_order=True)
        return jobs

    async def deliver_again(self, job: Job, times: int) -> None:
        """Deliver the job's id again, `times` times."""
        port = self._port()
        if port is not None:
            await node.ask(port, again=[job.id] * times)
        else:
            await node.again(self.front, [job.id] * times, self.front.dispatcher.defer)

    def _port(self) -> int | None:
        port_files = [
            node.port_file(self.project, worker.pid) for worker in self.workers if worker.is_up and self.embedded
        ]
        return next((int(port_file.read_text()) for port_file in port_files if port_file.exists()), None)

    async def get(self, job_id: str) -> Job:
        job = await self.front.database.read(lambda tx: ledger.get(tx, job_id))
        assert job is not None, f"{job_id} is not in the ledger"
        return job

    async def until(self, job: Job, condition: Callable[[Job], bool], within_s: float = TIMEOUT_S) -> Job:
        """Return the job once the condition holds. Raises AssertionError after `within_s` seconds."""
        deadline = time.monotonic() + within_s
        while not condition(found := await self.get(job.id)):
            assert time.monotonic() < deadline, f"after {within_s} s: {found}\n{self.log()}"
            await asyncio.sleep(POLL_INTERVAL_S)
        return found

    async def is_now(self, job: Job, *status: JobStatus, within_s: float = TIMEOUT_S) -> Job:
        return await self.until(job, lambda found: found.status in status, within_s)

    async def done(self, job: Job, within_s: float = TIMEOUT_S) -> Job:
        return await self.until(job, lambda found: found.done, within_s)

    async def noted(self, word: str, times: int = 1, within_s: float = TIMEOUT_S) -> None:
        """Wait until handlers have noted the word at least `times` times in the test's folder."""
        await self.comes_true(lambda: self.count(word) >= times, within_s)

    async def comes_true(self, condition: Callable[[], bool], within_s: float = TIMEOUT_S) -> None:
        deadline = time.monotonic() + within_s
        while not condition():
            assert time.monotonic() < deadline, f"not within {within_s} s\n{self.log()}"
            await asyncio.sleep(POLL_INTERVAL_S)

    def count(self, word: str) -> int:
        from onward.testing.workload import notes  # noqa: PLC0415

        return [note.word for note in notes(self.folder)].count(word)

    async def cancel(self, job: Job, reason: str | None = None) -> Job:
        return await self.front.writer.run(lambda tx: commands.cancel(tx, job.id, reason=reason, visible=ALL))

    async def retry(self, job: Job, *, from_start: bool = False) -> Job:
        """Retry the job by hand and deliver it."""
        route = self.front.dispatcher.route
        after = await self.front.writer.run(
            lambda tx: commands.retry(tx, job.id, from_start=from_start, visible=ALL, route=route), ALONE
        )
        await self.front.dispatcher.deliver([after], after_response=self.front.dispatcher.defer)
        return after

    async def signal(self, job: Job, name: str, payload: Any = None) -> None:
        """Send the job a signal, as a program does."""
        await (await enqueuer_of(self.front)).signal(job.id, name, payload)

    @asynccontextmanager
    async def delivering_once(self) -> AsyncIterator[None]:
        """Withhold second deliveries of a job, so that nothing makes up for one that the backend loses.

        A process that runs its own jobs does not look for them in the ledger, either.
        """
        if self.embedded:
            await self.no_worker()
            await self.start_worker(replace(TIMINGS, local_claim_grace_s=FAR_AWAY_S))
            try:
                yield
            finally:
                await self.no_worker()
            return
        backend, seen = self.front.dispatcher.backends[self.backend_fixture.name], set[str]()
        deliver = backend.deliver

        async def once(deliveries: Sequence[Delivery], *, after_response: Callable[..., None]) -> None:
            first = [delivery for delivery in deliveries if delivery.job_id not in seen]
            await deliver(first, after_response=after_response)
            seen.update(delivery.job_id for delivery in first)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(backend, "deliver", once)
            yield

    async def start_worker(self, timings: Timings = TIMINGS, queues: str = "") -> Worker:
        """Start one more worker process, for these queues, and wait until it takes part; its first job may end it."""
        worker = self.backend_fixture.start(self.project, timings, queues)
        self.workers.append(worker)
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            is_up = worker.is_up  # first: it may take part, and die of its first job, before the next line
            if await self.runners(worker) and (
                not (is_up and self.embedded) or node.port_file(self.project, worker.pid).exists()
            ):
                return worker
            assert is_up and time.monotonic() < deadline, f"the worker does not come up\n{self.log()}"  # noqa: PT018
            await asyncio.sleep(POLL_INTERVAL_S)

    async def runners(self, worker: Worker) -> set[str]:
        """Return the runner ids that the ledger knows of the worker."""
        name = f"{socket.gethostname()}:{worker.pid}"
        return {row[0] for row in await self.front.database.read(lambda tx: tx.all(_runners)) if row[1] == name}

    async def ready(self) -> Worker:
        """Leave exactly one worker running and return it."""
        up = [worker for worker in self.workers if worker.is_up]
        for worker in up[1:]:
            worker.kill()
        self.workers = up[:1] or [await self.start_worker()]
        return self.workers[0]

    async def freeze(self, worker: Worker) -> None:
        """Freeze the worker outside of a commit, because a frozen commit would hold SQLite's only lock."""
        while True:
            worker.freeze()
            with suppress(StorageError, TimeoutError):
                async with asyncio.timeout(1):
                    return await self.front.writer.run(lambda _tx: None)
            worker.wake()
            await asyncio.sleep(POLL_INTERVAL_S)

    async def no_worker(self) -> None:
        """Stop all workers."""
        for worker in self.workers:
            if worker.is_up:
                await worker.stop(DRAIN_S + 5)
        self.workers.clear()

    def close(self) -> None:
        for worker in self.workers:
            worker.kill()

    def log(self) -> str:
        """Return the last 4,000 characters of the workers' output."""
        file = processes.log_of(self.project)
        return file.read_text(errors="replace")[-4000:] if file.exists() else ""


@asynccontextmanager
async def open_harness(backend_fixture: BackendFixture, project: Path) -> AsyncIterator[Harness]:
    """Open a harness in that folder; it has no worker yet."""
    url = backend_fixture.database(project)
    lines = [
        f'backend = "{backend_fixture.name}"',
        "[server]",
        f"drain_s = {DRAIN_S}",
        "[database]",
        f'url = "{url}"',
        f'schema = "{backend_fixture.schema}"',
        "[handlers]",
        'modules = ["onward.testing.workload"]',
        'lifespan = "onward.testing.workload:lifespan"',
        '[queues."conformance.limited"]',
        f"concurrency = {AT_ONCE}",
        '[queues."conformance.rated"]',
        f'rate = "{IN_A_SECOND}/s"',
        backend_fixture.settings(project),
    ]
    (project / "settings.toml").write_text("\n".join(lines))
    loaded = settings.load(project)
    database = database_of(loaded)
    await asyncio.to_thread(migrate.upgrade, database)
    database.close()
    found, _ = backends.backend_class(loaded, backend_fixture.name)
    # In this role the backend runs nothing here: the jobs are for the workers.
    role = Role.ACCEPT if found.runs_elsewhere else Role.RUN
    async with wiring.run_process(loaded, role, timings=TIMINGS) as front:
        opened = Harness(backend_fixture, project, front)
        try:
            yield opened
        finally:
            opened.close()
            backend_fixture.clear()
