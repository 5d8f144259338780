"""The order of messages in Redis, as workers take them."""

import asyncio
import math
import time
from collections.abc import Callable
from typing import Any, cast

import dramatiq
import orjson
import pytest
import redis
from dramatiq.errors import ConnectionClosed
from dramatiq.worker import _WorkQueueItem
from redis.connection import AbstractConnection

from onward.api.rates import Rates
from onward.backends.base import Delivery, Role
from onward.backends.dramatiq import Dramatiq
from onward.backends.redis_broker import Broker
from onward.backends.redis_message import is_ours
from onward.backends.redis_queues import QUEUE, client
from onward.jobs.timings import Timings
from onward.testing.waiting import until
from tests.processes import wait_until
from tests.servers import free_port, redis_server

pytestmark = pytest.mark.anyio


def in_order(backend: Dramatiq) -> list[str]:
    """Return the jobs of the waiting messages, the next one first."""
    queue = f"{backend.broker.namespace}:{QUEUE}"
    ids = backend.broker.client.lrange(queue, 0, -1)
    messages: list[Any] = [backend.broker.client.hget(f"{queue}.msgs", one) for one in ids]
    return [dramatiq.Message.decode(data).args[0] for data in messages]


async def test_resumed_jobs_go_before_new_ones(redis_url: str, namespace: str) -> None:
    """A resumed job's process has died or stopped; it must not wait for a whole backlog a second time."""
    backend = Dramatiq(cast("Any", None), url=redis_url, namespace=namespace)
    await backend.start(Role.ACCEPT)
    try:
        for batch in (["a", "b"], ["c", "d again", "e again"]):
            wanted = [Delivery(f"job_{name[0]}", "h", resumes=name.endswith("again")) for name in batch]
            await backend.deliver(wanted, after_response=lambda *_: None)
        assert in_order(backend) == ["job_d", "job_e", "job_a", "job_b", "job_c"]
    finally:
        await backend.drain(1.0)
        backend.broker.client.connection_pool.disconnect()


@pytest.mark.parametrize("started", [True, False])
async def test_a_backend_that_drains_or_was_not_started_delivers(
    redis_url: str, namespace: str, *, started: bool
) -> None:
    """The jobs of a draining process dispatch others, and it may lead."""
    backend = Dramatiq(cast("Any", None), url=redis_url, namespace=namespace)
    if started:
        await backend.start(Role.ACCEPT)
    before = [
        asyncio.ensure_future(backend.deliver([Delivery(f"job_{n}", "h")], after_response=lambda *_: None))
        for n in range(3)
    ]
    await asyncio.sleep(0)  # they are asked for before the drain
    await backend.drain(1.0)
    async with asyncio.timeout(2):
        await asyncio.gather(*before)
        await backend.deliver([Delivery("job_late", "h")], after_response=lambda *_: None)
    assert sorted(in_order(backend)) == ["job_0", "job_1", "job_2", "job_late"]
    backend.broker.client.connection_pool.disconnect()


