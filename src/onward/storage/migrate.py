"""Brings the ledger's tables up to date, and those that the project keeps beside them."""

from __future__ import annotations

import re
import threading
import zlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import sqlalchemy as sa

from onward.storage.base import NoLedger, NotALedger, OutOfDate, StorageError, Unavailable
from onward.storage.engine import Database
from onward.storage.other_ledgers import elsewhere
from onward.storage.tables import metadata

if TYPE_CHECKING:
    from onward.storage.migrations.site import Site

HEAD = "0024"
LAST_RELEASE = ("0.1.0", "0004")  # and its ledger's revision, to which `onward migrate --back` goes
NOT_ALLOWED = "42501"  # PostgreSQL's code
LOCK = 0x6F6E77617264  # "onward"
LOCK_TIMEOUT_S = 60.0
FOLDER = Path(__file__).parent / "migrations"
OURS = frozenset(table.name for table in metadata.tables.values())
FIRST = frozenset({"commits", "jobs", "runners"})  # tables that each revision has
REVISION = re.compile(r"\d{4}", re.ASCII)
# Alembic keeps the migration under way in its modules: two at once in one process, of two databases, mix them up.
_ALEMBIC = threading.Lock()


class Migrations(NamedTuple):
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
            if getattr(error, "sqlstate", None) == NOT_ALLOWED:
                user = database.url.username or "this user"
                raise StorageError(database.driver.place.missing_rights(user)) from None
            raise Unavailable("the ledger cannot be read") from error
        finally:
            connection.close()

    def _revision(self, database: Database, connection: Any) -> str | None:
        # The names first, in one statement: a migration of another process may commit at any moment.
        place = database.driver.place
        names = {row[0] for row in connection.execute(database.driver.tables)}
        there = {name.removeprefix(place.prefix) for name in names if name.startswith(place.prefix)}
        if self.table not in there:
            if self is LEDGER and (taken := there & OURS):
                raise _not_a_ledger(database, f"{_named(taken, place.prefix)} another program's")
            return None
        found = f"SELECT version_num FROM _ledger.{self.table}"  # noqa: S608 - a constant
        row = connection.execute(database.named(found)).fetchone()
        if self is LEDGER and not (row and there >= FIRST and REVISION.fullmatch(row[0])):
            words = f"its table {place.prefix}{self.table} is of another program's migrations"
            raise _not_a_ledger(database, f"{words} (revision {row[0]})" if row else words)
        return row[0] if row else None


def _named(tables: Collection[str], prefix: str) -> str:
    names = ", ".join(sorted(f"{prefix}{table}" for table in tables))
    return f"its table {names} is" if len(tables) == 1 else f"its tables {names} are"


def _not_a_ledger(database: Database, words: str) -> NotALedger:
    place = database.driver.place
    where = database.where if place.prefix else f"the schema {place.schema} of {database.where}"
    return NotALedger(f"database.url: {where} is not a ledger of Onward's: {words}; name another database.schema")


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
    if revision(database) is None and prospect(database).former is None:
        if words := elsewhere(database):
            raise NoLedger(words)
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
        if one is LEDGER and found is None:
            obstacle, former = prospect(database)
            if obstacle:
                raise StorageError(obstacle)
            found = former
        one.refuse_newer(found)
        if database.dialect == "sqlite":
            upgrade(database)
            return
        state = "no tables yet" if found is None else f"revision {found}, and this release needs {one.head}"
        words = elsewhere(database) if one is LEDGER and found is None else ""
        raise OutOfDate(words or f"{one.name} has {state}: run `onward migrate`")


def upgrade(database: Database) -> bool:
    """Migrate; return False where everything was current. One process at a time, others wait. Raises StorageError.

    A ledger of an older release is taken along to this one's place. Tables of others are never touched.
    """
    from onward.storage.migrations import new_ledger  # noqa: PLC0415 - as everything of a migration

    revision(database)  # refuses what is no ledger
    with _site(database) as site:
        changed = _prepare_place(site)
        for one in all_of(database):
            before = site.own_revision(one.table)
            if before == one.head:
                continue
            one.refuse_newer(before)
            if one is LEDGER and before is None:
                new_ledger.make(site, HEAD, database.driver.ledgers)
            else:
                _run(one, site, "upgrade", "head")
            changed = True
    return changed


