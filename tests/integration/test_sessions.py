"""A job that is enqueued in a caller's transaction is there if and only if that transaction commits."""

from __future__ import annotations

import asyncio
import inspect
import json
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiosqlite
import asyncpg
import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession, async_scoped_session, async_sessionmaker, create_async_engine
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from onward import Conflict, KeyReused, Onward, Tx, UnusableSession
from onward.backends.base import Role
from onward.config.settings import load
from onward.jobs import ledger, stats
from onward.jobs.model import Visible
from onward.jobs.states import JobStatus
from onward.jobs.timings import Timings
from onward.runtime import wiring
from onward.storage.engine import Database
from onward.testing import workload
from tests.integration.test_enqueue import write_settings

LONG = timedelta(seconds=60)


@dataclass
class Caller:
    """A connection of the caller's, of one kind."""

    session: Any
    execute: Callable[[str], Awaitable[Any]]
    commit: Callable[[], Awaitable[None]]
    rollback: Callable[[], Awaitable[None]]


def at_once(function: Callable[..., Any]) -> Callable[..., Awaitable[Any]]:
    async def call(*arguments: Any) -> Any:
        return function(*arguments)

    return call


def of(session: Any, execute: Callable[[str], Any] | None = None) -> Caller:
    """The caller of a session whose methods block."""
    return Caller(session, at_once(execute or session.execute), at_once(session.commit), at_once(session.rollback))


async def sqlalchemy_caller(url: sa.URL, kind: str, stack: AsyncExitStack) -> Caller:
    session: Any
    if kind.lower().startswith("async"):
        engine = create_async_engine(url)
        stack.push_async_callback(engine.dispose)
        if kind == "AsyncConnection":
            session = await engine.connect()
        elif kind == "AsyncSession":
            session = AsyncSession(engine)
        else:
            session = async_scoped_session(async_sessionmaker(engine), asyncio.current_task)
        stack.push_async_callback(session.close)
        return Caller(session, lambda sql: session.execute(sa.text(sql)), session.commit, session.rollback)
    plain = sa.create_engine(url)
    stack.callback(plain.dispose)
    if kind == "Connection":
        session = plain.connect()
    else:
        session = Session(plain) if kind == "Session" else scoped_session(sessionmaker(plain))
    stack.callback(session.close)
    return of(session, lambda sql: session.execute(sa.text(sql)))


async def asyncpg_caller(url: str, kind: str, stack: AsyncExitStack) -> Caller:
    connection: Any
    if kind == "pool":
        pool = await stack.enter_async_context(asyncpg.create_pool(url, min_size=1))
        connection = await stack.enter_async_context(pool.acquire())
    else:
        connection = await asyncpg.connect(url)
        stack.push_async_callback(connection.close)
    transaction = connection.transaction()
    await transaction.start()
    return Caller(connection, connection.execute, transaction.commit, transaction.rollback)


@asynccontextmanager
async def calling(kind: str, url: str) -> AsyncIterator[Caller]:
    library, _, name = kind.partition(" ")
    async with AsyncExitStack() as stack:
        if library.startswith(("sqlite+", "postgresql+")):
            yield await sqlalchemy_caller(sa.make_url(url).set(drivername=library), name, stack)
        elif kind == "psycopg":
            # Of kinds of their own, which the ledger's statements must not meet.
            plain = psycopg.connect(url, row_factory=psycopg.rows.dict_row, cursor_factory=psycopg.RawCursor)
            yield of(stack.enter_context(plain))
        elif kind == "psycopg async":
            connection = await stack.enter_async_context(await psycopg.AsyncConnection.connect(url))
            yield Caller(connection, connection.execute, connection.commit, connection.rollback)
        elif library == "asyncpg":
            yield await asyncpg_caller(url, name, stack)
        elif kind == "sqlite3":
            file = sqlite3.connect(sa.make_url(url).database or "")
            stack.callback(file.close)
            file.row_factory = lambda cursor, row: {"row": (cursor, row)}
            yield of(file)
        else:
            other = await stack.enter_async_context(aiosqlite.connect(sa.make_url(url).database or ""))
            other.row_factory = aiosqlite.Row
            yield Caller(other, other.execute, other.commit, other.rollback)


@asynccontextmanager
async def rolled_back(caller: Caller) -> AsyncIterator[None]:
    """A savepoint, by SQLAlchemy's own method where there is one, that is rolled back."""
    if hasattr(caller.session, "begin_nested"):
        nested = await settled(caller.session.begin_nested())
        yield
        await settled(nested.rollback())
    else:
        await caller.execute("SAVEPOINT nested")
        yield
        await caller.execute("ROLLBACK TO SAVEPOINT nested")


