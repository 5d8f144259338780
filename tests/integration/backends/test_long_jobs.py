"""Jobs do not wait in a Dramatiq worker that runs long ones while another worker is idle."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager

import pytest
from dramatiq.worker import Worker

from onward.backends.base import Delivery, Role
from onward.backends.dramatiq import Dramatiq
from onward.testing.waiting import until

pytestmark = pytest.mark.anyio
LONG = "job_long"
LONGER = "job_longer"
QUICK = ["job_1", "job_2", "job_3"]


class Run:
    """Runs jobs; the long one ends on request."""

    runner_id = "runner_1"

    def __init__(self) -> None:
        self.started: list[str] = []
        self.go = asyncio.Event()

    async def __call__(self, job_id: str, *, wait_for_commit: bool = True) -> bool:  # noqa: ARG002
        self.started.append(job_id)
        if job_id in {LONG, LONGER}:
            await self.go.wait()
        return True

    async def claim(self, limit: int, *, exclude: Collection[str] = ()) -> list[object]:
        raise NotImplementedError


@asynccontextmanager
async def consuming(run: Run, url: str, namespace: str, slots: int = 1) -> AsyncIterator[Worker]:
    """Consume, as a process with so many slots does, until the block ends."""
    backend = Dramatiq(run, url=url, namespace=namespace)  # type: ignore[arg-type]
    await backend.start(Role.RUN)
    worker = Worker(backend.broker, worker_threads=slots, worker_timeout=100)
    backend.declare(worker)
    worker.start()
    try:
        yield worker
    finally:
        run.go.set()
        await asyncio.to_thread(worker.stop)
        await backend.drain(1.0)
        backend.broker.client.connection_pool.disconnect()


async def enqueue(worker: Worker, *job_ids: str) -> None:
    deliveries = [Delivery(job_id, "h") for job_id in job_ids]
    await asyncio.to_thread(worker.broker.enqueue_many, deliveries)  # type: ignore[attr-defined]


@pytest.mark.parametrize("long", [[LONG], [LONG, LONGER]], ids=["one slot", "two slots"])
async def test_a_worker_with_long_jobs_leaves_others_to_an_idle_worker(
    redis_url: str, namespace: str, long: list[str]
) -> None:
    """Some of them were fetched before it was known that the first jobs take long."""
    busy, idle = Run(), Run()
    async with consuming(busy, redis_url, namespace, len(long)) as worker:
        await enqueue(worker, *long, *QUICK)
        await until(lambda: busy.started == long)
        async with consuming(idle, redis_url, namespace):
            await until(lambda: sorted(idle.started) == QUICK, within_s=10)
            assert busy.started == long
            await enqueue(worker, "job_later")
            await until(lambda: "job_later" in idle.started, within_s=3)
        assert busy.started == long


async def test_a_job_begins_while_dramatiq_s_own_thread_stands_still(redis_url: str, namespace: str) -> None:
    """A consumer begins it, since a slot is free."""
    run, held = Run(), threading.Event()
    async with consuming(run, redis_url, namespace, 2) as worker:
        for thread in worker.workers:
            thread.process_message = lambda _: held.wait()  # type: ignore[method-assign,assignment]
        await enqueue(worker, "job_1")
        try:
            await until(lambda: run.started == ["job_1"])
        finally:
            held.set()


async def test_a_worker_that_drains_leaves_others_to_an_idle_worker(redis_url: str, namespace: str) -> None:
    """The consumers go on for as long as the long job runs, since Redis hears of the worker by them."""
    busy, idle = Run(), Run()
    async with consuming(busy, redis_url, namespace) as worker:
        await enqueue(worker, LONG)
        await until(lambda: busy.started == [LONG])
        stopping = asyncio.ensure_future(asyncio.to_thread(worker.stop))
        async with consuming(idle, redis_url, namespace):
            for job_id in QUICK:
                await enqueue(worker, job_id)
                await until(lambda job_id=job_id: job_id in idle.started, within_s=5)  # type: ignore[misc]
        assert not stopping.done()
        busy.go.set()
        await stopping
    assert busy.started == [LONG]
