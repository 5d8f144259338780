"""Jobs as messages of Dramatiq on Redis, run in worker processes.

| | |
|---|---|
| a message | holds a job's id, and is acknowledged whatever became of the job: the ledger knows |
| delay, retries, results, time limits | not Dramatiq's: its middleware for them is off |
| priority | a queue each for what goes before the rest, for the rest, and for what goes after it |
| a job | runs on the event loop: Dramatiq's thread hands it over, see `hands.py` |
| pick-up | an idle consumer blocks on a wake-up list, so that it need not poll |
| a worker dies with messages fetched | Dramatiq's own maintenance gives them back after some seconds |
| Redis forgets | its run id or our sentinel key changes, and the sweep delivers again |

Milliseconds, Dramatiq's unit, exist in this file alone.
"""

from __future__ import annotations

import asyncio
import math
import queue
import re
import secrets
import threading
import time
from collections import defaultdict, deque
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from types import MappingProxyType
from typing import Any

import dramatiq
import redis
import structlog
from dramatiq.brokers.redis import RedisBroker, _RedisConsumer
from dramatiq.common import current_millis
from dramatiq.errors import ConnectionClosed
from dramatiq.worker import Worker
from redis.backoff import NoBackoff
from redis.retry import Retry

from onward.backends import redis_check
from onward.backends.base import Backend, BackendError, Defer, Delivery, Health, Role, Run
from onward.backends.in_flight import InFlightJobs
from onward.findings import Finding
from onward.jobs.timings import Timings

HIGH, QUEUE, LOW = "jobs.high", "jobs", "jobs.low"
ACTORS = MappingProxyType({HIGH: ("run_high", -1), QUEUE: ("run", 0), LOW: ("run_low", 1)})
"""Each queue's one actor, and its priority in Dramatiq's worker: smaller goes first, as in the ledger."""
HIGHER_QUEUES = MappingProxyType({HIGH: (), QUEUE: (HIGH,), LOW: (HIGH, QUEUE)})
JOB_ID = re.compile(r"job_[0-9A-Za-z]{1,64}")
WAKES = 64
PIPELINE = 500
REFILL = 0.75  # of what may be fetched ahead: from there on down, more is fetched
FLUSH_TIMEOUT_S = 0.01
FIRST_LOOK_S = 1.0  # of a process: so long it waits for each of its consumers to have looked once
UNPACK = 1_000  # values that Lua takes at once
MAINTENANCE_ALWAYS = 1_000_000  # Dramatiq rolls a die of a million for each command


def queue_of(priority: int) -> str:
    """The queue of jobs of a priority."""
    return QUEUE if priority == 0 else HIGH if priority < 0 else LOW


def client(url: str, timeout_s: float | None) -> Any:
    """A client that waits that long at most and sends nothing twice: a retried enqueue would be two messages."""
    return redis.Redis.from_url(
        url,
        socket_timeout=timeout_s,
        socket_connect_timeout=timeout_s,
        socket_keepalive=True,
        retry=Retry(NoBackoff(), 0),
        health_check_interval=0,
    )


