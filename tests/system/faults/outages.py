"""Outages: a service is away, frozen, full or slow for as long as a `with` block."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from types import MappingProxyType

from tests.system.faults.installation import Installation, Outage
from tests.system.faults.process import Process
from tests.system.faults.proxy import Mode

Lasting = Callable[[Installation], AbstractContextManager[None]]


@contextmanager
def broker_down(installation: Installation) -> Iterator[None]:
    """Stop Redis, and start it without its data."""
    assert installation.broker is not None
    assert installation.proxy is not None
    installation.proxy.set(Mode.REFUSE)
    installation.broker.kill()
    try:
        yield
    finally:
        installation.broker.start()
        installation.proxy.set(Mode.PASS)


@contextmanager
def broker_frozen(installation: Installation) -> Iterator[None]:
    """Freeze Redis, which still accepts connections."""
    assert installation.broker is not None
    installation.broker.freeze()
    try:
        yield
    finally:
        installation.broker.thaw()


@contextmanager
def broker_full(installation: Installation) -> Iterator[None]:
    """Make Redis refuse every write."""
    assert installation.broker is not None
    installation.broker.fill()
    try:
        yield
    finally:
        installation.broker.drain()


def between(mode: Mode) -> Lasting:
    """Let the proxy between the program and Redis misbehave."""

    @contextmanager
    def lasting(installation: Installation) -> Iterator[None]:
        assert installation.proxy is not None
        installation.proxy.set(mode)
        try:
            yield
        finally:
            installation.proxy.set(Mode.PASS)

    return lasting


@contextmanager
def ledger_locked(installation: Installation) -> Iterator[None]:
    """Lock the SQLite file from another process."""
    connection = installation.ledger.connect()
    connection.execute("PRAGMA busy_timeout=20000")
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        connection.execute("ROLLBACK")
        connection.close()


@contextmanager
def ledger_down(installation: Installation) -> Iterator[None]:
    """Stop PostgreSQL."""
    assert installation.postgres is not None
    installation.postgres.crash()
    try:
        yield
    finally:
        installation.postgres.start()


@contextmanager
def backend_changed(installation: Installation) -> Iterator[None]:
    """Deploy every process with the other backend in its settings, and with the first one at the end."""
    try:
        installation.deploy(backend="background")
        yield
    finally:
        installation.deploy(backend="dramatiq")


def runner_frozen(installation: Installation) -> AbstractContextManager[None]:
    """Freeze a process that runs jobs."""
    return frozen(installation.runners[0])


@contextmanager
def frozen(process: Process) -> Iterator[None]:
    process.freeze()
    try:
        yield
    finally:
        process.thaw()


@contextmanager
def frozen_between_writes(installation: Installation, process: Process) -> Iterator[None]:
    """Freeze it outside of a commit, because a frozen commit would hold SQLite's only lock."""
    while True:
        process.freeze()
        if installation.combination.ledger != "sqlite" or _is_free(installation):
            break
        process.thaw()
        time.sleep(0.02)
    try:
        yield
    finally:
        process.thaw()


def _is_free(installation: Installation) -> bool:
    connection = installation.ledger.connect()
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


def outages(installation: Installation) -> dict[str, Lasting]:
    """Return the outages of the combination, by name."""
    found: dict[str, Lasting] = {"runner frozen": runner_frozen}
    if installation.broker is not None:
        found |= ON_REDIS
    if installation.postgres is not None:
        found["postgresql down"] = ledger_down
    else:
        found["sqlite locked"] = ledger_locked
    return found


@contextmanager
def noted(installation: Installation, what: str, lasting: Lasting) -> Iterator[None]:
    """Record the outage in the installation's list."""
    started = time.time()
    try:
        with lasting(installation):
            yield
    finally:
        installation.outages.append(Outage(what, started, time.time()))
