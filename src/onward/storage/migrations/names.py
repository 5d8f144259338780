"""The names of the ledger's tables and indexes in a migration."""

from __future__ import annotations

from alembic import op


def named(name: str) -> str:
    """The name in the database of the migration under way; on PostgreSQL the search path holds the schema alone."""
    return f"{op.get_context().opts['prefix']}{name}"
