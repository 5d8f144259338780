"""What every test may ask for. Servers are real; each test has its own namespace or database on them."""

import os
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

import pytest

from onward.storage.writer import Writer
from tests import ledgers
from tests.servers import Missing, Server, postgres_database, postgres_server, redis_server

pytest_plugins = ("onward.testing.fixtures",)
pytest.register_assert_rewrite("tests.faults.laws")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep tests that share a server or npm packages in one process: by file, by backend fixture, or all of Node."""
    for item in items:
        item.add_marker(pytest.mark.xdist_group(_shared(item)))


def _shared(item: pytest.Item) -> str:
    if isinstance(item, pytest.Function):
        if "node" in item.fixturenames:
            return "node"
        if isinstance(
            fixture := getattr(item, "callspec", None) and item.callspec.params.get("backend_fixture"), tuple
        ):
            return "-".join(fixture)
    return str(item.path)


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """A Redis that the tests share; take `namespace` for its keys."""
    with _or_skip(redis_server()) as server:
        yield server.url


@pytest.fixture(scope="session")
def postgres_server_url() -> Iterator[str]:
    """A PostgreSQL that the tests share, as its superuser."""
    with _or_skip(postgres_server()) as server:
        yield server.url


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
    """The URL of a ledger of this test's own, its tables made."""
    return ledgers.copied_sqlite(migrated_sqlite, tmp_path)


@pytest.fixture
def postgres_ledger(postgres_server_url: str, migrated_postgres: str) -> Iterator[str]:
    """Likewise, on PostgreSQL."""
    with ledgers.copied_postgres(postgres_server_url, migrated_postgres) as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger_url(request: pytest.FixtureRequest) -> str:
    """Likewise, one after the other."""
    url: str = request.getfixturevalue("sqlite_ledger" if request.param == "sqlite" else "postgres_ledger")
    return url


@pytest.fixture
def writer(ledger_url: str) -> Iterator[Writer]:
    """The writer of that ledger; its `database` reads it."""
    with ledgers.writing(ledger_url) as writer:
        yield writer


@pytest.fixture
def namespace() -> str:
    """What this test's keys in Redis begin with."""
    return f"test-{uuid.uuid4().hex}"


@contextmanager
def _or_skip(starting: AbstractContextManager[Server]) -> Iterator[Server]:
    """The server; without its program the test is skipped, or fails where CI=true: there nothing is skipped."""
    with ExitStack() as stack:
        try:
            server = stack.enter_context(starting)
        except Missing as missing:
            if os.environ.get("CI") == "true":
                pytest.fail(str(missing))
            pytest.skip(str(missing))
        yield server
