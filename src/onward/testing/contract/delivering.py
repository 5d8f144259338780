"""Deliveries: each one arrives, and they neither block the accepting process nor surprise it."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress

import pytest

from onward.backends.base import BackendError, Delivery
from onward.jobs.states import JobStatus
from onward.testing.harness import Harness

DELIVERIES = 20  # of which a backend that loses one in ten loses some, whether it counts calls or jobs
BLOCKED_S = 0.05  # that a request's deliveries may take in all


class Delivering:
    async def test_every_delivery_that_is_confirmed_reaches_a_runner(self, harness: Harness) -> None:
        """The test runs without maintenance, which delivers lost jobs again and so would hide the loss."""
        async with harness.delivering_once():
            jobs = [await harness.accept("conformance.note", folder=str(harness.folder)) for _ in range(DELIVERIES)]
            await harness.noted("ran", DELIVERIES)
            assert {(await harness.done(job)).status for job in jobs} == {JobStatus.SUCCEEDED}

    async def test_a_delivery_does_not_block_the_event_loop(self, harness: Harness) -> None:
        """Waiting is awaited, or done in a thread. The quickest of twenty counts: a busy machine delays some."""
        quickest_s = min([await _longest_turn_s(harness) for _ in range(DELIVERIES)])
        assert quickest_s < BLOCKED_S, f"each deliver blocked the loop for {quickest_s:.3f} s or more: use a thread"

    async def test_a_delivery_raises_backend_error_and_nothing_else(self, harness: Harness) -> None:
        """An error of the broker's client is chained to it."""
        try:
            await _deliver(harness)
        except BackendError:
            return
        except Exception as error:  # noqa: BLE001 - this is what is looked for
            pytest.fail(f"deliver raised {type(error).__name__}: raise BackendError(...) from it")


async def _deliver(harness: Harness) -> None:
    """Deliver an id that no job has, which the runner passes over."""
    dispatcher = harness.front.dispatcher
    backend = dispatcher.backends[harness.backend_fixture.name]
    await backend.deliver([Delivery("job_of_nobody", "conformance.note")], after_response=dispatcher.defer)


async def _longest_turn_s(harness: Harness) -> float:
    """The longest time for which nothing else ran on the loop during one delivery."""
    longest_s, last = 0.0, time.monotonic()

    async def turn() -> None:
        nonlocal longest_s, last
        while True:
            now = time.monotonic()
            longest_s, last = max(longest_s, now - last), now
            await asyncio.sleep(0)

    turning = asyncio.create_task(turn())
    await asyncio.sleep(0)
    with suppress(Exception):  # another test's matter
        await _deliver(harness)
    await asyncio.sleep(0)
    turning.cancel()
    return longest_s
