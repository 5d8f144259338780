"""Migrations: the tables match the code, even if several processes migrate at once."""

from __future__ import annotations

import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory

from onward.storage import migrate
from onward.storage.base import OutOfDate, StorageError
from onward.storage.engine import Database
from tests.integration.storage.tables import differences, layout, removed, rows

ROOT = Path(__file__).resolve().parents[3]


def test_the_code_knows_the_newest_revision() -> None:
    """`HEAD` is Alembic's only head."""
    config = Config()
    config.set_main_option("script_location", str(migrate.FOLDER))
    config.set_main_option("path_separator", "newline")
    assert ScriptDirectory.from_config(config).get_heads() == [migrate.HEAD]


def test_the_tables_after_the_migrations_are_those_of_the_code(empty: Database) -> None:
    """The comparison covers tables, columns, types, nullability, indexes and constraints."""
    assert migrate.revision(empty) is None
    assert migrate.upgrade(empty)
    assert migrate.revision(empty) == migrate.HEAD
    assert differences(empty) == []


def test_a_new_ledger_is_the_one_that_the_migrations_make(empty: Database) -> None:
    """Each column, key and index with its name, and each row, are equal to the last."""
    assert migrate.upgrade(empty)
    at_once = layout(empty), rows(empty)
    removed(empty)
    with migrate._site(empty) as site:
        site.create_schema()
        migrate._run(migrate.LEDGER, site, "upgrade", "head")
    assert (layout(empty), rows(empty)) == at_once
    assert migrate.revision(empty) == migrate.HEAD


def test_a_second_migration_changes_nothing(empty: Database) -> None:
    assert migrate.upgrade(empty)
    assert not migrate.upgrade(empty)


def test_two_simultaneous_migrations_create_the_tables_once(empty: Database) -> None:
    """One migrates, and the other waits and finds it done, in two threads as in two processes."""
    done: list[object] = []

    def upgrade() -> None:
        other = Database(empty.url.render_as_string(hide_password=False))
        try:
            done.append(migrate.upgrade(other))
        except StorageError as error:
            done.append(error)
        finally:
            other.close()

    threads = [threading.Thread(target=upgrade) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(map(str, done)) == ["False", "True"]


def test_a_migration_may_take_long(postgres_url: str) -> None:
    """An index of many jobs takes longer than a statement of a mutation may."""
    database = Database(postgres_url)
    with closing(database), migrate._site(database) as site:
        assert site.bound.exec_driver_sql("SHOW statement_timeout").scalar() == "0"
        assert site.bound.exec_driver_sql("SHOW lock_timeout").scalar() == "10s"


def test_processes_that_start_together_find_a_ledger(tmp_path: Path) -> None:
    """On SQLite one process migrates, and the others wait for it."""
    code = (
        "import sys; from onward.storage import migrate; from onward.storage.engine import Database;"
        "migrate.ensure(Database(sys.argv[1]))"
    )
    command = [sys.executable, "-c", code, f"sqlite:///{tmp_path / 'onward.db'}"]
    started = [subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) for _ in range(4)]
    ended = [(process.communicate(timeout=60)[1], process.returncode) for process in started]
    assert [code for _, code in ended] == [0] * 4, ended


def test_postgresql_is_migrated_only_by_the_migrate_command(empty: Database) -> None:
    """A server process refuses a ledger of another release, and names the command."""
    if empty.dialect == "sqlite":
        migrate.ensure(empty)
        migrate.ensure(empty)
        assert migrate.revision(empty) == migrate.HEAD
        return
    with pytest.raises(OutOfDate, match="onward migrate"):
        migrate.ensure(empty)
    migrate.upgrade(empty)
    migrate.ensure(empty)


def test_a_ledger_of_a_newer_release_is_refused(empty: Database) -> None:
    """The ledger is not changed."""
    migrate.upgrade(empty)
    connection = empty.connect()
    connection.execute(empty.named("UPDATE _ledger.alembic_version SET version_num = '9999'"))
    connection.close()
    for call in (migrate.upgrade, migrate.ensure, migrate.go_back):
        with pytest.raises(OutOfDate, match=r"start the newer release, or .* `onward migrate --back`"):
            call(empty)
    assert migrate.revision(empty) == "9999"


def test_a_ledger_goes_back_to_the_last_release(empty: Database) -> None:
    """The tables become those of that release and come back; each new migration has to say how."""
    assert not migrate.go_back(empty)
    migrate.upgrade(empty)
    assert migrate.go_back(empty)
    assert migrate.revision(empty) is None, "it is where that release looks for it"
    assert not migrate.go_back(empty)
    assert migrate.upgrade(empty)


def test_two_databases_are_migrated_at_once_in_one_process(tmp_path: Path) -> None:
    """Two applications under one test runner do that, and Alembic itself allows one migration at a time."""
    databases = [Database(f"sqlite:///{tmp_path / f'{n}.db'}") for n in range(6)]
    failures: list[BaseException] = []

    def migrated(database: Database) -> None:
        try:
            migrate.upgrade(database)
        except BaseException as error:  # noqa: BLE001 - reported below, by the test's own thread
            failures.append(error)

    threads = [threading.Thread(target=migrated, args=(database,)) for database in databases]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert [migrate.revision(database) for database in databases] == [migrate.HEAD] * len(databases)
    for database in databases:
        database.close()
