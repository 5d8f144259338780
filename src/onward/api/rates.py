"""Limits of requests per minute, for each viewer or address.

Requests are counted in memory. Where the processes of an installation share a Redis, a background task adds their
counts up there twice a second: no request waits for Redis, and without it each process counts alone.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from onward.api.addresses import is_loopback
from onward.api.base import HttpError
from onward.cancellation import end_tasks
from onward.telemetry import logger

if TYPE_CHECKING:
    from redis.asyncio import Redis

WINDOW_S = 60
EXCHANGE_INTERVAL_S = 0.5
REDIS_TIMEOUT_S = 5.0
MAX_KEYS = 1_000  # exchanged in one round trip


class TooManyRequests(HttpError):
    """The limit of this minute is reached."""

    def __init__(self, wait_s: int) -> None:
        super().__init__(429, f"Too many requests. Ask again in {wait_s} s.", "RATE_LIMITED")
        self.wait_s = wait_s


@dataclass(slots=True)
class Window:
    """One minute's counts: of this process, of this process and not yet exchanged, and of all processes."""

    number: int
    here: Counter[str] = field(default_factory=Counter)
    unsent: Counter[str] = field(default_factory=Counter)
    everywhere: Counter[str] = field(default_factory=Counter)


class Rates:
    """At most `per_minute` requests of each; 0 means no limit. `exempt_loopback` leaves loopback uncounted."""

    def __init__(
        self, per_minute: int, *, exempt_loopback: bool = False, redis_url: str | None = None, namespace: str = ""
    ) -> None:
        self._per_minute = per_minute
        self._exempt_loopback = exempt_loopback
        self._redis_url = redis_url if per_minute else None
        self._namespace = namespace
        self._window = Window(0)
        self._exchanging: asyncio.Task[None] | None = None

    def check(self, address: str, viewer: str | None) -> None:
        """Raise TooManyRequests if the next request would be one too many."""
        if not self._per_minute or (self._exempt_loopback and is_loopback(address)):
            return
        now = time.time()
        window = self._window
        if int(now // WINDOW_S) != window.number:
            window = self._window = Window(int(now // WINDOW_S))
        key = _key(address, viewer)
        if max(window.here[key], window.everywhere[key] + window.unsent[key]) >= self._per_minute:
            raise TooManyRequests(max(1, round(WINDOW_S - now % WINDOW_S)))

    def count(self, address: str, viewer: str | None) -> None:
        """Count one more request. Raises TooManyRequests."""
        if not self._per_minute or (self._exempt_loopback and is_loopback(address)):
            return
        self.check(address, viewer)
        key = _key(address, viewer)
        self._window.here[key] += 1
        if self._exchanging is not None:
            self._window.unsent[key] += 1

    def start(self) -> None:
        """Exchange the counts from now on, where there is a Redis."""
        if self._redis_url is not None:
            self._exchanging = asyncio.create_task(self._exchange(self._redis_url), name="rates")

    async def close(self) -> None:
        """Stop exchanging."""
        if self._exchanging is not None:
            await end_tasks([self._exchanging])

    async def _exchange(self, url: str) -> None:
        from redis import asyncio as redis_asyncio  # noqa: PLC0415 - a server without Redis starts without
        from redis.asyncio.retry import Retry  # noqa: PLC0415 - likewise
        from redis.backoff import NoBackoff  # noqa: PLC0415 - likewise
        from redis.exceptions import RedisError  # noqa: PLC0415 - likewise

        from onward.backends.redis_address import connected, is_of_replica, sentinels_of  # noqa: PLC0415 - likewise

        log, reached = logger("rates"), True
        options = {"socket_timeout": REDIS_TIMEOUT_S, "socket_connect_timeout": REDIS_TIMEOUT_S}
        async with AsyncExitStack() as stack:
            # Without retries: a repeated INCRBY would count twice.
            redis = connected(redis_asyncio, url, retry=Retry(NoBackoff(), 0), **options)
            for one in (redis, *sentinels_of(redis)):
                stack.push_async_callback(one.aclose)
            while True:
                await asyncio.sleep(EXCHANGE_INTERVAL_S)
                try:
                    await self._send(redis)
                    reached = True
                except (RedisError, OSError) as error:
                    if is_of_replica(error):  # as in `leave_replica`
                        with suppress(RedisError, OSError):
                            await redis.connection_pool.disconnect(inuse_connections=False)
                    if reached:
                        log.warning("each process counts requests alone", error=type(error).__name__)
                    reached = False

    async def _send(self, redis: Redis) -> None:
        window = self._window
        sent = {key: window.unsent[key] for key in list(window.unsent)[:MAX_KEYS]}
        if not sent:
            return
        totals = {key: window.everywhere[key] + more for key, more in sent.items()}
        async with redis.pipeline(transaction=False) as pipe:
            for key, more in sent.items():
                name = f"{self._namespace}:rates:{key} {window.number}"
                pipe.incrby(name, more)
                pipe.expire(name, 2 * WINDOW_S)
            # Without a connection Redis has counted none of them, and they stay unsent.
            pipe.connection = await redis.connection_pool.get_connection()  # type: ignore[no-untyped-call]
            try:
                totals = dict(zip(sent, (await pipe.execute())[::2], strict=True))
            finally:  # Redis may have counted them although its answer is lost
                for key, more in sent.items():
                    window.unsent[key] -= more
                    window.everywhere[key] = totals[key]
                    if not window.unsent[key]:
                        del window.unsent[key]


def _key(address: str, viewer: str | None) -> str:
    return f"address {address}" if viewer is None else f"viewer {viewer}"
