"""Brings the ledger's tables up to date, and those that the project keeps beside them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa

from onward.storage.base import OutOfDate, StorageError, Unavailable
from onward.storage.engine import Database

if TYPE_CHECKING:
    from alembic.config import Config

HEAD = "0007"
LAST_RELEASE = ("0.1.0", "0004")  # and its ledger's revision, to which `onward migrate --back` goes
LOCK = 0x6F6E77617264  # "onward"
LOCK_TIMEOUT_S = 60.0
FOLDER = Path(__file__).parent / "migrations"
# Alembic keeps the migration under way in its modules: two at once in one process, of two databases, mix them up.
_ALEMBIC = threading.Lock()


@dataclass(frozen=True, slots=True)
class Migrations:
    """One series of Alembic migrations in the database, with a table of its own for its revision."""

    name: str
    versions: Path
    head: str
    table: str

    def refuse_newer(self, found: str | None) -> None:
        """Raise OutOfDate if the tables are of a newer release."""
        if found is not None and found > self.head:
            raise OutOfDate(f"{self.name} has revision {found}, and this release knows {self.head}: {self.newer_fix}")

    @property
    def newer_fix(self) -> str:
        """The fix for tables of a newer release."""
        if self.table != LEDGER.table:
            return "start the newer version of the project"
        return "start the newer release, or stop its processes and run its `onward migrate --back`"

    def revision(self, database: Database) -> str | None:
        """The database's revision; None where there are no tables yet. Raises Unavailable."""
        connection = database.connect()
        try:
            row = connection.execute(f"SELECT version_num FROM {self.table}").fetchone()  # noqa: S608 - a constant
        except Exception as error:
            if "no such table" in str(error) or getattr(error, "sqlstate", None) == "42P01":
                return None
            raise Unavailable("the ledger cannot be read") from error
        finally:
            connection.close()
        return row[0] if row else None


LEDGER = Migrations("the ledger", FOLDER / "versions", HEAD, "alembic_version")


def all_of(database: Database) -> list[Migrations]:
    """Return the ledger's migrations, then the project's if it has some. Raises StorageError."""
    folder = database.migrations
    if folder is None:
        return [LEDGER]
    # Alembic takes a quarter of a second to import, so the newest revision is read from the files' names.
    revisions = sorted(file.name.partition("_")[0] for file in folder.glob("[0-9]*_*.py"))
    if not revisions:
        raise StorageError(f"database.migrations: {folder} holds no migration; name one 0001_what_it_does.py")
    return [LEDGER, Migrations("the project's tables", folder, revisions[-1], "alembic_version_project")]


def revision(database: Database) -> str | None:
    """The ledger's revision; None where there are no tables yet. Raises Unavailable."""
    return LEDGER.revision(database)


def is_current(database: Database) -> bool:
    """Return whether the ledger's tables and the project's are those of this release. Raises StorageError."""
    return all(one.revision(database) == one.head for one in all_of(database))


def ensure(database: Database) -> None:
    """Bring SQLite's tables to this release; on PostgreSQL, check that `onward migrate` did.

    Raises OutOfDate and Unavailable.
    """
    for one in all_of(database):
        found = one.revision(database)
        if found == one.head:
            continue
        one.refuse_newer(found)
        if database.dialect == "sqlite":
            upgrade(database)
            return
        state = "no tables yet" if found is None else f"revision {found}, and this release needs {one.head}"
        raise OutOfDate(f"{one.name} has {state}: run `onward migrate`")


def upgrade(database: Database) -> bool:
    """Migrate; return False where everything was current. One process at a time, others wait. Raises StorageError."""
    # Alembic takes a quarter of a second to import, which only a migration is worth.
    from alembic import command  # noqa: PLC0415

    changed = False
    with _locked(database) as bound:
        for one in all_of(database):
            before = _revision_of(bound, one.table)
            if before == one.head:
                continue
            one.refuse_newer(before)
            with _ALEMBIC:
                command.upgrade(_config(one, bound), "head")
            changed = True
    return changed


def go_back(database: Database) -> bool:
    """Give the ledger the tables of the last release; return False where it has them. No row of a job is lost.

    The project's own tables stay. Raises StorageError, also where the older release could not keep what is there.
    """
    from alembic import command  # noqa: PLC0415 - as above

    with _locked(database) as bound:
        before = _revision_of(bound, LEDGER.table)
        LEDGER.refuse_newer(before)
        if before is None or before <= LAST_RELEASE[1]:
            return False
        with _ALEMBIC:
            command.downgrade(_config(LEDGER, bound), LAST_RELEASE[1])
    return True


@contextmanager
def _locked(database: Database) -> Iterator[sa.Connection]:
    """A connection in the transaction of the only migration that runs."""
    from onward.storage import sqlite  # noqa: PLC0415 - loads SQLAlchemy's dialect of it
    from onward.storage.migrations.guard import migration_lock  # noqa: PLC0415 - only a migration needs it

    connection = database.connect()
    engine = sa.create_engine(
        "sqlite://" if database.dialect == "sqlite" else "postgresql+psycopg://",
        creator=lambda: connection,
        poolclass=sa.pool.StaticPool,
        **({"module": database.driver.dbapi} if isinstance(database.driver, sqlite.SQLite) else {}),
        isolation_level="AUTOCOMMIT",
    )
    try:
        with engine.connect() as bound, migration_lock(bound, database.dialect, LOCK, LOCK_TIMEOUT_S):
            yield bound
    finally:
        engine.dispose()


def _config(series: Migrations, bound: sa.Connection) -> Config:
    """Alembic's configuration for one series."""
    from alembic.config import Config  # noqa: PLC0415 - as above

    config = Config()
    config.set_main_option("script_location", str(FOLDER))
    config.set_main_option("version_locations", str(series.versions))
    config.set_main_option("path_separator", "newline")
    config.attributes.update(connection=bound, version_table=series.table)
    return config


def _revision_of(bound: sa.Connection, table: str) -> str | None:
    if not sa.inspect(bound).has_table(table):
        return None
    return bound.execute(sa.text(f"SELECT version_num FROM {table}")).scalar()  # noqa: S608 - a constant
