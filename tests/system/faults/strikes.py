"""Faults of a moment: something is killed, ended, cut or emptied, and started again."""

import os
import random
import signal
import time
from collections.abc import Callable, Mapping
from types import MappingProxyType

from tests.system.faults.process import Process
from tests.system.faults.site import DEADLINE_S, Site

Strike = Callable[[Site, random.Random], None]
PAUSE_S = 1.0  # at most, before what was killed is started again


def kill_api(site: Site, chance: random.Random) -> None:
    """One API process gets SIGKILL."""
    _kill(chance.choice(site.apis), chance)


def kill_worker(site: Site, chance: random.Random) -> None:
    """One worker gets SIGKILL, or, where there is none, the process that runs the jobs."""
    _kill(chance.choice(site.runners), chance)


def _kill(process: Process, chance: random.Random) -> None:
    process.kill()
    time.sleep(chance.uniform(0, PAUSE_S))
    process.start()


def deploy_api(site: Site, chance: random.Random) -> None:
    """One API process is asked to end, and does so in time; the next version takes its place."""
    deploy(chance.choice(site.apis))


def deploy_worker(site: Site, chance: random.Random) -> None:
    """The same for a worker."""
    deploy(chance.choice(site.runners))


def deploy(process: Process) -> None:
    """Raises AssertionError where the process took longer than its deadline allows, or did not end well."""
    took_s = process.stop()
    process.start()
    assert took_s < DEADLINE_S, f"{process.name} took {took_s:.1f} s to end"


def cut_broker(site: Site, chance: random.Random) -> None:
    """Every connection to Redis is broken off."""
    assert site.proxy is not None
    site.proxy.cut()


def flush(site: Site, chance: random.Random) -> None:
    """Redis forgets everything."""
    assert site.broker is not None
    site.broker.flush()


def restart_broker(site: Site, chance: random.Random) -> None:
    """Redis is killed, and comes back without what it knew."""
    assert site.broker is not None
    site.broker.kill()
    time.sleep(chance.uniform(0, PAUSE_S))
    site.broker.start()


def restart_broker_older(site: Site, chance: random.Random) -> None:
    """Redis is killed, and comes back as it was a moment before: with its sentinel, without the newest messages."""
    assert site.broker is not None
    site.broker.save()
    time.sleep(chance.uniform(0, PAUSE_S))
    site.broker.kill()
    site.broker.start()
    site.broker.forget()


def cut_ledger(site: Site, chance: random.Random) -> None:
    """PostgreSQL ends every connection, whatever was in progress on it."""
    assert site.postgres is not None
    site.postgres.cut()


def crash_ledger(site: Site, chance: random.Random) -> None:
    """PostgreSQL crashes, recovers and answers again."""
    assert site.postgres is not None
    site.postgres.crash()
    time.sleep(chance.uniform(0, PAUSE_S))
    site.postgres.start()


def poison(site: Site, chance: random.Random) -> None:
    """A message that cannot be read stands in the queue."""
    assert site.broker is not None
    with site.broker.client() as client:
        namespace = site.settings.namespace
        client.hset(f"{namespace}:jobs.msgs", "unreadable", b"\x80 not a message")
        client.rpush(f"{namespace}:jobs", "unreadable")
        client.rpush(f"{namespace}:wake", "1")


def interrupt(process: Process) -> None:
    os.kill(process.pid, signal.SIGINT)


ANYWHERE: Mapping[str, Strike] = MappingProxyType(
    {"kill api": kill_api, "kill worker": kill_worker, "deploy api": deploy_api, "deploy worker": deploy_worker}
)
ON_REDIS: Mapping[str, Strike] = MappingProxyType(
    {
        "cut redis": cut_broker,
        "flush redis": flush,
        "restart redis empty": restart_broker,
        "restart redis older": restart_broker_older,
        "unreadable message": poison,
    }
)
ON_POSTGRESQL: Mapping[str, Strike] = MappingProxyType({"cut postgresql": cut_ledger, "crash postgresql": crash_ledger})


def strikes(site: Site) -> dict[str, Strike]:
    """Those that the combination can suffer, by name."""
    found = dict(ANYWHERE)
    if site.broker is not None:
        found |= ON_REDIS
    if site.postgres is not None:
        found |= ON_POSTGRESQL
    return found
