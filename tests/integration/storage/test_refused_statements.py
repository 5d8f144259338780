"""A statement that the database refuses is an error of its function, and of nobody else's."""

from __future__ import annotations

import asyncio
import re
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pysqlite3
import pytest
import sqlalchemy as sa
import structlog

from onward.handlers.base import JobContext, Retry, handler
from onward.jobs.states import JobStatus
from onward.jobs.timings import Timings
from onward.storage import postgresql
from onward.storage.base import Locked, TransactionEnded, Unavailable
from onward.storage.driver import Driver
from onward.storage.engine import Database
from onward.storage.ledger import Ledger
from onward.storage.migrations.guard import migration_lock
from onward.storage.sqlite_errors import Code
from onward.storage.tables import meta
from onward.storage.transaction import Tx
from onward.storage.writer import Writer
from tests.integration.storage.test_writer import Held, names, put, together
from tests.ledgers import copied_postgres, copied_sqlite, writing
from tests.runners import node

pytestmark = pytest.mark.anyio
WITH_STATE = "DO $$ BEGIN RAISE EXCEPTION 'the connection is lost' USING ERRCODE = '{}'; END $$"
STATEMENTS = {
    "sqlite": {
        "data": "SELECT json_extract('{', '$')",
        "a number": "SELECT abs(-9223372036854775808)",
        "a pattern": "SELECT 'a' LIKE printf('%.60000c', '%')",
        "a search": "SELECT * FROM found WHERE found MATCH 'busy:locked'",
        "a lock's word": "SELECT locked_at FROM sqlite_master",
        "the words of a full disk": 'SELECT s."database or disk is full" FROM sqlite_master s',
        "the words of a lock": 'SELECT s."database is locked" FROM sqlite_master s',
        "a function": "SELECT busy()",
        "a savepoint": "ROLLBACK TO SAVEPOINT nowhere",
        "a constraint": "INSERT INTO onward_meta (name) VALUES (NULL)",
    },
    "postgresql": {
        "data": "SELECT CAST('x' AS INTEGER)",
        "a number": "SELECT 1 / 0",
        "a column": "SELECT locked_at FROM pg_class",
        "a sequence": "CREATE TEMP SEQUENCE unused; SELECT currval('unused')",
        "a savepoint": "ROLLBACK TO SAVEPOINT nowhere",
        "a constraint": "INSERT INTO onward.meta (name) VALUES (NULL)",
        "a deep statement": WITH_STATE.format("54001"),
        "large files": WITH_STATE.format("53400"),
        "a table in use": WITH_STATE.format("55006"),
    },
}
CASES = [(name, what) for name, statements in STATEMENTS.items() for what in statements]


@pytest.fixture(scope="module")
def writers(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Any]]:
    """Return the writer of either ledger, which the tests share."""
    with ExitStack() as stack:
        found: dict[str, Writer] = {}

        def writer(name: str) -> Writer:
            if name not in found:
                given = request.getfixturevalue
                if name == "sqlite":
                    url = copied_sqlite(given("migrated_sqlite"), tmp_path_factory.mktemp("refused"))
                else:
                    server, template = given("postgres_server_url"), given("migrated_postgres")
                    url = stack.enter_context(copied_postgres(server, template))
                found[name] = stack.enter_context(writing(url))
                if name == "sqlite":
                    found[name].run_sync(lambda tx: tx.raw("CREATE VIRTUAL TABLE found USING fts5(words)"))
            return found[name]

        yield writer


def is_driver_s(error: object) -> bool:
    return isinstance(error, psycopg.Error | pysqlite3.Error)


@pytest.mark.parametrize(("name", "what"), CASES)
async def test_its_neighbours_in_the_commit_are_written(writers: Callable[[str], Writer], name: str, what: str) -> None:
    """The function runs with the others, then in its savepoint, on one connection, and nobody waits for it."""
    writer, runs = writers(name), []

    def refused(tx: Tx) -> None:
        runs.append(tx.change)
        put(tx, f"{what} refused")
        tx.raw(STATEMENTS[name][what])

    await writer.run(lambda _tx: None)
    connection = writer._connection._connection
    found = await together(writer, lambda tx: put(tx, f"{what} before"), refused, lambda tx: put(tx, f"{what} behind"))
    assert is_driver_s(found[1]), found
    assert isinstance(found[0], int)
    assert found[0] == found[2]
    assert len(runs) == 2
    assert not writer.failing
    assert writer._connection._connection is connection
    assert {f"{what} before", f"{what} behind"} == {one for one in names(writer.database) if one.startswith(what)}


