"""Dramatiq's Redis broker for jobs. Milliseconds, Dramatiq's unit, exist in this file alone."""

from __future__ import annotations

import math
import secrets
import time
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from queue import PriorityQueue
from typing import Any

import redis
from dramatiq.brokers.redis import RedisBroker
from dramatiq.common import current_millis

from onward.backends import redis_permissions, redis_rescue
from onward.backends.base import Delivery
from onward.backends.in_flight import InFlightJobs
from onward.backends.redis_address import leave_replica
from onward.backends.redis_consumer import BlockingConsumer
from onward.backends.redis_message import message
from onward.backends.redis_queues import ACTORS, QUEUE, client, queue_of
from onward.jobs.timings import Timings

WAKES = 64
UNPACK = 1_000  # values that Lua takes at once


class Broker(RedisBroker):
    """Dramatiq's Redis broker, with consumers that block, and enqueueing in one round trip for many."""

    def __init__(self, url: str, namespace: str, timings: Timings = Timings()) -> None:
        self.timings = timings
        super().__init__(  # type: ignore[no-untyped-call]
            client=client(url, timings.redis_timeout_s),
            namespace=namespace,
            middleware=[],
            maintenance_chance=0,  # see redis_rescue.py
            heartbeat_timeout=round(timings.redis_heartbeat_timeout_s * 1000),
        )
        self.rescue = self.client.register_script(redis_rescue.SCRIPT)
        self._give_back = self.client.register_script(redis_rescue.GIVE_BACK)
        self.born = time.monotonic()
        self.heard = -math.inf  # when Redis last heard of this process: messages of a silent one go to others
        self._rescued = -math.inf  # when this process last looked for messages of silent ones
        self.more: dict[str, bool] = {}  # by queue, whether the last fetch left some behind
        # By queue, ids of messages to acknowledge; a consumer that is made anew takes them over.
        self.done: dict[str, deque[str]] = defaultdict(deque)
        # Of the worker that consumes: its jobs, the messages that wait for a slot, the function that begins a job if
        # a slot is free, and whether the worker is full.
        self.in_flight: InFlightJobs
        self.work_queue: PriorityQueue[Any] = PriorityQueue()
        self.accept_at_once: Callable[[str, Callable[[], None]], bool] = lambda *_: False
        self.is_full: Callable[[], bool] = lambda: False

    @property
    def consumer_class(self) -> Any:
        return BlockingConsumer

    def wake_key(self, queue_name: str) -> str:
        """The list that gets a token for each message of the queue."""
        return f"{self.namespace}:wake{queue_name.removeprefix(QUEUE)}"

    def declare_queue(self, queue_name: str) -> None:
        """Declare the queue without a delay queue, because delays are in the ledger."""
        if queue_name not in self.queues:
            self.emit_before("declare_queue", queue_name)
            self.queues.add(queue_name)
            self.emit_after("declare_queue", queue_name)

    def enqueue_many(self, deliveries: Sequence[Delivery]) -> None:
        """Put a message a job into the queue of its priority, in order; resumed jobs go ahead of all waiting ones.

        Written as Dramatiq's script does it for one message at a time. Raises redis.RedisError, and then they may be
        there, all of them or none.
        """
        queues: dict[str, list[Delivery]] = defaultdict(list)
        for delivery in deliveries:
            queues[queue_of(delivery.priority)].append(delivery)
        pipe = self.client.pipeline(transaction=True)
        for name, those in queues.items():
            key, by_id = f"{self.namespace}:{name}", {secrets.token_hex(16): delivery for delivery in those}
            pipe.hset(f"{key}.msgs", mapping={own: message(name, own, it.job_id) for own, it in by_id.items()})
            resumed = [own for own, delivery in by_id.items() if delivery.resumes]
            others = [own for own, delivery in by_id.items() if not delivery.resumes]
            if resumed:
                pipe.lpush(key, *reversed(resumed))
            if others:
                pipe.rpush(key, *others)
            pipe.rpush(self.wake_key(name), *["1"] * min(len(those), WAKES))
            pipe.ltrim(self.wake_key(name), -WAKES, -1)
        try:
            pipe.execute()
        except redis.ResponseError as error:
            leave_replica(self.client, error)
            raise

    def call_many(self, calls: Sequence[tuple[str | bytes | int, ...]]) -> list[Any]:
        """Run Dramatiq's script for each call of `(command, queue, *arguments)`, in one round trip; return the answers.

        Raises redis.RedisError, and then some of them may have been done. Messages that Redis took out of a queue for a
        fetch whose answer was lost are given away: this worker goes on under another id.
        """
        script, fetches = self.scripts["dispatch"], any(command == "fetch" for command, *_ in calls)
        takes = any(call[0] == "fetch" and call[2] for call in calls)
        rescues = fetches and time.monotonic() >= self._rescued + self.timings.redis_heartbeat_s
        now = current_millis()
        for attempt in (1, 2):
            common = (self.broker_id, self.heartbeat_timeout, self.dead_message_ttl)
            pipe = self.client.pipeline(transaction=False)
            for command, queue_name, *own in calls:
                pipe.evalsha(script.sha, 1, self.namespace, command, now, queue_name, *common, 0, UNPACK, *own)
            if rescues:  # after the fetch, by which Redis hears of this worker: it counts as alive
                pipe.evalsha(self.rescue.sha, 1, self.namespace, *self._rescue_arguments(now))
            try:
                answers = list(pipe.execute())[: len(calls)]
            except redis.RedisError as error:
                if takes and self.broker_id == common[0]:
                    # Messages of the old id that are still held here come twice, which does no harm.
                    self.broker_id = secrets.token_hex(16)
                if attempt == 2 or not isinstance(error, redis.exceptions.NoScriptError):  # noqa: PLR2004
                    raise
                self.client.script_load(self.rescue.script)  # first: where a fetch works, this does
                self.client.script_load(script.script)
            else:
                self.heard = time.monotonic()
                if rescues:
                    self._rescued = self.heard
                return answers
        raise AssertionError("unreachable")

    def give_back(self, queue_name: str, message_ids: Sequence[str]) -> None:
        """Put fetched messages ahead of all that wait in the queue, in order, for any worker.

        Raises redis.RedisError, and then this worker goes on under another id, so that they are given away as well.
        """
        try:
            common: list[str | int] = [self.broker_id, queue_name, self.wake_key(queue_name), WAKES]
            self._give_back(keys=[self.namespace], args=[*common, *message_ids])
        except redis.RedisError:
            self.broker_id = secrets.token_hex(16)
            raise

    def _rescue_arguments(self, now: int) -> list[str | int]:
        """Return the time since when a living worker was heard of, and the queues with their wake-up lists."""
        queues = [text for name in ACTORS for text in (name, self.wake_key(name))]
        return [now - self.heartbeat_timeout, *queues]

    def refused_commands(self, client: Any) -> list[str]:
        """Return the commands that Redis refuses this user, of all that are used. Raises redis.RedisError."""
        return redis_permissions.refused(client, f"{self.namespace}:check", self.rescue)