class _BlockingConsumer(_RedisConsumer):
    """Waits for a wake-up where Dramatiq's own sleeps between looks, and acknowledges on its way to fetch."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)  # type: ignore[no-untyped-call]
        self._room = threading.Event()

    def ack(self, message: Any) -> None:
        """Its job is begun, for which Dramatiq's own thread has nothing to do; it is acknowledged when that is over."""
        self.broker.hands.accept(message.args[0], partial(self._over, message))

    def _over(self, message: Any) -> None:
        self.broker.done[self.queue_name].append(message.options["redis_message_id"])
        self.queued_message_ids.discard(message.message_id)
        if self.outstanding_message_count <= self.prefetch * REFILL:
            self._room.set()

    def __next__(self) -> Any:
        try:
            message = self._cached_or_fetched()
            if message is None and self.outstanding_message_count == 0 and not self._gives_way():
                self._ack_and_fetch(0)
                # A token is left for each delivery. One too many costs a look; the limit makes up for a lost one.
                self.broker.client.blpop(
                    self.broker.wake_key(self.queue_name), timeout=self.broker.timings.redis_block_s
                )
                message = self._cached_or_fetched()
            elif message is None:
                if not self._room.wait(FLUSH_TIMEOUT_S):
                    self._ack_and_fetch(0)
                self._room.clear()  # the next look counts, whoever was heard meanwhile
        except (redis.ConnectionError, redis.TimeoutError) as error:
            raise ConnectionClosed(error) from None  # type: ignore[no-untyped-call]
        return message

    def close(self) -> None:
        """What is done is acknowledged, and what was fetched and not looked at yet waits in Redis again."""
        with suppress(redis.RedisError):
            self._ack_and_fetch(0)
            self.requeue(list(iter(self._cached, None)))  # type: ignore[no-untyped-call]

    def _cached_or_fetched(self) -> Any:
        room = self.prefetch - self.outstanding_message_count
        if not self.message_cache and room >= self.prefetch * (1 - REFILL) and not self._gives_way():
            self.message_cache = self._ack_and_fetch(room)
            self.broker.more[self.queue_name] = len(self.message_cache) >= room
        return self._cached()

    def _cached(self) -> Any:
        while self.message_cache:
            data = self.message_cache.pop(0)
            try:
                message = dramatiq.Message.decode(data)
                ours = _is_ours(message)
            except Exception:  # noqa: BLE001 - see below
                # Undecodable: nothing of it can be trusted, not even its id. It must not take its neighbours along.
                structlog.get_logger("dramatiq").error("a message cannot be read, and is dropped")
                continue
            if not ours:
                structlog.get_logger("dramatiq").error("a message is none of ours, and is dropped")
                continue
            self.queued_message_ids.add(message.message_id)
            return dramatiq.broker.MessageProxy(message)
        return None

    def _gives_way(self) -> bool:
        """Whether more waits in Redis that goes first: what was fetched here would run in every gap of it."""
        unknown = time.monotonic() < self.broker.born + FIRST_LOOK_S
        return any(self.broker.more.get(name, unknown) for name in HIGHER_QUEUES[self.queue_name])

    def _ack_and_fetch(self, room: int) -> list[Any]:
        """What is done is acknowledged, and up to `room` messages have been fetched."""
        waiting = self.broker.done[self.queue_name]
        done = [waiting.popleft() for _ in range(len(waiting))]
        calls: list[tuple[str | bytes | int, ...]] = [("ack", self.queue_name, message_id) for message_id in done]
        if room or time.monotonic() >= self.broker.heard + self.broker.timings.redis_heartbeat_s:
            calls.append(("fetch", self.queue_name, room))  # of none is a heartbeat still
        if not calls:
            return []
        try:
            answers = self.broker.call_many(calls)
        except redis.RedisError:
            waiting.extendleft(done)  # twice does no harm
            raise
        return list(answers[-1]) if room else []


def _message(queue_name: str, own: str, job_id: str) -> bytes:
    """A message of Dramatiq's that says a job's id."""
    options = {"redis_message_id": own}
    message: dramatiq.Message[Any] = dramatiq.Message(queue_name, ACTORS[queue_name][0], (job_id,), {}, options, own)
    return message.encode()


def _is_ours(message: Any) -> bool:
    """Whether it says what `enqueue_many` says, and no more: a job's id."""
    return (
        message.queue_name in ACTORS
        and message.actor_name == ACTORS[message.queue_name][0]
        and (dict(message.kwargs), len(message.args)) == ({}, 1)
        and isinstance(message.args[0], str)
        and JOB_ID.fullmatch(message.args[0]) is not None
        and message.options.keys() == {"redis_message_id"}  # an `eta` would have the consumer's own thread run it
        and isinstance(message.options["redis_message_id"], str)
    )