async def settled(result: Any) -> Any:
    """Return the result of a method that blocks or is awaited."""
    return await result if inspect.isawaitable(result) else result


KINDS = {
    "sqlite": [
        "sqlite+pysqlite Session",
        "sqlite+pysqlite Connection",
        "sqlite+pysqlite scoped_session",
        "sqlite+aiosqlite AsyncSession",
        "sqlite+aiosqlite AsyncConnection",
        "sqlite+aiosqlite async_scoped_session",
        "sqlite3",
        "aiosqlite",
    ],
    "postgresql": [
        "postgresql+psycopg Session",
        "postgresql+psycopg Connection",
        "postgresql+psycopg scoped_session",
        "postgresql+psycopg AsyncSession",
        "postgresql+asyncpg AsyncSession",
        "postgresql+asyncpg AsyncConnection",
        "postgresql+asyncpg async_scoped_session",
        "psycopg",
        "psycopg async",
        "asyncpg",
        "asyncpg pool",
    ],
}
FIXTURES = {"sqlite": "sqlite_ledger", "postgresql": "postgres_ledger"}
ALL = [pytest.param(kind, FIXTURES[dialect], id=kind) for dialect, kinds in KINDS.items() for kind in kinds]


@pytest.fixture
def ledger_url(request: pytest.FixtureRequest) -> str:
    url: str = request.getfixturevalue(request.param)
    return url


@pytest.fixture
async def onward(tmp_path: Path, ledger_url: str) -> AsyncIterator[Onward]:
    async with Onward.from_settings(write_settings(tmp_path, ledger_url)) as opened:
        yield opened


@pytest.fixture
def database(ledger_url: str) -> Any:
    opened = Database(ledger_url, embedded=True)
    yield opened
    opened.close()


async def queued(database: Database, owner: str) -> tuple[int, int]:
    """Count the owner's waiting jobs by the counters, and by the rows."""
    visible = Visible(owner=owner)
    counts = await database.read(lambda tx: ledger.counts(tx, visible=visible))
    rows = await database.read(lambda tx: tx.all(sa.text(f"SELECT id FROM _ledger.jobs WHERE owner = '{owner}'")))
    return counts[JobStatus.QUEUED], len(rows)


@pytest.mark.parametrize(("kind", "ledger_url"), ALL, indirect=["ledger_url"])
async def test_a_job_is_there_if_and_only_if_the_caller_commits(
    kind: str, ledger_url: str, onward: Onward, database: Database, tmp_path: Path
) -> None:
    given = workload.noted.job(folder=str(tmp_path), text="here % : 'x'")
    async with calling(kind, ledger_url) as caller:
        await caller.execute("CREATE TABLE orders (id INTEGER)")
        await caller.commit()
    async with calling(kind, ledger_url) as caller:
        await caller.execute("INSERT INTO orders VALUES (1)")
        await onward.enqueue(given, owner="ada", session=caller.session)
        await caller.rollback()
    assert await queued(database, "ada") == (0, 0)
    async with calling(kind, ledger_url) as caller:
        first = await onward.enqueue(given, owner="ada", session=caller.session, idempotency_key="k")
        assert await onward.enqueue(given, owner="ada", session=caller.session, idempotency_key="k") == first
        ids = await onward.enqueue_many([given, given], owner="ada", session=caller.session)
        assert await queued(database, "ada") == (0, 0)
        await caller.commit()
    assert await queued(database, "ada") == (3, 3)
    (history,) = await database.read(lambda tx: stats.stats(tx, stats.Span(tx.now - 60_000_000, tx.now + 60_000_000)))
    assert history.counts["enqueued"] == 3
    found = await database.read(lambda tx: ledger.get_many(tx, [first, *ids]))
    assert [found[job_id].status for job_id in (first, *ids)] == [JobStatus.QUEUED] * 3
    with pytest.raises(KeyReused):
        await onward.enqueue(workload.noted.job(folder="other"), owner="ada", idempotency_key="k")


ON_SQLITE = pytest.mark.parametrize("ledger_url", ["sqlite_ledger"], indirect=True)
ON_POSTGRESQL = pytest.mark.parametrize("ledger_url", ["postgres_ledger"], indirect=True)
ON_BOTH = pytest.mark.parametrize("ledger_url", [*FIXTURES.values()], indirect=True)


