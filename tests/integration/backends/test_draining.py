"""A Dramatiq worker that drains loses no message."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Collection

import pytest

from onward.backends.dramatiq import Dramatiq
from onward.backends.in_flight import InFlightJobs
from onward.jobs.timings import Timings
from onward.storage.base import Unavailable

pytestmark = pytest.mark.anyio
QUICK = Timings(delivery_retry_s=0.01)


class Run:
    """Runs jobs over a ledger that may be away."""

    runner_id = "runner_1"

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.away = False

    async def __call__(self, job_id: str, *, wait_for_commit: bool = True) -> bool:  # noqa: ARG002
        self.asked.append(job_id)
        if self.away:
            raise Unavailable("away")
        return False

    async def claim(self, limit: int, *, exclude: Collection[str] = ()) -> list[object]:
        raise NotImplementedError


class Thread:
    """Dramatiq's thread, which runs a job; `acknowledged` says whether its message was."""

    def __init__(self, backend: Dramatiq) -> None:
        self.acknowledged = threading.Event()
        self._in_flight = InFlightJobs(asyncio.get_running_loop(), backend._run_until_recorded, 1)
        self._thread = threading.Thread(
            target=self._in_flight.accept, args=("job_1", self.acknowledged.set), daemon=True
        )
        self._thread.start()

    async def ended(self, within_s: float) -> bool:
        await asyncio.to_thread(self._thread.join, within_s)
        return not self._thread.is_alive()


async def test_a_message_that_arrives_during_a_drain_is_given_back_to_the_ledger() -> None:
    """A message that is acknowledged without that would count as delivered for ever."""
    run = Run()
    backend = Dramatiq(run, url="redis://127.0.0.1:1/0", timings=QUICK)  # type: ignore[arg-type]
    await backend.drain(1.0)
    thread = Thread(backend)
    assert await thread.ended(5)
    assert thread.acknowledged.is_set()
    assert run.asked == ["job_1"]


async def test_a_message_that_could_not_be_given_back_is_not_acknowledged() -> None:
    """The ledger is away and the process is about to end, so that Redis gives the message to another worker."""
    run = Run()
    run.away = True
    backend = Dramatiq(run, url="redis://127.0.0.1:1/0", timings=QUICK)  # type: ignore[arg-type]
    await backend.drain(1.0)
    thread = Thread(backend)
    assert not await thread.ended(0.5)
    assert not thread.acknowledged.is_set()
    assert run.asked == ["job_1"]


async def test_a_message_is_kept_until_the_ledger_is_back() -> None:
    """The message may be the only one of its job."""
    run = Run()
    run.away = True
    thread = Thread(Dramatiq(run, url="redis://127.0.0.1:1/0", timings=QUICK))  # type: ignore[arg-type]
    async with asyncio.timeout(5):
        while len(run.asked) < 2:
            await asyncio.sleep(0.01)
    assert not thread.acknowledged.is_set()
    run.away = False
    assert await thread.ended(5)
    assert thread.acknowledged.is_set()
