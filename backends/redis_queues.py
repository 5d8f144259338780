"""The queues of Dramatiq's messages, one for each range of priorities, and the client for them."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from onward.backends.redis_address import connected

HIGH, QUEUE, LOW = "jobs.high", "jobs", "jobs.low"
ACTORS = MappingProxyType({HIGH: ("run_high", -1), QUEUE: ("run", 0), LOW: ("run_low", 1)})
"""Each queue's one actor, and its priority in Dramatiq's worker: smaller goes first, as in the ledger."""
HIGHER_QUEUES = MappingProxyType({HIGH: (), QUEUE: (HIGH,), LOW: (HIGH, QUEUE)})


def queue_of(priority: int) -> str:
    """Return the queue for jobs of a priority."""
    return QUEUE if priority == 0 else HIGH if priority < 0 else LOW


def client(url: str, timeout_s: float | None) -> Any:
    """Return a client with a timeout for each call and without retries: a retried enqueue would be two messages."""
    return connected(
        redis,
        url,
        socket_timeout=timeout_s,
        socket_connect_timeout=timeout_s,
        socket_keepalive=True,
        retry=Retry(NoBackoff(), 0),
        health_check_interval=0,
    )
