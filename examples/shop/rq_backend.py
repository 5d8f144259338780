"""Jobs through RQ, Redis Queue.

| | |
|---|---|
| a message | is an RQ job whose one argument is the id of the Onward job |
| a job starts | in a thread of `./onward worker` that runs an RQ worker, as `rq info` shows |
| a worker dies | jobs that it had fetched and not begun are delivered again once the queue is seen to be empty |
| Redis forgets | its run id changes, and maintenance delivers again |
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

from onward.backends.base import Backend, BackendError, Defer, Delivery, Health, Role, Run

SOCKET_S = 2.0
AGAIN_S = 1.0
WORKER_TTL_S = 16  # RQ looks up from an empty queue 15 s before that is over
run_job: ContextVar[Callable[[str], object]] = ContextVar("run_job")


def execute(job_id: str) -> None:
    """Run the job in this worker. RQ calls it; a job that is taken already is left alone."""
    run_job.get()(job_id)


class Worker(SimpleWorker):
    """An RQ worker in a thread. It leaves signals to the main thread, and ends by an event."""

    death_penalty_class = TimerDeathPenalty
    stop: threading.Event

    def _install_signal_handlers(self) -> None:
        pass

    def heartbeat(self, *args: Any, **kwargs: Any) -> None:
        if self.stop.is_set():
            raise StopRequested
        super().heartbeat(*args, **kwargs)


class Rq(Backend):
    """Runs at most `concurrency` jobs at once in each worker process."""

    runs_elsewhere = True

    def __init__(self, run: Run, *, url: str, queue: str = "onward", concurrency: int = 8) -> None:
        self._run, self._url, self._concurrency = run, url, concurrency
        self._redis = self._client(socket_timeout=SOCKET_S)
        self._names = [queue + line for line in (".high", "", ".low")]  # a worker takes from the first that has any
        self._queues = [Queue(name, connection=self._redis, serializer="json") for name in self._names]
        self._draining = threading.Event()

    def _client(self, **options: Any) -> redis.Redis:  # a message that it sends again would be two
        return redis.Redis.from_url(self._url, retry=Retry(NoBackoff(), 0), socket_connect_timeout=SOCKET_S, **options)

    async def start(self, role: Role) -> None:
        for _ in range(self._concurrency if role is Role.RUN else 0):
            threading.Thread(target=self._work, args=(asyncio.get_running_loop(),), daemon=True).start()

    def _work(self, loop: asyncio.AbstractEventLoop) -> None:
        run_job.set(lambda job_id: asyncio.run_coroutine_threadsafe(self._run(job_id), loop).result())
        while not self._draining.is_set():
            with suppress(redis.RedisError):  # away at the beginning; later on, RQ itself waits for it
                worker = Worker(self._names, connection=self._client(), serializer="json", worker_ttl=WORKER_TTL_S)
                worker.stop = self._draining
                worker.work(logging_level="WARNING")
            self._draining.wait(AGAIN_S)

    async def deliver(self, deliveries: Sequence[Delivery], *, after_response: Defer) -> None:
        own: dict[str, Any] = {"timeout": -1, "result_ttl": 0, "failure_ttl": 60}  # all limits are the ledger's
        try:
            for queue, line in zip(self._queues, (-1, 0, 1), strict=True):
                ids = [delivery.job_id for delivery in deliveries if min(max(delivery.priority, -1), 1) == line]
                calls = [Queue.prepare_data(execute, [job_id], **own) for job_id in ids]
                await asyncio.to_thread(queue.enqueue_many, calls)
        except redis.RedisError as error:
            raise BackendError("Redis did not take the messages") from error

    async def drain(self, deadline_s: float) -> None:
        self._draining.set()

    async def health(self) -> Health:
        with suppress(redis.RedisError):
            server = await asyncio.to_thread(self._redis.info, "server")
            depth = await asyncio.to_thread(lambda: sum(queue.count for queue in self._queues))
            return Health(True, str(server["run_id"]), depth)
        return Health(reachable=False)
