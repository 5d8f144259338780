"""Jobs as messages of Dramatiq on Redis, run in worker processes.

| | |
|---|---|
| a message | holds a job's id, and is acknowledged whatever became of the job: the ledger knows |
| delay, retries, results, time limits | not Dramatiq's: its middleware for them is off |
| priority | a queue each for what goes before the rest, for the rest, and for what goes after it |
| a job | runs on the event loop: its consumer hands it over, or Dramatiq's thread, see `in_flight.py` |
| pick-up | an idle consumer blocks on a wake-up list, so that it need not poll |
| a worker dies with messages fetched | the others give them back after some seconds, see `redis_rescue.py` |
| a worker is full of long jobs, or stops | it gives back what it has fetched ahead, and fetches nothing |
| the answer of a fetch is lost | the worker goes on under another id, and the old one counts as dead |
| Redis forgets | its run id or our sentinel key changes, and maintenance delivers again |

The parts of it that speak to Redis are in the `redis_*.py` files beside this one.
"""

from __future__ import annotations

import asyncio
import math
import secrets
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

import dramatiq
import redis
import structlog
from dramatiq.worker import Worker

from onward.backends import redis_check
from onward.backends.base import Backend, BackendError, Defer, Delivery, Health, Role, Run
from onward.backends.in_flight import InFlightJobs
from onward.backends.redis_address import leave_replica
from onward.backends.redis_broker import Broker
from onward.backends.redis_enqueuer import Enqueuer
from onward.backends.redis_queues import ACTORS, client
from onward.findings import Finding
from onward.jobs.timings import Timings

TRY_INTERVAL_S = 10.0
NAMESPACE = "onward"


class Dramatiq(Backend):
    """Jobs as messages in Redis; `onward worker` and `dramatiq worker:broker` run them."""

    runs_elsewhere = True

    def __init__(
        self,
        run: Run,
        *,
        url: str,
        namespace: str = NAMESPACE,
        timings: Timings = Timings(),
    ) -> None:
        self.broker = Broker(url, namespace, timings)
        self._timings = timings
        self._run = run
        self._sentinel_key = f"{namespace}:sentinel"
        self._probe = client(url, timings.redis_timeout_s)
        self._probing = threading.Lock()
        self._enqueuer = Enqueuer(self.broker)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._draining = False
        self._tried_at = -math.inf  # when Redis last allowed all of our commands

    @classmethod
    def for_queue(cls, queue: str, options: Mapping[str, Any]) -> Mapping[str, Any]:
        return {**options, "namespace": f"{options.get('namespace', NAMESPACE)}:{queue}"}

    async def start(self, role: Role) -> None:  # noqa: ARG002 - jobs run where a Dramatiq worker consumes `broker`
        self._loop = asyncio.get_running_loop()
        self._enqueuer.start()

    def declare(self, worker: Worker) -> None:
        """Let a worker, before its start, run jobs of this backend, as many at once as it has threads."""
        assert self._loop is not None  # noqa: S101 - for the type checker
        slots, hold_s = worker.worker_threads, self._timings.redis_hold_s
        self.broker.in_flight = InFlightJobs(self._loop, self._run_until_recorded, slots, hold_s)
        self.broker.is_full = self.broker.in_flight.is_full
        self.broker.accept_at_once = self.broker.in_flight.accept_at_once
        self.broker.work_queue = worker.work_queue
        self.broker.add_middleware(self.broker.in_flight)
        worker.worker_threads = 1
        for queue_name, (name, priority) in ACTORS.items():
            dramatiq.actor(actor_name=name, queue_name=queue_name, priority=priority, broker=self.broker)(_do_nothing)

    async def _run_until_recorded(self, job_id: str) -> bool:
        """Run the job and retry while the ledger is away: its message may be the only one.

        Return False if the process ends before: the message is not acknowledged, and another process gets it.
        """
        while True:
            try:
                # Also while draining: the job is given back then, which the ledger has to record.
                await self._run(job_id, wait_for_commit=False)
            except Exception:  # noqa: BLE001 - any error: the ledger decides
                structlog.get_logger("dramatiq").warning("not run yet", job=job_id, exc_info=True)
                if self._draining:
                    return False
                await asyncio.sleep(self._timings.delivery_retry_s)
            else:
                return True

    async def deliver(self, deliveries: Sequence[Delivery], *, after_response: Defer) -> None:  # noqa: ARG002
        """Put all into Redis. Raises BackendError where some may not be there."""
        try:
            await self._enqueuer.enqueue(deliveries)
        except redis.RedisError as error:
            raise BackendError("Redis did not accept the messages") from error

    async def drain(self, deadline_s: float) -> None:  # noqa: ARG002
        self._draining = True
        self._enqueuer.close()

    async def health(self) -> Health:
        return await asyncio.to_thread(self._look)

    async def check(self, name: str) -> Sequence[Finding]:  # noqa: ARG002 - Redis is checked, under its own name
        return await asyncio.to_thread(lambda: list(redis_check.check(self._probe, self.broker)))

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
                self._try_permissions()
            except redis.RedisError as error:
                leave_replica(self._probe, error)
                return Health(reachable=False, reason=redis_check.reason(error))
            return Health(True, f"{server.get('run_id', '')}/{sentinel.decode()}", sum(depths))

    def _try_permissions(self) -> None:
        """Try all used commands now and then. Raises redis.RedisError."""
        if time.monotonic() > self._tried_at + TRY_INTERVAL_S:
            if self.broker.refused_commands(self._probe):
                raise redis.exceptions.NoPermissionError
            self._tried_at = time.monotonic()


def _do_nothing(job_id: object) -> None:
    """The actor, which does nothing: the consumer begins the job, at once or with its `ack`."""
