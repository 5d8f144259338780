"""Dramatiq's consumer of Redis, which waits for a wake-up where Dramatiq's own polls."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from functools import partial
from typing import Any

import dramatiq
import redis
import structlog
from dramatiq.brokers.redis import _RedisConsumer
from dramatiq.common import iter_queue
from dramatiq.errors import ConnectionClosed

from onward.backends.redis_address import leave_replica
from onward.backends.redis_message import is_ours
from onward.backends.redis_queues import HIGHER_QUEUES

REFILL = 0.75  # of what may be fetched ahead: from there on down, more is fetched
FLUSH_TIMEOUT_S = 0.01
FULL_CHECK_S = 0.05  # of a full worker, for a slot that has become free
FIRST_LOOK_S = 1.0  # of a process, for each of its consumers to look once


class BlockingConsumer(_RedisConsumer):
    """Blocks on a list of wake-ups, and acknowledges messages with its next fetch.

    While the worker is full, it fetches nothing, and other workers get what it has fetched ahead.
    """

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)  # type: ignore[no-untyped-call]
        self._has_room = threading.Event()

    def ack(self, message: Any) -> None:
        """Begin the message's job, and acknowledge it after the job; Dramatiq's thread only hands it over."""
        self.broker.in_flight.accept(message.args[0], partial(self._done, message))

    def _done(self, message: Any) -> None:
        self.broker.done[self.queue_name].append(message.options["redis_message_id"])
        self.queued_message_ids.discard(message.message_id)
        if self.outstanding_message_count <= self.prefetch * REFILL:
            self._has_room.set()

    def __next__(self) -> Any:
        try:
            if self.broker.is_full():
                self._give_back()
                self._ack_and_fetch(0)
                self._has_room.wait(FULL_CHECK_S)
                self._has_room.clear()
                return None
            message = self._cached_or_fetched()
            if message is None and self.outstanding_message_count == 0 and not self._yields():
                self._ack_and_fetch(0)
                # A token is left for each delivery. One too many costs a look; the limit makes up for a lost one.
                wake_key = self.broker.wake_key(self.queue_name)
                token = self.broker.client.blpop(wake_key, timeout=self.broker.timings.redis_block_s)
                if not self.broker.is_full():
                    message = self._cached_or_fetched()
                elif token is not None:
                    self.broker.client.rpush(wake_key, "1")  # for another worker
            elif message is None:
                if not self._has_room.wait(FLUSH_TIMEOUT_S):
                    self._ack_and_fetch(0)
                self._has_room.clear()  # the next look sees all jobs that ended meanwhile
        except (redis.ConnectionError, redis.TimeoutError) as error:
            raise ConnectionClosed(error) from None  # type: ignore[no-untyped-call]
        except redis.ResponseError as error:
            if leave_replica(self.broker.client, error):
                raise ConnectionClosed(error) from None  # type: ignore[no-untyped-call]
            raise
        return None if message is not None and self._begins_at_once(message) else message

    def _begins_at_once(self, message: Any) -> bool:
        """Begin the message's job, without Dramatiq's thread, if a slot is free and no message waits for one."""
        done = partial(self._done, message)
        return bool(self.broker.work_queue.empty() and self.broker.accept_at_once(message.args[0], done))

    def close(self) -> None:
        """Acknowledge finished jobs, and give messages of jobs that have not begun back to Redis."""
        with suppress(redis.RedisError):
            self._ack_and_fetch(0)
            self._give_back()

    def _give_back(self) -> None:
        """Give the messages that nobody has begun back to Redis, those of Dramatiq's own queue first."""
        found = []
        waiting = list(iter_queue(self.broker.work_queue))  # type: ignore[no-untyped-call]  # before some are put back
        for item in waiting:
            if item.message.queue_name == self.queue_name:
                found.append(item.message)
            else:
                self.broker.work_queue.put(item)
        found += iter(self._cached, None)
        if found:
            self.broker.give_back(self.queue_name, [message.options["redis_message_id"] for message in found])
            self.queued_message_ids.difference_update(message.message_id for message in found)
            self.broker.more[self.queue_name] = True

    def _cached_or_fetched(self) -> Any:
        free = self.prefetch - self.outstanding_message_count
        if not self.message_cache and free >= self.prefetch * (1 - REFILL) and not self._yields():
            self.message_cache = self._ack_and_fetch(free)
            self.broker.more[self.queue_name] = len(self.message_cache) >= free
        return self._cached()

    def _cached(self) -> Any:
        while self.message_cache:
            data = self.message_cache.pop(0)
            try:
                message = dramatiq.Message.decode(data)
                ours = is_ours(message)
            except Exception:  # noqa: BLE001 - see below
                # Undecodable: nothing of it can be trusted, not even its id. It must not take its neighbours along.
                structlog.get_logger("dramatiq").error("a message cannot be read, and is dropped")
                continue
            if not ours:
                structlog.get_logger("dramatiq").error("dropped a message that holds no job")
                continue
            self.queued_message_ids.add(message.message_id)
            return dramatiq.broker.MessageProxy(message)
        return None

    def _yields(self) -> bool:
        """Return whether higher queues have more: messages fetched here would run in their gaps."""
        unknown = time.monotonic() < self.broker.born + FIRST_LOOK_S
        return any(self.broker.more.get(name, unknown) for name in HIGHER_QUEUES[self.queue_name])

    def _ack_and_fetch(self, free: int) -> list[Any]:
        """Acknowledge finished messages, and fetch up to `free` new ones."""
        waiting = self.broker.done[self.queue_name]
        done = [waiting.popleft() for _ in range(len(waiting))]
        calls: list[tuple[str | bytes | int, ...]] = [("ack", self.queue_name, message_id) for message_id in done]
        if free or time.monotonic() >= self.broker.heard + self.broker.timings.redis_heartbeat_s:
            calls.append(("fetch", self.queue_name, free))  # a fetch of no messages is still a heartbeat
        if not calls:
            return []
        try:
            answers = self.broker.call_many(calls)
        except redis.RedisError:
            waiting.extendleft(done)  # twice does no harm
            raise
        return list(answers[-1]) if free else []
