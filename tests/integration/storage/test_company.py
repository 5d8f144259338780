"""The ledger in a database that others use: beside their tables, by the rights that it has, moved and moved back."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa

from onward.findings import Finding, State
from onward.jobs import claims, ledger, recording
from onward.jobs.model import Job
from onward.jobs.outcome import Outcome
from onward.jobs.states import JobStatus
from onward.storage import check, migrate
from onward.storage.base import StorageError
from onward.storage.engine import Database
from onward.storage.place import Place
from onward.storage.transaction import Tx
from onward.storage.writer import Writer
from tests import application
from tests.integration.releases.write import HERE
from tests.integration.storage.tables import differences
from tests.ledgers import accept

STRANGERS = {
    "alembic_version": "CREATE TABLE alembic_version (version_num VARCHAR(32) PRIMARY KEY)",
    "jobs": "CREATE TABLE jobs (id INTEGER PRIMARY KEY, title TEXT)",
    "users": "CREATE TABLE users (id INTEGER PRIMARY KEY, email TEXT)",
    "runners": "CREATE TABLE runners (id INTEGER PRIMARY KEY, shoes TEXT)",
    "schedule": "CREATE TABLE schedule (id INTEGER PRIMARY KEY, hall TEXT)",
    "jobs_by_status": "CREATE TABLE jobs_by_status (id INTEGER PRIMARY KEY)",
}
ROWS = ("INSERT INTO alembic_version VALUES ('0004')", "INSERT INTO jobs VALUES (1, 'carpenter')")


def run(database: Database, *statements: str) -> list[Any]:
    """Run statements on a connection of their own, and return the last one's rows."""
    with closing(database.connect()) as connection:
        *first, last = statements
        for one in first:
            connection.execute(database.named(one))
        cursor = connection.execute(database.named(last))
        return [tuple(row) for row in cursor.fetchall()] if cursor.description else []


@contextmanager
def writing(database: Database) -> Iterator[Writer]:
    writer = Writer(database)
    writer.start()
    try:
        yield writer
    finally:
        writer.close()


def work(writer: Writer) -> Job:
    """Accept a job, claim it and end it."""
    job = writer.run_sync(accept)

    def claimed(tx: Tx) -> Job:
        found = claims.claim(tx, job.id, runner="r", worker="w", backend="here", isolated=False)
        assert found is not None
        return found

    running = writer.run_sync(claimed)
    outcome = Outcome(JobStatus.SUCCEEDED, result=1)
    writer.run_sync(lambda tx: recording.record_outcome(tx, running, outcome, steps=running.steps))
    return job


OLDER_INSERT = sa.text(
    "INSERT INTO jobs (id, handler, status, backend, priority, version, changed, run, params, params_version, steps,"
    " attempts, attempt, charged, max_attempts, deaths, token, due_at, created_at) VALUES (:id, 'item.process',"
    " 'QUEUED', 'here', 0, 1, :change, 1, '{}', 1, '[]', '[]', 0, 0, 5, 0, 0, :now, :now)"
)
OLDER_END = sa.text(
    "UPDATE jobs SET status = 'SUCCEEDED', version = version + 1, changed = :change, finished_at = :now, result = '1'"
    " WHERE id = :id AND version = 1"
)


def work_of_an_older_release(writer: Writer) -> str:
    """Accept a job and end it by statements that know the columns of an older release alone."""
    job_id = f"job_{uuid.uuid4().hex}"

    def done(statement: sa.TextClause) -> None:
        writer.run_sync(lambda tx: tx.execute(statement, id=job_id, change=tx.change, now=tx.now))

    done(OLDER_INSERT)
    done(OLDER_END)
    return job_id


def status(database: Database, job: Job) -> JobStatus | None:
    found = database.read_sync(lambda tx: ledger.get(tx, job.id))
    return found.status if found else None


def last_finding(database: Database) -> Finding:
    *_, found = check.check(database)
    return found


@pytest.fixture
def shared(empty: Database) -> Database:
    """Return a database with the tables of another application."""
    run(empty, *STRANGERS.values(), *ROWS)
    return empty


def test_another_application_s_tables_are_no_obstacle(shared: Database) -> None:
    """Tables of the same names, and Alembic's with a revision of ours, stay as they are; the ledger works beside."""
    assert migrate.upgrade(shared)
    assert differences(shared) == []
    with writing(shared) as writer:
        assert status(shared, work(writer)) is JobStatus.SUCCEEDED
    assert run(shared, "SELECT * FROM alembic_version") == [("0004",)]
    assert run(shared, "SELECT * FROM jobs") == [(1, "carpenter")]
    assert [one.state for one in check.check(shared)][1:] == [State.OK]
    with pytest.raises(StorageError, match=r"other tables named alembic_version, jobs, runners, schedule"):
        migrate.go_back(shared)
    assert migrate.is_current(shared)
    assert not migrate.upgrade(shared)