@ON_SQLITE
async def test_a_session_that_cannot_hold_the_job_is_refused(onward: Onward, ledger_url: str, tmp_path: Path) -> None:
    given = workload.noted.job(folder="x")
    with sqlite3.connect(tmp_path / "other.db") as other, pytest.raises(UnusableSession, match="another database"):
        await onward.enqueue(given, session=other)
    plain = sqlite3.connect(sa.make_url(ledger_url).database or "", isolation_level=None)
    with pytest.raises(UnusableSession, match="begin a transaction"):
        await onward.enqueue(given, session=plain)
    plain.execute("BEGIN IMMEDIATE")
    await onward.enqueue(given, session=plain)
    plain.close()
    async with calling("sqlite+aiosqlite AsyncSession", ledger_url) as caller:
        with pytest.raises(UnusableSession, match=r"await onward\.enqueue"):
            onward.sync.enqueue(given, session=caller.session)
        onward.sync.close()
    with pytest.raises(UnusableSession, match=r"one of sqlalchemy.AsyncSession, .* \(got builtins.dict\)"):
        await onward.enqueue(given, session={})


@ON_SQLITE
async def test_a_session_whose_driver_commits_by_itself_is_refused_though_its_library_does_not_know(
    onward: Onward, ledger_url: str, database: Database
) -> None:
    """SQLAlchemy's page on SQLite sets the driver so, and has an event begin each transaction: not all have both."""
    given, own = workload.noted.job(folder="x"), {"isolation_level": None}
    other = create_async_engine(sa.make_url(ledger_url).set(drivername="sqlite+aiosqlite"), connect_args=own)
    async with AsyncSession(other) as alone:
        with pytest.raises(UnusableSession, match="begin a transaction"):
            await onward.enqueue(given, owner="ada", session=alone)
    await other.dispose()
    engine = sa.create_engine(ledger_url, connect_args=own)
    with Session(engine) as session, pytest.raises(UnusableSession, match="begin a transaction"):
        await onward.enqueue(given, owner="ada", session=session)
    assert await queued(database, "ada") == (0, 0)
    sa.event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN"))
    with Session(engine) as session:
        await onward.enqueue(given, owner="ada", session=session)
        session.rollback()
        await onward.enqueue(given, owner="ada", session=session)
        session.commit()
    engine.dispose()
    assert await queued(database, "ada") == (1, 1)


@ON_POSTGRESQL
async def test_a_session_on_postgresql_that_cannot_hold_the_job_is_refused(
    onward: Onward, ledger_url: str, postgres_url: str
) -> None:
    given = workload.noted.job(folder="x")
    with (
        psycopg.connect(ledger_url, autocommit=True) as one,
        pytest.raises(UnusableSession, match="begin a transaction"),
    ):
        await onward.enqueue(given, session=one)
    with psycopg.connect(postgres_url) as other, pytest.raises(UnusableSession, match="another database"):
        await onward.enqueue(given, session=other)
    with psycopg.connect(ledger_url) as one, one.pipeline(), pytest.raises(UnusableSession, match="pipeline mode"):
        await onward.enqueue(given, session=one)
    connection = await asyncpg.connect(ledger_url)
    with pytest.raises(UnusableSession, match="begin a transaction"):
        await onward.enqueue(given, session=connection)
    await connection.close()
    url = sa.make_url(ledger_url).set(drivername="postgresql+psycopg")
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT")
    with Session(engine) as session, pytest.raises(UnusableSession, match="begin a transaction"):
        await onward.enqueue(given, session=session)
    engine.dispose()


@ON_POSTGRESQL
async def test_a_codec_for_json_of_a_connection_s_own_encodes_nothing_of_onward_s(
    onward: Onward, ledger_url: str, database: Database
) -> None:
    """The documentation of asyncpg has one, and pools of many applications."""
    connection = await asyncpg.connect(ledger_url)
    for name in ("json", "jsonb"):
        await connection.set_type_codec(name, encoder=json.dumps, decoder=json.loads, schema="pg_catalog")
    async with connection.transaction():
        await onward.enqueue(workload.noted.job(folder="x"), owner="ada", session=connection)
    await connection.close()
    assert await queued(database, "ada") == (1, 1)


@ON_POSTGRESQL
@pytest.mark.parametrize("kind", KINDS["postgresql"])
async def test_a_refused_session_of_another_database_keeps_its_transaction(
    kind: str, onward: Onward, postgres_url: str
) -> None:
    """The rows that the caller has written are not lost, and it can go on and commit."""
    async with calling(kind, postgres_url) as caller:
        await caller.execute("CREATE TABLE orders (id INTEGER)")
        with pytest.raises(UnusableSession, match="another database"):
            await onward.enqueue(workload.noted.job(folder="x"), session=caller.session)
        await caller.execute("INSERT INTO orders VALUES (1)")
        await caller.commit()
    with psycopg.connect(postgres_url) as connection:
        assert connection.execute("SELECT id FROM orders").fetchall() == [(1,)]
        connection.execute("DROP TABLE orders")


