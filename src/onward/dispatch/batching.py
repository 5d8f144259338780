"""Batches deliveries: the requests that share a commit share a delivery for each backend."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any

from onward.backends.base import Delivery

Send = Callable[[str, Sequence[Delivery]], Awaitable[bool]]
"""Sends deliveries to a backend, and returns False where that failed."""


@dataclass(slots=True)
class _Batch:
    deliveries: list[Delivery] = field(default_factory=list)
    released: asyncio.Event = field(default_factory=asyncio.Event)  # sent, or its time is over
    failed: bool = False


class Batches:
    """Batches all deliveries of one loop iteration, for each backend."""

    def __init__(self, send: Send, spawn: Callable[[Coroutine[Any, Any, Any]], object], *, timeout_s: float) -> None:
        self._send = send
        self._spawn = spawn
        self._timeout_s = timeout_s
        self._filling: dict[str, _Batch] = {}  # by backend

    async def deliver(self, name: str, deliveries: Sequence[Delivery]) -> bool:
        """Wait until the deliveries are sent, or the timeout is over; return False if they are known to have failed.

        Sending goes on after the timeout, and when the caller is cancelled.
        """
        batch = self._filling.get(name)
        if batch is None:
            batch = self._filling[name] = _Batch()
            asyncio.get_running_loop().call_later(self._timeout_s, batch.released.set)
            self._spawn(self._send_batch(name, batch))
        batch.deliveries += deliveries
        await batch.released.wait()
        return not batch.failed

    async def _send_batch(self, name: str, batch: _Batch) -> None:
        del self._filling[name]  # deliveries from now on go with the next batch
        batch.failed = not await self._send(name, batch.deliveries)
        batch.released.set()
