"""A worker process has as many jobs in flight as it has slots, and ends only after the last of them."""

from __future__ import annotations

import asyncio
import threading
from collections import defaultdict

import pytest

from onward.backends.in_flight import InFlightJobs
from onward.testing.waiting import until

pytestmark = pytest.mark.anyio


class Jobs:
    """Jobs that end on request."""

    def __init__(self) -> None:
        self.started: list[str] = []
        self._ends: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)

    async def __call__(self, job_id: str) -> bool:
        self.started.append(job_id)
        await self._ends[job_id].wait()
        return True

    def end(self, job_id: str) -> None:
        self._ends[job_id].set()

    async def have_started(self, count: int) -> None:
        async with asyncio.timeout(5):
            while len(self.started) < count:
                await asyncio.sleep(0.001)


class Thread:
    """Dramatiq's thread, which runs one job after another and ends on request."""

    def __init__(self, in_flight: InFlightJobs, *job_ids: str) -> None:
        self.acknowledged: list[str] = []
        self._in_flight = in_flight
        self._job_ids = job_ids
        self._thread = threading.Thread(target=self._go, daemon=True)
        self._thread.start()

    def _go(self) -> None:
        for job_id in self._job_ids:
            self._in_flight.accept(job_id, lambda job_id=job_id: self.acknowledged.append(job_id))  # type: ignore[misc]
        self._in_flight.before_worker_thread_shutdown(None, None)

    async def ended(self, within_s: float) -> bool:
        await asyncio.to_thread(self._thread.join, within_s)
        return not self._thread.is_alive()


@pytest.mark.parametrize("slots", [1, 2, 3])
async def test_no_more_jobs_start_than_there_are_slots(slots: int) -> None:
    """The worker would otherwise claim jobs that other workers could run at once."""
    jobs = Jobs()
    Thread(InFlightJobs(asyncio.get_running_loop(), jobs, slots), "a", "b", "c", "d")
    await jobs.have_started(slots)
    await asyncio.sleep(0.05)
    assert len(jobs.started) == slots
    jobs.end("a")
    await jobs.have_started(slots + 1)
    assert jobs.started == ["a", "b", "c", "d"][: slots + 1]


async def test_a_worker_is_full_while_its_slots_stay_in_use() -> None:
    """Other workers then get what it has fetched ahead."""
    jobs = Jobs()
    in_flight = InFlightJobs(asyncio.get_running_loop(), jobs, 2, hold_s=0.01)
    Thread(in_flight, "a", "b")
    await jobs.have_started(2)
    await until(in_flight.is_full)
    jobs.end("a")
    await until(lambda: not in_flight.is_full())
    jobs.end("b")


async def test_a_worker_that_stops_is_full_at_once() -> None:
    in_flight = InFlightJobs(asyncio.get_running_loop(), Jobs(), 2)
    assert not in_flight.is_full()
    in_flight.before_worker_shutdown(None, None)
    assert in_flight.is_full()


async def test_a_message_is_acknowledged_when_its_own_job_ends() -> None:
    """The end of an older job does not acknowledge it."""
    jobs = Jobs()
    thread = Thread(InFlightJobs(asyncio.get_running_loop(), jobs, 2), "a", "b", "c")
    await jobs.have_started(2)
    assert thread.acknowledged == []
    jobs.end("b")
    await jobs.have_started(3)
    assert thread.acknowledged == ["b"]


async def test_the_thread_ends_when_all_jobs_in_flight_have_ended() -> None:
    """Dramatiq ends the heartbeat after the thread, and other workers then get its messages."""
    jobs, done = Jobs(), list[str]()
    in_flight = InFlightJobs(asyncio.get_running_loop(), jobs, 4)
    assert in_flight.accept_at_once("at once", lambda: done.append("at once"))
    thread = Thread(in_flight, "a", "b")
    await jobs.have_started(3)
    jobs.end("b")
    jobs.end("a")
    assert not await thread.ended(0.05)
    jobs.end("at once")
    assert await thread.ended(5)
    assert sorted(thread.acknowledged + done) == ["a", "at once", "b"]


@pytest.mark.parametrize("slots", [1, 2, 3])
async def test_a_job_begins_at_once_while_a_slot_is_free_beside_the_thread_s(slots: int) -> None:
    """The thread always begins the job that it has taken, so that one slot is its own."""
    jobs = Jobs()
    in_flight = InFlightJobs(asyncio.get_running_loop(), jobs, slots)
    accepted = [in_flight.accept_at_once(name, lambda: None) for name in "abc"]
    assert accepted == [n < slots - 1 for n in range(3)]
    Thread(in_flight, "d", "e")
    await jobs.have_started(slots)
    await asyncio.sleep(0.05)
    assert jobs.started == [*"abc"[: slots - 1], "d"]
    for name in [*jobs.started]:
        jobs.end(name)
    await jobs.have_started(slots + 1)
    assert jobs.started[-1] == "e"


async def test_a_slot_becomes_free_for_a_job_that_begins_at_once() -> None:
    jobs, done = Jobs(), list[str]()
    in_flight = InFlightJobs(asyncio.get_running_loop(), jobs, 2)
    assert in_flight.accept_at_once("a", lambda: done.append("a"))
    assert not in_flight.accept_at_once("b", lambda: None)
    jobs.end("a")
    await until(lambda: in_flight.accept_at_once("b", lambda: None))
    assert done == ["a"]
    await jobs.have_started(2)
    assert jobs.started == ["a", "b"]


async def test_a_slot_that_becomes_free_is_the_waiting_thread_s() -> None:
    """Otherwise the thread would wait on, and the worker fetch messages as if it had a slot."""
    jobs = Jobs()
    in_flight = InFlightJobs(asyncio.get_running_loop(), jobs, 2, hold_s=0.01)
    Thread(in_flight, "a", "b", "c")
    await jobs.have_started(2)
    await until(in_flight.is_full)
    jobs.end("a")
    taken = False
    while len(jobs.started) < 3:
        taken = taken or in_flight.accept_at_once("late", lambda: None)
        await asyncio.sleep(0)
    assert not taken
    assert jobs.started == ["a", "b", "c"]
    await until(in_flight.is_full)


async def test_no_job_begins_in_a_worker_that_stops() -> None:
    """The message goes back to Redis, for another worker."""
    in_flight = InFlightJobs(asyncio.get_running_loop(), Jobs(), 2)
    in_flight.before_worker_shutdown(None, None)
    assert not in_flight.accept_at_once("a", lambda: None)