@pytest.mark.parametrize(("kind", "ledger_url"), ALL, indirect=["ledger_url"])
async def test_a_job_of_a_savepoint_that_was_rolled_back_is_not_there(
    kind: str, onward: Onward, ledger_url: str, database: Database
) -> None:
    given = workload.noted.job(folder="x")
    async with calling(kind, ledger_url) as caller:
        await onward.enqueue(given, owner="ada", session=caller.session)
        async with rolled_back(caller):
            await onward.enqueue(given, owner="ada", session=caller.session)
        await caller.commit()
    assert await queued(database, "ada") == (1, 1)


@ON_SQLITE
@pytest.mark.parametrize("kind", [kind for kind in KINDS["sqlite"] if "+" in kind])
@pytest.mark.parametrize("commits", [True, False])
async def test_a_job_of_savepoints_that_were_begun_first_is_committed_and_rolled_back_with_the_transaction(
    kind: str, onward: Onward, ledger_url: str, database: Database, *, commits: bool
) -> None:
    """Python's sqlite3 has begun no transaction then, and the end of the outer savepoint commits."""
    given = workload.noted.job(folder="x")
    async with calling(kind, ledger_url) as caller:
        outer = await settled(caller.session.begin_nested())
        inner = await settled(caller.session.begin_nested())
        await onward.enqueue(given, owner="ada", session=caller.session)
        for savepoint in (inner, outer):
            await settled(savepoint.commit())
        async with rolled_back(caller):
            await onward.enqueue(given, owner="ada", session=caller.session)
        nested = await settled(caller.session.begin_nested())
        await onward.enqueue(given, owner="ada", session=caller.session)
        await settled(nested.commit())
        assert await queued(database, "ada") == (0, 0)
        await (caller.commit() if commits else caller.rollback())
    assert await queued(database, "ada") == ((2, 2) if commits else (0, 0))


@ON_SQLITE
async def test_savepoints_that_are_released_leave_one_open_in_a_transaction(
    onward: Onward, ledger_url: str, database: Database
) -> None:
    """SQLite looks at each open one for each page: thousands would take a time that grows with their square."""
    given, statements = workload.noted.job(folder="x"), list[str]()
    async with calling("sqlite+pysqlite Connection", ledger_url) as caller:
        sa.event.listen(caller.session, "before_cursor_execute", lambda *found: statements.append(found[2].split()[0]))
        for ended in (1, 2):
            for number in range(1_000):
                with caller.session.begin_nested():
                    if number % 100 == 0:
                        with caller.session.begin_nested():
                            await onward.enqueue(given, owner="ada", session=caller.session)
            assert statements.count("SAVEPOINT") - statements.count("RELEASE") == ended
            await caller.commit()
            assert await queued(database, "ada") == (10 * ended, 10 * ended)


@ON_SQLITE
async def test_a_session_of_several_engines_is_refused_and_its_connection_is_not(
    onward: Onward, ledger_url: str, database: Database
) -> None:
    given, orders = workload.noted.job(folder="x"), sa.Table("orders", sa.MetaData(), sa.Column("id", sa.Integer))
    engine = sa.create_engine(ledger_url)
    with Session(binds={orders: engine}) as session:
        with pytest.raises(UnusableSession, match="bind_arguments"):
            await onward.enqueue(given, owner="ada", session=session)
        await onward.enqueue(given, owner="ada", session=session.connection(bind_arguments={"clause": orders}))
        session.commit()
    engine.dispose()
    assert await queued(database, "ada") == (1, 1)


@ON_POSTGRESQL
async def test_a_long_transaction_of_a_caller_makes_nobody_wait(
    onward: Onward, ledger_url: str, database: Database
) -> None:
    given = workload.noted.job(folder="x")
    async with calling("psycopg async", ledger_url) as first, calling("psycopg", ledger_url) as second:
        await onward.enqueue(given, owner="ada", session=first.session)
        async with asyncio.timeout(60):
            await onward.enqueue(given, owner="ada", session=second.session)
            await second.commit()
            for _ in range(20):
                await onward.enqueue(given, owner="ada")
        await first.commit()
    assert await queued(database, "ada") == (22, 22)


