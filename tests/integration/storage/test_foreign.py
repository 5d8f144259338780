"""A place that holds something else than a ledger is refused in a line, and nothing is made in it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from structlog.testing import capture_logs

from onward.cli.check import findings
from onward.config.settings import load
from onward.findings import Finding, State
from onward.storage import migrate
from onward.storage.base import NoLedger, NotALedger, OutOfDate
from onward.storage.engine import Database
from onward.storage.other_ledgers import others
from tests import application
from tests.processes import onward

FOREIGN = {
    "a table of the same name": ("CREATE TABLE onward_jobs (id)", "its table onward_jobs is another program's"),
    "migrations by hash": (
        "CREATE TABLE onward_alembic_version (version_num); INSERT INTO onward_alembic_version VALUES ('1a2b3c4d')",
        "revision 1a2b3c4d",
    ),
    "migrations by number": (
        f"CREATE TABLE onward_alembic_version AS SELECT '{migrate.HEAD}' AS version_num",
        "another program's migrations",
    ),
}


def write(file: Path, script: str) -> None:
    with closing(sqlite3.connect(file)) as connection:
        connection.executescript(script)


def names(file: Path) -> set[str]:
    with closing(sqlite3.connect(file)) as connection:
        return {row[0] for row in connection.execute("SELECT name FROM sqlite_master")}


def wrong(project: Path, url: str) -> list[Finding]:
    return [one for one in findings(load(project, database={"url": url})) if one.state is State.WRONG]


@pytest.mark.parametrize("kind", FOREIGN)
def test_another_program_s_sqlite_file_is_refused_by_check_and_at_a_start(tmp_path: Path, kind: str) -> None:
    script, words = FOREIGN[kind]
    file = tmp_path / "theirs.db"
    write(file, script)
    before = names(file)
    database = Database(f"sqlite:///{file}")
    for start in (migrate.is_current, migrate.ensure, migrate.upgrade, migrate.require, migrate.go_back):
        with pytest.raises(NotALedger) as refused:
            start(database)
        assert words in str(refused.value)
        assert str(file) in str(refused.value)
        assert "name another database.schema" in str(refused.value)
    database.close()
    application.write(tmp_path)
    (found,) = wrong(tmp_path, f"sqlite:///{file}")
    assert words in found.message
    assert found.fix == "name another database.schema"
    assert names(file) == before


def test_a_file_that_is_no_database_is_refused_by_check_and_at_a_start(tmp_path: Path) -> None:
    file = tmp_path / "letter.db"
    file.write_text("Dear Sir or Madam, " * 500)
    database = Database(f"sqlite:///{file}")
    with pytest.raises(NotALedger, match=r"letter\.db is not a SQLite file; name another file"):
        migrate.ensure(database)
    database.close()
    application.write(tmp_path)
    (found,) = wrong(tmp_path, f"sqlite:///{file}")
    assert (found.part, found.fix) == ("database", "correct database.url: name another file, or move this one away")


def test_serve_refuses_another_program_s_file_in_one_line(tmp_path: Path) -> None:
    application.write(tmp_path)
    write(tmp_path / "theirs.db", "CREATE TABLE onward_jobs (id)")
    outcome = onward("serve", "--port", "0", project=tmp_path, ONWARD_DATABASE__URL="sqlite:///theirs.db")
    assert outcome.returncode == 2
    (line,) = outcome.stderr.splitlines()
    assert "theirs.db is not a ledger of Onward's: its table onward_jobs is another program's" in line


def test_another_program_s_postgresql_is_refused(postgres_url: str) -> None:
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("CREATE SCHEMA onward")
        connection.execute("CREATE TABLE onward.alembic_version (version_num text)")
        connection.execute("INSERT INTO onward.alembic_version VALUES ('1a2b3c4d')")
    database = Database(postgres_url)
    try:
        with pytest.raises(NotALedger, match=r"name another database\.schema"):
            migrate.upgrade(database)
    finally:
        database.close()


def test_tables_beside_the_ledger_s_are_left_alone(tmp_path: Path) -> None:
    """From then on the file has a log, as every ledger's: the file is the ledger's, too."""
    file = tmp_path / "shared.db"
    write(file, "CREATE TABLE customers (id)")
    database = Database(f"sqlite:///{file}")
    assert migrate.upgrade(database)
    assert migrate.is_current(database)
    database.close()
    assert "customers" in names(file)
    with closing(sqlite3.connect(file)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_file_without_a_ledger_stays_as_it_is_until_there_is_one(tmp_path: Path) -> None:
    """The mode of its journal is in the file: other programs would find it changed."""
    application.write(tmp_path)
    file = tmp_path / "theirs.db"
    write(file, "CREATE TABLE onward_jobs (id); INSERT INTO onward_jobs VALUES (1)")
    before = file.read_bytes()
    database = Database(f"sqlite:///{file}")
    for start in (migrate.ensure, migrate.require, migrate.upgrade):
        with pytest.raises(NotALedger):
            start(database)
    database.close()
    assert wrong(tmp_path, f"sqlite:///{file}")
    write(file, "ALTER TABLE onward_jobs RENAME TO jobs; VACUUM")
    free = file.read_bytes()
    database = Database(f"sqlite:///{file}")
    with pytest.raises(NoLedger):
        migrate.require(database)
    database.close()
    assert not wrong(tmp_path, f"sqlite:///{file}")
    assert file.read_bytes() == free != before


@pytest.mark.parametrize("command", [["list"], ["show", "job_x"], ["watch"], ["cancel", "job_x"]])
def test_a_command_that_reads_makes_no_ledger(tmp_path: Path, command: list[str]) -> None:
    application.write(tmp_path)
    outcome = onward("jobs", *command, project=tmp_path)
    assert outcome.returncode == 2
    file = tmp_path / "var" / "onward.db"
    assert f"there is no ledger at {file} yet: `onward serve` or `onward migrate` makes one" in outcome.stderr
    assert not file.parent.exists()


def test_check_makes_no_ledger(tmp_path: Path) -> None:
    application.write(tmp_path)
    list(findings(load(tmp_path)))
    assert not (tmp_path / "var").exists()


def test_a_ledger_in_another_schema_is_named(empty: Database, tmp_path: Path) -> None:
    """A changed `database.schema` must not look like a ledger that is lost."""
    migrate.upgrade(empty)
    url = empty.url.render_as_string(hide_password=False)
    other = Database(url, schema="shop")
    words = r'database\.schema is "shop", and the ledger in .* has "onward": correct database\.schema, or'
    with pytest.raises(NoLedger, match=words):
        migrate.require(other)
    if empty.dialect == "postgresql":
        with pytest.raises(OutOfDate, match=words):
            migrate.ensure(other)
    application.write(tmp_path)
    (found,) = [
        one for one in findings(load(tmp_path, database={"url": url, "schema": "shop"})) if "shop" in one.message
    ]
    assert found.state is (State.WARNING if empty.dialect == "sqlite" else State.WRONG)
    assert found.fix.startswith("correct database.schema")
    with capture_logs() as lines:
        assert migrate.upgrade(other), "a second one may be made all the same"
    assert [(line["log_level"], line["schema"], line["other"]) for line in lines] == [("warning", "shop", "onward")]
    assert others(empty) == ["shop"]
    other.close()


def test_a_postgresql_without_tables_is_no_ledger(postgres_url: str) -> None:
    database = Database(postgres_url)
    try:
        with pytest.raises(NoLedger, match="`onward migrate` makes one"):
            migrate.require(database)
    finally:
        database.close()
