"""The tables of a ledger, compared with those of the code."""

from __future__ import annotations

from typing import Any, cast

import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from onward.storage.engine import Database
from onward.storage.indexes import metadata


def differences(database: Database) -> list[Any]:
    """Return the differences between the ledger's tables and those of the code, in its place."""
    place, expected = database.driver.place, sa.MetaData()
    schema = cast("str", None if place.prefix else place.schema)  # SQLAlchemy's types do not know that it may be None
    for table in metadata.sorted_tables:
        for index in table.to_metadata(expected, schema=schema, name=f"{place.prefix}{table.name}").indexes:
            index.name = sa.quoted_name(f"{place.prefix}{index.name}", None)
    names = set(expected.tables)

    def ours(name: str | None, kind: str, parents: Any) -> bool:
        return kind != "table" or parents["schema_qualified_table_name"] in names

    engine = sa.create_engine(
        database.url.set(drivername="postgresql+psycopg") if database.dialect == "postgresql" else database.url
    )
    options = {"compare_type": True, "compare_server_default": True, "include_schemas": True, "include_name": ours}
    with engine.connect() as connection:
        found: list[Any] = compare_metadata(MigrationContext.configure(connection, opts=options), expected)
        inspector = sa.inspect(connection)
        for table in expected.sorted_tables:
            there = {one["name"] for one in inspector.get_indexes(table.name, table.schema) if not one["unique"]}
            found += there ^ {index.name for index in table.indexes}
    engine.dispose()
    return found