def go_back(database: Database) -> bool:
    """Give the ledger the tables of the last release; return False where it has them. No row of a job is lost.

    The project's own tables stay. Raises StorageError, also where the older release could not keep what is there.
    """
    from onward.storage.migrations import former_place  # noqa: PLC0415 - as above

    if revision(database) is None and prospect(database).former is None:
        return False
    with _site(database) as site:
        before = site.own_revision(LEDGER.table)
        if before is None and (former := former_place.find(site)) and former.revision > LAST_RELEASE[1]:
            _prepare_place(site)
            before = former.revision
        LEDGER.refuse_newer(before)
        if before is None or before <= LAST_RELEASE[1]:
            return False
        site.create_schema()
        former_place.drop_views(site)
        _run(LEDGER, site, "downgrade", LAST_RELEASE[1])
        former_place.move_back(site, LAST_RELEASE[1])
    return True


def _prepare_place(site: Site) -> bool:
    """Make sure that the ledger's place is its own; return whether a ledger of an older release was taken along."""
    from onward.storage.migrations import former_place  # noqa: PLC0415 - as above

    site.create_schema()
    if site.own_revision(LEDGER.table) is not None or not (former := former_place.find(site)):
        return False
    if site.schema is not None:  # the lock that the older release's migrations take
        site.run("SELECT pg_advisory_xact_lock(:lock)", lock=LOCK)
    if former := former_place.find(site):
        former_place.take_along(site, former)
    return former is not None


class Prospect(NamedTuple):
    """The future place of a ledger."""

    obstacle: str | None  # why the ledger cannot be made there, and what to do
    former: str | None  # the revision of an older release's ledger, to be taken along


def prospect(database: Database) -> Prospect:
    """Look at a place without a ledger. Makes nothing."""
    from onward.storage.migrations import former_place  # noqa: PLC0415 - as above
    from onward.storage.migrations.site import Site  # noqa: PLC0415 - likewise

    if database.path is not None and not database.path.exists():
        return Prospect(None, None)
    begin = "BEGIN" if database.dialect == "sqlite" else "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
    with _bound(database) as bound:
        bound.exec_driver_sql(begin)  # one state, even if a migration ends meanwhile
        site = Site(bound, database.driver.place)
        former = former_place.find(site)
        return Prospect(site.obstacle(), former.revision if former else None)


@contextmanager
def _site(database: Database) -> Iterator[Site]:
    """The database in the transaction of the only migration of this ledger that runs."""
    from onward.storage.migrations.guard import migration_lock  # noqa: PLC0415 - only a migration needs it
    from onward.storage.migrations.site import Site  # noqa: PLC0415 - likewise

    lock = LOCK ^ zlib.crc32(database.driver.place.schema.encode())  # of this ledger alone
    try:
        with _bound(database) as bound, migration_lock(bound, database.driver, lock, LOCK_TIMEOUT_S):
            yield Site(bound, database.driver.place)
    except sa.exc.DBAPIError as error:
        raise StorageError(f"{database.where} was not migrated, and is as it was") from error.orig


@contextmanager
def _bound(database: Database) -> Iterator[sa.Connection]:
    """A connection of SQLAlchemy's to the database. Raises Unavailable."""
    from onward.storage import sqlite  # noqa: PLC0415 - loads SQLAlchemy's dialect of it

    connection = database.connect()
    engine = sa.create_engine(
        "sqlite://" if database.dialect == "sqlite" else "postgresql+psycopg://",
        creator=lambda: connection,
        poolclass=sa.pool.StaticPool,
        **({"module": database.driver.dbapi} if isinstance(database.driver, sqlite.SQLite) else {}),
        isolation_level="AUTOCOMMIT",
    )
    try:
        with engine.connect() as bound:
            yield bound
    finally:
        engine.dispose()


def _run(series: Migrations, site: Site, direction: Literal["upgrade", "downgrade"], target: str) -> None:
    """Run migrations of one series."""
    # Alembic takes a quarter of a second to import, which only a migration is worth.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(FOLDER))
    config.set_main_option("version_locations", str(series.versions))
    config.set_main_option("path_separator", "newline")
    prefix = site.place.prefix
    config.attributes.update(
        connection=site.bound, version_table=f"{prefix}{series.table}", version_table_schema=site.schema, prefix=prefix
    )
    site.set_search_path(own=series is LEDGER)
    with _ALEMBIC:
        getattr(command, direction)(config, target)
