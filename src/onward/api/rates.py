"""How often somebody may ask: requests of each viewer or address, counted by the minute.

Counted in memory, at once; what all processes of an installation have counted is exchanged through Redis, where there
is one, twice a second and beside the requests. So nobody waits for Redis, and without it each process counts alone.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import structlog

from onward.api.addresses import is_loopback
from onward.graphql.base import BadRequest

if TYPE_CHECKING:
    from limits.aio.storage import RedisStorage

WINDOW_S = 60
EXCHANGE_S = 0.5
REDIS_TIMEOUT_S = 5.0
AT_ONCE = 1_000  # keys that are exchanged in one go


class TooManyRequests(BadRequest):
    def __init__(self, wait_s: int) -> None:
        super().__init__(429, f"Too many requests. Ask again in {wait_s} s.", "RATE_LIMITED")
        self.wait_s = wait_s


@dataclass(slots=True)
class Window:
    """One minute's counts: those of this process, those not told yet, and those of all processes, as far as known."""

    number: int
    here: Counter[str] = field(default_factory=Counter)
    untold: Counter[str] = field(default_factory=Counter)
    everywhere: Counter[str] = field(default_factory=Counter)


class Rates:
    """At most `per_minute` requests of each; 0 lets everything through. `free` is whether loopback is not counted."""

    def __init__(
        self, per_minute: int, *, free: bool = False, redis_url: str | None = None, namespace: str = ""
    ) -> None:
        self._per_minute = per_minute
        self._free = free
        self._redis_url = redis_url if per_minute else None
        self._namespace = namespace
        self._window = Window(0)
        self._exchanging: asyncio.Task[None] | None = None

    def count(self, address: str, viewer: str | None) -> None:
        """One more request. Raises TooManyRequests."""
        if not self._per_minute or (self._free and is_loopback(address)):
            return
        now = time.time()
        window = self._window
        if int(now // WINDOW_S) != window.number:
            window = self._window = Window(int(now // WINDOW_S))
        key = f"address {address}" if viewer is None else f"viewer {viewer}"
        if max(window.here[key], window.everywhere[key] + window.untold[key]) >= self._per_minute:
            raise TooManyRequests(max(1, round(WINDOW_S - now % WINDOW_S)))
        window.here[key] += 1
        if self._exchanging is not None:
            window.untold[key] += 1

    def start(self) -> None:
        """The counts are exchanged from now on, where there is a Redis."""
        if self._redis_url is not None:
            self._exchanging = asyncio.create_task(self._exchange(self._redis_url), name="rates")

    async def close(self) -> None:
        if self._exchanging is not None:
            self._exchanging.cancel()
            with suppress(asyncio.CancelledError):
                await self._exchanging

    async def _exchange(self, url: str) -> None:
        from limits.aio.storage import RedisStorage  # noqa: PLC0415 - who has no Redis starts without

        scheme, _, rest = url.partition("://")
        storage = RedisStorage(
            f"async+{'redis+unix' if scheme == 'unix' else scheme}://{rest}",
            implementation="redispy",
            key_prefix=f"{self._namespace}:rates",
            socket_timeout=REDIS_TIMEOUT_S,
            socket_connect_timeout=REDIS_TIMEOUT_S,
        )
        log, reached = structlog.get_logger("rates"), True
        try:
            while True:
                await asyncio.sleep(EXCHANGE_S)
                try:
                    await self._tell(storage)
                    reached = True
                except storage.base_exceptions as error:
                    if reached:
                        log.warning("requests are counted by each process alone", error=type(error).__name__)
                    reached = False
                except Exception:
                    log.exception("requests are counted by each process alone")
                    return
        finally:
            bridge: Any = storage.bridge
            await bridge.storage.aclose()

    async def _tell(self, storage: RedisStorage) -> None:
        window = self._window
        for key in list(window.untold)[:AT_ONCE]:
            more = window.untold[key]
            total = await storage.incr(f"{key} {window.number}", 2 * WINDOW_S, more)
            window.untold[key] -= more
            window.everywhere[key] = total
            if not window.untold[key]:
                del window.untold[key]