@pytest.mark.parametrize(("name", "what"), CASES)
def test_a_read_is_not_run_again(writers: Callable[[str], Writer], name: str, what: str) -> None:
    """The connection serves the next read."""
    database, runs = writers(name).database, []

    def refused(tx: Tx) -> None:
        runs.append(1)
        tx.raw(STATEMENTS[name][what])

    database.read_sync(lambda tx: tx.now)
    kept = list(database._idle)
    with pytest.raises((psycopg.Error, pysqlite3.Error)):
        database.read_sync(refused)
    assert runs == [1]
    assert database._idle == kept
    assert database.read_sync(lambda tx: tx.now) > 0


@pytest.mark.parametrize("name", STATEMENTS)
def test_a_read_that_fails_half_way_leaves_its_connection_fresh(writers: Callable[[str], Writer], name: str) -> None:
    """An open statement would keep later reads of the connection at its state, an open transaction too."""
    writer = writers(name)
    begins = "BEGIN" if name == "postgresql" else "SELECT 1"
    writer.run_sync(lambda tx: [put(tx, f"fresh {n}") for n in range(3)])

    def fails(tx: Tx) -> None:
        tx.raw(begins)
        tx.one(sa.text("SELECT name FROM _ledger.meta"))
        raise LookupError("mine")

    with pytest.raises(LookupError) as held:
        writer.database.read_sync(fails)
    writer.run_sync(lambda tx: put(tx, "fresh later"))
    assert "fresh later" in names(writer.database)
    assert held.value.__traceback__ is not None


@pytest.mark.parametrize("name", STATEMENTS)
async def test_the_statements_of_a_project_s_read_see_one_state(writers: Callable[[str], Writer], name: str) -> None:
    """Another connection commits between two of them; later reads of the connection see that, also after an error."""
    writer = writers(name)
    ledger, number = Ledger(writer), sa.select(sa.func.count()).select_from(meta)

    def look(tx: Tx) -> tuple[int, int]:
        before = tx.scalar(number)
        writer.run_sync(lambda other: put(other, "state between"))
        return before or 0, tx.scalar(number) or 0

    def fail(tx: Tx) -> None:
        tx.scalar(number)
        raise LookupError("mine")

    before, after = await ledger.read(look)
    kept = list(writer.database._idle)
    assert before == after
    with pytest.raises(LookupError):
        await ledger.read(fail)
    assert await ledger.read(lambda tx: tx.scalar(number)) == after + 1
    await writer.run(lambda tx: put(tx, "state later"))
    assert {"state between", "state later"} < names(writer.database)
    assert writer.database._idle == kept


@pytest.mark.parametrize("name", STATEMENTS)
@pytest.mark.parametrize("kind", ["read", "write"])
async def test_a_handler_fails_for_it_by_its_own_policy(writers: Callable[[str], Writer], name: str, kind: str) -> None:
    """An outage is no fault of a handler's, and its attempts are not counted; this is one."""
    writer = writers(name)
    ledger = Ledger(writer)

    @handler("conformance.refused", retry=Retry(max_attempts=1))
    async def fail(_job: JobContext) -> None:
        await getattr(ledger, kind)(lambda tx: tx.raw(STATEMENTS[name]["data"]))

    async with node(writer, fail) as here:
        job = await here.run(fail)
        assert job.status is JobStatus.FAILED
        assert (error := job.attempts[-1].error) is not None
        assert error.code == "UNEXPECTED"


ENDING = {
    "sqlite": "INSERT OR ROLLBACK INTO onward_meta (name, value) VALUES ('twice', '')",
    "postgresql": "INSERT INTO later VALUES (1)",
}


@pytest.mark.parametrize("name", STATEMENTS)
async def test_a_statement_that_ends_the_transaction_affects_no_other(
    writers: Callable[[str], Writer], name: str
) -> None:
    """A violation that rolls back, and one that PostgreSQL finds at the commit."""
    writer = writers(name)
    await writer.run(lambda tx: put(tx, "twice"))
    if name == "postgresql":
        table = "CREATE TABLE later (n INTEGER UNIQUE DEFERRABLE INITIALLY DEFERRED); INSERT INTO later VALUES (1)"
        await writer.run(lambda tx: tx.raw(table))

    def refused(tx: Tx) -> None:
        put(tx, "end refused")
        tx.raw(ENDING[name])

    found = await together(writer, lambda tx: put(tx, "end before"), refused, lambda tx: put(tx, "end behind"))
    assert is_driver_s(found[1]), found
    assert {"end before", "end behind"} == {one for one in names(writer.database) if one.startswith("end ")}
    with pytest.raises((psycopg.IntegrityError, pysqlite3.IntegrityError)):
        await writer.run(refused)
    assert not writer.failing


