"""The ledger's database as a project's own code uses it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from onward.storage.transaction import Tx
from onward.storage.writer import Writer

T = TypeVar("T")


class Ledger:
    """Reads and writes in the ledger's database, for tables of the project's own that stand beside the ledger's."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    async def write(self, transaction: Callable[[Tx], T]) -> T:
        """Run the function in a transaction, and return what it returned after its commit. Raises Unavailable.

        The function may be run twice; those that come together share one commit, each in a savepoint of its own.
        """
        return await self._writer.run(transaction)

    async def read(self, transaction: Callable[[Tx], T]) -> T:
        """Run the function on one consistent state of the database, and return what it returned. Raises Unavailable."""
        return await self._writer.database.read(transaction)