@ON_BOTH
async def test_jobs_of_sessions_are_run_and_counted_by_the_process_that_serves(
    ledger_url: str, onward: Onward, database: Database, tmp_path: Path
) -> None:
    kind = "sqlite3" if ledger_url.startswith("sqlite") else "psycopg"
    async with wiring.run_process(load(tmp_path), Role.ACCEPT, embedded=True):
        async with calling(kind, ledger_url) as caller:
            given = workload.noted.job(folder=str(tmp_path), text="here")
            job_id = await onward.enqueue(given, owner="ada", session=caller.session)
            await caller.commit()
        await onward.result(job_id, timeout=LONG)
        unfolded = sa.text("SELECT n FROM _ledger.counts WHERE slot >= 16")
        async with asyncio.timeout(60):
            while await database.read(lambda tx: tx.one(unfolded)):
                await asyncio.sleep(0.05)
    visible = Visible(owner="ada")
    counts = await database.read(lambda tx: ledger.counts(tx, visible=visible))
    assert (counts[JobStatus.QUEUED], counts[JobStatus.SUCCEEDED]) == (0, 1)


@ON_BOTH
async def test_a_job_of_a_session_is_given_to_redis_without_the_grace_of_a_delivery(
    ledger_url: str, database: Database, tmp_path: Path, redis_url: str, namespace: str
) -> None:
    dramatiq = f'[backends.dramatiq]\nurl = "{redis_url}"\nnamespace = "{namespace}"\n'
    file = write_settings(tmp_path, ledger_url, f'backend = "dramatiq"\n{dramatiq}')
    kind = "sqlite3" if ledger_url.startswith("sqlite") else "psycopg"
    patient = replace(Timings(), delivery_grace_s=3_600.0)
    async with (
        wiring.run_process(load(tmp_path), Role.ACCEPT, embedded=True, timings=patient),
        Onward.from_settings(file) as onward,
        calling(kind, ledger_url) as caller,
    ):
        job_id = await onward.enqueue(workload.noted.job(folder=str(tmp_path)), session=caller.session)
        await caller.commit()
        async with asyncio.timeout(60):
            while not (job := await database.read(lambda tx: ledger.get(tx, job_id))) or not job.delivered_to:
                await asyncio.sleep(0.05)


@pytest.mark.parametrize(("kind", "ledger_url"), ALL, indirect=["ledger_url"])
async def test_a_signal_is_there_if_and_only_if_the_caller_commits(
    kind: str, ledger_url: str, onward: Onward, tmp_path: Path
) -> None:
    """Of a job that is enqueued in the same transaction, too."""
    given = workload.approval.job(folder=str(tmp_path))
    yes, no = workload.Approval(approved=True), workload.Approval(approved=False)
    job_id = await onward.enqueue(given)
    async with calling(kind, ledger_url) as caller:
        await onward.signal(job_id, "approval", no, session=caller.session)
        await caller.rollback()
    async with calling(kind, ledger_url) as caller:
        other = await onward.enqueue(given, session=caller.session)
        for one in (job_id, other):
            await onward.signal(one, "approval", yes, session=caller.session)
        with pytest.raises(Conflict):
            await onward.signal(job_id, "approval", no, session=caller.session)
        await caller.commit()
    for one in (job_id, other):
        await onward.signal(one, "approval", yes)
        with pytest.raises(Conflict):
            await onward.signal(one, "approval", no)


@ON_BOTH
async def test_a_waiting_job_goes_on_when_the_transaction_of_its_signal_commits(
    ledger_url: str, onward: Onward, tmp_path: Path
) -> None:
    kind = "sqlite3" if ledger_url.startswith("sqlite") else "psycopg"
    timings = replace(Timings(), local_claim_grace_s=0.1)
    async with wiring.run_process(load(tmp_path), Role.ACCEPT, embedded=True, timings=timings) as runtime:
        job_id = await onward.enqueue(workload.approval.job(folder=str(tmp_path)))
        async with asyncio.timeout(LONG.total_seconds()):
            while not await runtime.database.read(lambda tx: _waits(tx, job_id)):
                await asyncio.sleep(0.02)
        async with calling(kind, ledger_url) as caller:
            await onward.signal(job_id, "approval", workload.Approval(approved=True), session=caller.session)
            await caller.commit()
        assert await onward.result(job_id, timeout=LONG) == "Approval True "


def _waits(tx: Tx, job_id: str) -> bool:
    job = ledger.get(tx, job_id)
    return job is not None and job.status is JobStatus.WAITING
