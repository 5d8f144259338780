"""The tables of a ledger, compared with those of the code."""

from __future__ import annotations

import warnings
from typing import Any

import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from onward.storage.engine import Database
from onward.storage.indexes import tables_in


def differences(database: Database) -> list[Any]:
    """Return the differences between the ledger's tables and those of the code, in its place."""
    expected = tables_in(database.driver.place)
    names = set(expected.tables)

    def ours(name: str | None, kind: str, parents: Any) -> bool:
        return kind != "table" or parents["schema_qualified_table_name"] in names

    engine = sa.create_engine(
        database.url.set(drivername="postgresql+psycopg") if database.dialect == "postgresql" else database.url
    )
    options = {"compare_type": True, "compare_server_default": True, "include_schemas": True, "include_name": ours}
    with engine.connect() as connection, warnings.catch_warnings():
        # SQLAlchemy does not read such indexes of SQLite; that they are there is seen below.
        warnings.filterwarnings("ignore", ".* expression-based index")
        found: list[Any] = compare_metadata(MigrationContext.configure(connection, opts=options), expected)
        inspector = sa.inspect(connection)
        for table in expected.sorted_tables:
            if database.dialect == "sqlite":
                names_of = sa.text(
                    "SELECT name FROM sqlite_master WHERE tbl_name = :table AND sql LIKE 'CREATE INDEX %'"
                )
                there = set(connection.scalars(names_of, {"table": table.name}))
            else:
                there = {one["name"] for one in inspector.get_indexes(table.name, table.schema) if not one["unique"]}
            found += there ^ {index.name for index in table.indexes}
    engine.dispose()
    return found


def layout(database: Database) -> list[tuple[Any, ...]]:
    """Return all that the database itself knows of the ledger's tables: columns, keys and indexes, in order."""
    connection = database.connect()
    try:
        if database.dialect == "sqlite":
            return [tuple(row) for statement in SQLITE for row in connection.execute(statement)]
        schema = database.driver.place.schema
        return [row for statement in POSTGRESQL for row in connection.execute(statement, {"schema": schema})]
    finally:
        connection.close()


def rows(database: Database) -> dict[str, list[Any]]:
    """Return the rows of each table of the ledger and of its migrations."""
    connection = database.connect()
    try:
        names = sorted(name for (name,) in connection.execute(database.driver.tables).fetchall())
        place = "" if database.driver.place.prefix else f"{database.driver.place.schema}."
        return {name: [tuple(row) for row in connection.execute(f"SELECT * FROM {place}{name}")] for name in names}
    finally:
        connection.close()


def removed(database: Database) -> None:
    """Drop all tables of the ledger."""
    connection = database.connect()
    try:
        if database.dialect == "postgresql":
            connection.execute(f"DROP SCHEMA {database.driver.place.schema} CASCADE")
            return
        for (name,) in connection.execute(database.driver.tables).fetchall():
            connection.execute(f"DROP TABLE {name}")
    finally:
        connection.close()


_TABLES = "sqlite_master made WHERE made.type = 'table'"
SQLITE = (
    "SELECT type, name, tbl_name FROM sqlite_master ORDER BY name",
    f"SELECT made.name, columns.* FROM pragma_table_xinfo(made.name) columns, {_TABLES} ORDER BY 1, 2",
    (
        f"SELECT made.name, keys.name, keys.[unique], origin, partial FROM pragma_index_list(made.name) keys, {_TABLES}"
        " ORDER BY 1, 2"
    ),
    (
        "SELECT made.name, columns.* FROM pragma_index_xinfo(made.name) columns, sqlite_master made"
        " WHERE made.type = 'index' ORDER BY 1, 2"
    ),
    "SELECT name, sql FROM sqlite_master WHERE type = 'index' ORDER BY name",
)
_OURS = "JOIN pg_class made ON made.oid = {} JOIN pg_namespace place ON place.oid = made.relnamespace"
POSTGRESQL = (
    (
        "SELECT made.relname, one.attnum, one.attname, format_type(one.atttypid, one.atttypmod), one.attnotnull,"
        " one.attcollation, one.attidentity, one.atthasdef FROM pg_attribute one"
        f" {_OURS.format('one.attrelid')} WHERE place.nspname = %(schema)s AND one.attnum > 0 ORDER BY 1, 2"
    ),
    (
        f"SELECT one.conname, pg_get_constraintdef(one.oid) FROM pg_constraint one {_OURS.format('one.conrelid')}"
        " WHERE place.nspname = %(schema)s ORDER BY 1"
    ),
    (
        f"SELECT pg_get_indexdef(one.indexrelid) FROM pg_index one {_OURS.format('one.indrelid')}"
        " WHERE place.nspname = %(schema)s ORDER BY 1"
    ),
)
