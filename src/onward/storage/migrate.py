"""Brings the ledger's tables up to date, and those that the project keeps beside them."""

from __future__ import annotations

import re
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from onward.storage.base import NoLedger, NotALedger, OutOfDate, StorageError, Unavailable
from onward.storage.engine import Database
from onward.storage.tables import metadata

if TYPE_CHECKING:
    from alembic.config import Config

HEAD = "0007"
LAST_RELEASE = ("0.1.0", "0004")  # and its ledger's revision, to which `onward migrate --back` goes
LOCK = 0x6F6E77617264  # "onward"
LOCK_TIMEOUT_S = 60.0
FOLDER = Path(__file__).parent / "migrations"
OURS = frozenset(table.name for table in metadata.tables.values())
FIRST = frozenset({"commits", "jobs", "runners"})  # tables that each revision has
REVISION = re.compile(r"\d{4}", re.ASCII)
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
        """The database's revision; None where there are no tables yet. Makes no file.

        Raises Unavailable; NotALedger where the tables are another program's.
        """
        if database.path is not None and not database.path.exists():
            return None
        connection = database.connect()
        try:
            return self._revision(database, connection)
        except StorageError:
            raise
        except Exception as error:
            raise Unavailable("the ledger cannot be read") from error
        finally:
            connection.close()

    def _revision(self, database: Database, connection: Any) -> str | None:
        # The names first, in one statement: a migration of another process may commit at any moment.
        there = {row[0] for row in connection.execute(database.driver.tables)}
        if self.table not in there:
            if self is LEDGER and (taken := there & OURS):
                raise _not_a_ledger(database, f"its {_named(taken)} another program's")
            return None
        row = connection.execute(f"SELECT version_num FROM {self.table}").fetchone()  # noqa: S608 - a constant
        if row and self is LEDGER and not (there >= FIRST and REVISION.fullmatch(row[0])):
            words = f"its table {self.table} (revision {row[0]}) is of another program's migrations"
            raise _not_a_ledger(database, words)
        return row[0] if row else None


def _named(tables: Collection[str]) -> str:
    names = ", ".join(sorted(tables))
    return f"table {names} is" if len(tables) == 1 else f"tables {names} are"


def _not_a_ledger(database: Database, words: str) -> NotALedger:
    what = "name another file" if database.dialect == "sqlite" else "name a database of its own"
    return NotALedger(f"database.url: {database.where} is not a ledger of Onward's: {words}; {what}")


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


def require(database: Database) -> None:
    """Do as `ensure` does where there is a ledger. Raises NoLedger where there is none: nothing is made."""
    if revision(database) is None:
        hint = "" if database.dialect == "sqlite" else "`onward migrate` makes one"
        raise NoLedger(
            f"there is no ledger at {database.where} yet: {hint or '`onward serve` or `onward migrate` makes one'};"
            " if there should be one, correct database.url"
        )
    ensure(database)


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

    revision(database)  # refuses what is no ledger
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

    if revision(database) is None:
        return False
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
    except sa.exc.DBAPIError as error:
        raise StorageError(f"{database.where} was not migrated, and is as it was") from error.orig
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
