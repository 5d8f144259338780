"""The slots of the embedded backend, with requests that arrive while it asks the ledger for work."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextvars import ContextVar

import pytest
from structlog.testing import capture_logs

from onward.backends.background import Background
from onward.backends.base import Delivery, Role
from onward.storage.base import DiskFull
from onward.testing.waiting import until

pytestmark = pytest.mark.anyio


class Run:
    """A runner of jobs that end on request, with a ledger that answers on request."""

    runner_id = "runner_1"

    def __init__(self) -> None:
        self.started: list[str] = []
        self.running = 0
        self.most = 0
        self.go = asyncio.Event()
        self.asked: list[int] = []
        self.answers: asyncio.Queue[list[str]] = asyncio.Queue()

    async def __call__(self, job_id: str, *, wait_for_commit: bool = True) -> bool:  # noqa: ARG002
        self.started.append(job_id)
        self.running += 1
        self.most = max(self.most, self.running)
        await self.go.wait()
        self.running -= 1
        return True

    async def claim(self, limit: int, *, exclude: Collection[str] = ()) -> Sequence[Callable[[], Awaitable[None]]]:  # noqa: ARG002
        self.asked.append(limit)
        found = (await self.answers.get())[:limit]
        return [self._one(job_id) for job_id in found]

    def _one(self, job_id: str) -> Callable[[], Awaitable[None]]:
        async def run_all() -> None:
            await self(job_id)

        return run_all


@pytest.fixture
async def run(anyio_backend: str) -> Run:
    return Run()


@pytest.fixture
async def backend(run: Run) -> AsyncIterator[Background]:
    """A backend with one slot, which has asked the ledger for a job."""
    made = Background(run, concurrency=1)
    await made.start(Role.ACCEPT)
    await until(lambda: run.asked == [1])
    yield made
    run.go.set()
    await made.drain(1.0)


async def request(backend: Background, *job_ids: str, local_runner: str | None) -> None:
    """Return the jobs of one request whose response has been sent."""
    later: list[Awaitable[None]] = []
    deliveries = [Delivery(job_id, "conformance.note", local_runner=local_runner) for job_id in job_ids]
    await backend.deliver(deliveries, after_response=lambda function, *rest: later.append(function(*rest)))
    for one in later:
        await one


async def test_no_more_jobs_run_than_there_are_slots(backend: Background, run: Run) -> None:
    """A slot for which the ledger is being asked stays reserved until the answer."""
    await request(backend, "job_2", local_runner=backend.local_runner())
    run.answers.put_nowait(["job_1"])
    await until(lambda: run.started == ["job_1"])
    run.go.set()
    await until(lambda: run.started == ["job_1", "job_2"])
    assert run.most == 1


async def test_a_request_that_finds_no_free_slot_keeps_its_order(backend: Background, run: Run) -> None:
    """The request begins as soon as a slot is free again, and each job waits for the one before."""
    await request(backend, "job_1", "job_2", local_runner=backend.local_runner())
    assert backend.local_runner() is None
    run.answers.put_nowait([])
    await until(lambda: run.started == ["job_1"])
    run.go.set()
    await until(lambda: run.started == ["job_1", "job_2"])


async def test_jobs_accepted_without_a_free_slot_wait_in_the_ledger(backend: Background, run: Run) -> None:
    """Waiting jobs take no memory."""
    await request(backend, "job_1", local_runner=None)
    run.answers.put_nowait([])
    await until(lambda: len(run.asked) > 1)
    assert run.started == []


async def test_jobs_unblocked_by_maintenance_run_in_parallel(run: Run) -> None:
    """The jobs use the slots that the ledger is not being asked to fill; the others stay in the ledger."""
    backend = Background(run, concurrency=6)
    await backend.start(Role.ACCEPT)
    await until(lambda: run.asked == [3])
    await request(backend, "job_1", "job_2", "job_3", "job_4", local_runner=None)
    await until(lambda: run.running == 3)
    assert run.started == ["job_1", "job_2", "job_3"]
    run.go.set()
    await backend.drain(1.0)


class Refused(Run):
    """A runner whose ledger's disk is full."""

    async def __call__(self, job_id: str, *, wait_for_commit: bool = True) -> bool:  # noqa: ARG002
        self.started.append(job_id)
        raise DiskFull("the ledger's disk is full, and nothing was written: free some space")


async def test_a_full_disk_is_a_line_of_the_log_without_a_traceback() -> None:
    """The job was accepted, or its claim found, just before."""
    refused = Refused()
    refused.answers.put_nowait(["job_2"])
    with capture_logs() as lines:
        backend = Background(refused, concurrency=2)
        await backend.start(Role.ACCEPT)
        await request(backend, "job_1", local_runner=refused.runner_id)
        await until(lambda: sorted(refused.started) == ["job_1", "job_2"] and not backend._tasks)
        await backend.drain(1.0)
    assert [("exc_info" in line, "disk is full" in line["error"]) for line in lines] == [(False, True)] * 2


async def test_a_drain_begins_no_further_job_of_a_request(backend: Background, run: Run) -> None:
    """The others wait in the ledger, for any process: one by one they would be handed back until the process ends."""
    run.answers.put_nowait([])
    await request(backend, "job_1", "job_2", local_runner=run.runner_id)
    await until(lambda: run.started == ["job_1"])
    await backend.drain(1.0)
    run.go.set()
    await until(lambda: not backend._tasks)
    assert run.started == ["job_1"]


async def test_a_task_that_is_cancelled_before_its_first_step_frees_its_slot_and_its_jobs(
    backend: Background, run: Run
) -> None:
    """Nothing in the task has run by then; its jobs are claimed from the ledger."""
    run.answers.put_nowait([])
    await until(lambda: backend._asked == 0)
    await request(backend, "job_1", "job_2", local_runner=run.runner_id)
    (task,) = backend._tasks
    assert (backend._free, backend._reserved) == (0, {"job_1", "job_2"})
    task.cancel()
    await until(lambda: run.asked == [1, 1])
    assert (run.started, backend._free, backend._reserved) == ([], 1, set())


class User:
    """A value of a request."""


async def test_a_job_neither_sees_nor_keeps_the_context_variables_of_its_request() -> None:
    """A free slot makes no difference: in another process the job would not see them, either."""
    user, seen = ContextVar[User | None]("user", default=None), list[User | None]()
    zone, zones = ContextVar("zone", default=""), list[str]()

    class Looking(Run):
        async def __call__(self, job_id: str, *, wait_for_commit: bool = True) -> bool:
            seen.append(user.get())
            zones.append(zone.get())
            return await super().__call__(job_id, wait_for_commit=wait_for_commit)

    run = Looking()
    backend = Background(run, concurrency=1)
    zone.set("of the process")
    await backend.start(Role.ACCEPT)
    run.answers.put_nowait([])
    await until(lambda: run.asked == [1])

    async def send() -> weakref.ref[User]:
        ada = User()
        user.set(ada)
        zone.set("of the request")
        await request(backend, "job_1", local_runner=backend.local_runner())
        return weakref.ref(ada)

    ada = await asyncio.create_task(send())
    await until(lambda: run.started == ["job_1"])
    await asyncio.sleep(0)  # the event loop's present call holds the task of the request
    gc.collect()
    assert (seen, zones, ada()) == ([None], ["of the process"], None)
    run.go.set()
    await until(lambda: not backend._tasks)
    await backend.drain(1.0)