def test_all_commands_are_tried_in_few_round_trips(
    redis_url: str, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Redis that is 40 ms away would pass for unreachable for a moment of each ten seconds."""
    backend = Dramatiq(cast("Any", None), url=redis_url, namespace=namespace)
    assert backend._look().reachable
    send: Any = AbstractConnection.send_packed_command
    sent = 0

    def counted(connection: Any, *args: Any, **given: Any) -> Any:
        nonlocal sent
        sent += 1
        return send(connection, *args, **given)

    monkeypatch.setattr(AbstractConnection, "send_packed_command", counted)
    backend._tried_at = -math.inf
    assert backend._look().reachable
    assert sent == 3
    assert backend.broker.client.keys(f"{namespace}:check*") == []


def others(admin: Any) -> set[str]:
    """Return the ids of a server's clients without this one."""
    return {str(one["id"]) for one in admin.client_list()} - {str(admin.client_id())}


def demote(admin: Any) -> None:
    """Make a server a replica, as a failover does: clients stay connected."""
    admin.execute_command("REPLICAOF", "127.0.0.1", str(free_port()))


@pytest.mark.parametrize("sentinels", ["", "&sentinels=127.0.0.1:26379"])
def test_parameters_of_the_url_come_before_our_options(sentinels: str) -> None:
    url = f"redis://orders:s3cret@Orders/2?socket_timeout=7&health_check_interval=30{sentinels}"
    given = client(url, 2.0).connection_pool.connection_kwargs
    wanted = {"socket_timeout": 7.0, "socket_connect_timeout": 2.0, "health_check_interval": 30, "db": 2}
    assert wanted.items() <= given.items()
    assert (given["username"], given["password"]) == ("orders", "s3cret")


def test_connections_to_a_server_that_has_become_a_replica_are_closed() -> None:
    """The name may lead to the new master by now; a connection that works would be kept for ever."""
    with redis_server() as server, redis.Redis.from_url(server.url) as admin:
        backend = Dramatiq(cast("Any", None), url=server.url, namespace="orders")
        backend.broker.enqueue_many([Delivery("job_0", "h")])
        backend.broker.born = 0.0
        consumer: Any = backend.broker.consume(QUEUE, prefetch=8)
        assert next(consumer).args[0] == "job_0"
        assert backend._look().reachable
        wait_until(lambda: len(others(admin)) == 2)  # of the broker, and of the probe
        demote(admin)
        assert backend._look().reason == "its Redis is a replica"
        wait_until(lambda: len(others(admin)) == 1)
        with pytest.raises(redis.exceptions.ReadOnlyError):
            backend.broker.enqueue_many([Delivery("job_1", "h")])
        wait_until(lambda: not others(admin))
        with pytest.raises(ConnectionClosed):
            next(consumer)
        wait_until(lambda: not others(admin))


async def test_requests_are_counted_elsewhere_once_a_server_has_become_a_replica() -> None:
    with redis_server() as server, redis.Redis.from_url(server.url) as admin:
        rates = Rates(1_000_000, redis_url=server.url, namespace="orders")

        def counted() -> set[str]:
            rates.count("192.0.2.1", "ada")
            return others(admin)

        rates.start()
        await until(lambda: len(counted()) == 1)
        (first,) = others(admin)
        demote(admin)
        await until(lambda: first not in counted())
        await rates.close()


def test_messages_that_a_consumer_fetched_and_did_not_run_return_to_redis_when_it_ends(
    redis_url: str, namespace: str
) -> None:
    """Redis would otherwise keep them until the process counts as dead, seconds later."""
    broker = Broker(redis_url, namespace)
    broker.enqueue_many([Delivery(f"job_{n}", "h") for n in range(5)])
    consumer: Any = broker.consume(QUEUE, prefetch=8)
    broker.born = 0.0
    assert next(consumer).args[0] == "job_0"
    assert broker.client.llen(f"{namespace}:{QUEUE}") == 0
    consumer.close()
    assert broker.client.llen(f"{namespace}:{QUEUE}") == 4
    broker.client.connection_pool.disconnect()


async def test_a_full_worker_gives_back_what_it_has_fetched_first_in_line(redis_url: str, namespace: str) -> None:
    backend = Dramatiq(cast("Any", None), url=redis_url, namespace=namespace)
    broker = backend.broker
    broker.enqueue_many([Delivery(f"job_{n}", "h") for n in range(6)])
    broker.born = 0.0
    consumer: Any = broker.consume(QUEUE, prefetch=4)
    assert next(consumer).args[0] == "job_0"
    broker.work_queue.put(_WorkQueueItem(0, next(consumer)))  # as Dramatiq does until a thread takes it
    broker.client.delete(broker.wake_key(QUEUE))
    broker.is_full = lambda: True
    assert next(consumer) is None
    assert in_order(backend) == ["job_1", "job_2", "job_3", "job_4", "job_5"]
    assert broker.client.llen(broker.wake_key(QUEUE)) == 3, "other workers are woken"
    assert next(consumer) is None
    broker.is_full = lambda: False
    assert next(consumer).args[0] == "job_1"
    broker.client.connection_pool.disconnect()


@pytest.mark.parametrize("odd", [{"options": []}, {"queue_name": []}])
def test_a_malformed_message_does_not_affect_its_neighbours(
    redis_url: str, namespace: str, odd: dict[str, Any]
) -> None:
    broker = Broker(redis_url, namespace)
    ours = {"queue_name": QUEUE, "actor_name": "run", "args": ["job_0"], "kwargs": {}, "options": {}}
    broker.call_many(
        [("enqueue", QUEUE, "odd", orjson.dumps({**ours, "message_id": "1", "message_timestamp": 1, **odd}))]
    )
    broker.enqueue_many([Delivery("job_1", "h")])
    broker.born = 0.0
    consumer: Any = broker.consume(QUEUE, prefetch=8)
    assert next(consumer).args[0] == "job_1"
    broker.client.connection_pool.disconnect()


@pytest.mark.parametrize(("options", "ours"), [({}, True), ({"eta": 0}, False), ({"pipe_target": {}}, False)])
def test_a_message_with_more_than_a_job_s_id_is_foreign(options: dict[str, Any], *, ours: bool) -> None:
    message: Any = dramatiq.Message(QUEUE, "run", ("job_1",), {}, {"redis_message_id": "1", **options})
    assert is_ours(message) is ours


def test_a_consumer_without_free_slots_still_sends_heartbeats(redis_url: str, namespace: str) -> None:
    """Other workers would otherwise get its messages while its jobs take long."""
    broker = Broker(redis_url, namespace)
    beats = f"{namespace}:__heartbeats__"
    broker.enqueue_many([Delivery("job_1", "h")])
    consumer: Any = broker.consume(QUEUE, prefetch=1)
    broker.born = 0.0
    assert next(consumer) is not None
    broker.client.delete(beats)
    broker.heard = -math.inf
    assert next(consumer) is None
    assert broker.client.zscore(beats, broker.broker_id) is not None
    broker.client.connection_pool.disconnect()


def test_a_job_begins_without_dramatiq_s_thread_while_a_slot_is_free_and_none_waits(
    redis_url: str, namespace: str
) -> None:
    """A message that waits already is not overtaken."""
    broker, started, free = Broker(redis_url, namespace), list[str](), 1

    def accept_at_once(job_id: str, done: Callable[[], None]) -> bool:
        nonlocal free
        if free > 0:
            free -= 1
            started.append(job_id)
            done()
            return True
        return False

    broker.accept_at_once = accept_at_once
    broker.born = 0.0
    broker.enqueue_many([Delivery(f"job_{n}", "h") for n in range(3)])
    consumer: Any = broker.consume(QUEUE, prefetch=8)
    assert next(consumer) is None
    waiting = next(consumer)
    assert (started, waiting.args[0]) == (["job_0"], "job_1")
    broker.work_queue.put(_WorkQueueItem(0, waiting))
    free = 1
    assert next(consumer).args[0] == "job_2"
    assert started == ["job_0"]
    consumer._ack_and_fetch(0)
    assert broker.client.hlen(f"{namespace}:{QUEUE}.msgs") == 2, "the message of the job that has ended is acknowledged"
    broker.client.connection_pool.disconnect()


def test_messages_of_silent_workers_are_looked_for_once_a_heartbeat(redis_url: str, namespace: str) -> None:
    """A look with each fetch would delay each job."""
    dead, broker = Broker(redis_url, namespace), Broker(redis_url, namespace, Timings(redis_heartbeat_s=600.0))
    consumer: Any = broker.consume(QUEUE, prefetch=8)

    def found() -> list[int]:
        """Let a worker fall silent with a message; return how many messages each of two fetches gets."""
        dead.enqueue_many([Delivery("job_1", "h")])
        assert len(dead.call_many([("fetch", QUEUE, 1)])[0]) == 1
        broker.client.zadd(f"{namespace}:__heartbeats__", {dead.broker_id: 0})
        return [len(consumer._ack_and_fetch(8)) for _ in range(2)]

    assert found() == [0, 1]  # the look comes after the fetch
    assert found() == [0, 0]
    broker.timings = Timings(redis_heartbeat_s=0.0)
    assert found() == [0, 2]
    broker.client.connection_pool.disconnect()


def lose_answer(broker: Broker, consumer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let Redis do what it is asked for, and the connection end before its answer."""
    execute = redis.client.Pipeline.execute

    def unheard(pipe: Any) -> None:
        execute(pipe)
        raise redis.TimeoutError

    with monkeypatch.context() as patched:
        patched.setattr(redis.client.Pipeline, "execute", unheard)
        with pytest.raises(ConnectionClosed):
            next(consumer)
    assert broker.client.llen(f"{broker.namespace}:{QUEUE}") == 0, "Redis has not handed it out"


def lose_script(broker: Broker, consumer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let Redis know Dramatiq's script, as from another program, and not the one that is called after it."""
    broker.client.script_flush()
    broker.client.script_load(broker.scripts["dispatch"].script)


@pytest.mark.parametrize("lose", [lose_answer, lose_script])
def test_a_worker_that_goes_on_gets_the_messages_of_a_fetch_that_failed_after_redis_had_taken_them_out(
    redis_url: str,
    namespace: str,
    monkeypatch: pytest.MonkeyPatch,
    lose: Callable[[Broker, Any, pytest.MonkeyPatch], None],
) -> None:
    """Other messages keep coming, and one that the worker held meanwhile is acknowledged in the end."""
    broker = Broker(redis_url, namespace, Timings(redis_heartbeat_timeout_s=0.5, redis_block_s=0.1))
    broker.born = 0.0
    consumer: Any = broker.consume(QUEUE, prefetch=8)
    broker.enqueue_many([Delivery("job_held", "h")])
    held = next(consumer)
    broker.enqueue_many([Delivery("job_lost", "h")])
    lose(broker, consumer, monkeypatch)
    consumer = broker.consume(QUEUE, prefetch=8)  # as Dramatiq makes one after an error
    found, until = list[str](), time.monotonic() + 30
    while "job_lost" not in found:
        assert time.monotonic() < until, "the message is left with a worker that does not know of it"
        broker.enqueue_many([Delivery(f"job_{len(found)}", "h")])
        if (message := next(consumer)) is not None:
            found.append(message.args[0])
            consumer._done(message)
    consumer._done(held)
    while broker.client.hlen(f"{namespace}:{QUEUE}.msgs"):
        assert time.monotonic() < until, "a message is never acknowledged"
        if (message := next(consumer)) is not None:
            consumer._done(message)
    broker.client.connection_pool.disconnect()
