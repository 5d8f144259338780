"""PostgreSQL behind a real PgBouncer in transaction mode, where each transaction has another session."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa

from onward.storage import migrate
from onward.storage.base import Unavailable
from onward.storage.engine import Database
from onward.storage.ledger import Ledger
from onward.storage.pooler import is_marked
from onward.storage.tables import meta
from onward.storage.transaction import Tx
from tests.integration.graphql.conftest import running, settings_in, until
from tests.integration.storage.test_writer import names, put
from tests.ledgers import writing
from tests.servers import Missing, pgbouncer

Pooler = Callable[..., AbstractContextManager[str]]
_update = sa.update(meta).where(meta.c.name == sa.bindparam("name_")).values(value=sa.bindparam("value_"))
ENDED = "query { jobs(first: 200) { nodes { status attempts { number } } } }"


@pytest.fixture
def pooler() -> Pooler:
    """Start a PgBouncer before a database."""

    @contextmanager
    def started(url: str, **options: object) -> Iterator[str]:
        try:
            with pgbouncer(url, **options) as pooled:
                yield pooled
        except Missing as missing:
            if os.environ.get("CI") == "true":
                pytest.fail(str(missing))
            pytest.skip(str(missing))

    return started


@contextmanager
def holding(pooled: str) -> Iterator[None]:
    """Occupy the pooler's only connection."""
    with psycopg.connect(pooled, autocommit=True, prepare_threshold=None) as other:
        other.execute("BEGIN")
        yield
        other.execute("COMMIT")


def test_two_writers_share_one_session(postgres_ledger: str, pooler: Pooler) -> None:
    """Statements run often enough to be prepared elsewhere; each commit is durable, whatever the database's default."""
    with psycopg.connect(postgres_ledger, autocommit=True) as owner:
        owner.execute(f"ALTER DATABASE {owner.info.dbname} SET synchronous_commit = off")
    with pooler(postgres_ledger, default_pool_size=1) as pooled, writing(pooled) as one, writing(pooled) as other:
        seen = set[str]()

        def write(tx: Tx, name: str) -> None:
            put(tx, name)
            tx.execute(_update, name_=name, value_="x")
            settings = ("synchronous_commit", "lock_timeout", "idle_in_transaction_session_timeout")
            seen.add(" ".join(str(tx.scalar(sa.text(f"SHOW {name}"))) for name in settings))

        for n in range(12):
            for writer in (one, other):
                writer.run_sync(partial(write, name=f"{id(writer)}-{n}"))
                assert names(writer.database)
        assert seen == {"on 250ms 5s"}
        assert len(names(one.database)) == 24


@pytest.mark.anyio
async def test_the_statements_of_a_project_s_read_see_one_state(postgres_ledger: str, pooler: Pooler) -> None:
    number = sa.select(sa.func.count()).select_from(meta)
    with pooler(postgres_ledger, default_pool_size=2) as pooled, writing(pooled) as writer:

        def look(tx: Tx) -> tuple[int, int]:
            before = tx.scalar(number)
            writer.run_sync(lambda other: put(other, "between"))
            return before or 0, tx.scalar(number) or 0

        before, after = await Ledger(writer).read(look)
        assert before == after
        assert await Ledger(writer).read(lambda tx: tx.scalar(number)) == after + 1


def test_a_pooled_ledger_can_be_migrated_and_checked(postgres_url: str, pooler: Pooler) -> None:
    with pooler(postgres_url, default_pool_size=1) as pooled:
        database = Database(pooled)
        assert migrate.upgrade(database)
        assert not migrate.upgrade(database)
        connection = database.connect()
        assert is_marked(connection)
        assert database.driver.check(connection).part == "database"
        connection.close()
        database.close()


def test_without_a_free_connection_the_ledger_is_unavailable(postgres_ledger: str, pooler: Pooler) -> None:
    """Writes and reads fail after our timeout, not the pooler's, and work again later."""
    with pooler(postgres_ledger, default_pool_size=1) as pooled, writing(pooled, timeout_s=0.2) as writer:
        writer.run_sync(lambda tx: put(tx, "before"))
        with holding(pooled), pytest.raises(Unavailable):
            writer.run_sync(lambda tx: put(tx, "refused"))
        writer.run_sync(lambda tx: put(tx, "after"))
        assert names(writer.database) == {"before", "after"}


def test_a_pooler_that_takes_no_further_client_is_unavailable(postgres_ledger: str, pooler: Pooler) -> None:
    with pooler(postgres_ledger, max_client_conn=1) as pooled, writing(pooled, timeout_s=0.2) as writer:
        with holding(pooled), pytest.raises(Unavailable):
            writer.run_sync(lambda tx: put(tx, "refused"))
        writer.run_sync(lambda tx: put(tx, "after"))


def test_a_read_whose_commit_fails_is_made_again(postgres_ledger: str, pooler: Pooler) -> None:
    """A connection that has lost its transaction is not used again; a second failure is the ledger's."""
    with (
        pooler(postgres_ledger, default_pool_size=2) as pooled,
        psycopg.connect(postgres_ledger, autocommit=True) as owner,
    ):
        database, seen = Database(pooled), list[int]()

        def ended_before_the_commit(tx: Tx, times: int) -> int:
            seen.append(tx.scalar(sa.text("SELECT pg_backend_pid()")) or 0)
            if len(seen) <= times:
                owner.execute("SELECT pg_terminate_backend(%s, 30000)", (seen[-1],))
            return len(seen)

        assert database.read_sync(partial(ended_before_the_commit, times=1)) == 2
        assert seen[0] != seen[1]
        seen.clear()
        with pytest.raises(Unavailable, match="cannot be read"):
            database.read_sync(partial(ended_before_the_commit, times=2))
        assert names(database) == set()
        database.close()


@pytest.mark.slow
async def test_under_load_nothing_fails(postgres_ledger: str, pooler: Pooler, tmp_path: Path) -> None:
    """All share two connections; while none is free, mutations are UNAVAILABLE, and no job loses an attempt."""
    with pooler(postgres_ledger, default_pool_size=1, query_wait_timeout=30) as pooled:
        async with running(settings_in(tmp_path, database={"url": pooled})) as api:
            made = await asyncio.gather(*(api.mutate("processItem", item=f"{n}") for n in range(60)))
            writer = api.app.state.services.writer
            writer.timeout_s = 0.2
            with holding(pooled):
                refused = await api.mutate("processItem", item="refused")
                assert (refused["job"], refused["errors"][0]["code"]) == (None, "UNAVAILABLE")
            writer.timeout_s = 5.0

            async def ended() -> bool:
                jobs = (await api.data(ENDED))["jobs"]["nodes"]
                return len(jobs) == len(made) and all(job["status"] == "SUCCEEDED" for job in jobs)

            await until(ended)
            jobs = (await api.data(ENDED))["jobs"]["nodes"]
            assert {len(job["attempts"]) for job in jobs} == {1}