@pytest.mark.parametrize("name", STATEMENTS)
async def test_a_function_that_goes_on_after_the_end_of_its_transaction_is_not_told_that_it_was_written(
    writers: Callable[[str], Writer], name: str
) -> None:
    """PostgreSQL rolls back at the commit, and says so in no error; SQLite commits each later statement by itself."""
    writer = writers(name)
    ends = ENDING["sqlite"] if name == "sqlite" else "SELECT 1 / 0"
    await together(writer, lambda tx: put(tx, "twice"))  # there already, or from now on

    def goes_on(tx: Tx) -> None:
        put(tx, "gone")
        with suppress(psycopg.Error, pysqlite3.Error):
            tx.raw(ends)

    with pytest.raises(TransactionEnded, match="let the statement's error end the function"):
        await writer.run(goes_on)
    found = await together(writer, lambda tx: put(tx, "on before"), goes_on, lambda tx: put(tx, "on behind"))
    assert isinstance(found[1], Exception)
    assert not isinstance(found[1], Unavailable)
    assert {"on before", "on behind"} == {one for one in names(writer.database) if one.startswith(("on ", "gone"))}


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(["a\0b"], id="a zero"),
        pytest.param([object()], id="an object"),
        pytest.param([None] * 65_536, id="too many", marks=pytest.mark.long),  # psycopg takes a second
    ],
)
@pytest.mark.parametrize("name", STATEMENTS)
async def test_values_that_the_driver_refuses_affect_no_other(
    writers: Callable[[str], Writer], name: str, value: list[object]
) -> None:
    """The database never sees them, and the error may have no code."""
    writer, mark = writers(name), "?" if name == "sqlite" else "%s"

    def refused(tx: Tx) -> None:
        tx._cursor.execute(f"SELECT 1 WHERE '' IN ({', '.join([mark] * len(value))})", value)

    await writer.run(lambda _tx: None)
    connection = writer._connection._connection
    found = await together(writer, lambda tx: tx.change, refused, lambda tx: tx.change)
    assert not isinstance(found[1], Unavailable)
    assert isinstance(found[0], int)
    assert found[0] == found[2]
    assert writer._connection._connection is connection


@contextmanager
def held_row(url: str) -> Iterator[None]:
    with psycopg.connect(url) as other:
        other.execute("LOCK TABLE onward.schedule IN ACCESS EXCLUSIVE MODE")
        yield


@pytest.mark.slow
async def test_a_row_that_is_locked_for_long_delays_only_those_who_write_it(writers: Callable[[str], Writer]) -> None:
    """A caller's transaction holds a row as long as it likes: those who want it are run again, the others meanwhile."""
    writer = writers("postgresql")
    await writer.run(lambda tx: put(tx, "held"))

    def write_held(tx: Tx) -> None:
        tx.execute(sa.update(meta).where(meta.c.name == "held").values(value="written"))

    with psycopg.connect(writer.database.url.render_as_string(hide_password=False)) as caller:
        caller.execute("UPDATE onward.meta SET value = 'the caller''s' WHERE name = 'held'")
        waiting = asyncio.gather(*(writer.run(write_held) for _ in range(3)))
        for n in range(10):
            await writer.run(lambda tx, n=n: put(tx, f"other {n}"))  # type: ignore[misc]
        assert not waiting.done()
        assert not writer.failing
        caller.commit()
    await waiting
    assert {f"other {n}" for n in range(10)} < names(writer.database)
    with pytest.raises(Locked), held_meta(writer):
        await writer.run(write_held)


async def test_many_locked_rows_stop_no_heartbeat(writers: Callable[[str], Writer]) -> None:
    """The waits of a batch add up to a moment: less than a lease lasts, however many rows are locked."""
    writer, many = writers("postgresql"), 60
    await writer.run(lambda tx: [put(tx, f"locked {n}") for n in range(many)])

    def write(tx: Tx, n: int) -> None:
        tx.execute(sa.update(meta).where(meta.c.name == sa.bindparam("n_")).values(value="written"), n_=f"locked {n}")

    with psycopg.connect(writer.database.url.render_as_string(hide_password=False)) as caller:
        caller.execute("UPDATE onward.meta SET value = 'the caller''s' WHERE name LIKE 'locked %'")
        waiting = [asyncio.ensure_future(writer.run(partial(write, n=n))) for n in range(many)]
        async with asyncio.timeout(Timings().lease_timeout_s / 2):
            await writer.run(lambda tx: put(tx, "between them"))
        assert not any(one.done() for one in waiting)
        caller.commit()
    await asyncio.gather(*waiting)


