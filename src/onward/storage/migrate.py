"""Brings the ledger's tables up to date."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa

from onward.storage import sqlite
from onward.storage.base import OutOfDate, Unavailable
from onward.storage.engine import Database

HEAD = "0004"
LOCK = 0x6F6E77617264  # "onward"
PATIENCE_S = 60.0
_revision = sa.text("SELECT version_num FROM alembic_version")


def revision(database: Database) -> str | None:
    """The ledger's revision; None where there are no tables yet. Raises Unavailable."""
    connection = database.connect()
    try:
        row = connection.execute(str(_revision)).fetchone()
    except Exception as error:
        if "no such table" in str(error) or getattr(error, "sqlstate", None) == "42P01":
            return None
        raise Unavailable("the ledger cannot be read") from error
    finally:
        connection.close()
    return row[0] if row else None


def ensure(database: Database) -> None:
    """The ledger is of this release: SQLite is brought there, elsewhere `./onward migrate` has to be run first.

    Raises OutOfDate and Unavailable.
    """
    found = revision(database)
    if found == HEAD:
        return
    if database.dialect == "sqlite":
        upgrade(database)
    else:
        state = "has no tables yet" if found is None else f"is of revision {found}, this release wants {HEAD}"
        raise OutOfDate(f"the ledger {state}: run `./onward migrate`")


def upgrade(database: Database) -> bool:
    """The ledger is up to date; False where it was before. One process at a time, others wait. Raises StorageError."""
    # Alembic takes a quarter of a second to import, which only a migration is worth.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415

    from onward.storage.migrations.guard import guarded  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    connection = database.connect()
    engine = sa.create_engine(
        "sqlite://" if database.dialect == "sqlite" else "postgresql+psycopg://",
        creator=lambda: connection,
        poolclass=sa.pool.StaticPool,
        **({"module": sqlite.driver()} if database.dialect == "sqlite" else {}),
        isolation_level="AUTOCOMMIT",
    )
    try:
        with engine.connect() as bound, guarded(bound, database.dialect, LOCK, PATIENCE_S):
            before = revision_of(bound)
            if before == HEAD:
                return False
            if before is not None and before > HEAD:
                raise OutOfDate(f"the ledger is of revision {before}, newer than this release, which knows {HEAD}")
            config.attributes["connection"] = bound
            command.upgrade(config, "head")
    finally:
        engine.dispose()
    return True


def revision_of(bound: sa.Connection) -> str | None:
    if not sa.inspect(bound).has_table("alembic_version"):
        return None
    return bound.execute(_revision).scalar()
