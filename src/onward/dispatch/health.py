"""The health of each backend, polled in the background, so that nobody waits for one that hangs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from contextlib import suppress

from onward.backends.base import Backend, Health
from onward.cancellation import cancels_as_errors, end_tasks
from onward.jobs.timings import Timings, to_next_tick
from onward.telemetry import logger

SILENCE_S = 1.0  # a backend that has not answered for so long is unreachable
FIRST_ANSWER_S = 0.5  # for all backends at the start


class BackendHealth:
    """Each backend's newest answer, and a circuit breaker that a failed delivery opens."""

    def __init__(self, backends: Mapping[str, Backend], timings: Timings) -> None:
        self._backends = backends
        self._timings = timings
        self._answers: dict[str, Health] = {}
        self._asked_at: dict[str, float] = {}  # of the questions that are not answered yet
        self._open_until: dict[str, float] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._log = logger("dispatch")

    async def start(self) -> None:
        """Begin to ask, and wait a moment for the first answers."""
        answered = {name: asyncio.Event() for name in self._backends}
        self._tasks = [asyncio.create_task(self._poll_health(name, first)) for name, first in answered.items()]
        with suppress(TimeoutError):
            async with asyncio.timeout(FIRST_ANSWER_S):
                for first in answered.values():
                    await first.wait()

    async def close(self) -> None:
        """Stop asking. May be called twice, and without a start."""
        await end_tasks(self._tasks)

    def __getitem__(self, name: str) -> Health:
        """Return the backend's newest answer, at most a second old; unreachable if it does not answer."""
        asked_at = self._asked_at.get(name)
        if asked_at is not None and time.monotonic() - asked_at > SILENCE_S:
            return Health(reachable=False)
        return self._answers.get(name, Health(reachable=False))

    def lets_through(self, name: str) -> bool:
        """Return whether the breaker lets deliveries through."""
        return time.monotonic() >= self._open_until.get(name, 0.0)

    def failed(self, name: str) -> None:
        """Open the breaker: the backend is left to maintenance for a while."""
        self._open_until[name] = time.monotonic() + self._timings.circuit_open_s

    async def _poll_health(self, name: str, first: asyncio.Event) -> None:
        reachable = True
        while True:
            self._asked_at[name] = time.monotonic()
            try:
                with cancels_as_errors():
                    answer = await self._backends[name].health()
            except Exception:  # noqa: BLE001 - a backend of the project's may raise anything
                answer = Health(reachable=False)
            self._answers[name] = answer
            del self._asked_at[name]
            first.set()
            if answer.reachable:
                self._open_until.pop(name, None)
                if not reachable:
                    self._log.info("the backend answers again", backend=name)
            else:
                self.failed(name)
                if reachable:
                    self._log.warning("the backend does not answer; jobs are accepted and wait", backend=name)
            reachable = answer.reachable
            await asyncio.sleep(to_next_tick(self._timings.health_interval_s))