@contextmanager
def held_meta(writer: Writer) -> Iterator[None]:
    with psycopg.connect(writer.database.url.render_as_string(hide_password=False)) as caller:
        caller.execute("UPDATE onward.meta SET value = 'the caller''s' WHERE name = 'held'")
        yield


LIMITED = (
    "SET LOCAL statement_timeout = 20; SELECT pg_sleep(60)",
    "SET LOCAL lock_timeout = 20; SELECT * FROM onward.schedule",
    "LOCK TABLE onward.schedule IN ACCESS SHARE MODE NOWAIT",
)


@pytest.mark.parametrize("cut_short", LIMITED)
async def test_a_statement_that_takes_too_long_affects_no_other(
    writers: Callable[[str], Writer], cut_short: str
) -> None:
    """The limit is the function's own."""
    writer = writers("postgresql")

    def slow(tx: Tx) -> None:
        put(tx, "slow itself")
        tx.raw(cut_short)

    with held_row(writer.database.url.render_as_string(hide_password=False)):
        found = await together(writer, lambda tx: put(tx, f"slow 1 {cut_short}"), slow, lambda tx: put(tx, cut_short))
    assert isinstance(found[1], Unavailable), found
    assert isinstance(found[1].__cause__, psycopg.errors.QueryCanceled | psycopg.errors.LockNotAvailable)
    assert found[0] == found[2]
    assert "slow itself" not in names(writer.database)
    assert not writer.failing


@pytest.mark.parametrize("cut_short", LIMITED)
async def test_a_statement_of_a_project_s_that_takes_too_long_is_its_own_error(
    writers: Callable[[str], Writer], cut_short: str
) -> None:
    """The function runs once, and not until the writer's timeout, for which all others would wait."""
    writer, runs = writers("postgresql"), []

    def slow(tx: Tx) -> None:
        runs.append(1)
        tx.raw(cut_short)

    with (
        held_row(writer.database.url.render_as_string(hide_password=False)),
        pytest.raises((psycopg.errors.QueryCanceled, psycopg.errors.LockNotAvailable)),
    ):
        await Ledger(writer).write(slow)
    assert runs == [1]
    assert not writer.failing


SLOW = "SELECT pg_sleep(60)"


@pytest.fixture
def impatient(postgres_ledger: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Writer]:
    """Return a writer whose server ends slow statements and reads after half a second, and all limits are shorter."""
    settings = tuple(re.sub(r"'[36]0s'", "'500ms'", one) for one in postgresql.SETTINGS)
    monkeypatch.setattr(postgresql, "SETTINGS", settings)
    shorter = {state: limit_s / 60 for state, limit_s in postgresql.SERVER_LIMITS_S.items()}
    monkeypatch.setattr(postgresql, "SERVER_LIMITS_S", shorter)
    with writing(postgres_ledger) as writer:
        yield writer


@pytest.mark.parametrize("kind", ["read", "write"])
async def test_a_handler_s_statement_that_reaches_the_server_s_limit_counts_as_an_attempt(
    impatient: Writer, kind: str
) -> None:
    """Otherwise the job would run it again for ever, and each time the process could write nothing meanwhile."""
    ledger = Ledger(impatient)

    @handler("conformance.slow", retry=Retry(max_attempts=1))
    async def slow(_job: JobContext) -> None:
        await getattr(ledger, kind)(lambda tx: tx.raw(SLOW))

    async with node(impatient, slow) as here:
        job = await here.run(slow)
        assert job.status is JobStatus.FAILED
        assert (error := job.attempts[-1].error) is not None
        assert error.code == "UNEXPECTED"
    assert not impatient.failing


async def test_a_statement_of_a_project_s_that_reaches_the_server_s_limit_affects_no_other(impatient: Writer) -> None:
    """The function runs once, for the others wait for it."""
    runs = []

    def slow(tx: Tx) -> None:
        runs.append(1)
        tx.raw(SLOW)

    calls = (
        impatient.run(lambda tx: put(tx, "before")),
        Ledger(impatient).write(slow),
        impatient.run(lambda tx: put(tx, "behind")),
    )
    with Held(impatient):
        waiting = [asyncio.create_task(call) for call in calls]
        await asyncio.sleep(0)  # each task submits its function
    before, refused, behind = await asyncio.gather(*waiting, return_exceptions=True)
    assert isinstance(refused, psycopg.errors.QueryCanceled)
    assert isinstance(before, int)
    assert before == behind
    assert runs == [1]
    assert {"before", "behind"} == names(impatient.database)
    assert not impatient.failing


