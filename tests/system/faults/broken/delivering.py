"""Breaks of backends, of maintenance, and of subscriptions."""

import asyncio
import itertools
import time
from dataclasses import replace
from datetime import timedelta
from typing import Any

import sqlalchemy as sa

from tests.system.faults.broken import base


def no_maintenance() -> None:
    """Never deliver undelivered jobs again."""
    from onward.maintenance.redelivery import Redelivery

    async def nothing(self: Any, identity: str) -> None:
        return

    base.put(Redelivery, "_deliver", nothing)


def prunes_at_once() -> None:
    """Delete a job as soon as it is over, whatever the settings say."""
    from onward.maintenance.cleaner import Retention
    from onward.maintenance.maintenance import Maintenance

    def eager(init: Any) -> Any:
        def made(self: Any, **parts: Any) -> None:
            init(self, **{**parts, "retention": Retention(timedelta(0), None)})

        return made

    base.timings(clean_interval_s=0.5)
    base.around(Maintenance, "__init__", eager)


def no_promotion() -> None:
    """Find no due jobs in maintenance."""
    from onward.maintenance.scheduler import DelayedJobs

    async def nothing(self: Any) -> float:
        latest_s: float = self._latest_s
        return latest_s

    base.put(DelayedJobs, "run_once", nothing)


def ticks_stand() -> None:
    """Leave a schedule due again soon after its tick."""
    from onward.jobs import schedule_rows

    def standing(tick_each: Any) -> Any:
        return lambda tx, rows: tick_each(
            tx, [(row, ticked._replace(next_at=ticked.next_at - 700_000)) for row, ticked in rows]
        )

    base.around(schedule_rows, "tick_each", standing)


def ticks_though_paused() -> None:
    """Let a paused schedule tick on."""
    from onward.jobs import schedule_rows

    base.put(schedule_rows, "_pause", schedule_rows._change.values(paused_by=sa.bindparam("by")))


def deletions_ignored() -> None:
    """Keep a schedule that was deleted."""
    from onward.jobs import schedule_rows

    base.put(schedule_rows, "delete", lambda _tx, _name: None)


def runs_at_the_next_tick() -> None:
    """Let the job of a schedule that is run now wait for the next tick."""
    from onward.dispatch.schedules import Schedules

    def waiting(new_job: Any) -> Any:
        def made(self: Any, tx: Any, name: str) -> Any:
            shown, new = new_job(self, tx, name)
            return shown, replace(new, run_at=shown.next_at)

        return made

    base.around(Schedules, "new_job", waiting)


def overlaps_ignored() -> None:
    """Make the next job of a schedule whatever became of the last one."""
    from onward.jobs import schedule

    base.put(schedule, "_last_jobs", lambda *_: {})


def no_expiry() -> None:
    """Cancel no job that has expired."""
    from onward.jobs import expiry

    base.put(expiry, "expire_due", lambda _tx, _limit: [])


def expires_too_soon() -> None:
    """Cancel jobs some seconds before their time is over."""
    from onward.jobs import expiry, row
    from onward.storage.tables import expiring, jobs

    early, limit = jobs.c.expires_at - 5_000_000, sa.bindparam("limit_", type_=sa.Integer)
    base.put(expiry, "_over", sa.select(*row.ALL).where(expiring, early <= sa.bindparam("now")).limit(limit))
    base.put(expiry, "_next", sa.select(sa.func.min(early)).where(expiring))


def no_reroute() -> None:
    """Deliver a job where the settings sent it when it was accepted."""
    from onward.maintenance.recovery import Recovery

    async def nothing(self: Any, destinations: Any) -> None:
        return

    base.put(Recovery, "_reroute", nothing)


async def _never(*_: Any) -> bool:
    return False


def confirmed_for_ever() -> None:
    """Never repeat confirmed deliveries."""
    from onward.jobs import due
    from onward.maintenance.redelivery import Redelivery
    from onward.storage.tables import jobs

    table = jobs.c

    def once(statement: Any) -> Any:
        return statement.where(table.delivered_to.is_(None))

    base.around(due, "_undelivered", once)
    base.put(Redelivery, "_has_lost_all", _never)


