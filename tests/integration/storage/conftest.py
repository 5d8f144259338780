"""Databases without the ledger's tables."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from onward.storage.engine import Database
from tests.servers import postgres_database


@pytest.fixture(params=["sqlite", "postgresql"])
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """Return a database without a table."""
    if request.param == "sqlite":
        database = Database(f"sqlite:///{tmp_path / 'deep' / 'onward.db'}")
        yield database
        database.close()
        return
    with postgres_database(request.getfixturevalue("postgres_server_url")) as url:
        database = Database(url)
        yield database
        database.close()
