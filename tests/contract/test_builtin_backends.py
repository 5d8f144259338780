"""The conformance suite, for both backends on both databases."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from onward.testing.backend_fixture import BackendFixture
from onward.testing.conformance import Conformance
from tests.contract.backend_fixtures import BackgroundFixture, DramatiqFixture
from tests.servers import postgres_database


@pytest.fixture(
    scope="module",
    params=[
        ("background", "sqlite"),
        ("dramatiq", "postgresql"),
        pytest.param(("background", "postgresql"), marks=pytest.mark.long),
        pytest.param(("dramatiq", "sqlite"), marks=pytest.mark.long),
    ],
    ids="-".join,
)
def backend_fixture(request: pytest.FixtureRequest) -> Iterator[BackendFixture]:
    backend, database = request.param
    made = _background if backend == "background" else _dramatiq
    if database == "sqlite":
        yield made(request, None)
        return
    with postgres_database(request.getfixturevalue("postgres_server_url")) as url:
        yield made(request, url)


def _background(request: pytest.FixtureRequest, database: str | None) -> BackendFixture:
    return BackgroundFixture(database)


def _dramatiq(request: pytest.FixtureRequest, database: str | None) -> BackendFixture:
    return DramatiqFixture(request.getfixturevalue("redis_url"), database)


class TestConformance(Conformance):
    """All contract tests."""
