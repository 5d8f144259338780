"""Makes a new ledger as the tables are now, in one step: Alembic takes a quarter of a second to run all migrations."""

from __future__ import annotations

import sqlalchemy as sa

from onward.storage.indexes import tables_in
from onward.storage.migrations.site import LEDGER_REVISIONS, Site
from onward.telemetry import logger


def make(site: Site, revision: str, ledgers: str) -> None:
    """Make the tables with what the migrations put into them, and Alembic's own with the newest revision.

    `ledgers` is the driver's statement for the other ledgers of the database: after a change of `database.schema` the
    new ledger would look like one that has lost its jobs.
    """
    if others := [schema for schema in site.run(ledgers).scalars() if schema != site.place.schema]:
        words = "a new ledger is made beside another one; if that one is meant, correct database.schema"
        logger("ledger").warning(words, schema=site.place.schema, other=", ".join(others))
    tables, name = tables_in(site.place), f"{site.place.prefix}{LEDGER_REVISIONS}"
    sa.Table(
        name,
        tables,
        sa.Column("version_num", sa.String(32), nullable=False),
        sa.PrimaryKeyConstraint("version_num", name=f"{name}_pkc"),
        schema=site.schema,
    )
    tables.create_all(site.bound, checkfirst=False)
    site.run("INSERT INTO _ledger.commits (n) VALUES (0)")
    site.run(f"INSERT INTO _ledger.{LEDGER_REVISIONS} (version_num) VALUES (:revision)", revision=revision)  # noqa: S608
