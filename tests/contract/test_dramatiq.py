"""Cases of a broker only: it is absent, frozen, empty, or holds unreadable messages."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import redis

from onward.jobs.states import JobStatus
from onward.testing import processes
from onward.testing.harness import IN_A_SECOND, Harness, open_harness
from onward.testing.waiting import until
from onward.testing.workload import QUEUE
from tests.contract.backend_fixtures import DramatiqFixture
from tests.servers import Server, free_port, redis_server

S = JobStatus
RETURN_S = 45.0  # 15 s on a quiet machine


class Broker:
    """A Redis of the test's own, on a port that stays."""

    def __init__(self) -> None:
        self.port = free_port()
        self._stack = ExitStack()
        self.server: Server

    def start(self) -> None:
        self.server = self._stack.enter_context(redis_server(port=self.port))

    def stop(self) -> None:
        self._stack.close()


@pytest.fixture
def broker(redis_url: str) -> Iterator[Broker]:  # `redis_url`: where there is no Redis, this is skipped as well
    made = Broker()
    made.start()
    yield made
    made.stop()


@pytest.fixture
async def harness(broker: Broker, tmp_path: Path, anyio_backend: str) -> AsyncIterator[Harness]:
    """A harness whose Redis may be taken away."""
    async with open_harness(_Unclear(broker.server.url), tmp_path) as made:
        await made.start_worker()
        await made.done(await made.accept("conformance.result", kind="nothing"))
        yield made


class _Unclear(DramatiqFixture):
    def clear(self) -> None:
        """Do nothing: the Redis ends with the test."""


async def test_jobs_are_accepted_while_redis_is_down_and_run_after_its_return(harness: Harness, broker: Broker) -> None:
    """The same worker runs them. The fault tests, which run alone, measure the time of an answer meanwhile."""
    broker.stop()
    jobs = [await harness.accept("conformance.note", folder=str(harness.folder)) for _ in range(10)]
    assert {(await harness.get(job.id)).status for job in jobs} == {S.QUEUED}

    async def is_named() -> bool:
        words = harness.front.dispatcher.waiting_for(jobs[0], await harness.front.dispatcher.health())
        return words == "the backend dramatiq to answer"

    await until(is_named)
    broker.start()
    assert {(await harness.done(job, RETURN_S)).status for job in jobs} == {S.SUCCEEDED}
    assert harness.count("ran") == 10
    assert harness.workers[0].is_up


async def test_a_frozen_redis_delays_no_acceptance(harness: Harness, broker: Broker) -> None:
    """Each is accepted while Redis is frozen; then they run."""
    broker.server.process.send_signal(signal.SIGSTOP)
    try:
        jobs = [await harness.accept("conformance.note", folder=str(harness.folder)) for _ in range(10)]
    finally:
        broker.server.process.send_signal(signal.SIGCONT)
    assert {(await harness.done(job, RETURN_S)).status for job in jobs} == {S.SUCCEEDED}
    assert harness.count("ran") == 10


@pytest.mark.parametrize("forgets", ["restarted", "flushed"])
@pytest.mark.slow
async def test_messages_that_redis_lost_are_delivered_again(harness: Harness, broker: Broker, forgets: str) -> None:
    """Redis loses its messages by a restart without its data or by FLUSHALL, and the jobs run all the same."""
    await harness.no_worker()
    jobs = [await harness.accept("conformance.note", folder=str(harness.folder)) for _ in range(5)]
    if forgets == "restarted":
        broker.stop()
        broker.start()
    else:
        with redis.Redis.from_url(broker.server.url) as client:
            client.flushall()
    await harness.start_worker()
    assert {(await harness.done(job, RETURN_S)).status for job in jobs} == {S.SUCCEEDED}
    assert harness.count("ran") == 5


async def test_an_unreadable_message_does_not_affect_its_neighbours(harness: Harness, broker: Broker) -> None:
    """The message is dropped, and the jobs before and after it run."""
    await harness.no_worker()
    before = await harness.accept("conformance.note", folder=str(harness.folder))
    queue = f"{harness.front.settings.backends.dramatiq.namespace}:jobs"
    with redis.Redis.from_url(broker.server.url) as client:
        client.hset(f"{queue}.msgs", "torn", b"\xff{")
        client.rpush(queue, "torn")
    behind = await harness.accept("conformance.note", folder=str(harness.folder))
    worker = await harness.start_worker()
    # At once, without a wait for the detection of lost messages.
    assert {(await harness.done(job, within_s=4)).status for job in (before, behind)} == {S.SUCCEEDED}
    assert worker.is_up


async def test_a_worker_ends_within_its_deadline_while_redis_is_down(harness: Harness, broker: Broker) -> None:
    """After SIGTERM the worker waits for no answer of Redis."""
    broker.stop()
    await harness.workers[0].stop(30)


async def test_a_leader_that_drains_goes_on_delivering(harness: Harness) -> None:
    """Jobs above the rate of their handler are delivered by the process that leads."""
    await until(lambda: harness.front.lease.leads)
    await harness.front.drain()
    many = IN_A_SECOND * 3
    jobs = await harness.request([{"handler": "conformance.rated", "params": {"folder": str(harness.folder)}}] * many)
    assert {(await harness.done(job)).status for job in jobs} == {S.SUCCEEDED}
    assert harness.front.lease.leads
    assert harness.count("ran") == many


@pytest.mark.slow
async def test_messages_that_a_killed_worker_had_fetched_run_elsewhere(harness: Harness) -> None:
    """The worker had more messages in memory than threads; the next worker runs them all."""
    (worker,) = harness.workers
    one = {"handler": "conformance.deaf", "params": {"folder": str(harness.folder)}}
    jobs = await harness.request([one] * 30)
    await harness.noted("started", 8)
    worker.kill()
    harness.say("go")
    await harness.start_worker()
    assert {(await harness.done(job, RETURN_S)).status for job in jobs} == {S.SUCCEEDED}


@pytest.mark.slow
async def test_dramatiq_s_own_command_runs_jobs_too(harness: Harness) -> None:
    """The command is `dramatiq worker:broker`, for one queue, and it ends upon SIGTERM."""
    await harness.no_worker()
    command = (sys.executable, "-m", "dramatiq", "worker:broker", "--processes", "1", "--threads", "2")
    master = processes.start(command, harness.project, queues=QUEUE)
    try:
        other = await harness.accept("conformance.note", folder=str(harness.folder))
        job = await harness.accept("conformance.queued", folder=str(harness.folder))
        assert (await harness.done(job)).status is S.SUCCEEDED
        assert (await harness.get(other.id)).status is S.QUEUED
        assert await master.stop(12) < 12
    finally:
        if master.is_up:
            _kill_with_children(master)


def _kill_with_children(master: processes.Worker) -> None:
    children = Path(f"/proc/{master.pid}/task/{master.pid}/children").read_text().split()
    master.kill()
    for child in children:
        os.kill(int(child), signal.SIGKILL)
