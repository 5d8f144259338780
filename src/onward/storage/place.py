"""The ledger's own place in its database: a schema on PostgreSQL, a prefix of names in a SQLite file.

A statement names a table or an index as in `_ledger.jobs`; the driver replaces the mark when it compiles the
statement, once, so that the place costs nothing afterwards. Nothing depends on a session's search_path.
"""

from __future__ import annotations

MARK = "_ledger"
DEFAULT_SCHEMA = "onward"


class Place:
    """The schema or the prefix of the ledger's tables in one database."""

    def __init__(self, dialect: str, schema: str = DEFAULT_SCHEMA) -> None:
        self.dialect = dialect
        self.schema = schema
        self.prefix = f"{schema}_" if dialect == "sqlite" else ""
        self._before = self.prefix or f'"{schema}".'

    def __str__(self) -> str:
        return f"the tables {self.prefix}*" if self.prefix else f"the schema {self.schema}"

    def named(self, sql: str) -> str:
        """The statement with the names that its tables and indexes have in the database."""
        return sql.replace(f"{MARK}.", self._before)

    def missing_rights(self, user: str) -> str:
        """Return the message for a user of PostgreSQL who may not read the tables."""
        return (
            f"{user} may not read the ledger's tables: let their owner run"
            f" GRANT USAGE ON SCHEMA {self.schema} TO {user};"
            f" GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {self.schema} TO {user};"
        )
