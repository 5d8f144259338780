"""Momentary faults: a part is killed, stopped, cut off or emptied, and started again."""

import os
import random
import signal
import time
from collections.abc import Callable, Mapping
from types import MappingProxyType

from tests.system.faults.installation import DEADLINE_S, Installation
from tests.system.faults.process import Process, wait_for

Injection = Callable[[Installation, random.Random], None]
PAUSE_S = 1.0  # at most, before what was killed is started again


def kill_api(installation: Installation, chance: random.Random) -> None:
    """Kill one API process."""
    _kill(chance.choice(installation.apis), chance)


def kill_worker(installation: Installation, chance: random.Random) -> None:
    """Kill one worker or, without workers, the process that runs the jobs."""
    _kill(chance.choice(installation.runners), chance)


def kill_busy_worker(installation: Installation, chance: random.Random, handler: str) -> None:
    """Kill one of the processes that run jobs of the handler, as soon as there is one."""

    def busy() -> list[Process]:
        sql = f"SELECT worker FROM _ledger.jobs WHERE handler = '{handler}' AND status = 'RUNNING'"
        pids = {int(worker.rpartition(":")[2]) for (worker,) in installation.ledger.rows(sql)}
        return [process for process in installation.runners if process.pid in pids]

    wait_for(lambda: bool(busy()), 10, "a process runs such a job")
    _kill(chance.choice(busy() or installation.runners), chance)


def _kill(process: Process, chance: random.Random) -> None:
    process.kill()
    time.sleep(chance.uniform(0, PAUSE_S))
    process.start()


def deploy_api(installation: Installation, chance: random.Random) -> None:
    """Replace one API process; the old one ends in time."""
    deploy(chance.choice(installation.apis))


def deploy_worker(installation: Installation, chance: random.Random) -> None:
    """Replace one worker; the old one ends in time."""
    deploy(chance.choice(installation.runners))


def deploy(process: Process) -> None:
    """Raise AssertionError if the process missed its deadline or failed."""
    took_s = process.stop()
    process.start()
    assert took_s < DEADLINE_S, f"{process.name} took {took_s:.1f} s to end"


def cut_broker(installation: Installation, chance: random.Random) -> None:
    """Cut every connection to Redis."""
    assert installation.proxy is not None
    installation.proxy.cut()


def flush(installation: Installation, chance: random.Random) -> None:
    """Empty Redis."""
    assert installation.broker is not None
    installation.broker.flush()


def restart_broker(installation: Installation, chance: random.Random) -> None:
    """Kill Redis, and start it without its data."""
    assert installation.broker is not None
    installation.broker.kill()
    time.sleep(chance.uniform(0, PAUSE_S))
    installation.broker.start()


def restart_broker_older(installation: Installation, chance: random.Random) -> None:
    """Kill Redis, and start it from a snapshot: with its sentinel, without the newest messages."""
    assert installation.broker is not None
    installation.broker.save()
    time.sleep(chance.uniform(0, PAUSE_S))
    installation.broker.kill()
    installation.broker.start()
    installation.broker.forget()


def cut_ledger(installation: Installation, chance: random.Random) -> None:
    """Let PostgreSQL terminate every connection, busy or not."""
    assert installation.postgres is not None
    installation.postgres.cut()


def crash_ledger(installation: Installation, chance: random.Random) -> None:
    """Crash PostgreSQL, and wait until it answers again."""
    assert installation.postgres is not None
    installation.postgres.crash()
    time.sleep(chance.uniform(0, PAUSE_S))
    installation.postgres.start()


def poison(installation: Installation, chance: random.Random) -> None:
    """Put an unreadable message into the queue."""
    assert installation.broker is not None
    with installation.broker.client() as client:
        namespace = installation.settings.namespace
        client.hset(f"{namespace}:jobs.msgs", "unreadable", b"\x80 not a message")
        client.rpush(f"{namespace}:jobs", "unreadable")
        client.rpush(f"{namespace}:wake", "1")


def interrupt(process: Process) -> None:
    os.kill(process.pid, signal.SIGINT)


ANYWHERE: Mapping[str, Injection] = MappingProxyType(
    {"kill api": kill_api, "kill worker": kill_worker, "deploy api": deploy_api, "deploy worker": deploy_worker}
)
ON_REDIS: Mapping[str, Injection] = MappingProxyType(
    {
        "cut redis": cut_broker,
        "flush redis": flush,
        "restart redis empty": restart_broker,
        "restart redis older": restart_broker_older,
        "unreadable message": poison,
    }
)
ON_POSTGRESQL: Mapping[str, Injection] = MappingProxyType(
    {"cut postgresql": cut_ledger, "crash postgresql": crash_ledger}
)


def injections(installation: Installation) -> dict[str, Injection]:
    """The faults that can happen on the combination, by name."""
    found = dict(ANYWHERE)
    if installation.broker is not None:
        found |= ON_REDIS
    if installation.postgres is not None:
        found |= ON_POSTGRESQL
    return found