class Broker(RedisBroker):
    """Dramatiq's Redis broker, with consumers that block, and enqueueing in one round trip for many."""

    def __init__(self, url: str, namespace: str, timings: Timings = Timings()) -> None:
        self.timings = timings
        super().__init__(  # type: ignore[no-untyped-call]
            client=client(url, timings.redis_timeout_s),
            namespace=namespace,
            middleware=[],
            maintenance_chance=MAINTENANCE_ALWAYS,
            heartbeat_timeout=round(timings.redis_heartbeat_timeout_s * 1000),
        )
        self.born = time.monotonic()
        self.heard = -math.inf  # when Redis last heard of this process: of one that is silent it gives messages away
        self.more: dict[str, bool] = {}  # by queue, whether the last fetch left some behind
        # By queue, ids of messages to acknowledge; a consumer that is made anew takes them over.
        self.done: dict[str, deque[str]] = defaultdict(deque)
        self.hands: InFlightJobs  # of who consumes

    @property
    def consumer_class(self) -> Any:
        return _BlockingConsumer

    def wake_key(self, queue_name: str) -> str:
        """Where a token is put for each message of the queue."""
        return f"{self.namespace}:wake{queue_name.removeprefix(QUEUE)}"

    def declare_queue(self, queue_name: str) -> None:
        """The queue is known. It has no delay queue: delays are the ledger's."""
        if queue_name not in self.queues:
            self.emit_before("declare_queue", queue_name)
            self.queues.add(queue_name)
            self.emit_after("declare_queue", queue_name)

    def enqueue_many(self, deliveries: Sequence[Delivery]) -> None:
        """One message a job is in the queue of its priority, in order; what resumes, before all that waits there.

        Written as Dramatiq's script does it for one message at a time. Raises redis.RedisError, and then they may be
        there, all of them or none.
        """
        queues: dict[str, list[Delivery]] = defaultdict(list)
        for delivery in deliveries:
            queues[queue_of(delivery.priority)].append(delivery)
        pipe = self.client.pipeline(transaction=True)
        for name, those in queues.items():
            key, by_id = f"{self.namespace}:{name}", {secrets.token_hex(16): delivery for delivery in those}
            pipe.hset(f"{key}.msgs", mapping={own: _message(name, own, it.job_id) for own, it in by_id.items()})
            resumed = [own for own, delivery in by_id.items() if delivery.resumes]
            further = [own for own, delivery in by_id.items() if not delivery.resumes]
            if resumed:
                pipe.lpush(key, *reversed(resumed))
            if further:
                pipe.rpush(key, *further)
            pipe.rpush(self.wake_key(name), *["1"] * min(len(those), WAKES))
            pipe.ltrim(self.wake_key(name), -WAKES, -1)
        pipe.execute()

    def call_many(self, calls: Sequence[tuple[str | bytes | int, ...]]) -> list[Any]:
        """What Dramatiq's script says to each call of `(command, queue, *arguments)`, in one round trip.

        Raises redis.RedisError, and then some of them may have been done.
        """
        script = self.scripts["dispatch"]
        common = (self.broker_id, self.heartbeat_timeout, self.dead_message_ttl)
        now = current_millis()
        for attempt in (1, 2):
            pipe = self.client.pipeline(transaction=False)
            for command, queue_name, *own in calls:
                # Maintenance once a round trip is often enough, and a fetch is what waits for it.
                given = (command, now, queue_name, *common, int(command == "fetch"), UNPACK)
                pipe.evalsha(script.sha, 1, self.namespace, *given, *own)
            try:
                answers = list(pipe.execute())
            except redis.exceptions.NoScriptError:
                if attempt == 2:  # noqa: PLR2004
                    raise
                self.client.script_load(script.script)
            else:
                self.heard = time.monotonic()
                return answers
        raise AssertionError("unreachable")


