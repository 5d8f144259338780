"""Ledgers in other places of a database: after a change of `database.schema` they are not lost, but elsewhere."""

from __future__ import annotations

from onward.storage.base import Unavailable
from onward.storage.engine import Database


def others(database: Database) -> list[str]:
    """Return each `database.schema` by which the database has a ledger, but for the present one. Makes no file.

    Raises Unavailable.
    """
    if database.path is not None and not database.path.exists():
        return []
    connection = database.connect()
    try:
        found = [row[0] for row in connection.execute(database.driver.ledgers).fetchall()]
    except Exception as error:
        raise Unavailable("the ledger cannot be read") from error
    finally:
        connection.close()
    return [schema for schema in found if schema != database.driver.place.schema]


def elsewhere(database: Database) -> str:
    """Return the message for a database that has no ledger here, and some in other places; empty without one."""
    if not (found := others(database)):
        return ""
    there = " and ".join(f'"{schema}"' for schema in found)
    words = f'database.schema is "{database.driver.place.schema}", and the ledger in {database.where} has {there}'
    return f"{words}: correct database.schema, or make a second ledger by `onward migrate`"
