"""Breaks of backends, of maintenance, and of what subscribers see."""

import asyncio
import itertools
import time
from dataclasses import replace
from datetime import timedelta
from typing import Any

from tests.system.faults.broken import base


def no_maintenance() -> None:
    """Undelivered jobs are never delivered again."""
    from onward.maintenance.redelivery import Redelivery

    async def nothing(self: Any, identity: str) -> None:
        return

    base.put(Redelivery, "_deliver", nothing)


def prunes_at_once() -> None:
    """A job is deleted as soon as it is over, whatever the settings say."""
    from onward.maintenance.cleaner import Retention
    from onward.maintenance.maintenance import Maintenance

    def eager(init: Any) -> Any:
        def made(self: Any, **parts: Any) -> None:
            init(self, **{**parts, "retention": Retention(timedelta(0), None)})

        return made

    base.timings(clean_interval_s=0.5)
    base.around(Maintenance, "__init__", eager)


def no_promotion() -> None:
    """Maintenance finds no due jobs."""
    from onward.maintenance.scheduler import DelayedJobs

    async def nothing(self: Any) -> float:
        latest_s: float = self._latest_s
        return latest_s

    base.put(DelayedJobs, "run_once", nothing)


def no_reroute() -> None:
    """A job goes where the settings sent it when it was accepted."""
    from onward.maintenance.recovery import Recovery

    async def nothing(self: Any, places: Any) -> None:
        return

    base.put(Recovery, "_reroute", nothing)


async def _never(*_: Any) -> bool:
    return False


def confirmed_for_ever() -> None:
    """Confirmed deliveries are never repeated."""
    from onward.jobs import due
    from onward.maintenance.redelivery import Redelivery
    from onward.storage.tables import jobs

    table = jobs.c

    def once(statement: Any) -> Any:
        return statement.where(table.delivered_to.is_(None))

    base.around(due, "_undelivered", once)
    base.put(Redelivery, "_has_lost_all", _never)


def sentinel_alone() -> None:
    """Redis is believed to hold what it was given as long as a key of ours is there."""
    from onward.backends.dramatiq import Dramatiq
    from onward.maintenance.redelivery import Redelivery

    def shorter(look: Any) -> Any:
        def looked(self: Any) -> Any:
            health = look(self)
            return replace(health, identity=health.identity.rpartition("/")[2])

        return looked

    base.around(Dramatiq, "_look", shorter)
    base.put(Redelivery, "_has_lost_all", _never)


def fetched_forgotten() -> None:
    """Messages of a dead worker stay with it for ten minutes, as in Dramatiq by default."""
    from onward.maintenance.redelivery import Redelivery

    base.timings(redis_heartbeat_timeout_s=600.0)
    base.put(Redelivery, "_has_lost_all", _never)


def blocking_delivery() -> None:
    """The event loop itself waits for Redis."""
    from onward.backends.dramatiq import Dramatiq

    async def deliver(self: Any, deliveries: Any, *, after_response: Any) -> None:
        self.broker.enqueue_many(deliveries)

    base.put(Dramatiq, "deliver", deliver)


def delivery_holds_the_loop() -> None:
    """Each delivery waits without letting anything else run."""
    from onward.backends.background import Background
    from onward.backends.dramatiq import Dramatiq

    def slow(deliver: Any) -> Any:
        async def slowly(self: Any, deliveries: Any, *, after_response: Any) -> None:
            time.sleep(0.2)  # noqa: ASYNC251 - the break
            await deliver(self, deliveries, after_response=after_response)

        return slowly

    for backend in (Background, Dramatiq):
        base.around(backend, "deliver", slow)


def tenth_delivery_lost() -> None:
    """Every tenth job that is delivered is forgotten, and nobody is told."""
    from onward.backends.background import Background
    from onward.backends.dramatiq import Dramatiq

    delivered = itertools.count(1)

    def losing(deliver: Any) -> Any:
        async def some(self: Any, deliveries: Any, *, after_response: Any) -> None:
            kept = [delivery for delivery in deliveries if next(delivered) % 10]
            await deliver(self, kept, after_response=after_response)

        return some

    for backend in (Background, Dramatiq):
        base.around(backend, "deliver", losing)


def delivery_raises_anything() -> None:
    """A delivery tells of its broker by another error than the interface names."""
    from onward.backends.background import Background
    from onward.backends.dramatiq import Dramatiq

    async def deliver(self: Any, deliveries: Any, *, after_response: Any) -> None:
        raise KeyError("queue")

    for backend in (Background, Dramatiq):
        base.put(backend, "deliver", deliver)


def patient_delivery() -> None:
    """An answer waits for its jobs' delivery, ten seconds if need be."""
    base.timings(deliver_timeout_s=10.0)


def no_limits() -> None:
    """Redis may take as long as it likes to answer."""
    base.timings(redis_timeout_s=None)


def health_lies() -> None:
    """A broker that cannot be asked is taken to be well."""
    from onward.backends.base import Health
    from onward.backends.dramatiq import Dramatiq

    def well(look: Any) -> Any:
        def looked(self: Any) -> Any:
            health = look(self)
            return health if health.reachable else Health(reachable=True, identity="?")

        return looked

    base.around(Dramatiq, "_look", well)


def undecodable_kills() -> None:
    """A message that cannot be read takes its neighbours along, as it does in Dramatiq, and nobody gives them back."""
    from dramatiq.brokers.redis import _RedisConsumer

    from onward.backends.redis_consumer import BlockingConsumer

    fetched_forgotten()
    base.put(BlockingConsumer, "__next__", _RedisConsumer.__next__)


def no_claimer() -> None:
    """An embedded process runs what it accepts, and nothing else."""
    from onward.backends.background import Background

    async def nothing(self: Any) -> None:
        await asyncio.Event().wait()

    base.put(Background, "_claim_more", nothing)


def slots_leak() -> None:
    """A slot that was used is not free again."""
    from onward.backends.background import Background

    def leaking(spawn: Any) -> Any:
        def spawned(self: Any, call: Any) -> None:
            spawn(self, call)
            self._free -= 1

        return spawned

    base.around(Background, "_spawn", leaking)


def slow_looks() -> None:
    """Changes of other processes are looked for every twenty seconds."""
    base.timings(change_poll_s=20.0, quiet_poll_s=20.0)


def old_changes_again() -> None:
    """Each read of changes starts at the read before the last."""
    from onward.jobs.change_feed import ChangeFeed

    def twice(look: Any) -> Any:
        def looked(self: Any, tx: Any) -> Any:
            found = look(self, tx)
            self.before, again = found, getattr(self, "before", [])
            return [*found, *again]

        return looked

    base.around(ChangeFeed, "_poll", twice)


def changes_skipped() -> None:
    """Only the first few of many simultaneous changes are delivered."""
    from onward.jobs.change_feed import ChangeFeed

    base.around(ChangeFeed, "_poll", lambda look: lambda self, tx: look(self, tx)[:3])