class Dramatiq(Backend):
    """Messages in Redis; `./onward worker` and `dramatiq worker:broker` run them."""

    runs_elsewhere = True

    def __init__(
        self,
        run: Run,
        *,
        url: str,
        namespace: str = "onward",
        timings: Timings = Timings(),
    ) -> None:
        self.broker = Broker(url, namespace, timings)
        self._timings = timings
        self._run = run
        self._sentinel_key = f"{namespace}:sentinel"
        self._probe = client(url, timings.redis_timeout_s)
        self._probing = threading.Lock()
        self._courier = _Enqueuer(self.broker)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._draining = False

    async def start(self, role: Role) -> None:  # noqa: ARG002 - who runs is who starts Dramatiq's worker on `broker`
        self._loop = asyncio.get_running_loop()
        self._courier.start()

    def declare(self, worker: Worker) -> None:
        """The worker, which is about to start, runs jobs of this backend: as many at once as it was to have threads."""
        assert self._loop is not None  # noqa: S101 - for the type checker
        self.broker.hands = InFlightJobs(self._loop, self._retry_write, worker.worker_threads)
        self.broker.add_middleware(self.broker.hands)
        worker.worker_threads = 1
        for queue_name, (name, priority) in ACTORS.items():
            dramatiq.actor(actor_name=name, queue_name=queue_name, priority=priority, broker=self.broker)(_read)

    async def _retry_write(self, job_id: str) -> bool:
        """The job has been asked for, however long the ledger is away: its message is the only one there may be.

        False where it could not be, and the process ends: not acknowledged, its message is given to another one then.
        """
        while True:
            try:
                # Also while draining: it is given back then, which the ledger has to know.
                await self._run(job_id, wait_for_commit=False)
            except Exception:  # noqa: BLE001 - whatever it is: the ledger decides
                structlog.get_logger("dramatiq").warning("not run yet", job=job_id, exc_info=True)
                if self._draining:
                    return False
                await asyncio.sleep(self._timings.delivery_retry_s)
            else:
                return True

    async def deliver(self, deliveries: Sequence[Delivery], *, after_response: Defer) -> None:  # noqa: ARG002
        """All are in Redis. Raises BackendError where some may not be."""
        try:
            await self._courier.bring(deliveries)
        except redis.RedisError as error:
            raise BackendError("Redis did not take the messages") from error

    async def drain(self, deadline_s: float) -> None:  # noqa: ARG002
        self._draining = True
        self._courier.close()

    async def health(self) -> Health:
        return await asyncio.to_thread(self._look)

    async def check(self, name: str) -> Sequence[Finding]:  # noqa: ARG002 - what is checked is Redis
        return await asyncio.to_thread(lambda: list(redis_check.check(self._probe)))

    def _look(self) -> Health:
        with self._probing:
            try:
                fresh = secrets.token_hex(8)
                pipe = self._probe.pipeline(transaction=False)
                pipe.set(self._sentinel_key, fresh, nx=True)
                pipe.get(self._sentinel_key)
                pipe.info("server")
                for name in ACTORS:
                    pipe.llen(f"{self.broker.namespace}:{name}")
                _, sentinel, server, *depths = pipe.execute()
            except redis.RedisError:
                return Health(reachable=False)
            return Health(True, f"{server.get('run_id', '')}/{sentinel.decode()}", sum(depths))


def _read(job_id: object) -> None:
    """The job's message has come; its consumer's `ack` begins the job."""


class _Enqueuer:
    """A thread that puts messages into Redis, those that come together in one round trip: a loop must not block."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._queue: queue.SimpleQueue[tuple[Sequence[Delivery], asyncio.Future[None]] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._loop, name="courier", daemon=True)
            self._thread.start()

    def close(self) -> None:
        self._queue.put(None)

    async def bring(self, deliveries: Sequence[Delivery]) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.put((deliveries, future))
        await future

    def _loop(self) -> None:
        going = True
        while going:
            parcels = []
            n = 0
            with suppress(queue.Empty):
                parcel = self._queue.get()
                while parcel is not None:
                    parcels.append(parcel)
                    n += len(parcel[0])
                    if n >= PIPELINE:
                        break
                    parcel = self._queue.get_nowait()
                else:
                    going = False
            if not parcels:
                continue
            error: Exception | None = None
            try:
                self._broker.enqueue_many([delivery for deliveries, _ in parcels for delivery in deliveries])
            except Exception as caught:  # noqa: BLE001 - whatever it is, those who wait are told
                error = caught
            by_loop: dict[asyncio.AbstractEventLoop, list[asyncio.Future[None]]] = {}
            for _, future in parcels:
                by_loop.setdefault(future.get_loop(), []).append(future)
            for loop, futures in by_loop.items():
                with suppress(RuntimeError):
                    loop.call_soon_threadsafe(_tell, futures, error)


def _tell(futures: list[asyncio.Future[None]], error: Exception | None) -> None:
    for future in futures:
        if not future.done():
            if error is None:
                future.set_result(None)
            else:
                future.set_exception(error)
