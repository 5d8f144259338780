"""The ledger's own place in its database, and the mark that stands for it in statements until one is compiled."""

from __future__ import annotations

MARK = "_ledger"
"""Stands for the place wherever a statement names a table or an index of the ledger's, as in `_ledger.jobs`."""


class Place:
    """Where the ledger's tables are."""

    def named(self, sql: str) -> str:
        """The statement with the names that its tables and indexes have in the database."""
        return sql.replace(f"{MARK}.", "")
