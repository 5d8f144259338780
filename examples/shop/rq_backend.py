"""Jobs through RQ, Redis Queue.

| | |
|---|---|
| a message | is an RQ job whose one argument is the id of ours |
| a job starts | in a thread of `./onward worker` that runs an RQ worker, as `rq info` shows |
| a worker dies | what it had fetched and not begun is delivered again once the queue is seen to be empty |
| Redis forgets | its run id is another one afterwards, and the sweep delivers again |
"""

import asyncio
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from contextvars import ContextVar
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from rq import Queue, SimpleWorker
from rq.exceptions import StopRequested
from rq.timeouts import TimerDeathPenalty

from backends.base import Backend, BackendError, Defer, Delivery, Health, Role, Run

SOCKET_S = 2.0
AGAIN_S = 1.0
WORKER_TTL_S = 16  # RQ looks up from an empty queue 15 s before that is over
way_in: ContextVar[Callable[[str], object]] = ContextVar("way_in")


def carry(job_id: str) -> None:
    """What an RQ job calls: the job has run, or was not to be had."""
    way_in.get()(job_id)


class Hand(SimpleWorker):
    """An RQ worker in a thread: without signals, which are the main thread's, and ended by an event."""

    death_penalty_class = TimerDeathPenalty
    stop: threading.Event

    def _install_signal_handlers(self) -> None:
        pass

    def heartbeat(self, *args: Any, **kwargs: Any) -> None:
        if self.stop.is_set():
            raise StopRequested
        super().heartbeat(*args, **kwargs)


class Rq(Backend):
    """At most `concurrency` jobs at once in each worker process."""

    runs_elsewhere = True

    def __init__(self, run: Run, *, url: str, queue: str = "onward", concurrency: int = 8) -> None:
        self._run, self._url, self._name, self._concurrency = run, url, queue, concurrency
        self._queue = Queue(queue, connection=self._client(socket_timeout=SOCKET_S), serializer="json")
        self._draining = threading.Event()

    def _client(self, **options: Any) -> redis.Redis:
        retry = Retry(NoBackoff(), 0)  # a message that is sent again would be two
        return redis.Redis.from_url(self._url, retry=retry, socket_connect_timeout=SOCKET_S, **options)

    async def start(self, role: Role) -> None:
        loop = asyncio.get_running_loop()
        if role is Role.RUN:
            for _ in range(self._concurrency):
                threading.Thread(target=self._work, args=(loop,), daemon=True).start()

    def _work(self, loop: asyncio.AbstractEventLoop) -> None:
        way_in.set(lambda job_id: asyncio.run_coroutine_threadsafe(self._run(job_id), loop).result())
        while not self._draining.is_set():
            with suppress(redis.RedisError):  # away at the beginning; later on, RQ itself waits for it
                hand = Hand([self._name], connection=self._client(), serializer="json", worker_ttl=WORKER_TTL_S)
                hand.stop = self._draining
                hand.work(logging_level="WARNING")
            self._draining.wait(AGAIN_S)

    async def deliver(self, deliveries: Sequence[Delivery], *, after_response: Defer) -> None:
        # Without limits of RQ's own: time, retries and results are the ledger's.
        own: dict[str, Any] = {"timeout": -1, "result_ttl": 0, "failure_ttl": 60}
        calls = [Queue.prepare_data(carry, [delivery.job_id], **own) for delivery in deliveries]
        try:
            await asyncio.to_thread(self._queue.enqueue_many, calls)
        except redis.RedisError as error:
            raise BackendError("Redis did not take the messages") from error

    async def drain(self, deadline_s: float) -> None:
        self._draining.set()

    async def health(self) -> Health:
        try:
            server = await asyncio.to_thread(self._queue.connection.info, "server")
            return Health(True, str(server["run_id"]), await asyncio.to_thread(lambda: self._queue.count))
        except redis.RedisError:
            return Health(reachable=False)