def test_a_project_s_table_that_another_application_has_is_named(shared: Database) -> None:
    """Nothing of the migration stays, not of the ledger's either."""
    with closing(Database(shared.url.render_as_string(hide_password=False), application.MIGRATIONS)) as database:
        with pytest.raises(StorageError, match="has a table users of another application"):
            migrate.upgrade(database)
        assert migrate.revision(database) is None


@pytest.mark.parametrize("table", ["alembic_version", "gates"])
def test_a_place_with_another_application_s_tables_is_refused(empty: Database, table: str) -> None:
    """With their names and what to do; nothing is made or changed."""
    if empty.dialect == "postgresql":
        run(empty, "CREATE SCHEMA onward")
    run(empty, f"CREATE TABLE _ledger.{table} (version_num VARCHAR(32))", f"INSERT INTO _ledger.{table} VALUES ('x')")
    for call in (migrate.upgrade, migrate.ensure):
        with pytest.raises(StorageError, match=rf"{table} is .*another program's.*; name another database.schema"):
            call(empty)
    assert run(empty, f"SELECT * FROM _ledger.{table}") == [("x",)]
    assert last_finding(empty).state is State.WRONG
    assert last_finding(empty).fix == "name another database.schema"


def test_two_ledgers_share_a_database(empty: Database) -> None:
    """Each has its own jobs and revision, and migrates while the other is being migrated."""
    url = empty.url.render_as_string(hide_password=False)
    with closing(Database(url, schema="second")) as second:
        if empty.dialect == "postgresql":
            with migrate._site(empty) as site:
                migrate._prepare_place(site)
                assert migrate.upgrade(second)
        else:  # a file has one lock for all that is written to it
            assert migrate.upgrade(second)
        assert migrate.revision(empty) is None
        assert migrate.upgrade(empty)
        assert differences(empty) == differences(second) == []
        with writing(empty) as one, writing(second) as other:
            jobs = [work(one), work(other)]
        assert [status(empty, job) for job in jobs] == [JobStatus.SUCCEEDED, None]
        assert [status(second, job) for job in jobs] == [None, JobStatus.SUCCEEDED]


@contextmanager
def as_role(database: Database, url: str) -> Iterator[Database]:
    """The database as another user sees it, who may connect and nothing else."""
    name = f"app_{uuid.uuid4().hex}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {name} LOGIN")
    other = Database(database.url.set(username=name).render_as_string(hide_password=False))
    try:
        yield other
    finally:
        other.close()
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(f"DROP OWNED BY {name} CASCADE")
            connection.execute(f"DROP ROLE {name}")


@pytest.fixture
def on_postgresql(postgres_url: str) -> Iterator[Database]:
    with closing(Database(postgres_url)) as database:
        yield database


def test_a_user_who_may_not_make_a_schema_is_told_what_to_grant(on_postgresql: Database, postgres_url: str) -> None:
    """A schema that is there is used; one that this user may not use is not."""
    with as_role(on_postgresql, postgres_url) as other:
        name = other.url.username
        assert last_finding(other).fix.startswith(f"CREATE SCHEMA onward AUTHORIZATION {name};")
        with pytest.raises(StorageError, match=f"CREATE SCHEMA onward AUTHORIZATION {name}; or GRANT CREATE ON"):
            migrate.upgrade(other)
        run(on_postgresql, "CREATE SCHEMA onward")
        fix = f"GRANT CREATE, USAGE ON SCHEMA onward TO {name};"
        with pytest.raises(StorageError, match=fix):
            migrate.upgrade(other)
        run(on_postgresql, fix)
        assert migrate.upgrade(other)
        with writing(other) as writer:
            work(writer)


def test_a_user_who_may_not_read_the_ledger_is_told_what_to_grant(on_postgresql: Database, postgres_url: str) -> None:
    """The statements in the message suffice."""
    migrate.upgrade(on_postgresql)
    with as_role(on_postgresql, postgres_url) as other:
        with pytest.raises(StorageError, match="may not read the ledger's tables: ") as refused:
            migrate.ensure(other)
        fix = last_finding(other).fix
        assert fix in str(refused.value)
        run(on_postgresql, fix.removeprefix("let their owner run "))
        migrate.ensure(other)
        with writing(other) as writer:
            work(writer)


