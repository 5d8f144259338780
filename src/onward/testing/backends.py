"""Backends for tests: one runs jobs at once, one only records them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count

from onward.backends.base import Backend, Defer, Delivery, Run


class Immediate(Backend):
    """Runs each job within `deliver`, before the mutation answers."""

    runs_elsewhere = False

    def __init__(self, run: Run) -> None:
        self._run = run

    def local_runner(self) -> str | None:
        return self._run.runner_id

    async def deliver(self, deliveries: Sequence[Delivery], *, after_response: Defer) -> None:  # noqa: ARG002
        for delivery in deliveries:
            await self._run(delivery.job_id)


class Recording(Backend):
    """Runs nothing; keeps all deliveries in `delivered`, and their places among those of all queues in `places`."""

    runs_elsewhere = False
    _counted = count()

    def __init__(self, run: Run) -> None:
        self._run = run
        self.delivered: list[Delivery] = []
        self.places: list[int] = []

    def local_runner(self) -> str | None:
        return self._run.runner_id

    async def deliver(self, deliveries: Sequence[Delivery], *, after_response: Defer) -> None:  # noqa: ARG002
        self.delivered.extend(deliveries)
        self.places.extend(next(self._counted) for _ in deliveries)
