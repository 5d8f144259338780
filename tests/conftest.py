"""Fixtures for all tests. Servers are real; each test has its own namespace or database on them."""

import gc
import os
import signal
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

import pytest
import structlog
from hypothesis import settings

from onward.runtime import garbage_collector
from onward.storage.writer import Writer
from tests import durations, ledgers, sharing
from tests.servers import Missing, Server, postgres_database, redis_server

pytest_plugins = ("onward.testing.fixtures", "tests.hangs", "tests.system.package.fixtures")
pytest.register_assert_rewrite("onward.testing.contract", "tests.system.faults.fault_tests")
SHARING = ("node", "made", "fault_test")  # fixtures that cost more than a test in another process gains


def pytest_configure() -> None:
    # `nohup`, and a shell that runs this in the background, have signals ignored, and so would the children have them.
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # A busy machine makes any example slow. A plugin's profile stays.
    if settings.get_current_profile_name() in ("default", "ci"):
        settings.register_profile("untimed", settings.get_profile(settings.get_current_profile_name()), deadline=None)
        settings.load_profile("untimed")


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Share this process's servers with a process that is about to run tests."""
    config = node.config
    if not hasattr(config, "shared_servers"):
        config.shared_servers = sharing.begin(config._tmp_path_factory.getbasetemp())
    node.workerinput["servers"] = str(config._tmp_path_factory.getbasetemp())


def pytest_unconfigure(config: Any) -> None:
    for server in getattr(config, "shared_servers", ()):
        server.close()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: Any, log: Any) -> Any:
    from tests.grouping import Groups

    return Groups(config, log, config._tmp_path_factory.getbasetemp() / "groups.json")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: Any, items: list[pytest.Item]) -> None:
    """Sort the longest tests to the front, so that none is left over at the end; tests of one group share a process."""
    items.sort(key=lambda item: -durations.of(item.nodeid))
    folder = getattr(config, "workerinput", {}).get("servers")
    if folder:
        from tests import grouping

        found = {item.nodeid: group for item in items if (group := _shared(item))}
        grouping.write(found, Path(folder) / "groups.json")


def pytest_collection_finish() -> None:
    """Leave what is loaded alone: looking for garbage among it took a sixth of the tests' processor time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*garbage_collector.COUNTS)


def _shared(item: pytest.Item) -> str | None:
    """Return the resource that the test shares: npm's packages, a backend fixture, or a fixture of its module."""
    if not isinstance(item, pytest.Function):
        return None
    parameters = item.callspec.params if hasattr(item, "callspec") else {}
    if isinstance(fixture := parameters.get("backend_fixture"), tuple):
        return "-".join(fixture)
    if any(definition[-1].scope == "module" for definition in item._fixtureinfo.name2fixturedefs.values()):
        return str(item.module.__name__)
    return next((name for name in SHARING if name in item.fixturenames), None)


@pytest.fixture(scope="session", autouse=True)
def plain_tracebacks() -> None:
    """Log exceptions without rich's picture of each frame, which takes a second instead of a millisecond."""
    plain = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(processors=[*structlog.get_config()["processors"][:-1], plain])


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def redis_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """A Redis that the tests share; take `namespace` for its keys."""
    yield from _shared_or_own(request, "redis", redis_server)


@pytest.fixture(scope="session")
def postgres_server_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """A PostgreSQL that the tests share, as its superuser."""
    yield from _shared_or_own(request, "postgresql", sharing.postgresql)


@pytest.fixture
def postgres_url(postgres_server_url: str) -> Iterator[str]:
    """An empty PostgreSQL database of this test's own."""
    with postgres_database(postgres_server_url) as url:
        yield url


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ledgers.migrated_sqlite(tmp_path_factory.mktemp("template"))


@pytest.fixture(scope="session")
def migrated_postgres(postgres_server_url: str) -> str:
    return ledgers.migrated_postgres(postgres_server_url)


@pytest.fixture
def sqlite_ledger(migrated_sqlite: Path, tmp_path: Path) -> str:
    """The URL of an empty ledger for this test alone."""
    return ledgers.copied_sqlite(migrated_sqlite, tmp_path)


@pytest.fixture
def postgres_ledger(postgres_server_url: str, migrated_postgres: str) -> Iterator[str]:
    """The URL of such a ledger on PostgreSQL."""
    with ledgers.copied_postgres(postgres_server_url, migrated_postgres) as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger_url(request: pytest.FixtureRequest) -> str:
    """Both ledgers, one after the other."""
    url: str = request.getfixturevalue("sqlite_ledger" if request.param == "sqlite" else "postgres_ledger")
    return url


@pytest.fixture
def writer(ledger_url: str) -> Iterator[Writer]:
    """The writer of that ledger; its `database` reads it."""
    with ledgers.writing(ledger_url) as writer:
        yield writer


@pytest.fixture
def namespace() -> str:
    """The prefix of this test's keys in Redis."""
    return f"test-{uuid.uuid4().hex}"


def _shared_or_own(
    request: pytest.FixtureRequest, name: str, starting: Callable[[], AbstractContextManager[Server]]
) -> Iterator[str]:
    """Return the server's address; without its program skip the test, or fail it where CI=true."""
    folder = getattr(request.config, "workerinput", {}).get("servers")
    with ExitStack() as stack:
        try:
            found = sharing.address(Path(folder), name) if folder else stack.enter_context(starting()).url
        except Missing as missing:
            if os.environ.get("CI") == "true":
                pytest.fail(str(missing))
            pytest.skip(str(missing))
        yield found
