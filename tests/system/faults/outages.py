"""Faults that last: something is away, frozen, full or slow for as long as a `with` block."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from types import MappingProxyType

from tests.system.faults.process import Process
from tests.system.faults.proxy import Mode
from tests.system.faults.site import Outage, Site

Lasting = Callable[[Site], AbstractContextManager[None]]


@contextmanager
def broker_down(site: Site) -> Iterator[None]:
    """No Redis; when it is back it knows nothing."""
    assert site.broker is not None
    assert site.proxy is not None
    site.proxy.set(Mode.REFUSE)
    site.broker.kill()
    try:
        yield
    finally:
        site.broker.start()
        site.proxy.set(Mode.PASS)


@contextmanager
def broker_frozen(site: Site) -> Iterator[None]:
    """Redis takes connections and answers nothing."""
    assert site.broker is not None
    site.broker.freeze()
    try:
        yield
    finally:
        site.broker.thaw()


@contextmanager
def broker_full(site: Site) -> Iterator[None]:
    """Redis refuses every write."""
    assert site.broker is not None
    site.broker.fill()
    try:
        yield
    finally:
        site.broker.drain()


def between(mode: Mode) -> Lasting:
    """What stands between the program and Redis misbehaves."""

    @contextmanager
    def lasting(site: Site) -> Iterator[None]:
        assert site.proxy is not None
        site.proxy.set(mode)
        try:
            yield
        finally:
            site.proxy.set(Mode.PASS)

    return lasting


@contextmanager
def ledger_locked(site: Site) -> Iterator[None]:
    """Another writer holds the SQLite file."""
    connection = site.ledger.connect()
    connection.execute("PRAGMA busy_timeout=20000")
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        connection.execute("ROLLBACK")
        connection.close()


@contextmanager
def ledger_down(site: Site) -> Iterator[None]:
    """No PostgreSQL."""
    assert site.postgres is not None
    site.postgres.crash()
    try:
        yield
    finally:
        site.postgres.start()


@contextmanager
def backend_changed(site: Site) -> Iterator[None]:
    """Every process has been deployed with the other backend in its settings; and at the end with the first again."""
    try:
        site.deploy(backend="background")
        yield
    finally:
        site.deploy(backend="dramatiq")


def runner_frozen(site: Site) -> AbstractContextManager[None]:
    """A process that runs jobs stands still."""
    return frozen(site.runners[0])


@contextmanager
def frozen(process: Process) -> Iterator[None]:
    process.freeze()
    try:
        yield
    finally:
        process.thaw()


@contextmanager
def frozen_between_writes(site: Site, process: Process) -> Iterator[None]:
    """The same, not in the middle of a commit: SQLite's one lock would stand still with it, and everything else."""
    while True:
        process.freeze()
        if site.combination.ledger != "sqlite" or _is_free(site):
            break
        process.thaw()
        time.sleep(0.02)
    try:
        yield
    finally:
        process.thaw()


def _is_free(site: Site) -> bool:
    connection = site.ledger.connect()
    try:
        connection.execute("PRAGMA busy_timeout=1000")
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("ROLLBACK")
    except Exception:  # noqa: BLE001 - the driver's, which is one or the other
        return False
    finally:
        connection.close()
    return True


ON_REDIS: Mapping[str, Lasting] = MappingProxyType(
    {
        "redis down": broker_down,
        "redis frozen": broker_frozen,
        "redis full": broker_full,
        "redis accepts only": between(Mode.ACCEPT_ONLY),
        "replies swallowed": between(Mode.SWALLOW),
        "replies cut": between(Mode.CUT),
        "replies delayed": between(Mode.DELAY),
        "backend changed": backend_changed,
    }
)


def outages(site: Site) -> dict[str, Lasting]:
    """Those that the combination can suffer, by name."""
    found: dict[str, Lasting] = {"runner frozen": runner_frozen}
    if site.broker is not None:
        found |= ON_REDIS
    if site.postgres is not None:
        found["postgresql down"] = ledger_down
    else:
        found["sqlite locked"] = ledger_locked
    return found


@contextmanager
def noted(site: Site, what: str, lasting: Lasting) -> Iterator[None]:
    """The same, written down in the site's list of outages."""
    begun = time.time()
    try:
        with lasting(site):
            yield
    finally:
        site.outages.append(Outage(what, begun, time.time()))