async def test_a_project_s_read_that_does_something_else_for_too_long_has_the_server_s_error(impatient: Writer) -> None:
    """Otherwise its job would be tried again for ever, as in an outage."""
    database, mine = impatient.database, sa.text("SELECT pg_backend_pid()")
    is_there = sa.text("SELECT count(*) FROM pg_stat_activity WHERE pid = :pid")

    def rest(tx: Tx) -> None:
        pid = tx.scalar(mine)
        while database.read_sync(lambda other: other.scalar(is_there, pid=pid)):
            time.sleep(0.05)
        tx.scalar(mine)

    with pytest.raises(psycopg.errors.IdleInTransactionSessionTimeout):
        await Ledger(impatient).read(rest)
    assert database.read_sync(lambda tx: tx.scalar(mine))


async def test_a_statement_of_onward_s_that_reaches_the_server_s_limit_is_an_outage(impatient: Writer) -> None:
    """No job goes on then, and those who run it read why."""
    with structlog.testing.capture_logs() as lines:
        found = await together(impatient, lambda tx: put(tx, "before"), lambda tx: tx.raw(SLOW))
    assert [type(one) for one in found] == [Unavailable, Unavailable]
    assert impatient.failing
    assert [line["requests"] for line in lines if line["event"] == "ledger not written"] == [2]
    assert names(impatient.database) == set()
    await impatient.run(lambda tx: put(tx, "later"))
    assert not impatient.failing


def test_the_database_s_own_faults_are_told_by_their_codes(sqlite_ledger: str) -> None:
    """The class of the exception does not matter; Python's own module has extended codes."""
    database = Database(sqlite_ledger)
    for code in Code:
        for extended in (code, code | 3 << 8):
            error = pysqlite3.DatabaseError("some words")
            error.sqlite_errorcode = extended
            assert database.driver.is_lost(error, None)
            assert database.driver.is_transient(error) == (code in (Code.BUSY, Code.LOCKED, Code.SCHEMA))
            assert database.driver.is_disk_full(error) == (code is Code.FULL)
    database.close()


@pytest.mark.parametrize("module", [sqlite3, pysqlite3])
def test_both_modules_of_sqlite_tell_the_code(sqlite_ledger: str, module: Any) -> None:
    database = Database(sqlite_ledger)
    assert not lost(database.driver, module.connect(":memory:"), "SELECT json_extract('{', '$')")
    closed = module.connect(":memory:")
    closed.close()
    assert lost(database.driver, closed, "SELECT 1")
    database.close()


def lost(driver: Driver, connection: Any, statement: str) -> bool:
    with pytest.raises(Exception) as raised:  # noqa: PT011 - its kind is asked for
        connection.execute(statement)
    return driver.is_lost(raised.value, connection)


def test_a_prepared_statement_of_other_columns_costs_a_connection_and_no_read(
    writers: Callable[[str], Writer],
) -> None:
    """A migration of another process changes a column's type, and the connection keeps the statement of before."""
    writer = writers("postgresql")
    writer.run_sync(lambda tx: tx.raw("CREATE TABLE typed AS SELECT 1 AS n"))
    select = sa.text("SELECT n FROM typed")
    for _ in range(10):
        assert writer.database.read_sync(lambda tx: tx.scalar(select)) == 1
    writer.run_sync(lambda tx: tx.raw("ALTER TABLE typed ALTER n TYPE TEXT"))
    assert writer.database.read_sync(lambda tx: tx.scalar(select)) == "1"


def test_a_migration_waits_for_a_lock_alone(tmp_path: Path) -> None:
    """Another error is told at once, and not as another migration."""
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'new.db'}", module=pysqlite3, isolation_level="AUTOCOMMIT")
    database = Database(f"sqlite:///{tmp_path / 'new.db'}")
    with engine.connect() as bound:
        bound.exec_driver_sql("BEGIN")
        with (
            pytest.raises(sa.exc.OperationalError, match="within a transaction"),
            migration_lock(bound, database.driver, 0, timeout_s=0.3),
        ):
            pass
    engine.dispose()
    database.close()