def former(database: Database) -> None:
    """Make a ledger of the release before, as it left one."""
    sql = (HERE / f"0.1.0.{database.dialect}.sql").read_text("utf-8")
    with closing(database.connect()) as connection:
        if database.dialect == "sqlite":
            connection.executescript(sql)
        else:
            connection.execute(sql)


def test_a_ledger_of_before_has_this_release_s_tables_after_its_move(empty: Database) -> None:
    """Indexes, too: all jobs are there, and the index that somebody else made follows its table."""
    former(empty)
    count = run(empty, "CREATE INDEX mine ON jobs (worker)", "SELECT count(*) FROM jobs")
    assert last_finding(empty).message.endswith("are of an older release")
    assert migrate.upgrade(empty)
    run(empty, "DROP INDEX mine" if empty.dialect == "sqlite" else "DROP INDEX onward.mine")
    assert differences(empty) == []
    assert run(empty, "SELECT count(*) FROM _ledger.jobs") == count
    assert run(empty, "SELECT version_num FROM alembic_version") == [(migrate.HEAD,)], "the older release refuses that"
    assert migrate.go_back(empty)
    assert run(empty, "SELECT version_num FROM alembic_version") == [("0004",)]
    assert run(empty, "SELECT count(*) FROM jobs") == count


def test_processes_of_the_older_release_work_on_while_others_are_started(on_postgresql: Database) -> None:
    """Their statements name the tables without a schema, as those for the schema of before do."""
    former(on_postgresql)
    left = run(on_postgresql, "SELECT id FROM jobs WHERE status = 'SUCCEEDED'")
    with closing(Database(on_postgresql.url.render_as_string(hide_password=False), schema="public")) as before:
        with writing(before) as older:
            ids = [work_of_an_older_release(older) for _ in range(6)]  # psycopg has prepared the statements by then
            migrate.upgrade(on_postgresql)
            ids += [work_of_an_older_release(older) for _ in range(6)]
        with writing(on_postgresql) as newer:
            ids.append(work(newer).id)
        ended = "SELECT id FROM {} WHERE status = 'SUCCEEDED' ORDER BY id"
        for database, table in ((on_postgresql, "_ledger.jobs"), (before, "jobs")):
            assert run(database, ended.format(table)) == sorted([*left, *((job_id,) for job_id in ids)])


def test_going_back_drops_only_the_ledger_s_own_views(on_postgresql: Database) -> None:
    former(on_postgresql)
    migrate.upgrade(on_postgresql)
    run(on_postgresql, "CREATE SCHEMA reports", "CREATE VIEW reports.jobs AS SELECT id, status FROM onward.jobs")
    count = run(on_postgresql, "SELECT count(*) FROM reports.jobs")
    migrate.go_back(on_postgresql)
    assert run(on_postgresql, "SELECT count(*) FROM reports.jobs") == count


def test_rights_on_the_tables_are_kept_at_the_move(on_postgresql: Database, postgres_url: str) -> None:
    """A user with rights on them in the old place has them in the new one, and through the views."""
    former(on_postgresql)
    with as_role(on_postgresql, postgres_url) as other:
        run(on_postgresql, f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {other.url.username}")
        migrate.upgrade(on_postgresql)
        for table in ("jobs", "onward.jobs"):
            assert run(other, f"SELECT count(*) > 0 FROM {table}") == [(True,)]


def test_the_project_s_tables_are_made_beside_a_schema_of_the_user_s_name(
    on_postgresql: Database, postgres_url: str
) -> None:
    """PostgreSQL looks there first; the ledger's schema may be it."""
    run(on_postgresql, f'ALTER DATABASE {on_postgresql.url.database} SET search_path = "$user", public')
    with closing(Database(postgres_url, application.MIGRATIONS)) as database:
        migrate.upgrade(database)
        places = "SELECT schemaname FROM pg_tables WHERE tablename IN ('users', 'items', 'alembic_version_project')"
        assert sorted(run(database, places)) == [("onward",), ("public",), ("public",)]
        assert migrate.is_current(database)
        with writing(database) as writer:
            work(writer)
        migrate.go_back(database)
        assert run(database, "SELECT schemaname FROM pg_tables WHERE tablename = 'jobs'") == [("public",)]
        assert migrate.upgrade(database)


def test_a_place_costs_a_job_nothing(writer: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names are put into a statement when it is compiled, which happens once in a process."""
    assert status(writer.database, work(writer)) is JobStatus.SUCCEEDED
    monkeypatch.setattr(Place, "named", None)
    assert status(writer.database, work(writer)) is JobStatus.SUCCEEDED