def sentinel_alone() -> None:
    """Trust Redis to have kept its messages as long as a key of ours is there."""
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
    """Leave the messages of a dead worker with it for ten minutes, as Dramatiq does by default."""
    from onward.maintenance.redelivery import Redelivery

    base.timings(redis_heartbeat_timeout_s=600.0)
    base.put(Redelivery, "_has_lost_all", _never)


def blocking_delivery() -> None:
    """Wait for Redis on the event loop itself."""
    from onward.backends.dramatiq import Dramatiq

    async def deliver(self: Any, deliveries: Any, *, after_response: Any) -> None:
        self.broker.enqueue_many(deliveries)

    base.put(Dramatiq, "deliver", deliver)


def delivery_holds_the_loop() -> None:
    """Block the loop during each delivery."""
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
    """Forget every tenth delivery without an error."""
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
    """Raise another error from a delivery than the interface names."""
    from onward.backends.background import Background
    from onward.backends.dramatiq import Dramatiq

    async def deliver(self: Any, deliveries: Any, *, after_response: Any) -> None:
        raise KeyError("queue")

    for backend in (Background, Dramatiq):
        base.put(backend, "deliver", deliver)


def patient_delivery() -> None:
    """Let an answer wait for its jobs' delivery, up to ten seconds."""
    base.timings(deliver_timeout_s=10.0)


def no_limits() -> None:
    """Wait for Redis without a timeout."""
    base.timings(redis_timeout_s=None)


def health_lies() -> None:
    """Report a broker that cannot be asked as healthy."""
    from onward.backends.base import Health
    from onward.backends.dramatiq import Dramatiq

    def well(look: Any) -> Any:
        def looked(self: Any) -> Any:
            health = look(self)
            return health if health.reachable else Health(reachable=True, identity="?")

        return looked

    base.around(Dramatiq, "_look", well)


def undecodable_kills() -> None:
    """Lose the neighbours of an unreadable message, as Dramatiq does, without giving them back."""
    from dramatiq.brokers.redis import _RedisConsumer

    from onward.backends.redis_consumer import BlockingConsumer

    fetched_forgotten()
    base.put(BlockingConsumer, "__next__", _RedisConsumer.__next__)


def no_claimer() -> None:
    """Let an embedded process run its own jobs only."""
    from onward.backends.background import Background

    async def nothing(self: Any) -> None:
        await asyncio.Event().wait()

    base.put(Background, "_claim_more", nothing)


def slots_leak() -> None:
    """Never free a used slot, and lose nine more with it: thirty jobs of a request may share one."""
    from onward.backends.background import Background

    def leaking(spawn: Any) -> Any:
        def spawned(self: Any, call: Any) -> None:
            spawn(self, call)
            self._free -= 10

        return spawned

    base.around(Background, "_spawn", leaking)


def slow_looks() -> None:
    """Look for changes of other processes every twenty seconds."""
    base.timings(change_poll_s=20.0, quiet_poll_s=20.0)


def old_changes_again() -> None:
    """Start each read of changes at the read before the last."""
    from onward.jobs.change_feed import ChangeFeed

    def twice(look: Any) -> Any:
        def looked(self: Any, tx: Any) -> Any:
            found, *rest = look(self, tx)
            self.before, again = found, getattr(self, "before", [])
            return [*found, *again], *rest

        return looked

    base.around(ChangeFeed, "_poll", twice)


def changes_skipped() -> None:
    """Deliver only the first few of many simultaneous changes."""
    from onward.jobs.change_feed import ChangeFeed

    def few(look: Any) -> Any:
        def looked(self: Any, tx: Any) -> Any:
            found, *rest = look(self, tx)
            return found[:3], *rest

        return looked

    base.around(ChangeFeed, "_poll", few)


def begins_anew() -> None:
    """Give a subscriber that comes back what changes from then on."""
    from onward.jobs import following
    from onward.jobs.catch_up import CatchUp
    from onward.jobs.position import Snapshot

    base.put(following, "catch_up", lambda tx, since, **_: CatchUp(since, [], [], Snapshot.of(tx).position))


def open_ones_forgotten() -> None:
    """Leave the transactions that are open out of a subscriber's position."""
    from onward.jobs.position import Position

    base.put(Position, "at", lambda self, end: self._replace(end=end, open=()))
