"""Redis gives away the messages of a killed worker after the ledger has handed its jobs to another one."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import redis

from onward.jobs.states import JobStatus
from onward.testing.harness import TIMINGS, Harness, open_harness
from onward.testing.workload import notes
from tests.contract.backend_fixtures import DramatiqFixture
from tests.servers import postgres_database

RESCUE_S = 45.0  # 15 s on a quiet machine
# Redis waits until a test says that it has waited so long, and a worker keeps what it has fetched.
PATIENT = replace(TIMINGS, redis_heartbeat_timeout_s=3_600.0, redis_hold_s=3_600.0)
STARTED, FETCHED = 2, 2  # jobs that the killed worker runs, and those that wait in it


class Slots(DramatiqFixture):
    slots = STARTED

    def worker(self) -> Sequence[str]:
        return (sys.executable, "-m", "onward.worker", "serve", str(self.slots))


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> Iterator[str | None]:
    here = request.param == "sqlite"
    with nullcontext() if here else postgres_database(request.getfixturevalue("postgres_server_url")) as url:
        yield url


@pytest.fixture
async def harness(redis_url: str, database: str | None, tmp_path: Path, anyio_backend: str) -> AsyncIterator[Harness]:
    async with open_harness(Slots(redis_url, database), tmp_path) as made:
        yield made


class Messages:
    """The messages of a worker, as Redis has them."""

    def __init__(self, client: Any, namespace: str) -> None:
        self._client = client
        self._heartbeats, self._all = f"{namespace}:__heartbeats__", f"{namespace}:jobs.msgs"
        ((self._worker, _),) = client.zrange(self._heartbeats, 0, -1, withscores=True)
        self._fetched = f"{namespace}:__acks__.{self._worker.decode()}.jobs"

    def fetched(self) -> set[bytes]:
        """Return the ids of those that the worker has fetched and not acknowledged."""
        found: set[bytes] = self._client.smembers(self._fetched)
        return found

    def unacknowledged(self, ids: set[bytes]) -> int:
        """Count those that no worker has acknowledged."""
        return sum(map(bool, self._client.hmget(self._all, *ids)))

    def let_redis_give_them_away(self) -> None:
        """Let it be long since Redis has heard of the worker."""
        self._client.zadd(self._heartbeats, {self._worker: 0})


@pytest.mark.parametrize("ended", [False, True], ids=["the jobs run again", "the jobs have ended"])
async def test_a_message_that_redis_gives_away_after_the_ledger_runs_no_step_again(
    harness: Harness, redis_url: str, *, ended: bool
) -> None:
    """Neither of a job that the killed worker ran, nor of one that waited in it."""
    assert isinstance(harness.backend_fixture, Slots)
    victim = await harness.start_worker(PATIENT)
    given = {"handler": "conformance.steps_wait", "params": {"folder": str(harness.folder)}}
    jobs = await harness.request([given] * (STARTED + FETCHED))
    await harness.noted("second", STARTED)
    with redis.Redis.from_url(redis_url) as client:
        messages = Messages(client, harness.backend_fixture.namespace)
        await harness.comes_true(lambda: len(messages.fetched()) == len(jobs))
        ids = messages.fetched()
        victim.kill()
        started = {note.job for note in notes(harness.folder)}
        harness.backend_fixture.slots = 2 * len(jobs)  # room for the second messages as well
        other = await harness.start_worker(PATIENT)
        await harness.noted("second", STARTED + len(jobs), RESCUE_S)
        assert messages.fetched() == ids, "Redis has given nothing away yet"
        if ended:
            harness.say("go")
            assert {(await harness.done(job)).status for job in jobs} == {JobStatus.SUCCEEDED}
        messages.let_redis_give_them_away()
        await harness.comes_true(lambda: not messages.fetched())
        await harness.comes_true(lambda: not messages.unacknowledged(ids))  # the other worker has looked at each
        assert other.is_up
        harness.say("go")
    done = [await harness.done(job) for job in jobs]
    assert {job.status for job in done} == {JobStatus.SUCCEEDED}
    assert {job.id: (len(job.attempts), job.crash_count) for job in done} == {
        job.id: (2, 1) if job.id in started else (1, 0) for job in jobs
    }
    ran = Counter((note.word, note.job) for note in notes(harness.folder))
    assert ran == {
        (word, job.id): 2 if word == "second" and job.id in started else 1
        for word in ("first", "second", "third")
        for job in jobs
    }
